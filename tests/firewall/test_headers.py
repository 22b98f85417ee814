"""What browsers are told, of every kind of answer (AZ-09)."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.factories import make_key, make_memory, make_user

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]

HEADER_SNAPSHOT = {
    "Content-Security-Policy": (
        "base-uri 'none'; connect-src 'self'; default-src 'none'; font-src 'self'; form-action 'self';"
        " frame-ancestors 'none'; img-src 'self' data:; manifest-src 'self'; script-src 'self'; style-src 'self'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(),"
        " microphone=(), midi=(), payment=(), usb=()"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
RESPONSE_CASES = [
    ("/", "ada", 200),
    ("/help", "ada", 200),
    ("/memories", "ada", 200),
    ("/?tier=secret", "ada", 400),
    ("/no-such-page", "ada", 404),
    ("/admin/", "ada", 403),
    ("/admin/", "root", 200),
    ("/sign-in", "", 200),
    ("/", "", 302),
    ("/theme", "", 405),
    ("/static/css/memoryhub.css", "", 200),
    ("/static/no-such-file.js", "", 404),
    ("/api/memories", "key", 200),
    ("/api/memories?nonsense=1", "key", 400),
    ("/api/memories", "", 401),
    ("/api/no-such-route", "", 404),
    ("/api/schema", "", 200),
    ("/api/docs", "", 200),
    ("/ready", "", 200),
    ("/health", "", 200),
]


def make_client(caller: str) -> Client:
    if caller == "key":
        return Client(headers={"Authorization": f"Bearer {make_key()}"})
    client_ = Client()
    if caller:
        user = make_user(caller)
        user.is_staff = user.is_superuser = caller == "root"
        user.save()
        client_.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return client_


def security_headers(response) -> dict[str, str | None]:
    if response.streaming:
        # Read to its end, so that the file behind it is closed.
        list(response)
    return {name: response.headers.get(name) for name in HEADER_SNAPSHOT}


@pytest.mark.parametrize(("path", "caller", "status"), RESPONSE_CASES)
def test_every_kind_of_answer_carries_the_same_headers(path, caller, status):
    make_memory()
    response = make_client(caller).get(path)

    assert response.status_code == status
    assert security_headers(response) == HEADER_SNAPSHOT
    assert "Server" not in response.headers
    assert "Strict-Transport-Security" not in response.headers


def test_what_no_view_answered_carries_them_too():
    make_user("ada")
    csrf_client = Client(enforce_csrf_checks=True)
    locked_response = [Client().post("/sign-in", {"username": "ada", "password": "wrong"}) for _ in range(10)][-1]
    unchanged_client = make_client("key")
    tag = unchanged_client.get("/api/memories")["ETag"]
    answers = {
        400: Client(headers={"Host": "evil.example"}).get("/"),
        403: csrf_client.post("/theme", {"theme": "dark"}),
        429: locked_response,
        304: unchanged_client.get("/api/memories", headers={"If-None-Match": tag}),
        413: Client().post("/api/memories", b"x", content_type="application/json", CONTENT_LENGTH=str(2**40)),
    }

    assert {status: response.status_code for status, response in answers.items()} == {
        status: status for status in answers
    }
    for status, response in answers.items():
        assert security_headers(response) == HEADER_SNAPSHOT, status


def test_an_answer_that_failed_carries_them_too(monkeypatch):
    def raise_error(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("memoryhub.memories.facets.count_facets", raise_error)
    for caller_name, path in (("ada", "/"), ("key", "/api/facets")):
        caller = make_client(caller_name)
        caller.raise_request_exception = False
        response = caller.get(path)
        assert (response.status_code, security_headers(response)) == (500, HEADER_SNAPSHOT), path


def test_over_https_browsers_get_a_strict_transport_security_header(settings):
    settings.SECURITY_HEADERS = _read_settings_over_https()["SECURITY_HEADERS"]
    hsts = "max-age=31536000; includeSubDomains; preload"

    for path in ("/sign-in", "/api/memories", "/no-such-page", "/health", "/api/no-such-route"):
        assert Client().get(path)["Strict-Transport-Security"] == hsts, path


def test_over_https_cookies_go_nowhere_else():
    flags = ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT", "SESSION_COOKIE_HTTPONLY")

    assert {name: _read_settings_over_https()[name] for name in flags} == dict.fromkeys(flags, True)


def test_every_process_sends_the_same_bytes():
    """Headers are compared, and caches keyed, over all workers: the order of a set would tell them apart."""
    script = (
        "import django; django.setup()\n"
        "from django.test import Client\n"
        "print(Client(headers={'Host': 'localhost'}).get('/health').headers['Content-Security-Policy'])"
    )
    settings_json = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed, "DJANGO_SETTINGS_MODULE": "memoryhub.settings"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }

    assert settings_json == {HEADER_SNAPSHOT["Content-Security-Policy"]}


@cache
def _read_settings_over_https() -> dict[str, Any]:
    """The settings as a process that serves over HTTPS has them."""
    script = (
        "import json; from memoryhub import settings\n"
        "names = [name for name in dir(settings) if '_COOKIE_' in name or name.startswith('SECUR')]\n"
        "print(json.dumps({name: getattr(settings, name) for name in names}))"
    )
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env={**os.environ, "MEMORYHUB_HTTPS": "true"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    stored_settings: dict[str, Any] = json.loads(process.stdout)
    return stored_settings


def test_the_deployment_check_has_nothing_to_say():
    # The browser's tests set it, and it is one of the things that the check objects to.
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_ALLOW_ASYNC_UNSAFE"}
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        env={**environment, "MEMORYHUB_HTTPS": "true"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (process.returncode, "no issues" in process.stdout) == (0, True), process.stderr
