"""What can go wrong in nlp. Each error says what to do next."""

from __future__ import annotations


class NlpError(Exception):
    """Root of everything nlp raises on purpose."""


class ClaimFileError(NlpError):
    """A file of known claims cannot be read; the message names the file and the line."""
