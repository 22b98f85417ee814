"""A WSGI application called for a request that granian received over RSGI, with its body read already."""

import io
import sys
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol
from wsgiref.types import WSGIEnvironment

from django.http.response import HttpResponseBase

Headers = list[tuple[str, str]]


class Scope(Protocol):
    """What granian says of a request (RSGI 1.5, "HTTP scope"); `path` is decoded, `query_string` is not."""

    http_version: str
    server: str
    client: str
    scheme: str
    method: str
    path: str
    query_string: str

    @property
    def headers(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Headers
    body: bytes = b""
    parts: Generator[bytes] | None = None
    """What is to be sent in parts, in the thread that asks for them, which `close`s them."""


def environ_of(scope: Scope) -> WSGIEnvironment:
    """What PEP 3333 asks for, without a body: texts are their UTF-8 bytes read as Latin-1."""
    host, _, port = scope.server.rpartition(":")
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string.encode().decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        separator = "; " if name == "cookie" else ","
        environ[key] = f"{environ[key]}{separator}{value}" if key in environ else value
    return environ


def answer(application: Any, environ: WSGIEnvironment) -> Answer:
    """What `application`, which is Django's, answers."""
    started: list[tuple[str, Headers]] = []
    response: HttpResponseBase = application(environ, lambda status, headers: started.append((status, headers)))
    ((status, headers),) = started
    number = int(status.partition(" ")[0])
    if response.streaming:
        return Answer(number, headers, parts=_closed_after(response))
    body = b"".join(response)
    response.close()
    return Answer(number, headers, body)


def _closed_after(response: HttpResponseBase) -> Generator[bytes]:
    try:
        yield from response
    finally:
        response.close()
