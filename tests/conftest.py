"""Fixtures that every test may use; builders are in tests/builders.py."""

import gc
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pgtrigger
import psycopg
import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import connection
from django.test import Client, TransactionTestCase
from hypothesis import HealthCheck, settings
from psycopg.pq import TransactionStatus

from memoryhub.ops import reads

# Nothing collects static files for tests, so there is no manifest to read their hashed names from.
django_settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
# Each test client makes the middleware anew: looking a static file up when it is asked for is cheaper than listing all
# of them each time, by a third of the time of the whole suite.
django_settings.WHITENOISE_AUTOREFRESH = True
# A good hash takes a third of a second, and every test has somebody who signs in.
django_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
settings.register_profile("memoryhub", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.load_profile("memoryhub")


def pytest_collection_finish() -> None:
    """What is imported and collected by now stays: to search it for garbage took an eighth of a request's time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _flush_may_empty_the_memories() -> Iterator[None]:
    """Between transactional tests the tables are truncated, which the append-only trigger would refuse."""
    teardown = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]

    def allowed(_: TransactionTestCase) -> None:
        # A request that the browser did not wait for may still hold what is to be emptied, and hold out for longer.
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
            )
        # CASCADE, because knox's migrations make a table that refers to the users and has no model here.
        with pgtrigger.ignore("memories.Memory:keep", "audit.AuditEntry:append_only", "conflicts.Decision:append_only"):
            call_command("flush", verbosity=0, interactive=False, allow_cascade=True)

    TransactionTestCase._fixture_teardown = allowed  # type: ignore[attr-defined]
    yield
    TransactionTestCase._fixture_teardown = teardown  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _reads_are_written_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that writes them later would do so in the database of another test: `reads.flush()` does it here."""
    monkeypatch.setattr(reads, "_queue", reads.Queue(in_background=False))


@pytest.fixture(autouse=True, scope="session")
def _requests_stand_behind_the_wall() -> Iterator[None]:
    """A request begins with no right to a row, as on the application's own connections, and must say who asks."""

    def forget(**_: Any) -> None:
        _tell_connection("")

    def remember(**_: Any) -> None:
        _tell_connection("*")

    request_started.connect(forget, weak=False)
    request_finished.connect(remember, weak=False)
    yield
    request_started.disconnect(forget)
    request_finished.disconnect(remember)


def _tell_connection(writes_as: str) -> None:
    # Past Django, so that tests that count queries count the product's.
    raw = connection.connection
    if raw is not None and not raw.closed and raw.info.transaction_status is not TransactionStatus.INERROR:
        # A connection that a test has cut is Django's to notice.
        with suppress(psycopg.OperationalError):
            raw.execute("SELECT set_config('memoryhub.writes_as', %s, false)", [writes_as])


class Api:
    """A caller of the API with one key."""

    def __init__(self, key: str | None) -> None:
        self.client = Client(headers={"Authorization": f"Bearer {key}"} if key else {})

    def get(self, path: str, **parameters: Any) -> Any:
        return self.client.get(path, parameters)

    def post(self, path: str, body: Any, **options: Any) -> Any:
        return self.client.post(path, body, content_type="application/json", **options)


@pytest.fixture
def api() -> Callable[[str | None], Api]:
    return Api
