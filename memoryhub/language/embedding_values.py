"""What every embedder does with texts before, and with numbers after."""

import math
from collections.abc import Sequence

from memoryhub.language.errors import EmbedderUnavailableError

MAX_TEXT_CHARACTERS = 8_000
"""Of a longer text only the beginning is embedded. Models read less: 256 or 512 tokens, or 8,192 of large ones."""

Vector = list[float]


def prepare_text(text: str) -> str:
    """The part of `text` that is embedded, without the lone surrogates that no library encodes."""
    return text[:MAX_TEXT_CHARACTERS].encode(errors="replace").decode()


def normalize_vectors(
    vectors: Sequence[Sequence[float]], *, count: int, dimensions: int, producer: str
) -> list[Vector]:
    """The vectors at unit length. Raises EmbedderUnavailableError, with the name of the `producer`."""
    if len(vectors) != count:
        raise EmbedderUnavailableError(f"{producer} returns {len(vectors)} vectors for {count} texts.")
    return [_normalize(vector, dimensions, producer) for vector in vectors]


def _normalize(vector: Sequence[float], dimensions: int, producer: str) -> Vector:
    if len(vector) != dimensions:
        raise EmbedderUnavailableError(
            f"{producer} returns vectors of {len(vector)} numbers, but MEMORYHUB_EMBEDDING_DIMENSIONS is {dimensions}."
        )
    length = math.hypot(*vector)
    if not math.isfinite(length):
        raise EmbedderUnavailableError(f"{producer} returns a vector with numbers that are not finite.")
    # The smallest normal number that PostgreSQL's vectors hold is near 1e-38.
    if length < 1e-30:
        raise EmbedderUnavailableError(f"{producer} returns a vector of zeros.")
    return [number / length for number in vector]
