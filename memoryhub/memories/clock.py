"""The record clock. Guarantee: an answer about an earlier instant of record time never changes, whatever commits late.

The SQL functions `record_time_*` are in the migration `0001_sql_functions`. `record_clock` is a table of one row, which
holds the instant of the latest write.

Why the obvious way breaks it. With `recorded_at DEFAULT now()` a transaction that began at 12:00:00 and commits at
12:00:05 adds rows to an answer that a reader received at 12:00:03 about 12:00:02. A clock that is set back, or two
writes in one microsecond, do the same. So:

- `record_time_next` locks the row of the clock until COMMIT. Writers take turns, and instants and commits have one
  order. The instant is computed after the lock was taken, and it is later than every earlier one and than every
  instant about which a reader was answered.
- `record_time_stable` gives a reader the latest instant up to which every write is committed. It locks the clock for a
  moment, so it waits for a transaction that writes, and releases the lock by rolling back a subtransaction. It keeps
  the answered instant in a sequence, because a sequence survives a rollback.
- The instant of the last write is not returned by itself, because it may be that of a hidden memory.

The lock of the clock also orders all other locks. A writer takes it first, then rows of memories by `memory_id`, then
the head of the audit log (`audit/log.py`) just before COMMIT. Nothing takes the clock while it holds the head, so
writers cannot deadlock. A query about the present state must come after `next_record_time`, or another writer may have
changed that state.

Tests that notice: `tests/harness/test_record_time.py` (eight writers at once; the checker also runs on a table with
`DEFAULT now()`, where it must find changed answers) and `tests/harness/test_watermark.py` (who waits for whom).
"""

from datetime import datetime

from django.db import connection

from memoryhub.memories.sql.tiers import MAX_INSTANT


def stable_record_time(instant: datetime = MAX_INSTANT) -> datetime:
    """Return `instant`, or the database's now if that is earlier: answers about this record time no longer change.

    Later queries, also of the same transaction, see every write up to it. The call waits for current writers, at most
    as long as `lock_timeout`; it then raises OperationalError.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT record_time_stable(%s, true)", [instant])
        stable_instant: datetime = cursor.fetchone()[0]
    return stable_instant


def latest_stable_record_time() -> datetime:
    """Return the latest instant up to which every write is committed, without waiting for a transaction that writes."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT record_time_stable(%s, false)", [MAX_INSTANT])
        instant: datetime = cursor.fetchone()[0]
    return instant


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
