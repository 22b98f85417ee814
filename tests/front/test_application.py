"""Answers in parts are sent as fast as a client reads, and cut off if it does not."""

import asyncio
import time
from collections.abc import Generator
from typing import Any

import pytest

from memoryhub.front import application, bodies
from memoryhub.front.gateway import Answer


class Client:
    """A protocol of granian's whose client takes some seconds for each part."""

    def __init__(self, seconds_per_part: float) -> None:
        self.seconds_per_part = seconds_per_part
        self.received: list[bytes] = []

    def response_stream(self, _status: int, _headers: Any) -> "Client":
        return self

    async def send_bytes(self, part: bytes) -> None:
        await asyncio.sleep(self.seconds_per_part)
        self.received.append(part)


def send(client: Client, *, seconds_to_make: float = 0) -> bool:
    """Whether five parts were made to the end."""
    made: list[int] = []

    def parts() -> Generator[bytes]:
        for number in range(5):
            time.sleep(seconds_to_make)
            yield b"part"
            made.append(number)

    async def story() -> None:
        loop = asyncio.get_running_loop()
        answer = Answer(200, [], parts=parts())
        assert answer.parts is not None
        await loop.run_in_executor(None, application._send_parts, client, answer, answer.parts, loop)

    asyncio.run(story())
    return len(made) == 5


@pytest.fixture(autouse=True)
def _little_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 0.5)


def test_all_parts_reach_a_client_that_reads_however_long_they_take_to_be_made():
    client = Client(0)

    assert send(client, seconds_to_make=0.2)
    assert client.received == [b"part"] * 5


def test_a_client_that_does_not_read_is_cut_off():
    client = Client(0.2)

    assert not send(client)
    assert 0 < len(client.received) < 5
