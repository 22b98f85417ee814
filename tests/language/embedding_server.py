"""An endpoint for embeddings that is strict about the documented wire format, and has faults on demand.

The vectors depend on the texts alone: the shares of four letters in a text.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

KEY = "sk-only-for-tests"
MODEL = "text-embedding-test"
LETTERS = "aeio"
ALLOWED_FIELDS = {"model", "input", "encoding_format", "dimensions", "user"}

Answer = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]
"""Answers a request in another way than the documented one."""


@dataclass
class EmbeddingServer:
    """The requests that arrived, and the faults of the next answers: one each, then the endpoint is well again."""

    port: int
    requests: list[dict[str, Any]] = field(default_factory=list)
    next_answers: list[Answer] = field(default_factory=list)
    permanent_fault: Answer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def next_fault(self) -> Answer | None:
        return self.next_answers.pop(0) if self.next_answers else self.permanent_fault


def vector_of(text: str) -> list[float]:
    return [text.count(letter) + 0.5 for letter in LETTERS]


def success(texts: list[str]) -> dict[str, Any]:
    data = [{"object": "embedding", "index": index, "embedding": vector_of(text)} for index, text in enumerate(texts)]
    return {"object": "list", "data": data, "model": MODEL, "usage": {"prompt_tokens": 1, "total_tokens": 1}}


def send(
    request: BaseHTTPRequestHandler, status: int, body: bytes, content_type: str = "application/json", **headers: str
) -> None:
    request.send_response(status)
    request.send_header("Content-Type", content_type)
    request.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)


def status_fault(status: int, **headers: str) -> Answer:
    """An error whose body quotes what was sent, as those of real endpoints may."""
    return lambda request, body: send(request, status, json.dumps({"error": {"message": body}}).encode(), **headers)


def changed_answer(change: Callable[[dict[str, Any]], Any]) -> Answer:
    """The documented answer after `change`."""

    def answer(request: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        send(request, 200, json.dumps(change(success(body["input"]))).encode())

    return answer


def raw_answer(text: bytes, content_type: str = "application/json") -> Answer:
    return lambda request, _: send(request, 200, text, content_type)


def slow_answer(seconds: float) -> Answer:
    """Nothing for a while, then the documented answer."""

    def answer(request: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        time.sleep(seconds)
        send(request, 200, json.dumps(success(body["input"])).encode())

    return answer


def dripping_answer(seconds: float, pause_seconds: float) -> Answer:
    """One byte at a time."""

    def answer(request: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
        request.send_response(200)
        request.end_headers()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            request.wfile.write(b" ")
            request.wfile.flush()
            time.sleep(pause_seconds)

    return answer


def validate_request(request: BaseHTTPRequestHandler, body: Any) -> str:
    """What about the request is not as documented; empty if nothing is."""
    if request.path != "/v1/embeddings" or request.headers["Content-Type"] != "application/json":
        return "path or content type"
    if request.headers["Authorization"] != f"Bearer {KEY}":
        return "key"
    if not isinstance(body, dict) or not body.keys() <= ALLOWED_FIELDS or body.get("model") != MODEL:
        return "fields or model"
    if body.get("encoding_format", "float") != "float" or not isinstance(body.get("dimensions", 1), int):
        return "encoding_format or dimensions"
    texts = body.get("input")
    if not isinstance(texts, list) or not 1 <= len(texts) <= 2048:
        return "input"
    if not all(isinstance(text, str) and text for text in texts):
        return "a text"
    return ""


@contextmanager
def run_embedding_server() -> Iterator[EmbeddingServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.requests.append(body)
            fault = server.next_fault()
            problem = validate_request(self, body)
            try:
                if problem:
                    send(self, 401 if problem == "key" else 400, json.dumps({"error": {"message": problem}}).encode())
                elif fault is not None:
                    fault(self, body)
                else:
                    send(self, 200, json.dumps(success(body["input"])).encode())
            except OSError:
                self.close_connection = True  # the client went away

        def log_message(self, *_: Any) -> None:
            """Not in the output of the tests."""

    http_server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http_server.daemon_threads = True
    # A handler may sleep longer than the test.
    http_server.block_on_close = False
    server = EmbeddingServer(port=http_server.server_port)
    thread = Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http_server.shutdown()
        http_server.server_close()
        thread.join()
