"""The contract of embedders, and the one that the operator has chosen.

An embedder turns texts into vectors of unit length, whose cosine says how near the texts are in meaning. Vectors of two
models cannot be compared: the name of the model is recorded with each vector.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Protocol

from django.conf import settings
from pydantic import SecretStr

from memoryhub.config import Config
from memoryhub.language.embedding_values import Vector
from memoryhub.language.errors import EmbedderUnavailableError
from memoryhub.language.local_embedder import LocalEmbedder, find_local_error


class Embedder(Protocol):
    """Threads may share an embedder. It loads its model or opens its connection at the first text.

    All methods raise EmbedderUnavailableError, whose message is a sentence without any part of a text. A vector that a
    model returns with the wrong number of dimensions, with NaN or infinite numbers, or with zeros alone is such an
    error, too. Of a text longer than `MAX_TEXT_CHARACTERS` the beginning is embedded.
    """

    @property
    def name(self) -> str:
        """The name under which vectors are stored: vectors of the same name are comparable. At most 255 characters.

        It holds a digest of everything that determines the vectors, and stays the same while the process lives.
        """

    @property
    def dimensions(self) -> int:
        """The length of the vectors: MEMORYHUB_EMBEDDING_DIMENSIONS."""

    def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        """A vector for each text that is stored, in their order: all of them, or an error.

        Raises TextsRejectedError, an EmbedderUnavailableError, if these texts are the reason.
        """

    def embed_query(self, text: str) -> Vector:
        """The vector of a question, for a reader who waits: an endpoint is given less time than for documents."""


def configured_embedder() -> Embedder | None:
    """The embedder in the settings, the same one for the life of the process, or None if the operator chose none.

    Raises EmbedderUnavailableError if libraries or files are missing; the next call looks again.
    """
    config: Config = settings.APP_CONFIG
    if problem := find_config_error(config):
        raise EmbedderUnavailableError(problem)
    with _embedder_lock:
        match config.embedder:
            case "none":
                return None
            case "local":
                return _create_local_embedder(config.embedder_folder, config.embedding_dimensions)
            case "endpoint":
                return _create_endpoint_embedder(
                    url=config.embedder_url,
                    key=config.embedder_key,
                    model=config.embedder_model,
                    dimensions=config.embedding_dimensions,
                    shorten=config.embedder_shorten,
                )


def find_config_error(config: Config) -> str:
    """Why the configured embedder cannot be used, in a sentence; empty if nothing is wrong as far as files show."""
    return find_local_error(config.embedder_folder) if config.embedder == "local" else ""


@lru_cache(maxsize=4)
def _create_local_embedder(folder: Path | None, dimensions: int) -> Embedder:
    return LocalEmbedder(folder, dimensions)


@lru_cache(maxsize=4)
def _create_endpoint_embedder(
    *, url: str, key: SecretStr | None, model: str, dimensions: int, shorten: bool
) -> Embedder:
    from memoryhub.language.endpoint_embedder import EndpointEmbedder

    return EndpointEmbedder(url=url, key=key, model=model, dimensions=dimensions, shorten=shorten)


_embedder_lock = Lock()
