"""A proxy between a client and PostgreSQL that fails on request, at the moments that matter.

It reads the frontend protocol far enough to know when COMMIT passes: a connection can be cut before the server has it,
or after the server has it and before the client learns. Each connection asks `choose_interference` at every statement.
"""

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum


class Interference(StrEnum):
    """What becomes of a statement on its way."""

    PASS = "pass"
    DELAY = "delay"
    CUT_BEFORE = "cut before"
    """The server never gets it: both sides lose the connection."""
    CUT_AFTER = "cut after"
    """The server gets it and has answered; the client never hears of it."""
    HALF_CLOSE = "half close"
    """The server gets it and answers, and sees the client's end as closed; the client only sees the connection end."""


InterferenceRule = Callable[[bytes], Interference]
# Requests that come without a type byte: SSLRequest, GSSENCRequest and CancelRequest.
_NEGOTIATION_CODES = {80877103, 80877104}
_CANCEL_CODE = 80877102


def is_commit(statement: bytes) -> bool:
    return statement.strip(b" ;\x00").upper() == b"COMMIT"


class Proxy:
    """Listens on 127.0.0.1 and passes on to the unix socket `target`; `choose_interference` may change at any time."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.choose_interference: InterferenceRule = lambda _: Interference.PASS
        self.delay_seconds = 0.05
        self.interference_counts: Counter[Interference] = Counter()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.open_sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._accepting = threading.Thread(target=self._accept_clients, daemon=True)
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
            sockets = list(self.open_sockets)
        for end in sockets:
            _close_socket(end)

    def _accept_clients(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve_client, args=(client,), daemon=True).start()

    def _serve_client(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with client, server:
            try:
                server.connect(self.target)
            except OSError:
                return
            with self._lock:
                self.open_sockets |= {client, server}
            link = _ProxyLink(self, client, server)
            response_thread = threading.Thread(target=link.forward_responses, daemon=True)
            response_thread.start()
            with suppress(OSError):
                link.forward_requests()
            if not link.is_half_closed:
                _close_socket(server)
            response_thread.join(30)
            _close_socket(client)
            with self._lock:
                self.open_sockets -= {client, server}


class _ProxyLink:
    """One connection: what the client says, statement by statement, and what the server answers."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy, self.client, self.server = proxy, client, server
        self.ignores_client = False
        self.is_half_closed = False
        self.response_received = threading.Event()

    def forward_responses(self) -> None:
        with suppress(OSError):
            while chunk := self.server.recv(65536):
                self.response_received.set()
                if not self.ignores_client:
                    self.client.sendall(chunk)
        self.response_received.set()
        _close_socket(self.client)

    def forward_requests(self) -> None:
        if not self._pass_startup():
            return
        buffered: list[bytes] = []
        interference = Interference.PASS
        for kind, frame in self._read_frames():
            buffered.append(frame)
            if kind in (b"Q", b"P"):
                interference = self._choose_interference(kind, frame)
            if kind not in (b"Q", b"S", b"X", b"H", b"p", b"d", b"c", b"f"):
                continue
            # Sync ends what the extended protocol says in pieces: it goes on its way as one.
            if not self._send_message(b"".join(buffered), interference):
                return
            buffered, interference = [], Interference.PASS

    def _choose_interference(self, kind: bytes, frame: bytes) -> Interference:
        body = frame[5:]
        statement = body if kind == b"Q" else body.split(b"\x00", 2)[1]
        interference_ = self.proxy.choose_interference(statement.rstrip(b"\x00"))
        self.proxy.interference_counts[interference_] += 1
        return interference_

    def _send_message(self, message: bytes, interference: Interference) -> bool:
        """Whether the connection lives on."""
        if interference is Interference.CUT_BEFORE:
            _close_socket(self.client)
            return False
        if interference is Interference.DELAY:
            time.sleep(self.proxy.delay_seconds)
        if interference not in (Interference.CUT_AFTER, Interference.HALF_CLOSE):
            self.server.sendall(message)
            return True
        self.ignores_client = True
        self.response_received.clear()
        self.server.sendall(message)
        if interference is Interference.HALF_CLOSE:
            self.is_half_closed = True
            self.server.shutdown(socket.SHUT_WR)
            with suppress(OSError):
                self.client.shutdown(socket.SHUT_WR)
            return False
        self.response_received.wait(30)
        _close_socket(self.client)
        return False

    def _pass_startup(self) -> bool:
        while True:
            length = self._read_exactly(4)
            rest = self._read_exactly(struct.unpack("!I", length)[0] - 4)
            self.server.sendall(length + rest)
            code = struct.unpack("!I", rest[:4])[0]
            if code not in _NEGOTIATION_CODES:
                return bool(code != _CANCEL_CODE)

    def _read_frames(self) -> Iterator[tuple[bytes, bytes]]:
        while True:
            head = self._read_exactly(5)
            yield head[:1], head + self._read_exactly(struct.unpack("!I", head[1:])[0] - 4)

    def _read_exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            chunk = self.client.recv(size - len(data))
            if not chunk:
                raise ConnectionResetError
            data += chunk
        return bytes(data)


def _close_socket(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def run_proxy(target: str) -> Iterator[Proxy]:
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
