"""All statements of a request end within the time that one may take."""

import time
from typing import Any

import pytest
from django.db import OperationalError, connection

from memoryhub.core import time_limit
from memoryhub.core.errors import classify_error
from memoryhub.core.time_limit import StatementTimeLimit, limit_statement_time
from tests.memories.raw_rows import execute

pytestmark = pytest.mark.django_db(transaction=True)


def statement_timeout() -> str:
    ((value,),) = execute("SHOW statement_timeout")
    return str(value)


def run_sleeps(*seconds: float, limit: float) -> None:
    """Statements that take so long each, all of them within a limit."""
    with limit_statement_time(limit):
        for duration in seconds:
            execute("SELECT pg_sleep(%s)", duration)


def test_many_statements_have_the_time_of_one():
    before = statement_timeout()
    start_time = time.monotonic()

    with pytest.raises(OperationalError) as error:
        run_sleeps(*[0.2] * 10, limit=0.6)

    assert 0.5 < time.monotonic() - start_time < 1.5
    assert classify_error(error.value).code == "query_timeout"
    assert statement_timeout() == before


def test_a_statement_has_what_is_left():
    start_time = time.monotonic()

    with pytest.raises(OperationalError):
        run_sleeps(0.2, 60, limit=0.5)

    assert time.monotonic() - start_time < 3


def test_nothing_begins_when_no_time_is_left():
    begun_requests: list[str] = []
    limit = StatementTimeLimit(0)

    with pytest.raises(OperationalError) as error:
        limit(lambda *_: begun_requests.append("begun"), "SELECT 1", (), False, {})

    assert begun_requests == []
    assert classify_error(error.value).code == "query_timeout"


def test_the_time_between_statements_counts():
    with limit_statement_time(0.3):
        execute("SELECT 1")
        time.sleep(0.3)
        with pytest.raises(OperationalError) as error:
            execute("SELECT 1")

    assert classify_error(error.value).code == "query_timeout"


def test_a_transaction_that_failed_leaves_no_shortened_session():
    before = statement_timeout()

    connection.set_autocommit(False)
    with pytest.raises(OperationalError):
        run_sleeps(0.2, 60, limit=0.4)

    connection.close()
    assert statement_timeout() == before


def test_a_short_request_asks_postgresql_nothing_more():
    with limit_statement_time(60):
        execute("SELECT 1")
        assert statement_timeout() == default_timeout()


def default_timeout() -> str:
    ((value,),) = execute("SELECT reset_val FROM pg_settings WHERE name = 'statement_timeout'")
    return f"{int(value) // 1000}s" if int(value) else "0"


def test_every_request_is_limited(client: Any, settings: Any, monkeypatch: Any):
    limits_given: list[float] = []

    class RecordingTimeLimit(StatementTimeLimit):
        def __init__(self, seconds: float) -> None:
            super().__init__(seconds)
            limits_given.append(seconds)

    monkeypatch.setattr(time_limit, "StatementTimeLimit", RecordingTimeLimit)

    client.get("/sign-in")
    client.get("/api/memories")

    assert limits_given == [settings.APP_CONFIG.statement_timeout_seconds] * 2
