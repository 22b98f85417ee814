"""Read request bodies before a thread is taken."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from tempfile import SpooledTemporaryFile
from typing import IO, Protocol, cast

GRACE_SECONDS = 10
"""The time that a body of any length may take."""
MIN_BYTES_PER_SECOND = 64 * 2**10
"""A body is rejected if it arrives more slowly on average, not counting the grace."""
MAX_BYTES_IN_MEMORY = 256 * 2**10
MAX_DISCARDED_BYTES = 128 * 2**20
"""How much of the body of a refused request is read and dropped."""


class TooSlowError(Exception):
    """The body did not arrive in time."""


class TooLargeError(Exception):
    """The body is longer than the limit; the received part was discarded."""


def compute_timeout_seconds(byte_count: int) -> float:
    """Return how long a transfer of `byte_count` bytes may take."""
    return GRACE_SECONDS + byte_count / MIN_BYTES_PER_SECOND


class IncompleteError(Exception):
    """The client disconnected before the whole body had arrived."""


class BodyStream(Protocol):
    def __aiter__(self) -> AsyncIterator[bytes]: ...


async def read_body(stream: BodyStream, *, length: int | None, max_bytes: int) -> IO[bytes]:
    """Return the whole body as a file at position 0; `length` is its declared length, if any.

    Raises TooSlowError, TooLargeError, IncompleteError. The rest of a body that is too large is dropped (`drop_body`).
    """
    file = cast("IO[bytes]", SpooledTemporaryFile(MAX_BYTES_IN_MEMORY))  # noqa: SIM115 - the caller closes it
    started_at, received_bytes = time.monotonic(), 0
    chunks = aiter(stream)
    try:
        while received_bytes <= max_bytes:
            async with asyncio.timeout(started_at + compute_timeout_seconds(received_bytes) - time.monotonic()):
                # anext() with a default would crash the process: granian's iterator does not support it.
                chunk = await chunks.__anext__()
            received_bytes += len(chunk)
            file.write(chunk)
        await _drop_chunks(chunks)
        raise TooLargeError
    except StopAsyncIteration:
        if received_bytes < (length or 0):
            file.close()
            raise IncompleteError from None
    except TimeoutError:
        file.close()
        raise TooSlowError from None
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


async def drop_body(stream: BodyStream) -> None:
    """Read the body of a refused request, and drop it.

    A client that sends before it reads would otherwise see a broken pipe instead of the response. Ends after
    GRACE_SECONDS or MAX_DISCARDED_BYTES.
    """
    await _drop_chunks(aiter(stream))


async def _drop_chunks(chunks: AsyncIterator[bytes]) -> None:
    """Read what is left of a body, as `drop_body` does."""
    dropped_bytes = 0
    with suppress(StopAsyncIteration, TimeoutError):
        async with asyncio.timeout(GRACE_SECONDS):
            while dropped_bytes < MAX_DISCARDED_BYTES:
                dropped_bytes += len(await chunks.__anext__())
