"""Who read what: kept in memory when a read is answered, in the ledger a moment later, so that no read waits for it."""

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

from memoryhub.audit import ledger
from memoryhub.audit.models import AuditEntry
from memoryhub.firewall.querysets import covered_by
from memoryhub.firewall.reach import reach_columns, reach_of
from memoryhub.firewall.types import Principal, Scope, everything
from memoryhub.ops.models import ReadCount

GATHER_SECONDS = 0.05
"""How long the first read of a batch waits for others: one commit for all of them."""
RETRY_SECONDS = 0.5
PATIENCE_SECONDS = 1.0
"""How long a page that shows the ledger, or a process that ends, waits for what was read before."""
MOST_READS, MOST_MEMORIES = 100_000, 1_000_000
"""What is kept while the database takes nothing: about 200 MB."""
MOST_AT_ONCE = 500
"""Entries of one transaction: whoever else appends waits no longer than it takes to chain so many."""
LONGEST_QUERY = 8_000
ACTION = "memory.read"

log = structlog.get_logger("memoryhub.ops")


def asked(request: HttpRequest, *, by: Principal, memory_ids: Sequence[UUID] = ()) -> None:
    """Note that `by` was answered `request` with these memories; if somebody looked as `by`, that one read them."""
    match = request.resolver_match
    note(
        replace(by, name=by.viewer) if by.viewer else by,
        route=match.view_name if match else "",
        query=request.META.get("QUERY_STRING", ""),
        memory_ids=memory_ids,
        request_id=getattr(request, "request_id", ""),
        about=match.kwargs.get("memory_id") if match else None,
        view_as=by.name if by.viewer else "",
    )


def note(
    principal: Principal,
    *,
    route: str,
    query: str,
    memory_ids: Sequence[UUID],
    request_id: str,
    about: UUID | None = None,
    view_as: str = "",
) -> None:
    """Note one read: what was asked, and the memories of the answer. Never waits for the database, and never fails.

    `about` is the memory that was asked for by its id. `view_as` is the name of whom the reader looked as, if not as
    itself; `principal` has the clearance that was used.
    """
    details = {"about": str(about) if about else "", "view_as": view_as}
    _queue.add(
        ledger.Event(
            principal=principal.name,
            action=ACTION,
            reach=reach_of(principal.clearance),
            memory_ids=tuple(memory_ids),
            details={name: value for name, value in details.items() if value},
            route=route,
            query=query if len(query) <= LONGEST_QUERY else query[:LONGEST_QUERY] + "…",
            request_id=request_id,
            at=datetime.now(UTC),
        )
    )


def flush() -> None:
    """See to it that what this process has read stands in the ledger, if the database lets it soon."""
    _queue.flush()


def counts(reader: Principal) -> tuple[int, int]:
    """Reads in total and in the last 60 seconds: the reader's own, for an admin also those of all who saw no more.

    What a process has noted and not written yet is not counted: another process could not count it, and the number
    would go down when that one is asked next.
    """
    rule = Q(principal=reader.name)
    if Scope.ADMIN in reader.scopes:
        rule |= covered_by(reader.clearance)
    total = ReadCount.objects.filter(rule).aggregate(total=Sum("reads"))["total"] or 0
    since = datetime.now(UTC) - timedelta(minutes=1)
    lately = AuditEntry.objects.filter(rule, action=ACTION, at__gte=since).count()
    return total, lately


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lost:
    """Reads for which there was no room."""

    number: int
    since: datetime
    until: datetime

    def and_then(self, later: "_Lost | None") -> "_Lost":
        if later is None:
            return self
        return _Lost(number=self.number + later.number, since=self.since, until=later.until)

    def told(self) -> ledger.Event:
        return ledger.Event(
            principal="system",
            action="reads.lost",
            reach=reach_of(everything()),
            details={"reads": self.number, "since": self.since.isoformat(), "until": self.until.isoformat()},
        )


class Queue:
    """The reads of a process that do not stand in the ledger yet, and the thread that writes them there."""

    def __init__(self, *, in_background: bool = True) -> None:
        self._in_background = in_background
        self.start_anew()

    def start_anew(self) -> None:
        """Without reads. A fork has no thread, and locks that may be held: what its parent noted, its parent writes."""
        self._thread: threading.Thread | None = None
        self._reads: deque[ledger.Event] = deque()
        self._memories = 0
        self._lost: _Lost | None = None
        self._added = self._done = 0
        self._failing = False
        # Held for a moment, never while the database is asked; waited for by those who wait for `_done`.
        self._changed = threading.Condition(threading.Lock())
        self._writing = threading.Lock()
        self._work = threading.Event()
        self._hurry = threading.Event()

    def add(self, event: ledger.Event) -> None:
        with self._changed:
            if self._is_full():
                self._lose(event)
            else:
                self._reads.append(event)
                self._memories += len(event.memory_ids)
                self._added += 1
            if self._in_background and self._thread is None:
                self._thread = threading.Thread(target=self._write_for_ever, daemon=True, name="reads")
                self._thread.start()
                atexit.register(self.flush)
        self._work.set()

    def pending(self) -> list[ledger.Event]:
        with self._changed:
            return list(self._reads)

    def flush(self) -> None:
        """Write what was added before, here or in the thread; the thread is waited for a little, and no longer."""
        if not self._in_background:
            while self.write():
                pass
            return
        with self._changed:
            everything_so_far = self._added
            self._hurry.set()
            self._changed.wait_for(lambda: self._done >= everything_so_far, PATIENCE_SECONDS)

    def write(self) -> bool:
        """Chain the oldest reads, and count them, in one transaction; whether there was anything to write."""
        with self._writing:
            with self._changed:
                events, lost = list(islice(self._reads, MOST_AT_ONCE)), self._lost
                self._lost = None
            if not events and not lost:
                return False
            try:
                with transaction.atomic():
                    ledger.append(*events, *([lost.told()] if lost else []))
                    _count(events)
            except BaseException:
                with self._changed:
                    self._lost = lost.and_then(self._lost) if lost else self._lost
                raise
            with self._changed:
                # Here alone is anything taken from the front; what was added meanwhile stands behind it.
                for event in events:
                    self._reads.popleft()
                    self._memories -= len(event.memory_ids)
                self._done += len(events)
                self._changed.notify_all()
        return True

    def _is_full(self) -> bool:
        return len(self._reads) >= MOST_READS or self._memories >= MOST_MEMORIES

    def _lose(self, event: ledger.Event) -> None:
        now = event.at or datetime.now(UTC)
        loss = _Lost(number=1, since=now, until=now)
        if self._lost is None:
            log.error("reads are lost: the database takes none, and as many are kept as there is room for")
        self._lost = self._lost.and_then(loss) if self._lost else loss

    def _write_for_ever(self) -> None:
        while True:
            self._work.wait()
            self._hurry.wait(GATHER_SECONDS)
            self._work.clear()
            self._hurry.clear()
            while not self._has_written_all():
                time.sleep(RETRY_SECONDS)

    def _has_written_all(self) -> bool:
        try:
            while self.write():
                pass
        except Exception as error:
            # Whatever it is, the reads are kept. Its words may repeat what was asked, so its kind has to do.
            if not self._failing:
                log.warning("reads are not written yet", error=type(error).__name__, pending=len(self._reads))
            self._failing = True
            # The next attempt has a new connection: this one may be dead, or may have begun when nothing could write.
            connection.close()
            return False
        if self._failing:
            log.info("reads are written again")
        self._failing = False
        return True


def _count(events: list[ledger.Event]) -> None:
    numbers = Counter((event.principal, _minute(event), _json_of(event.reach)) for event in events)
    rows = [
        {
            "principal": principal,
            "minute": minute,
            "reads": number,
            "reach_digest": hashlib.sha256(reach).digest(),
            **orjson.loads(reach),
        }
        for (principal, minute, reach), number in sorted(numbers.items())
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_ADD, rows)


_ADD = """
INSERT INTO read_counts (
    principal, minute, reads, reach_tiers, reach_blocked, reach_required, reach_namespaces, reach_digest
) VALUES (
    %(principal)s, %(minute)s, %(reads)s, %(reach_tiers)s::text[], %(reach_blocked)s::text[],
    %(reach_required)s::text[], %(reach_namespaces)s::text[], %(reach_digest)s
) ON CONFLICT (principal, minute, reach_digest) DO UPDATE SET reads = read_counts.reads + excluded.reads
"""


def _json_of(reach: ledger.Reach) -> bytes:
    return orjson.dumps(reach_columns(reach), option=orjson.OPT_SORT_KEYS)


def _minute(event: ledger.Event) -> datetime:
    return (event.at or datetime.now(UTC)).replace(second=0, microsecond=0)


_queue = Queue()


def _start_anew() -> None:
    _queue.start_anew()


os.register_at_fork(after_in_child=_start_anew)
