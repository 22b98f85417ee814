"""Reading what a client sends, before a thread is taken for it."""

import asyncio
import time
from collections.abc import AsyncIterator
from tempfile import SpooledTemporaryFile
from typing import IO, Protocol, cast

GRACE_SECONDS = 10
"""How long a body may take whatever its length."""
SLOWEST_BYTES_PER_SECOND = 64 * 2**10
"""What arrives slower than that, over the whole body and beyond the grace, is given up."""
IN_MEMORY = 256 * 2**10


class TooSlowError(Exception):
    """The body did not arrive in time."""


class TooLargeError(Exception):
    """The body is longer than the limit. What could be read of it was thrown away."""


def seconds_for(size: int) -> float:
    """How long so many bytes may take."""
    return GRACE_SECONDS + size / SLOWEST_BYTES_PER_SECOND


class IncompleteError(Exception):
    """The client went away before all of the body had arrived."""


class Incoming(Protocol):
    def __aiter__(self) -> AsyncIterator[bytes]: ...


async def read(incoming: Incoming, *, length: int | None, limit: int) -> IO[bytes]:
    """The whole body as a file that stands at its start: of `length` bytes, if that was told.

    Raises TooSlowError, TooLargeError, IncompleteError.

    Of what is too large up to three times the limit more is read and thrown away: a client that sends before it reads
    would see a broken pipe in the place of the answer.
    """
    started = time.monotonic()
    file = cast("IO[bytes]", SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115 - the caller closes it
    received = 0
    chunks = aiter(incoming)
    try:
        while received <= 4 * limit:
            async with asyncio.timeout(started + seconds_for(received) - time.monotonic()):
                # With a default, anext() of granian's iterator ends the process.
                chunk = await chunks.__anext__()
            received += len(chunk)
            if received <= limit:
                file.write(chunk)
    except StopAsyncIteration:
        pass
    except TimeoutError:
        file.close()
        raise TooSlowError from None
    except BaseException:
        file.close()
        raise
    if received > limit or received < (length or 0):
        file.close()
        raise TooLargeError if received > limit else IncompleteError
    file.seek(0)
    return file
