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

from memoryhub import logs
from memoryhub.memories import facets, ingest, pages
from memoryhub.memories.models import Memory
from tests.api.answers import CANARIES, refused
from tests.builders import envelope, make_key, make_memory, make_user

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]
CONTENT = "canary-content-7f3a"
"""Of a memory that neither may see, and of what goes wrong."""
SENT = "canary-sent-22d0"
LOGGERS: dict[str, Any] = django_settings.LOGGING["loggers"]  # type: ignore[assignment]
PASSWORD = "canary-password-91cc"


@pytest.fixture
def logged(capfd) -> Iterator[list[str]]:
    """Every line that any logger says at INFO or above, as it is written to the log, and all else on the terminal."""
    lines: list[str] = []
    root = logging.getLogger()
    written = next(handler for handler in root.handlers if handler.get_name() == "stderr").formatter

    class Sink(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert written is not None
            lines.append(written.format(record))

    loggers = [root, *(logging.getLogger(name) for name in LOGGERS)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO)
    root.addHandler(sink := Sink())
    yield lines
    root.removeHandler(sink)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


class Browsing:
    """A person and a key who meet every kind of answer; what they were answered."""

    def __init__(self) -> None:
        make_memory(content=CONTENT, tier="restricted", source="others")
        make_user("ada", PASSWORD, max_tier="public")
        self.key = make_key(scopes="read write")
        self.person = Client(raise_request_exception=False)
        self.machine = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {self.key}"})
        self.answers: list[Any] = []

    def meet_everything(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sign_in("wrong " + PASSWORD)
        self.sign_in(PASSWORD)
        self.ask()
        self.write(content=SENT)
        self.write(content=SENT, tier="restricted")
        self.write(content=SENT, nonsense=SENT)
        self.write(content="\x00" + SENT)
        with monkeypatch.context() as broken:
            broken.setattr(facets, "count", raising(ValueError(CONTENT)))
            broken.setattr(pages, "page", raising(KeyError(CONTENT)))
            self.ask()
        with monkeypatch.context() as broken:
            broken.setattr(ingest, "_row", with_bad_status(ingest._row))
            self.write(content=SENT)
        with monkeypatch.context() as broken:
            broken.setattr(pages, "page", failing_in_sql)
            self.ask()
        with monkeypatch.context() as broken:
            broken.setattr(ingest, "accept", raising(RuntimeError(f"{self.key} {CONTENT}")))
            self.write(content=SENT)

    def sign_in(self, password: str) -> None:
        self.answers.append(self.person.post("/sign-in", {"username": "ada", "password": password}))

    def ask(self) -> None:
        paths = ["/", "/help", "/no-such-page", "/?tier=x", "/api/memories", "/api/facets", "/api/memories?x=1"]
        for path in [*paths, "/api/status", "/ready", "/health", "/api/no"]:
            self.answers += [self.person.get(path), self.machine.get(path)]
        for header in (f"Bearer {self.key[:-1]}", f"Basic {self.key}", f"Bearer {self.key} x"):
            self.answers.append(Client().get("/api/memories", headers={"Authorization": header}))

    def write(self, **fields: Any) -> None:
        self.answers.append(self.machine.post("/api/memories", envelope(**fields), content_type="application/json"))

    @property
    def secrets(self) -> dict[str, str]:
        return {
            "content": CONTENT,
            "what was sent": SENT,
            "password": PASSWORD,
            "key": self.key[15:],
            "session": self.person.cookies["sessionid"].value,
            "signing key": django_settings.SECRET_KEY,
        }


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


def with_bad_status(row: Callable[..., Any]) -> Callable[..., Any]:
    """A row that a constraint refuses: PostgreSQL then repeats all of it in what it says."""
    place = list(ingest.COLUMNS).index("status")

    def bad(*given: Any) -> list[Any]:
        values = row(*given)
        return [*values[:place], "nonsense", *values[place + 1 :]]

    return bad


def failing_in_sql(*_: Any, **__: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT 1 / (length('{CONTENT}') - {len(CONTENT)}), '{CONTENT}' FROM no_such_table")


def test_no_secret_and_no_content_reaches_a_log(logged, capfd, monkeypatch):
    browsing = Browsing()

    browsing.meet_everything(monkeypatch)

    text = "\n".join([*logged, *capfd.readouterr()])
    assert {answer.status_code for answer in browsing.answers} >= {200, 201, 302, 400, 401, 403, 404, 500}
    assert text.count("Traceback") + text.count("File ") > 4, "what failed is in the log, with where"
    assert [name for name, secret in browsing.secrets.items() if secret in text] == []


def test_no_answer_tells_a_secret_of_others_or_the_insides_of_the_server(monkeypatch):
    browsing = Browsing()

    browsing.meet_everything(monkeypatch)

    others = {name: secret for name, secret in browsing.secrets.items() if name not in ("session", "what was sent")}
    for answer in browsing.answers:
        body = answer.content.decode()
        assert [name for name, secret in others.items() if secret in body] == [], answer.request["PATH_INFO"]
        if answer.status_code >= 400 and answer["Content-Type"].startswith("application/problem+json"):
            refused(answer)
        elif answer.status_code >= 400:
            assert [canary for canary in INSIDES if canary in body] == []


# A page is HTML and may name its own parts; for the rest the canaries are those of the API.
INSIDES = [canary for canary in CANARIES if canary not in ("<html", "<!DOCTYPE", "django", "SELECT ", "constraint")]


@pytest.mark.parametrize(
    "error", [ValueError(CONTENT), KeyError(CONTENT), UnicodeDecodeError("utf-8", CONTENT.encode(), 0, 1, CONTENT)]
)
def test_an_exception_stands_in_the_log_without_its_words(error):
    try:
        try:
            raise error
        except Exception as cause:
            raise RuntimeError(CONTENT) from cause
    except RuntimeError as raised:
        told = logs.described((type(raised), raised, raised.__traceback__))

    assert CONTENT not in told
    assert told.index(type(error).__name__) < told.index("RuntimeError")
    assert told.count("test_secrets.py") == 2


def test_an_exception_about_code_keeps_its_words():
    error = TypeError("f() takes no arguments")

    assert "f() takes no arguments" in logs.described((TypeError, error, None))


def test_a_password_of_the_database_is_in_no_log_and_in_no_answer():
    ask = (
        "import django; django.setup()\n"
        "from django.test import Client\n"
        "headers = {'Host': 'localhost', 'Authorization': 'Bearer mh_' + 'a' * 61}\n"
        "client = Client(raise_request_exception=False, headers=headers)\n"
        "for path in ('/', '/sign-in', '/ready', '/api/memories', '/api/status', '/api/docs'):\n"
        "    answer = client.get(path); print(answer.status_code, answer.content)\n"
        "client.cookies['sessionid'] = 'a' * 32; print(client.get('/').content)\n"
    )
    environment = {
        **os.environ,
        "DATABASE_URL": f"postgresql://someone:{PASSWORD}@127.0.0.1:1/nowhere",
        "DJANGO_SETTINGS_MODULE": "memoryhub.settings",
    }
    for command in ([sys.executable, "-W", "ignore", "-c", ask], [sys.executable, "manage.py", "migrate"]):
        said = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert PASSWORD not in said.stdout + said.stderr
        assert "someone" not in said.stdout, "an answer names no role"
        assert "503" in said.stdout or said.returncode != 0


class TestWhatTheLowAreTold:
    """FW-17: nothing of what is above them, by any route that speaks of the whole."""

    @pytest.fixture(autouse=True)
    def _hidden(self) -> None:
        make_memory(content="Seen.", labels=["seen"])
        for number in range(7):
            make_memory(
                tier="restricted", labels=["hidden-label"], namespace="hidden-namespace", source="hidden-source",
                subject=f"hidden-{number}", content="Hidden canary.",
            )  # fmt: skip

    @pytest.mark.parametrize("path", ["/ready", "/health", "/api/schema", "/api/docs", "/sign-in"])
    def test_who_is_nobody_is_told_the_same_with_and_without_memories(self, path):
        def told() -> Any:
            body = Client().get(path).content
            return re.sub(rb'value="\w{64}"|"\w{32}"', b"", body)

        full = told()
        with pgtrigger.ignore("memories.Memory:keep"):
            Memory.objects.all().delete()

        assert told() == full
        assert b"hidden-" not in full

    def test_the_status_counts_what_its_reader_sees(self, api):
        told = api(make_key()).get("/api/status").json()

        assert (told["memories_total"], told["writes_total"], told["writes_1m"]) == (1, 1, 1)
        assert "hidden" not in str(told)

    @pytest.mark.parametrize("path", ["/ready", "/health"])
    def test_who_is_nobody_learns_the_version_and_that_it_runs(self, path):
        assert Client().get(path).json().keys() == {"status", "version"}
