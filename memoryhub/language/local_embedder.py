"""An embedder that runs an ONNX model in this process: no text leaves the machine. The first text loads the model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from memoryhub.language.embedding_values import Vector, normalize_vectors, prepare_text
from memoryhub.language.errors import EmbedderUnavailableError, ModelUnavailableError
from memoryhub.language.lazy_model import LazyModel
from memoryhub.language.sentence_model import SentenceModel, iter_config_errors, load_sentence_model

if TYPE_CHECKING:
    from memoryhub.language.sentence_encoder import SentenceEncoder


def find_local_error(folder: Path | None) -> str:
    """Why the model in `folder`, or without one the hub's, cannot be used; empty if nothing is wrong with its files."""
    try:
        return next(iter_config_errors(folder), "")
    except OSError as error:
        return (
            f"The embedding model cannot be read ({error.strerror}). Let memoryhub read it, or set"
            " MEMORYHUB_EMBEDDER=none."
        )


class LocalEmbedder:
    """The model in `folder`, or the one that the hub brings. Raises EmbedderUnavailableError if it cannot be read."""

    def __init__(self, folder: Path | None, dimensions: int) -> None:
        try:
            model = load_sentence_model(folder)
            self._name = model.compute_name()
        except (OSError, ValueError) as error:
            raise EmbedderUnavailableError(f"The embedding model cannot be read: {error}.") from None
        self._dimensions = dimensions
        self._model = model
        self._encoder = LazyModel(lambda: _load_encoder(model))

    @property
    def name(self) -> str:
        return self._name

    @property
    def dimensions(self) -> int:
        return self._dimensions

    def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        return self._embed([self._model.document_prefix + prepare_text(text) for text in texts])

    def embed_query(self, text: str) -> Vector:
        return self._embed([self._model.query_prefix + prepare_text(text)])[0]

    def _embed(self, texts: Sequence[str]) -> list[Vector]:
        try:
            vectors = self._encoder.get().encode(texts)
        except ModelUnavailableError as error:
            raise EmbedderUnavailableError(f"The embedding model is not used: {error}.") from None
        except Exception as error:
            # Messages of the libraries may quote a part of the text.
            raise EmbedderUnavailableError(f"The embedding model fails with {type(error).__name__}.") from None
        return normalize_vectors(
            vectors, count=len(texts), dimensions=self.dimensions, producer=f"The embedding model {self._model.label}"
        )


def _load_encoder(model: SentenceModel) -> "SentenceEncoder":
    from memoryhub.language.sentence_encoder import SentenceEncoder  # imports large libraries

    return SentenceEncoder(model)
