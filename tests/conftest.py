"""Fixtures that every test may use; factories are in tests/factories.py."""

import gc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pgtrigger
import psycopg
import pytest
from django.conf import settings as django_settings
from django.core.signals import request_finished, request_started
from django.db import connection
from django.test import Client, TransactionTestCase
from hypothesis import HealthCheck, settings
from psycopg.pq import TransactionStatus

from memoryhub.access_log import read_log
from tests.harness.databases import migrated_database_name
from tests.harness.strategies import QUICK_EXAMPLES
from tests.postgres_plugin import start_server

# Nothing collects static files for tests, so there is no manifest to read their hashed names from.
django_settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
# Each test client makes the middleware anew: looking a static file up when it is asked for is cheaper than listing all
# of them each time, by a third of the time of the whole suite.
django_settings.WHITENOISE_AUTOREFRESH = True
# A good hash takes a third of a second, and every test has somebody who signs in.
django_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
settings.register_profile("memoryhub", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.register_profile("quick", settings.get_profile("memoryhub"), max_examples=QUICK_EXAMPLES)
settings.load_profile("memoryhub")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """In `make unit`, modules without such a test are not even imported: that would take longer than the tests."""
    if config.getoption("markexpr").startswith("unit") and collection_path.name.startswith("test_"):
        return "mark.unit" not in collection_path.read_text()
    return None


def pytest_collection_finish() -> None:
    """What is imported and collected by now stays: to search it for garbage took an eighth of a request's time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """What pytest-django does before it makes the test database, which needs a server."""
    start_server()


@pytest.fixture(autouse=True, scope="session")
def _empty_tables_quickly() -> Iterator[None]:
    """After a transactional test the tables that hold rows are truncated, with the append-only triggers off.

    Django truncates every table, writes new files for a hundred indexes and makes the permissions anew, which takes
    longer than most tests.
    """
    teardown = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]
    TransactionTestCase._fixture_teardown = lambda _: _empty_tables()  # type: ignore[attr-defined]
    yield
    TransactionTestCase._fixture_teardown = teardown  # type: ignore[attr-defined]


def _empty_tables() -> None:
    # Migrations fill these, and no test changes them.
    kept_tables = {"django_migrations", "django_content_type", "auth_permission"}
    with connection.cursor() as cursor:
        # A request that the browser did not wait for may still hold what is to be emptied, and hold out for longer.
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
        )
        tables = set(connection.introspection.table_names(cursor)) - kept_tables
        cursor.execute(" UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table})" for table in tables))
        if filled_tables := [table for (table,) in cursor.fetchall()]:
            with pgtrigger.ignore(
                "memories.Memory:forbid_truncate",
                "audit.AuditEntry:forbid_truncate",
                "conflicts.Decision:forbid_truncate",
            ):
                cursor.execute(f"TRUNCATE {', '.join(filled_tables)} CASCADE")


@pytest.fixture(autouse=True)
def _write_reads_on_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread would write them later, in the database of another test: `read_log.flush_reads()` does it here."""
    monkeypatch.setattr(read_log, "_writer", read_log.ReadLogWriter(is_background=False))


@pytest.fixture(autouse=True, scope="session")
def _requests_use_row_security() -> Iterator[None]:
    """A request begins with no right to a row, as on the application's own connections, and must say who asks."""

    def clear_writer_sources(**_: Any) -> None:
        _set_writer_sources("")

    def allow_all_sources(**_: Any) -> None:
        _set_writer_sources("*")

    request_started.connect(clear_writer_sources, weak=False)
    request_finished.connect(allow_all_sources, weak=False)
    yield
    request_started.disconnect(clear_writer_sources)
    request_finished.disconnect(allow_all_sources)


def _set_writer_sources(writer_sources: str) -> None:
    # Past Django, so that tests that count queries count the product's.
    raw_connection = connection.connection
    if (
        raw_connection is not None
        and not raw_connection.closed
        and raw_connection.info.transaction_status is not TransactionStatus.INERROR
    ):
        # A connection that a test has cut is Django's to notice.
        with suppress(psycopg.OperationalError):
            raw_connection.execute("SELECT set_config('memoryhub.writer_sources', %s, false)", [writer_sources])


@pytest.fixture(scope="session")
def migrated_database(django_db_blocker: Any) -> str:
    """The name of a database with all migrations and no rows, for copies."""
    with django_db_blocker.unblock():
        return migrated_database_name()


class ApiClient:
    """A caller of the API with one key."""

    def __init__(self, key: str | None) -> None:
        self.client = Client(headers={"Authorization": f"Bearer {key}"} if key else {})

    def get(self, path: str, **params: Any) -> Any:
        return self.client.get(path, params)

    def post(self, path: str, body: Any, **options: Any) -> Any:
        return self.client.post(path, body, content_type="application/json", **options)


@pytest.fixture
def api() -> Callable[[str | None], ApiClient]:
    return ApiClient
