"""A proxy between a client and PostgreSQL that fails on request, at the moments that matter.

It reads the frontend protocol far enough to know when COMMIT passes: a connection can be cut before the server has it,
or after the server has it and before the client learns. Each connection asks `decide` at every statement.
"""

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum


class Fate(StrEnum):
    """What becomes of a statement on its way."""

    PASS = "pass"
    DELAY = "delay"
    CUT_BEFORE = "cut before"
    """The server never gets it: both sides lose the connection."""
    CUT_AFTER = "cut after"
    """The server gets it and has answered; the client never hears of it."""
    HALF_CLOSE = "half close"
    """The server gets it and answers, and is told that the client will say no more; the client hears the end alone."""


Decide = Callable[[bytes], Fate]
# Requests that come without a type byte: SSLRequest, GSSENCRequest and CancelRequest.
_ASKS_FIRST = {80877103, 80877104}
_CANCEL = 80877102


def is_commit(statement: bytes) -> bool:
    return statement.strip(b" ;\x00").upper() == b"COMMIT"


class Proxy:
    """Listens on 127.0.0.1 and passes on to the unix socket `target`; `decide` may be exchanged at any time."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.decide: Decide = lambda _: Fate.PASS
        self.delay_seconds = 0.05
        self.happened: Counter[Fate] = Counter()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def close(self) -> None:
        # A thread in accept() is not woken by close() alone.
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._accepting.join(5)
        self.cut_all()

    def cut_all(self) -> None:
        """Every connection there is ends now."""
        with self._lock:
            ends = list(self.open)
        for end in ends:
            _cut(end)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with client, server:
            try:
                server.connect(self.target)
            except OSError:
                return
            with self._lock:
                self.open |= {client, server}
            link = _Link(self, client, server)
            back = threading.Thread(target=link.backward, daemon=True)
            back.start()
            with suppress(OSError):
                link.forward()
            if not link.is_half_closed:
                _cut(server)
            back.join(30)
            _cut(client)
            with self._lock:
                self.open -= {client, server}


class _Link:
    """One connection: what the client says, statement by statement, and what the server answers."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy, self.client, self.server = proxy, client, server
        self.is_deaf = False
        self.is_half_closed = False
        self.answered = threading.Event()

    def backward(self) -> None:
        with suppress(OSError):
            while chunk := self.server.recv(65536):
                self.answered.set()
                if not self.is_deaf:
                    self.client.sendall(chunk)
        self.answered.set()
        _cut(self.client)

    def forward(self) -> None:
        if not self._startup():
            return
        held: list[bytes] = []
        fate = Fate.PASS
        for kind, frame in self._frames():
            held.append(frame)
            if kind in (b"Q", b"P"):
                fate = self._fate(kind, frame)
            if kind not in (b"Q", b"S", b"X", b"H", b"p", b"d", b"c", b"f"):
                continue
            # Sync ends what the extended protocol says in pieces: it goes on its way as one.
            if not self._send(b"".join(held), fate):
                return
            held, fate = [], Fate.PASS

    def _fate(self, kind: bytes, frame: bytes) -> Fate:
        body = frame[5:]
        statement = body if kind == b"Q" else body.split(b"\x00", 2)[1]
        fate = self.proxy.decide(statement.rstrip(b"\x00"))
        self.proxy.happened[fate] += 1
        return fate

    def _send(self, message: bytes, fate: Fate) -> bool:
        """Whether the connection lives on."""
        if fate is Fate.CUT_BEFORE:
            _cut(self.client)
            return False
        if fate is Fate.DELAY:
            time.sleep(self.proxy.delay_seconds)
        if fate not in (Fate.CUT_AFTER, Fate.HALF_CLOSE):
            self.server.sendall(message)
            return True
        self.is_deaf = True
        self.answered.clear()
        self.server.sendall(message)
        if fate is Fate.HALF_CLOSE:
            self.is_half_closed = True
            self.server.shutdown(socket.SHUT_WR)
            with suppress(OSError):
                self.client.shutdown(socket.SHUT_WR)
            return False
        self.answered.wait(30)
        _cut(self.client)
        return False

    def _startup(self) -> bool:
        while True:
            length = self._exactly(4)
            rest = self._exactly(struct.unpack("!I", length)[0] - 4)
            self.server.sendall(length + rest)
            code = struct.unpack("!I", rest[:4])[0]
            if code not in _ASKS_FIRST:
                return bool(code != _CANCEL)

    def _frames(self) -> Iterator[tuple[bytes, bytes]]:
        while True:
            head = self._exactly(5)
            yield head[:1], head + self._exactly(struct.unpack("!I", head[1:])[0] - 4)

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            chunk = self.client.recv(size - len(data))
            if not chunk:
                raise ConnectionResetError
            data += chunk
        return bytes(data)


def _cut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxying(target: str) -> Iterator[Proxy]:
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
