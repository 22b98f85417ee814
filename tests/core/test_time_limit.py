"""All statements of a request together take no longer than one may."""

import time
from typing import Any

import pytest
from django.db import OperationalError, connection

from memoryhub.core import time_limit
from memoryhub.core.time_limit import StatementTimeLimit, limited
from memoryhub.faults import fault_of
from tests.memories.rows import execute

pytestmark = pytest.mark.django_db(transaction=True)


def timeout() -> str:
    ((value,),) = execute("SHOW statement_timeout")
    return str(value)


def sleep(*seconds: float, limit: float) -> None:
    """Statements that take so long each, all of them within a limit."""
    with limited(limit):
        for each in seconds:
            execute("SELECT pg_sleep(%s)", each)


def test_many_statements_have_the_time_of_one():
    before = timeout()
    started = time.monotonic()

    with pytest.raises(OperationalError) as error:
        sleep(*[0.2] * 10, limit=0.6)

    assert 0.5 < time.monotonic() - started < 1.5
    assert fault_of(error.value).code == "query_timeout"
    assert timeout() == before


def test_a_statement_has_what_is_left():
    started = time.monotonic()

    with pytest.raises(OperationalError):
        sleep(0.2, 60, limit=0.5)

    assert time.monotonic() - started < 3


def test_nothing_begins_when_no_time_is_left():
    begun: list[str] = []
    limit = StatementTimeLimit(1)
    limit.spent = 1

    with pytest.raises(OperationalError) as error:
        limit(lambda *_: begun.append("begun"), "SELECT 1", (), False, {})

    assert begun == []
    assert fault_of(error.value).code == "query_timeout"


def test_a_transaction_that_failed_leaves_no_shortened_session():
    before = timeout()

    connection.set_autocommit(False)
    with pytest.raises(OperationalError):
        sleep(0.2, 60, limit=0.4)

    connection.close()
    assert timeout() == before


def test_a_short_request_asks_postgresql_nothing_more():
    with limited(60):
        execute("SELECT 1")
        assert timeout() == timeout_of_the_settings()


def timeout_of_the_settings() -> str:
    ((value,),) = execute("SELECT reset_val FROM pg_settings WHERE name = 'statement_timeout'")
    return f"{int(value) // 1000}s" if int(value) else "0"


def test_every_request_is_limited(client: Any, settings: Any, monkeypatch: Any):
    given: list[float] = []

    class Noted(StatementTimeLimit):
        def __init__(self, seconds: float) -> None:
            super().__init__(seconds)
            given.append(seconds)

    monkeypatch.setattr(time_limit, "StatementTimeLimit", Noted)

    client.get("/sign-in")
    client.get("/api/memories")

    assert given == [settings.MEMORYHUB.statement_timeout_seconds] * 2
