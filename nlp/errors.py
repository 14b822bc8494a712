"""What can go wrong in nlp. Each error says what to do next."""

from __future__ import annotations


class NlpError(Exception):
    """Root of everything nlp raises on purpose."""


class ClaimFileError(NlpError):
    """A file of known claims cannot be read; the message names the file and the line."""


class ModelMissing(NlpError):
    """There is no trained model. The annotator never guesses: train one or name its file."""


class ModelUnreadable(NlpError):
    """The model file is damaged, or was made by another version. Train again."""


class LabelledFileError(NlpError):
    """A file of labelled texts cannot be read; the message names the file and the line."""


class SemanticDown(NlpError):
    """The optional sentence encoder does not answer; the first tier's reading stands."""
