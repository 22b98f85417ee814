"""The read log. Guarantee: every read is in the audit log, and no read waits for the audit log or fails because of it.

Why the obvious way breaks it. Appending to the chain within the request would make every reader wait for every other
one and for writers, and a locked or full audit log would stop reads. So reads are queued in memory, and a thread of
each process appends them in batches:

- The queue is bounded. Reads beyond it are counted, and the count itself becomes an entry (`audit.reads_dropped`).
- A batch is one transaction of at most BATCH_SIZE entries, because writers wait for the head of the chain meanwhile.
- A page that shows the audit log flushes the queue first, and waits FLUSH_TIMEOUT_SECONDS at most. A process that exits
  does the same. After a fork the child forgets the queue: its parent writes what it queued.
- A failed batch stays in the queue and is tried again, after RETRY_SECONDS.

Tests that notice: `tests/access_log/test_read_log.py`.
"""

import atexit
import hashlib
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

import orjson
import structlog
from django.db import connection, transaction
from django.db.models import Q, Sum
from django.http import HttpRequest

from memoryhub.access_log.models import ReadCount
from memoryhub.audit import log
from memoryhub.audit.actions import AuditAction
from memoryhub.audit.clearance_snapshot import ClearanceSnapshot
from memoryhub.audit.models import AuditEntry
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.firewall.clearance_snapshot import snapshot_clearance, snapshot_covered_q
from memoryhub.firewall.principal import Principal, Scope

BATCH_DELAY_SECONDS = 0.05
"""How long the first read of a batch waits for others, to share one commit."""
RETRY_SECONDS = 0.5
FLUSH_TIMEOUT_SECONDS = 1.0
"""How long a page that shows the audit log, or an exiting process, waits for pending reads to be written."""
MAX_PENDING_READS, MAX_PENDING_MEMORY_IDS = 100_000, 1_000_000
"""Limits of the queue while the database accepts no writes: about 200 MB."""
BATCH_SIZE = 500
"""Entries per transaction. Other writers of the audit log wait at most for as long as it takes to chain so many."""
MAX_QUERY_CHARS = 8_000

logger = structlog.get_logger("memoryhub.access_log")


def log_request_read(request: HttpRequest, *, principal: Principal, memory_ids: Sequence[UUID] = ()) -> None:
    """Log a read of these memories by `principal`; under view-as the viewer is logged as the reader."""
    match = request.resolver_match
    log_read(
        replace(principal, name=principal.viewer) if principal.viewer else principal,
        route=match.view_name if match else "",
        query=request.META.get("QUERY_STRING", ""),
        memory_ids=memory_ids,
        request_id=getattr(request, "request_id", ""),
        requested_memory_id=match.kwargs.get("memory_id") if match else None,
        view_as_name=principal.name if principal.viewer else "",
    )


def log_read(
    principal: Principal,
    *,
    route: str,
    query: str,
    memory_ids: Sequence[UUID],
    request_id: str,
    requested_memory_id: UUID | None = None,
    view_as_name: str = "",
) -> None:
    """Queue one read with the memories that it returned. Never waits for the database, and never fails.

    `requested_memory_id` is set if the request asked for a memory by its id. `view_as_name` is the name of the view-as
    target, if any; `principal` has the clearance that was used.
    """
    details = {"requested_memory_id": str(requested_memory_id) if requested_memory_id else "", "view_as": view_as_name}
    _writer.add_event(
        log.AuditEvent(
            principal=principal.name,
            action=AuditAction.MEMORY_READ,
            clearance_snapshot=snapshot_clearance(principal.clearance),
            memory_ids=tuple(memory_ids),
            details={name: value for name, value in details.items() if value},
            route=route,
            query=query if len(query) <= MAX_QUERY_CHARS else query[:MAX_QUERY_CHARS] + "…",
            request_id=request_id,
            occurred_at=datetime.now(UTC),
        )
    )


def flush_reads() -> None:
    """Have the pending reads of this process written.

    Waits up to FLUSH_TIMEOUT_SECONDS and does not fail after that.
    """
    _writer.flush_events()


def count_reads(principal: Principal) -> tuple[int, int]:
    """Return the number of reads in total and in the last 60 seconds.

    Counted are the principal's own reads; for an admin also all reads with a clearance that the admin's covers. Pending
    reads are not counted: other processes do not know them, and the count would drop when the next request reaches
    another worker.
    """
    condition = Q(principal=principal.name)
    if principal.has_scope(Scope.ADMIN):
        condition |= snapshot_covered_q(principal.clearance)
    total_count = ReadCount.objects.filter(condition).aggregate(total=Sum("reads"))["total"] or 0
    minute_ago = datetime.now(UTC) - timedelta(minutes=1)
    last_minute_reads = AuditEntry.objects.filter(
        condition, action=AuditAction.MEMORY_READ, occurred_at__gte=minute_ago
    )
    return total_count, last_minute_reads.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class _DroppedReads:
    """Reads that were dropped because the queue was full."""

    read_count: int
    since: datetime
    until: datetime

    def merge(self, later_reads: "_DroppedReads | None") -> "_DroppedReads":
        if later_reads is None:
            return self
        return _DroppedReads(
            read_count=self.read_count + later_reads.read_count, since=self.since, until=later_reads.until
        )

    def to_audit_event(self) -> log.AuditEvent:
        return log.AuditEvent(
            principal="system",
            action=AuditAction.AUDIT_READS_DROPPED,
            clearance_snapshot=snapshot_clearance(unrestricted_clearance()),
            details={"reads": self.read_count, "since": self.since.isoformat(), "until": self.until.isoformat()},
        )


class ReadLogWriter:
    """The queue of a process's reads that are not in the audit log yet, and the thread that writes them."""

    def __init__(self, *, is_background: bool = True) -> None:
        self._is_background = is_background
        self.reset()

    def reset(self) -> None:
        """Empty the queue and forget the thread.

        After a fork the child has no thread and perhaps locked locks; the parent writes the reads that it queued.
        """
        self._thread: threading.Thread | None = None
        self._pending_events: deque[log.AuditEvent] = deque()
        self._pending_memory_id_count = 0
        self._dropped_reads: _DroppedReads | None = None
        self._added_count = self._written_count = 0
        self._is_failing = False
        # Held briefly, never during a query. `flush_events` waits on it for `_written_count`.
        self._state_changed = threading.Condition(threading.Lock())
        self._write_lock = threading.Lock()
        self._work_available = threading.Event()
        self._flush_requested = threading.Event()

    def add_event(self, audit_event: log.AuditEvent) -> None:
        with self._state_changed:
            if self._is_full():
                self._drop(audit_event)
            else:
                self._pending_events.append(audit_event)
                self._pending_memory_id_count += len(audit_event.memory_ids)
                self._added_count += 1
            if self._is_background and self._thread is None:
                self._thread = threading.Thread(target=self._run_forever, daemon=True, name="read-log")
                self._thread.start()
                atexit.register(self.flush_events)
        self._work_available.set()

    def get_pending_events(self) -> list[log.AuditEvent]:
        with self._state_changed:
            return list(self._pending_events)

    def flush_events(self) -> None:
        """Write the pending reads; with a background thread, wait up to FLUSH_TIMEOUT_SECONDS for it to do so."""
        if not self._is_background:
            while self.write_batch():
                pass
            return
        with self._state_changed:
            target_count = self._added_count
            self._flush_requested.set()
            self._state_changed.wait_for(lambda: self._written_count >= target_count, FLUSH_TIMEOUT_SECONDS)

    def write_batch(self) -> bool:
        """Append and count the oldest reads in one transaction; return whether there was anything to write."""
        with self._write_lock:
            with self._state_changed:
                audit_events, dropped_reads = list(islice(self._pending_events, BATCH_SIZE)), self._dropped_reads
                self._dropped_reads = None
            if not audit_events and not dropped_reads:
                return False
            try:
                with transaction.atomic():
                    log.append_events(*audit_events, *([dropped_reads.to_audit_event()] if dropped_reads else []))
                    _add_read_counts(audit_events)
            except BaseException:
                with self._state_changed:
                    self._dropped_reads = (
                        dropped_reads.merge(self._dropped_reads) if dropped_reads else self._dropped_reads
                    )
                raise
            with self._state_changed:
                # Only this method removes events from the front; events that were added meanwhile are behind these.
                for audit_event in audit_events:
                    self._pending_events.popleft()
                    self._pending_memory_id_count -= len(audit_event.memory_ids)
                self._written_count += len(audit_events)
                self._state_changed.notify_all()
        return True

    def _is_full(self) -> bool:
        return len(self._pending_events) >= MAX_PENDING_READS or self._pending_memory_id_count >= MAX_PENDING_MEMORY_IDS

    def _drop(self, audit_event: log.AuditEvent) -> None:
        occurred_at = audit_event.occurred_at or datetime.now(UTC)
        dropped_reads = _DroppedReads(read_count=1, since=occurred_at, until=occurred_at)
        if self._dropped_reads is None:
            logger.error("reads are dropped: the database takes none, and as many are kept as there is room for")
        self._dropped_reads = self._dropped_reads.merge(dropped_reads) if self._dropped_reads else dropped_reads

    def _run_forever(self) -> None:
        while True:
            self._work_available.wait()
            self._flush_requested.wait(BATCH_DELAY_SECONDS)
            self._work_available.clear()
            self._flush_requested.clear()
            while not self._try_drain():
                time.sleep(RETRY_SECONDS)

    def _try_drain(self) -> bool:
        try:
            while self.write_batch():
                pass
        except Exception as error:
            # The reads are kept whatever the error is. Its message may quote a query, so only its type is logged.
            if not self._is_failing:
                logger.warning(
                    "reads are not written yet", error=type(error).__name__, pending=len(self._pending_events)
                )
            self._is_failing = True
            # The next attempt gets a new connection: this one may be dead, or have begun while the database was
            # read-only.
            connection.close()
            return False
        if self._is_failing:
            logger.info("reads are written again")
        self._is_failing = False
        return True


def _add_read_counts(audit_events: list[log.AuditEvent]) -> None:
    read_counts = Counter(
        (audit_event.principal, _truncate_to_minute(audit_event), _serialize_snapshot(audit_event.clearance_snapshot))
        for audit_event in audit_events
    )
    rows = [
        {
            "principal": principal,
            "minute": minute,
            "reads": read_count,
            "clearance_digest": hashlib.sha256(snapshot_json).digest(),
            **orjson.loads(snapshot_json),
        }
        for (principal, minute, snapshot_json), read_count in sorted(read_counts.items())
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_UPSERT_READ_COUNTS_SQL, rows)


_UPSERT_READ_COUNTS_SQL = """
INSERT INTO read_counts (
    principal, minute, reads, clearance_tiers, clearance_blocked_labels, clearance_required_labels,
    clearance_namespaces, clearance_digest
) VALUES (
    %(principal)s, %(minute)s, %(reads)s, %(clearance_tiers)s::text[], %(clearance_blocked_labels)s::text[],
    %(clearance_required_labels)s::text[], %(clearance_namespaces)s::text[], %(clearance_digest)s
) ON CONFLICT (principal, minute, clearance_digest) DO UPDATE SET reads = read_counts.reads + excluded.reads
"""


def _serialize_snapshot(snapshot: ClearanceSnapshot) -> bytes:
    return orjson.dumps(snapshot.to_columns(), option=orjson.OPT_SORT_KEYS)


def _truncate_to_minute(audit_event: log.AuditEvent) -> datetime:
    return (audit_event.occurred_at or datetime.now(UTC)).replace(second=0, microsecond=0)


_writer = ReadLogWriter()


def _reset_after_fork() -> None:
    _writer.reset()


os.register_at_fork(after_in_child=_reset_after_fork)
