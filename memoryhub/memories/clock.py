"""Up to when the record is complete."""

from datetime import datetime

from django.db import connection

from memoryhub.memories.querysets import END_OF_TIME


def settle(asked: datetime = END_OF_TIME) -> datetime:
    """`asked`, or the database's now if that comes first: an instant of record time about which no answer will change.

    What is asked afterwards, be it in the same transaction, sees every write up to then. Waits for those who are
    writing, at most as long as `lock_timeout`; raises OperationalError then.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT record_settle(%s, true)", [asked])
        settled: datetime = cursor.fetchone()[0]
    return settled


def tick() -> datetime:
    """Wait until no other writer is under way; the instant of this transaction, which writes alone from then on."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT record_tick()")
        instant: datetime = cursor.fetchone()[0]
    return instant


def now() -> datetime:
    """The database's clock: the authority, wherever this process runs."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment


def has_records() -> bool:
    """Whether any version of any memory is recorded. Asked in a transaction that sees the rows of every source."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM memories)")
        found: bool = cursor.fetchone()[0]
    return found


def horizon() -> tuple[datetime, float]:
    """The same without waiting, and how many seconds ago that is: more than a moment while somebody is writing."""
    with connection.cursor() as cursor:
        cursor.execute(_HORIZON)
        instant, lag = cursor.fetchone()
    return instant, max(lag, 0.0)


_HORIZON = """
SELECT horizon, extract(epoch FROM clock_timestamp() - horizon)::float8
FROM (SELECT record_settle(clock_timestamp(), false) AS horizon OFFSET 0) AS settled
"""
