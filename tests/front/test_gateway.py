"""What Django is given, and what becomes of its answers."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.http import HttpResponse, StreamingHttpResponse

from memoryhub.front.gateway import answer, environ_of


class Headers(list[tuple[str, str]]):
    def items(self) -> "Headers":
        return self


def scope(**changes: Any) -> Any:
    given = {
        "method": "POST",
        "path": "/subjects/Zo\u00eb",
        "query_string": "q=%20\u00e9",
        "http_version": "1.1",
        "scheme": "http",
        "server": "127.0.0.1:8000",
        "client": "192.0.2.7:5555",
        "headers": Headers([("host", "hub"), ("content-type", "a/b"), ("content-length", "3"), ("x-a", "1")]),
    }
    return SimpleNamespace(**given | changes)


def test_an_environ_is_what_pep_3333_asks_for():
    environ = environ_of(scope())

    assert environ["PATH_INFO"].encode("latin-1").decode() == "/subjects/Zo\u00eb"
    assert environ["QUERY_STRING"].encode("latin-1").decode() == "q=%20\u00e9"
    named = {name: environ[name] for name in ("REQUEST_METHOD", "SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR")}
    assert named == {
        "REQUEST_METHOD": "POST", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8000", "REMOTE_ADDR": "192.0.2.7",
    }  # fmt: skip
    assert [environ[name] for name in ("HTTP_HOST", "CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_X_A")] == [
        "hub", "a/b", "3", "1",
    ]  # fmt: skip
    assert environ["wsgi.input"].read() == b""


def test_an_address_of_ipv6_has_no_brackets():
    assert environ_of(scope(client="[2001:db8::1]:5555"))["REMOTE_ADDR"] == "2001:db8::1"


def test_repeated_headers_are_one():
    environ = environ_of(scope(headers=Headers([("x-a", "1"), ("x-a", "2"), ("cookie", "a=1"), ("cookie", "b=2")])))

    assert (environ["HTTP_X_A"], environ["HTTP_COOKIE"]) == ("1,2", "a=1; b=2")


def test_no_header_can_be_taken_for_what_the_hub_itself_notes():
    names = ("memoryhub.refusal", "wsgi.input", "remote-addr", "request-method")
    environ = environ_of(scope(headers=Headers([(name, "forged") for name in names])))

    assert "memoryhub.refusal" not in environ
    assert environ["REMOTE_ADDR"] == "192.0.2.7"
    assert environ["wsgi.input"].read() == b""


# Closing a response lets Django look after its connections.
closes = pytest.mark.django_db


def respond(response: Any) -> Any:
    def application(_environ: Any, start_response: Any) -> Any:
        start_response(f"{response.status_code} {response.reason_phrase}", list(response.items()))
        return response

    return application


@closes
def test_an_answer_is_whole_and_its_response_closed():
    response = HttpResponse(b"body", status=201, headers={"X-A": "1"})

    made = answer(respond(response), {})

    assert (made.status, made.body, made.parts, response.closed) == (201, b"body", None, True)
    assert ("X-A", "1") in made.headers


@closes
def test_a_streamed_answer_is_left_in_parts_and_closed_after_the_last_one():
    response = StreamingHttpResponse(iter([b"a", b"b"]))

    made = answer(respond(response), {})

    assert made.parts is not None
    assert not response.closed
    assert list(made.parts) == [b"a", b"b"]
    assert response.closed
