"""Guarantee: the statements of a request end within the time that one may take, so no request holds a worker or a lock.

Why the obvious way breaks it. PostgreSQL's `statement_timeout` starts anew for each statement: a page with ten slow
queries has ten times the limit. A server-side limit for a transaction would not cover a request with several. And to
add up the seconds of statements alone would miss what the process computes between them, while it may hold a lock that
others wait for. So the seconds since the request began count, and the session's timeout is shortened to the rest. To
shorten it costs a round trip, which requests that took a tenth of the limit or less do not pay.

Tests that notice: `tests/core/test_time_limit.py`, and `tests/harness/test_availability.py` for the whole hub.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, connection
from psycopg.errors import QueryCanceled
from psycopg.pq import TransactionStatus

UNENFORCED_FRACTION = 0.1
"""Fraction of the limit that may pass before PostgreSQL's own timeout is shortened: most requests need no more."""


class StatementTimeLimit:
    """An execute wrapper that lets no statement run for longer than `seconds` after it was made.

    Raises the error of a statement timeout (SQLSTATE 57014), also before a statement for which no time is left.
    """

    def __init__(self, seconds: float) -> None:
        self.limit_seconds = seconds
        self.started_at = time.monotonic()
        self.is_timeout_shortened = False

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        spent_seconds = time.monotonic() - self.started_at
        remaining_seconds = self.limit_seconds - spent_seconds
        if remaining_seconds <= 0:
            raise OperationalError("no time is left for statements") from QueryCanceled()
        if spent_seconds > self.limit_seconds * UNENFORCED_FRACTION:
            self._shorten_timeout(remaining_seconds)
        return execute(sql, params, many, context)

    def _shorten_timeout(self, seconds: float) -> None:
        db_connection = connection.connection
        if db_connection is not None and db_connection.info.transaction_status != TransactionStatus.INERROR:
            db_connection.execute(
                "SELECT set_config('statement_timeout', %s, false)", [str(max(int(seconds * 1000), 1))]
            )
            self.is_timeout_shortened = True

    def restore_timeout(self) -> None:
        """Reset the session's `statement_timeout` to the value with which it began."""
        db_connection = connection.connection
        if not self.is_timeout_shortened or db_connection is None or db_connection.closed:
            return
        if db_connection.info.transaction_status == TransactionStatus.INERROR:
            connection.close()
        else:
            db_connection.execute("RESET statement_timeout")


@contextmanager
def limit_statement_time(seconds: float) -> Iterator[None]:
    """End all statements of this thread's connection within the context after `seconds` from now."""
    limit = StatementTimeLimit(seconds)
    with connection.execute_wrapper(limit):
        try:
            yield
        finally:
            limit.restore_timeout()
