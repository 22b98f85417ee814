"""Answers in parts are sent as fast as a client reads, and cut off if it does not."""

import asyncio
import time
from collections.abc import Generator
from typing import Any

import pytest

from memoryhub.front import application, bodies
from memoryhub.front.gateway import GatewayResponse
from tests.front.event_loops import run_in_new_loop

pytestmark = pytest.mark.unit


class FakeClient:
    """A protocol of granian's whose client takes some seconds for each part."""

    def __init__(self, seconds_per_part: float) -> None:
        self.seconds_per_part = seconds_per_part
        self.received: list[bytes] = []

    def response_stream(self, _status: int, _headers: Any) -> "FakeClient":
        return self

    async def send_bytes(self, part: bytes) -> None:
        await asyncio.sleep(self.seconds_per_part)
        self.received.append(part)


def send_response(client: FakeClient, *, seconds_per_part: float = 0) -> bool:
    """Whether five parts were made to the end."""
    parts_made: list[int] = []

    def slow_parts() -> Generator[bytes]:
        for index in range(5):
            time.sleep(seconds_per_part)
            yield b"part"
            parts_made.append(index)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        response = GatewayResponse(200, [], parts=slow_parts())
        assert response.parts is not None
        await loop.run_in_executor(None, application._send_parts, client, response, response.parts, loop)

    run_in_new_loop(serve())
    return len(parts_made) == 5


@pytest.fixture(autouse=True)
def _short_grace_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 0.5)


@pytest.mark.large_input
def test_all_parts_reach_a_client_that_reads_however_long_they_take_to_be_made():
    client = FakeClient(0)

    assert send_response(client, seconds_per_part=0.2)
    assert client.received == [b"part"] * 5


def test_a_client_that_does_not_read_is_cut_off():
    client = FakeClient(0.2)

    assert not send_response(client)
    assert 0 < len(client.received) < 5
