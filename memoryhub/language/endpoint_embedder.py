"""An embedder that asks an OpenAI-compatible endpoint: `POST {url}/embeddings`.

The texts leave the machine, and go to the address that the operator has set and to no other: redirects are not
followed. Neither the key nor a text nor the body of an answer is in an error or a log.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any

import httpx
import orjson
from circuitbreaker import CircuitBreaker
from pydantic import SecretStr
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_random_exponential

from memoryhub.language.embedding_values import Vector, normalize_vectors, prepare_text
from memoryhub.language.endpoint_protocol import EndpointBusyError, parse_answer, raise_for_status
from memoryhub.language.errors import EmbedderUnavailableError, TextsRejectedError

MAX_BATCH_TEXTS = 64
MAX_BATCH_BYTES = 2**18
MAX_ATTEMPTS = 4
CONNECT_SECONDS = 3.0
QUERY_SECONDS = 4.0
"""The time for a question, with all attempts and pauses: a reader waits for it."""
BATCH_SECONDS = 60.0
"""The time for a batch of documents, with all attempts and pauses."""
FAILURE_THRESHOLD = 3
RECOVERY_SECONDS = 30
"""After so many failures in a row nothing is sent for so long, so that searches do not wait for an endpoint in vain."""

_exponential_pause = wait_random_exponential(multiplier=0.25, max=8.0)


class EndpointEmbedder:
    """Asks the endpoint in batches. Each process has connections and a circuit breaker of its own."""

    def __init__(self, *, url: str, key: SecretStr | None, model: str, dimensions: int, shorten: bool) -> None:
        self.url, self.model, self._dimensions, self.shorten = f"{url}/embeddings", model, dimensions, shorten
        # No compression: a small answer could become a huge one.
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key.get_secret_value()}"
        self._client = httpx.Client(headers=headers, follow_redirects=False)
        self._breaker = CircuitBreaker(
            failure_threshold=FAILURE_THRESHOLD, recovery_timeout=RECOVERY_SECONDS, expected_exception=_is_failure
        )

    @property
    def name(self) -> str:
        """The endpoint does not reveal a digest of its model; this one is of the settings that choose it."""
        settings = orjson.dumps([self.url, self.model, self.dimensions, self.shorten])
        return f"{self.model}@{sha256(settings).hexdigest()}"

    @property
    def dimensions(self) -> int:
        return self._dimensions

    def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        return [
            vector for batch in iter_batches(texts) for vector in self._embed_batch(batch, limit_seconds=BATCH_SECONDS)
        ]

    def embed_query(self, text: str) -> Vector:
        (batch,) = iter_batches([text])
        return self._embed_batch(batch, limit_seconds=QUERY_SECONDS)[0]

    def close(self) -> None:
        self._client.close()

    def _embed_batch(self, texts: Sequence[str], *, limit_seconds: float) -> list[Vector]:
        if self._breaker.opened:
            raise EmbedderUnavailableError("The embedding endpoint failed several times and is left alone for a while.")
        try:
            with self._breaker:
                return self._retry(lambda deadline: self._request_vectors(texts, deadline), limit_seconds)
        except EmbedderUnavailableError as error:
            # The breaker remembers the last failure: it shall not remember the texts on its stack.
            raise error.with_traceback(None) from None

    def _retry(self, attempt: Callable[[float], list[Vector]], limit_seconds: float) -> list[Vector]:
        """The result of the first attempt that succeeds. No attempt or pause goes beyond the limit."""
        deadline = time.monotonic() + limit_seconds
        retrying = Retrying(
            retry=retry_if_exception_type(EndpointBusyError),
            stop=stop_after_attempt(MAX_ATTEMPTS) | stop_before_delay(limit_seconds),
            wait=_choose_pause,
            reraise=True,
        )
        return retrying(attempt, deadline)

    def _request_vectors(self, texts: Sequence[str], deadline: float) -> list[Vector]:
        body: dict[str, Any] = {"model": self.model, "input": list(texts)}
        if self.shorten:
            body["dimensions"] = self.dimensions
        answer = self._post(orjson.dumps(body), deadline, max_bytes=len(texts) * (self.dimensions * 32 + 1024) + 2**16)
        return normalize_vectors(
            parse_answer(answer, len(texts)),
            count=len(texts),
            dimensions=self.dimensions,
            producer="The embedding endpoint",
        )

    def _post(self, body: bytes, deadline: float, *, max_bytes: int) -> bytes:
        seconds = max(deadline - time.monotonic(), 0.01)
        timeout = httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
        try:
            with self._client.stream("POST", self.url, content=body, timeout=timeout) as response:
                raise_for_status(response.status_code, response.headers)
                return _read_body(response.iter_raw(), deadline, max_bytes)
        except httpx.TimeoutException:
            raise EndpointBusyError("The embedding endpoint does not answer in time.") from None
        except httpx.TransportError as error:
            raise EndpointBusyError(f"The embedding endpoint cannot be reached ({type(error).__name__}).") from None
        except httpx.HTTPError as error:
            raise EmbedderUnavailableError(f"The embedding endpoint fails with {type(error).__name__}.") from None


def iter_batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts in batches of at most MAX_BATCH_TEXTS texts and, if a batch has several, MAX_BATCH_BYTES bytes."""
    batch: list[str] = []
    size = 0
    for text in texts:
        # Endpoints refuse an empty text.
        prepared_text = prepare_text(text) if text.strip() else "."
        text_size = len(prepared_text.encode())
        if batch and (len(batch) == MAX_BATCH_TEXTS or size + text_size > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(prepared_text)
        size += text_size
    if batch:
        yield batch


def _read_body(chunks: Iterator[bytes], deadline: float, max_bytes: int) -> bytes:
    """The whole body. The timeout of the client is one for each chunk, so the deadline is checked here."""
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise EmbedderUnavailableError("The embedding endpoint answers with more bytes than vectors can have.")
        if time.monotonic() > deadline:
            raise EndpointBusyError("The embedding endpoint does not answer in time.")
    return bytes(body)


def _choose_pause(state: RetryCallState) -> float:
    """The pause before the next attempt: at least what the endpoint asks for."""
    error = state.outcome.exception() if state.outcome else None
    requested_seconds = error.retry_after_seconds if isinstance(error, EndpointBusyError) else 0.0
    return max(requested_seconds, _exponential_pause(state))


def _is_failure(_: type[Exception], error: Exception) -> bool:
    """Whether the endpoint failed. It did not if it refused some texts."""
    return not isinstance(error, TextsRejectedError)
