"""What is secret stands in no log and in no answer, whatever happens (AU-08, FW-17, FW-18)."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pgtrigger
import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.test import Client

from memoryhub.logging import render_exception
from memoryhub.memories import facets, pagination
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import versions, write
from tests.api.responses import CANARIES, assert_any_problem
from tests.factories import envelope, make_key, make_memory, make_user

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]
CONTENT_CANARY = "canary-content-7f3a"
"""Of a memory that neither may see, and of what goes wrong."""
SENT_CANARY = "canary-sent-22d0"
LOGGERS: dict[str, Any] = django_settings.LOGGING["loggers"]  # type: ignore[assignment]
PASSWORD = "canary-password-91cc"


@pytest.fixture
def log_lines(capfd) -> Iterator[list[str]]:
    """Every line that any logger says at INFO or above, as it is written to the log, and all else on the terminal."""
    lines: list[str] = []
    root = logging.getLogger()
    log_formatter = next(handler for handler in root.handlers if handler.get_name() == "stderr").formatter

    class Sink(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert log_formatter is not None
            lines.append(log_formatter.format(record))

    loggers = [root, *(logging.getLogger(name) for name in LOGGERS)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO)
    root.addHandler(sink := Sink())
    yield lines
    root.removeHandler(sink)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


class BrowsingSession:
    """A person and a key who meet every kind of answer; what they were answered."""

    def __init__(self) -> None:
        make_memory(content=CONTENT_CANARY, tier="restricted", source="others")
        make_user("ada", PASSWORD, max_tier="public")
        self.key = make_key(scopes="read write")
        self.user_client = Client(raise_request_exception=False)
        self.key_client = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {self.key}"})
        self.responses: list[Any] = []

    def exercise_everything(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sign_in("wrong " + PASSWORD)
        self.sign_in(PASSWORD)
        self.request_pages()
        self.write(content=SENT_CANARY)
        self.write(content=SENT_CANARY, tier="restricted")
        self.write(content=SENT_CANARY, nonsense=SENT_CANARY)
        self.write(content="\x00" + SENT_CANARY)
        with monkeypatch.context() as patch_context:
            patch_context.setattr(facets, "count_facets", make_raiser(ValueError(CONTENT_CANARY)))
            patch_context.setattr(pagination, "list_page", make_raiser(KeyError(CONTENT_CANARY)))
            self.request_pages()
        with monkeypatch.context() as patch_context:
            patch_context.setattr(versions, "_to_row", with_invalid_status(versions._to_row))
            self.write(content=SENT_CANARY)
        with monkeypatch.context() as patch_context:
            patch_context.setattr(pagination, "list_page", fail_in_sql)
            self.request_pages()
        with monkeypatch.context() as patch_context:
            patch_context.setattr(
                write, "prepare_draft_for_principal", make_raiser(RuntimeError(f"{self.key} {CONTENT_CANARY}"))
            )
            self.write(content=SENT_CANARY)

    def sign_in(self, password: str) -> None:
        self.responses.append(self.user_client.post("/sign-in", {"username": "ada", "password": password}))

    def request_pages(self) -> None:
        paths = ["/", "/help", "/no-such-page", "/?tier=x", "/api/memories", "/api/facets", "/api/memories?x=1"]
        for path in [*paths, "/api/status", "/ready", "/health", "/api/no"]:
            self.responses += [self.user_client.get(path), self.key_client.get(path)]
        for header in (f"Bearer {self.key[:-1]}", f"Basic {self.key}", f"Bearer {self.key} x"):
            self.responses.append(Client().get("/api/memories", headers={"Authorization": header}))

    def write(self, **fields: Any) -> None:
        self.responses.append(
            self.key_client.post("/api/memories", envelope(**fields), content_type="application/json")
        )

    @property
    def secrets(self) -> dict[str, str]:
        return {
            "content": CONTENT_CANARY,
            "what was sent": SENT_CANARY,
            "password": PASSWORD,
            "key": self.key[15:],
            "session": self.user_client.cookies["sessionid"].value,
            "signing key": django_settings.SECRET_KEY,
        }


def make_raiser(error: Exception) -> Callable[..., Any]:
    def raise_error(*_: Any, **__: Any) -> Any:
        raise error

    return raise_error


def with_invalid_status(make_row: Callable[..., Any]) -> Callable[..., Any]:
    """A row that a constraint refuses: PostgreSQL then repeats all of it in what it says."""
    status_index = list(versions.COLUMN_TYPES).index("status")

    def invalid_row(*arguments: Any) -> list[Any]:
        values = make_row(*arguments)
        return [*values[:status_index], "nonsense", *values[status_index + 1 :]]

    return invalid_row


def fail_in_sql(*_: Any, **__: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT 1 / (length('{CONTENT_CANARY}') - {len(CONTENT_CANARY)}), '{CONTENT_CANARY}' FROM no_such_table"
        )


def test_no_secret_and_no_content_reaches_a_log(log_lines, capfd, monkeypatch):
    browsing = BrowsingSession()

    browsing.exercise_everything(monkeypatch)

    text = "\n".join([*log_lines, *capfd.readouterr()])
    assert {response.status_code for response in browsing.responses} >= {200, 201, 302, 400, 401, 403, 404, 500}
    assert text.count("Traceback") + text.count("File ") > 4, "what failed is in the log, with where"
    assert [name for name, secret in browsing.secrets.items() if secret in text] == []


def test_no_response_reveals_a_secret_of_others_or_the_internals_of_the_server(monkeypatch):
    browsing = BrowsingSession()

    browsing.exercise_everything(monkeypatch)

    other_secrets = {
        name: secret for name, secret in browsing.secrets.items() if name not in ("session", "what was sent")
    }
    for response in browsing.responses:
        body = response.content.decode()
        assert [name for name, secret in other_secrets.items() if secret in body] == [], response.request["PATH_INFO"]
        if response.status_code >= 400 and response["Content-Type"].startswith("application/problem+json"):
            assert_any_problem(response)
        elif response.status_code >= 400:
            assert [canary for canary in INTERNAL_CANARIES if canary in body] == []


# A page is HTML and may name its own parts; for the rest the canaries are those of the API.
INTERNAL_CANARIES = [
    canary for canary in CANARIES if canary not in ("<html", "<!DOCTYPE", "django", "SELECT ", "constraint")
]


@pytest.mark.parametrize(
    "error",
    [
        ValueError(CONTENT_CANARY),
        KeyError(CONTENT_CANARY),
        UnicodeDecodeError("utf-8", CONTENT_CANARY.encode(), 0, 1, CONTENT_CANARY),
    ],
)
def test_an_exception_stands_in_the_log_without_its_words(error):
    try:
        try:
            raise error
        except Exception as cause:
            raise RuntimeError(CONTENT_CANARY) from cause
    except RuntimeError as caught_error:
        log_summary = render_exception((type(caught_error), caught_error, caught_error.__traceback__))

    assert CONTENT_CANARY not in log_summary
    assert log_summary.index(type(error).__name__) < log_summary.index("RuntimeError")
    assert log_summary.count("test_secret_leaks.py") == 2


def test_an_exception_about_code_keeps_its_words():
    error = TypeError("f() takes no arguments")

    assert "f() takes no arguments" in render_exception((TypeError, error, None))


def test_a_password_of_the_database_is_in_no_log_and_in_no_answer():
    requests_and_command = (
        "import sys; import django; from django.conf import settings\n"
        # Pages name static files, which nobody has collected here.
        "settings.STORAGES['staticfiles']['BACKEND'] = 'django.contrib.staticfiles.storage.StaticFilesStorage'\n"
        "django.setup()\n"
        "from django.test import Client\n"
        "headers = {'Host': 'localhost', 'Authorization': 'Bearer mh_' + 'a' * 61}\n"
        "client = Client(raise_request_exception=False, headers=headers)\n"
        "for path in ('/', '/sign-in', '/ready', '/api/memories', '/api/status', '/api/docs'):\n"
        "    answer = client.get(path); print(answer.status_code, answer.content)\n"
        "client.cookies['sessionid'] = 'a' * 32; print(client.get('/').content, flush=True)\n"
        "from memoryhub.command_line import main\n"
        "sys.argv[1:] = ['migrate']; main()\n"
    )
    environment = {
        **os.environ,
        "DATABASE_URL": f"postgresql://someone:{PASSWORD}@127.0.0.1:1/nowhere",
        "DJANGO_SETTINGS_MODULE": "memoryhub.settings",
    }
    command = [sys.executable, "-W", "ignore", "-c", requests_and_command]
    process = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)

    assert PASSWORD not in process.stdout + process.stderr
    assert "someone" not in process.stdout, "an answer names no role"
    assert process.stdout.count("503") >= 4
    assert process.returncode != 0, "the command failed"


class TestLowClearanceResponses:
    """FW-17: nothing of what is above them, by any route that speaks of the whole."""

    @pytest.fixture(autouse=True)
    def _make_hidden_memories(self) -> None:
        make_memory(content="Seen.", labels=["seen"])
        for index in range(7):
            make_memory(
                tier="restricted", labels=["hidden-label"], namespace="hidden-namespace", source="hidden-source",
                subject=f"hidden-{index}", content="Hidden canary.",
            )  # fmt: skip

    @pytest.mark.parametrize("path", ["/ready", "/health", "/api/schema", "/api/docs", "/sign-in"])
    def test_an_anonymous_visitor_gets_the_same_page_with_and_without_memories(self, path):
        def fetch_page() -> Any:
            body = Client().get(path).content
            return re.sub(rb'value="\w{64}"|"\w{32}"', b"", body)

        full = fetch_page()
        with pgtrigger.ignore("memories.Memory:forbid_delete"):
            Memory.objects.all().delete()

        assert fetch_page() == full
        assert b"hidden-" not in full

    def test_the_status_counts_what_its_reader_sees(self, api):
        status_json = api(make_key()).get("/api/status").json()

        assert (status_json["memories_total"], status_json["writes_total"], status_json["writes_1m"]) == (1, 1, 1)
        assert "hidden" not in str(status_json)

    @pytest.mark.parametrize("path", ["/ready", "/health"])
    def test_who_is_nobody_learns_the_version_and_that_it_runs(self, path):
        assert Client().get(path).json().keys() == {"status", "version"}
