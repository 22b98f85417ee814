"""Call a WSGI application for a request that granian received over RSGI and whose body is already read."""

import io
import sys
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol
from wsgiref.types import WSGIEnvironment

from django.http.response import HttpResponseBase

from memoryhub.front.cookies import format_cookies, parse_own_cookies

Headers = list[tuple[str, str]]


class RsgiScope(Protocol):
    """granian's description of a request (RSGI 1.5, "HTTP scope"); `path` is decoded, `query_string` is not."""

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
class GatewayResponse:
    status: int
    headers: Headers
    body: bytes = b""
    parts: Generator[bytes] | None = None
    """The body in parts, if the response streams. The thread that iterates over them must close them."""


def build_environ(scope: RsgiScope) -> WSGIEnvironment:
    """Return the WSGI environ (PEP 3333) with an empty body; texts are UTF-8 bytes decoded as Latin-1."""
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
        variable = name.upper().replace("-", "_")
        variable = variable if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{variable}"
        separator = "; " if name == "cookie" else ","
        environ[variable] = f"{environ[variable]}{separator}{value}" if variable in environ else value
    if "HTTP_COOKIE" in environ:
        environ["HTTP_COOKIE"] = format_cookies(parse_own_cookies(environ["HTTP_COOKIE"]))
    return environ


def call_application(application: Any, environ: WSGIEnvironment) -> GatewayResponse:
    """Return the response of `application`, a Django WSGI handler."""
    start_calls: list[tuple[str, Headers]] = []
    response: HttpResponseBase = application(environ, lambda status, headers: start_calls.append((status, headers)))
    ((status, headers),) = start_calls
    status_code = int(status.partition(" ")[0])
    if response.streaming:
        return GatewayResponse(status_code, headers, parts=_iter_then_close(response))
    body = b"".join(response)
    response.close()
    return GatewayResponse(status_code, headers, body)


def _iter_then_close(response: HttpResponseBase) -> Generator[bytes]:
    try:
        yield from response
    finally:
        response.close()
