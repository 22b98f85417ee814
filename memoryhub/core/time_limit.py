"""One limit of time for all statements of a request: PostgreSQL's own holds for each statement anew."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, connection
from psycopg.errors import QueryCanceled
from psycopg.pq import TransactionStatus

UNHURRIED = 0.1
"""The part of the limit up to which PostgreSQL is not asked to shorten its own: most requests need no more."""


class StatementTimeLimit:
    """An execute wrapper that counts the seconds that statements took, and lets none exceed what is left of `seconds`.

    Raises what a statement raises that takes too long (SQLSTATE 57014), before one that has no time left.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.spent = 0.0
        self.is_shortened = False

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        left = self.seconds - self.spent
        if left <= 0:
            raise OperationalError("no time is left for statements") from QueryCanceled()
        if self.spent > self.seconds * UNHURRIED:
            self._shorten(left)
        started = time.monotonic()
        try:
            return execute(sql, params, many, context)
        finally:
            self.spent += time.monotonic() - started

    def _shorten(self, seconds: float) -> None:
        session = connection.connection
        if session is not None and session.info.transaction_status != TransactionStatus.INERROR:
            session.execute("SELECT set_config('statement_timeout', %s, false)", [str(max(int(seconds * 1000), 1))])
            self.is_shortened = True

    def restore(self) -> None:
        """Give the session the limit back with which it began."""
        session = connection.connection
        if not self.is_shortened or session is None or session.closed:
            return
        if session.info.transaction_status == TransactionStatus.INERROR:
            connection.close()
        else:
            session.execute("RESET statement_timeout")


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Within this context all statements of this thread's connection together take at most `seconds`."""
    limit = StatementTimeLimit(seconds)
    with connection.execute_wrapper(limit):
        try:
            yield
        finally:
            limit.restore()
