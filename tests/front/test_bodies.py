"""A body is read whole, within its limit and deadline, or not at all."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from memoryhub.front import bodies
from memoryhub.front.bodies import IncompleteError, TooLargeError, TooSlowError
from tests.front.event_loops import run_in_new_loop

pytestmark = pytest.mark.unit


async def arriving_chunks(*chunks: bytes | float) -> AsyncIterator[bytes]:
    """Chunks as they arrive; a number is a pause in seconds."""
    for chunk in chunks:
        if isinstance(chunk, bytes):
            yield chunk
        else:
            await asyncio.sleep(chunk)


def read_body(*chunks: bytes | float, length: int | None = None, limit: int = 100) -> bytes:
    async def run_read() -> bytes:
        with await bodies.read_body(arriving_chunks(*chunks), length=length, max_bytes=limit) as file:
            return file.read()

    return run_in_new_loop(run_read())


def test_a_body_is_what_arrived():
    large = b"x" * (2 * bodies.MAX_BYTES_IN_MEMORY)

    assert read_body(b"abc", b"", b"def", length=6) == b"abcdef"
    assert read_body() == b""
    assert read_body(large, b"y", limit=len(large) + 1) == large + b"y"


@pytest.mark.parametrize("length", [None, 101, 2**60])
def test_a_body_beyond_its_limit_is_read_to_its_end_and_refused(length):
    consumed: list[int] = []

    async def run_read() -> None:
        async def counted_chunks() -> AsyncIterator[bytes]:
            for index in range(5):
                consumed.append(index)
                yield b"x" * 50

        await bodies.read_body(counted_chunks(), length=length, max_bytes=100)

    with pytest.raises(TooLargeError):
        run_in_new_loop(run_read())
    assert consumed == [0, 1, 2, 3, 4]


def test_a_refused_body_is_read_no_further_than_a_bound(monkeypatch):
    monkeypatch.setattr(bodies, "MAX_DISCARDED_BYTES", 300)
    start_time = time.monotonic()
    with pytest.raises(TooLargeError):
        read_body(*[b"x" * 100] * 5, 5.0)

    assert time.monotonic() - start_time < 4


def test_a_refused_body_is_not_waited_for_longer_than_a_bound(monkeypatch):
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 0.2)

    start_time = time.monotonic()
    run_in_new_loop(bodies.drop_body(arriving_chunks(b"x", 5.0)))

    assert time.monotonic() - start_time < 4


def test_a_body_that_ends_early_is_refused():
    with pytest.raises(IncompleteError):
        read_body(b"abc", length=4)


def test_a_body_that_takes_longer_than_its_length_allows_is_given_up(monkeypatch):
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 0.2)

    with pytest.raises(TooSlowError):
        read_body(b"a", 5.0, length=2)
    with pytest.raises(TooSlowError):
        read_body(*(b"a", 0.05) * 10, length=10)


def test_a_long_body_may_take_longer(monkeypatch):
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(bodies, "MIN_BYTES_PER_SECOND", 100)

    assert len(read_body(*(b"x" * 10, 0.02) * 10)) == 100
