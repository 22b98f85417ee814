"""What Django is given, and what becomes of its answers."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.http import HttpResponse, StreamingHttpResponse

from memoryhub.front.gateway import build_environ, call_application


class HeaderList(list[tuple[str, str]]):
    def items(self) -> "HeaderList":
        return self


def make_scope(**changes: Any) -> Any:
    default_scope = {
        "method": "POST",
        "path": "/subjects/Zo\u00eb",
        "query_string": "q=%20\u00e9",
        "http_version": "1.1",
        "scheme": "http",
        "server": "127.0.0.1:8000",
        "client": "192.0.2.7:5555",
        "headers": HeaderList([("host", "hub"), ("content-type", "a/b"), ("content-length", "3"), ("x-a", "1")]),
    }
    return SimpleNamespace(**default_scope | changes)


def test_an_environ_is_what_pep_3333_asks_for():
    environ = build_environ(make_scope())

    assert environ["PATH_INFO"].encode("latin-1").decode() == "/subjects/Zo\u00eb"
    assert environ["QUERY_STRING"].encode("latin-1").decode() == "q=%20\u00e9"
    environ_values = {name: environ[name] for name in ("REQUEST_METHOD", "SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR")}
    assert environ_values == {
        "REQUEST_METHOD": "POST", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8000", "REMOTE_ADDR": "192.0.2.7",
    }  # fmt: skip
    assert [environ[name] for name in ("HTTP_HOST", "CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_X_A")] == [
        "hub", "a/b", "3", "1",
    ]  # fmt: skip
    assert environ["wsgi.input"].read() == b""


def test_an_address_of_ipv6_has_no_brackets():
    assert build_environ(make_scope(client="[2001:db8::1]:5555"))["REMOTE_ADDR"] == "2001:db8::1"


def test_repeated_headers_are_one():
    environ = build_environ(
        make_scope(
            headers=HeaderList([("x-a", "1"), ("x-a", "2"), ("cookie", "theme=dark"), ("cookie", "_ga=1; sessionid=1")])
        )
    )

    assert (environ["HTTP_X_A"], environ["HTTP_COOKIE"]) == ("1,2", "theme=dark; sessionid=1")


def test_no_header_can_be_taken_for_what_the_hub_itself_notes():
    names = ("memoryhub.refusal", "wsgi.input", "remote-addr", "request-method")
    environ = build_environ(make_scope(headers=HeaderList([(name, "forged") for name in names])))

    assert "memoryhub.refusal" not in environ
    assert environ["REMOTE_ADDR"] == "192.0.2.7"
    assert environ["wsgi.input"].read() == b""


# Closing a response lets Django look after its connections.
with_database = pytest.mark.django_db


def respond_with(response: Any) -> Any:
    def wsgi_application(_environ: Any, start_response: Any) -> Any:
        start_response(f"{response.status_code} {response.reason_phrase}", list(response.items()))
        return response

    return wsgi_application


@with_database
def test_an_answer_is_whole_and_its_response_closed():
    response = HttpResponse(b"body", status=201, headers={"X-A": "1"})

    result = call_application(respond_with(response), {})

    assert (result.status, result.body, result.parts, response.closed) == (201, b"body", None, True)
    assert ("X-A", "1") in result.headers


@with_database
def test_a_streamed_answer_is_left_in_parts_and_closed_after_the_last_one():
    response = StreamingHttpResponse(iter([b"a", b"b"]))

    result = call_application(respond_with(response), {})

    assert result.parts is not None
    assert not response.closed
    assert list(result.parts) == [b"a", b"b"]
    assert response.closed
