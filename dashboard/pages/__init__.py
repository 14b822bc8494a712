"""One module per page; each offers ``page(visit)``."""
