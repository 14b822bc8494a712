"""Screens. Thin: read with ``pipeline.desk.queries``, act with the functions of the desk."""
