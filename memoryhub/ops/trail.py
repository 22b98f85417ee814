"""What the ledger tells a viewer: who has seen a memory, what was done to it, what a principal was told.

The firewall holds here, too. An entry is for those who may see all that its actor could see then, and of its memories
it names those that the viewer may see now. Neither its number nor its hash is told: they depend on hidden entries.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, Exists, F, Func, OuterRef, Q, QuerySet, UUIDField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from memoryhub.audit.models import AuditEntry
from memoryhub.firewall import wall
from memoryhub.firewall.querysets import covered_by
from memoryhub.firewall.types import Clearance, Principal
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import BY_ID

SEEN = ("memory.read", "memory.reveal", "memory.export")
"""What tells an actor of memories; everything else does something to them."""
LIMIT = 50
LATEST = 500

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry, as far as its viewer may see it."""

    at: datetime
    principal: str
    action: str
    route: str
    query: str
    memory_ids: list[UUID]
    details: dict[str, Any]
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """Some entries, the newest first, and the cursor that asks for those before them."""

    entries: list[Entry]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A memory that somebody was told of: how often, and when last."""

    memory_id: UUID
    times: int
    last_at: datetime


class BadCursor(ValueError):
    """Not a cursor of a trail."""


class Among(Func):
    """Whether a value is an element of an array."""

    output_field = BooleanField()
    template = "%(expressions)s)"
    arg_joiner = " = ANY ("


def who_saw(memory_id: UUID, viewer: Principal, *, cursor: str = "", limit: int = LIMIT) -> Trail | None:
    """Who was told of this memory, and when; None if there is none that the viewer may see."""
    return _of_memory(memory_id, viewer, Q(action__in=SEEN), cursor, limit)


def done_to(memory_id: UUID, viewer: Principal, *, cursor: str = "", limit: int = LIMIT) -> Trail | None:
    """What was done to this memory, by whom; None if there is none that the viewer may see."""
    return _of_memory(memory_id, viewer, ~Q(action__in=SEEN), cursor, limit)


def told_to(principal: str, viewer: Principal, *, cursor: str = "", limit: int = LIMIT) -> Trail:
    """What this principal was told of."""
    return _trail(Q(principal=principal, action__in=SEEN), viewer, cursor, limit)


def entries(
    viewer: Principal,
    *,
    principal: str | None = None,
    action: str | None = None,
    memory_id: UUID | None = None,
    request_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    cursor: str = "",
    limit: int = LIMIT,
) -> Trail:
    """The ledger itself, or what of it has these values: an empty text asks for empty ones.

    `since` and `until` are half-open; of a memory that the viewer may not see there is nothing.

    Raises BadCursor, as all of these do.
    """
    asked = {"principal": principal, "action": action, "request_id": request_id, "at__gte": since, "at__lt": until}
    rule = Q(**{name: value for name, value in asked.items() if value is not None})
    if memory_id is None:
        return _trail(rule, viewer, cursor, limit)
    return _of_memory(memory_id, viewer, rule, cursor, limit) or Trail(entries=[], next_cursor=None)


def memories_told(principal: str, viewer: Principal, *, latest: int = LATEST) -> list[Told]:
    """The memories that this principal was told of in its `latest` reads, each once, the latest first."""
    with wall.behind(viewer.clearance):
        reads = _seen(viewer.clearance, Q(principal=principal, action__in=SEEN)).order_by("-at", "-seq")[:latest]
        told: dict[UUID, list[datetime]] = {}
        for memory_ids, at in reads.values_list("memory_ids", "at"):
            for memory_id in memory_ids:
                told.setdefault(memory_id, []).append(at)
        known = _known(viewer.clearance, told)
    return [Told(memory_id=each, times=len(ats), last_at=ats[0]) for each, ats in told.items() if each in known]


def _of_memory(memory_id: UUID, viewer: Principal, rule: Q, cursor: str, limit: int) -> Trail | None:
    with wall.behind(viewer.clearance):
        if not _visible(viewer.clearance).with_id(memory_id).exists():
            return None
        return _trail(rule & Q(memory_ids__contains=[memory_id]), viewer, cursor, limit)


def _trail(rule: Q, viewer: Principal, cursor: str, limit: int) -> Trail:
    with wall.behind(viewer.clearance):
        rows = list(_page(_seen(viewer.clearance, rule), cursor, limit + 1))
        shown = rows[:limit]
        known = _known(viewer.clearance, {memory_id for row in shown for memory_id in row.memory_ids})
    following = _cursor(shown, cursor) if len(rows) > limit else None
    return Trail(entries=[_entry(row, known) for row in shown], next_cursor=following)


def _seen(clearance: Clearance, rule: Q) -> QuerySet[AuditEntry]:
    return AuditEntry.objects.filter(covered_by(clearance), _concerns(clearance), rule)


def _visible(clearance: Clearance) -> Any:
    return Memory.objects.visible_to(clearance).current()


def _concerns(clearance: Clearance) -> Q:
    """Entries that would stand here if the memories that `clearance` may not see had never been.

    A list would have been read without them. A memory that was asked for by its id would not have been found, and
    nothing would have been done to what is not there.
    """
    about = Cast(KeyTextTransform("about", OuterRef("details")), UUIDField())
    some = Exists(_visible(clearance).filter(BY_ID, Among(F("memory_id"), OuterRef("memory_ids"))))
    named = Exists(_visible(clearance).with_id(about))
    is_list = Q(action="memory.read") | Q(memory_ids__len=0)
    return (Q(details__has_key="about") & named) | (~Q(details__has_key="about") & (is_list | some))


def _page(seen: QuerySet[AuditEntry], cursor: str, number: int) -> QuerySet[AuditEntry]:
    """`number` entries from `cursor` on: an instant, and how many of that instant were shown before."""
    newest_first = seen.order_by("-at", "-seq")
    if not cursor:
        return newest_first[:number]
    at, shown = _read(cursor)
    return newest_first.filter(at__lte=at)[shown : shown + number]


def _cursor(shown: list[AuditEntry], before: str) -> str:
    """The cursor of what follows `shown`, which `before` asked for."""
    last = shown[-1].at
    number = sum(row.at == last for row in shown)
    if before and (known := _read(before))[0] == last:
        number += known[1]
    return f"{(last - _EPOCH) // _MICROSECOND}-{number}"


def _read(cursor: str) -> tuple[datetime, int]:
    instant, _, shown = cursor.partition("-")
    # Seventeen digits reach to the year 5138, eighteen beyond what Python calls a date.
    if not all(part.isascii() and part.isdecimal() and len(part) < 18 for part in (instant, shown)):
        raise BadCursor(cursor)
    return _EPOCH + int(instant) * _MICROSECOND, int(shown)


def _known(clearance: Clearance, named: Iterable[UUID]) -> set[UUID]:
    """Those of the memories that `clearance` may see."""
    return set(_visible(clearance).with_ids(named).values_list("memory_id", flat=True))


def _entry(row: AuditEntry, known: set[UUID]) -> Entry:
    return Entry(
        at=row.at,
        principal=row.principal,
        action=row.action,
        route=row.route,
        query=row.query,
        memory_ids=[memory_id for memory_id in row.memory_ids if memory_id in known],
        details={name: value for name, value in row.details.items() if name != "about"},
        request_id=row.request_id,
    )
