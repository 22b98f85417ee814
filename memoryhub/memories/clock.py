"""The record clock: the next instant of record time, and the instant up to which record time is complete."""

from datetime import datetime

from django.db import connection

from memoryhub.memories.querysets import MAX_INSTANT


def stable_record_time(instant: datetime = MAX_INSTANT) -> datetime:
    """Return `instant`, or the database's now if that is earlier: answers about this record time no longer change.

    Later queries, also of the same transaction, see every write up to it. The call waits for current writers, at most
    as long as `lock_timeout`; it then raises OperationalError.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT record_time_stable(%s, true)", [instant])
        stable_instant: datetime = cursor.fetchone()[0]
    return stable_instant


def next_record_time() -> datetime:
    """Wait until no other transaction is writing; return the record time of this one, which then writes alone."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT record_time_next()")
        instant: datetime = cursor.fetchone()[0]
    return instant


def database_now() -> datetime:
    """Return the time of the database's clock, which is authoritative wherever this process runs."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        instant: datetime = cursor.fetchone()[0]
    return instant


def has_records() -> bool:
    """Whether any version of any memory is stored. The caller's transaction must see the rows of every source."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM memories)")
        exists: bool = cursor.fetchone()[0]
    return exists


def watermark() -> tuple[datetime, float]:
    """Return the instant up to which every write is committed, without waiting, and its lag in seconds.

    The lag is noticeable only while a transaction is writing.
    """
    with connection.cursor() as cursor:
        cursor.execute(_WATERMARK_SQL)
        instant, lag = cursor.fetchone()
    return instant, max(lag, 0.0)


_WATERMARK_SQL = """
SELECT watermark, extract(epoch FROM clock_timestamp() - watermark)::float8
FROM (SELECT record_time_stable(clock_timestamp(), false) AS watermark OFFSET 0) AS clock
"""
