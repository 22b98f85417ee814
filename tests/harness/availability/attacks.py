"""Clients that would stop a hub if it let them: they send slowly, do not read, ask too much, or are too many."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

SIGN_IN_HEAD = "POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
WRITE_HEAD = "POST /api/memories HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@dataclass
class Attack:
    """What the clients of an attack have been answered so far."""

    port: int
    stop: threading.Event = field(default_factory=threading.Event)
    status_counts: Counter[str] = field(default_factory=Counter)
    """Status lines."""


def slow_upload_client(attack: Attack, head: str) -> Callable[[], Awaitable[None]]:
    """A client that sends a body of 1,000 bytes one byte a second, again and again."""

    async def send_slowly() -> None:
        while not attack.stop.is_set():
            reader, writer = await asyncio.open_connection("127.0.0.1", attack.port)
            writer.write(f"{head}Content-Length: 1000\r\n\r\na=".encode())
            with_answer = asyncio.create_task(reader.readline())
            while not attack.stop.is_set() and not with_answer.done():
                await asyncio.wait([with_answer], timeout=1)
                writer.write(b"a")
            if with_answer.done():
                attack.status_counts[with_answer.result().decode().strip()] += 1
            with_answer.cancel()
            writer.close()

    return send_slowly


def repeated_request_client(attack: Attack, path: str, header: str) -> Callable[[], Awaitable[None]]:
    """A client that asks the same on a kept connection, again and again."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}\r\n\r\n".encode()

    async def send_repeatedly() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", attack.port)
        while not attack.stop.is_set():
            writer.write(request)
            try:
                head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).decode()
                (length,) = (line.split(":")[1] for line in head.lower().splitlines() if line.startswith("content-le"))
                await reader.readexactly(int(length))
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                attack.status_counts["none"] += 1
                break
            attack.status_counts[head.splitlines()[0]] += 1
        writer.close()

    return send_repeatedly


@contextmanager
def run_attack(attack: Attack, clients: list[Callable[[], Awaitable[None]]]) -> Iterator[Attack]:
    """While the clients are at it, in a thread of their own."""

    async def run_clients() -> None:
        await asyncio.gather(*(client() for client in clients), return_exceptions=True)

    thread = threading.Thread(target=lambda: asyncio.run(run_clients()))
    thread.start()
    try:
        yield attack
    finally:
        attack.stop.set()
        thread.join()


def open_half_upload(port: int) -> socket.socket:
    """A connection with a request of which half has been sent."""
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(f"{SIGN_IN_HEAD}Content-Length: 1000\r\n\r\na=".encode())
    return client


def open_unread_response(port: int, path: str, key: str) -> socket.socket:
    """A connection with a question whose large answer is not read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
    return client
