"""Counting reads without making a read wait: in memory first, in the database a second later."""

import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import structlog
from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Q, Sum

from memoryhub.firewall.types import Principal, Scope
from memoryhub.ops.models import ReadCount

FLUSH_SECONDS = 1.0

log = structlog.get_logger("memoryhub.ops")
_pending: Counter[tuple[str, datetime]] = Counter()
_lock = threading.Lock()
_flusher: threading.Thread | None = None


def note(reader: Principal) -> None:
    """Count one read by `reader`."""
    global _flusher  # noqa: PLW0603 - one thread for each process, started when there is something to do
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    with _lock:
        _pending[reader.name, minute] += 1
        if _flusher is None:
            _flusher = threading.Thread(target=_flush_for_ever, daemon=True, name="read-counts")
            _flusher.start()


def counts(reader: Principal) -> tuple[int, int]:
    """Reads in total and in the last minute: the reader's own, for an admin everybody's."""
    flush()
    mine = Q() if Scope.ADMIN in reader.scopes else Q(principal=reader.name)
    lately = Q(minute__gte=datetime.now(UTC) - timedelta(minutes=1))
    found = ReadCount.objects.filter(mine).aggregate(total=Sum("reads"), lately=Sum("reads", filter=lately))
    return found["total"] or 0, found["lately"] or 0


def flush() -> None:
    """Write what was counted in this process."""
    with _lock:
        taken = dict(_pending)
        _pending.clear()
    if not taken:
        return
    rows = [(principal, minute, reads) for (principal, minute), reads in sorted(taken.items())]
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO read_counts (principal, minute, reads) VALUES (%s, %s, %s)"
            " ON CONFLICT (principal, minute) DO UPDATE SET reads = read_counts.reads + excluded.reads",
            rows,
        )


def _flush_for_ever() -> None:
    while True:
        time.sleep(FLUSH_SECONDS)
        try:
            flush()
        except (DatabaseError, InterfaceError) as error:
            # Numbers about reads are worth less than the reads: these few are lost, the next ones are counted.
            log.warning("read counts not written", error=type(error).__name__)
            connection.close()
