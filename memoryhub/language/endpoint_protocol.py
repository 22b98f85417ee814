"""The answers of an OpenAI-compatible endpoint for embeddings: statuses, headers and the JSON of vectors."""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from memoryhub.language.errors import EmbedderUnavailableError, TextsRejectedError

BUSY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
REJECTED_STATUSES = frozenset({400, 413, 422})
_MALFORMED = "The embedding endpoint answers with something other than the JSON of embeddings."


class EndpointBusyError(EmbedderUnavailableError):
    """The same request may succeed later, at the earliest after `retry_after_seconds`."""

    def __init__(self, message: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


def raise_for_status(status: int, headers: Mapping[str, str]) -> None:
    """Raise EmbedderUnavailableError, or one of its subclasses, unless the status is 200."""
    if status in BUSY_STATUSES:
        message = f"The embedding endpoint answers with status {status}."
        raise EndpointBusyError(message, retry_after_seconds=parse_retry_after(headers.get("retry-after", "")))
    if status in REJECTED_STATUSES:
        raise TextsRejectedError(f"The embedding endpoint refuses the texts, or its settings, with status {status}.")
    if status in {401, 403}:
        raise EmbedderUnavailableError(
            f"The embedding endpoint refuses the key with status {status}: check MEMORYHUB_EMBEDDER_KEY."
        )
    if status == 404:
        raise EmbedderUnavailableError(
            "The embedding endpoint answers with status 404: check MEMORYHUB_EMBEDDER_URL and MEMORYHUB_EMBEDDER_MODEL."
        )
    if 300 <= status < 400:
        raise EmbedderUnavailableError(
            f"The embedding endpoint redirects (status {status}), which is not followed: check MEMORYHUB_EMBEDDER_URL."
        )
    if status != 200:
        raise EmbedderUnavailableError(f"The embedding endpoint answers with status {status}.")


def parse_retry_after(value: str) -> float:
    """The seconds that a Retry-After header asks for, as a number or as a date; 0 if it says neither."""
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return 0.0


def parse_answer(body: bytes, count: int) -> list[list[float]]:
    """The vectors of `count` texts in the order of their `index`. Raises EmbedderUnavailableError."""
    try:
        # This parser refuses NaN and Infinity, which are no JSON.
        items = orjson.loads(body)["data"]
        vector_by_index = {item["index"]: item["embedding"] for item in items}
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise EmbedderUnavailableError(_MALFORMED) from None
    if len(items) != count:
        raise EmbedderUnavailableError(f"The embedding endpoint returns {len(items)} vectors for {count} texts.")
    if vector_by_index.keys() != set(range(count)):
        raise EmbedderUnavailableError("The embedding endpoint returns vectors with other indexes than the texts.")
    vectors = [vector_by_index[index] for index in range(count)]
    if not all(_is_vector(vector) for vector in vectors):
        raise EmbedderUnavailableError(_MALFORMED)
    return vectors


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and {type(number) for number in value} <= {float, int}
