"""Errors of the language models. Their messages say why in words for the operator, and never quote a text."""


class ModelUnavailableError(Exception):
    """The model cannot be used."""


class EmbedderUnavailableError(ModelUnavailableError):
    """There are no embeddings now. The message is a sentence."""


class TextsRejectedError(EmbedderUnavailableError):
    """The endpoint refuses these texts, and would refuse them again. It may accept each of them alone, or others."""
