"""What the audit log shows a viewer: who has read a memory, what was done to it, what a principal has read.

The firewall applies here too. An entry is visible if the viewer's clearance covers the clearance snapshot of its actor,
and it lists only those of its memories that the viewer may see now. Its number and hash are left out, because they
depend on hidden entries.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q, QuerySet, UUIDField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from memoryhub.audit.actions import READ_ACTIONS, AuditAction
from memoryhub.audit.models import AuditEntry
from memoryhub.core.cursors import CursorCodec
from memoryhub.core.sql import EqualsAny
from memoryhub.firewall import rls
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.clearance_snapshot import snapshot_covered_q
from memoryhub.firewall.cursors import create_cursor_codec
from memoryhub.firewall.principal import Principal
from memoryhub.memories.models import Memory
from memoryhub.memories.sql.tiers import ID_INDEX_GUARD

DEFAULT_LIMIT = 50
MAX_READS_EXAMINED = 500

Position = tuple[datetime, int]
"""Where a page of entries begins: at an instant, after so many entries of that instant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisibleEntry:
    """An audit entry without anything that its viewer may not see."""

    occurred_at: datetime
    principal: str
    """The principal that acted: user:<name>, key:<name> or system."""
    action: str
    """The action as noun.verb, such as memory.read."""
    route: str
    """The name of the requested route."""
    query: str
    """The query string of the request."""
    memory_ids: list[UUID]
    """The memories that were changed or shown, as far as the viewer may see them."""
    details: dict[str, Any]
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """A page of entries, newest first, and the cursor of the older ones; None on the last page."""

    entries: list[VisibleEntry]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryExposure:
    """A memory that a principal has read: how often, and when last."""

    memory_id: UUID
    read_count: int
    last_read_at: datetime


def list_memory_reads(
    memory_id: UUID, principal: Principal, *, cursor: str = "", limit: int = DEFAULT_LIMIT
) -> AuditPage | None:
    """Return the reads of this memory; None if the viewer may not see such a memory."""
    return _list_memory_entries(memory_id, principal, Q(action__in=READ_ACTIONS), cursor, limit)


def list_memory_actions(
    memory_id: UUID, principal: Principal, *, cursor: str = "", limit: int = DEFAULT_LIMIT
) -> AuditPage | None:
    """Return all other actions on this memory; None if the viewer may not see such a memory."""
    return _list_memory_entries(memory_id, principal, ~Q(action__in=READ_ACTIONS), cursor, limit)


def list_principal_reads(
    principal_name: str, principal: Principal, *, cursor: str = "", limit: int = DEFAULT_LIMIT
) -> AuditPage:
    """Return the entries by which this principal read memories."""
    condition = Q(principal=principal_name, action__in=READ_ACTIONS)
    return _list_page(condition, principal, _decode_cursor(condition, principal, cursor), limit)


def list_entries(
    principal: Principal,
    *,
    principal_name: str | None = None,
    action: str | None = None,
    memory_id: UUID | None = None,
    request_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    cursor: str = "",
    limit: int = DEFAULT_LIMIT,
) -> AuditPage:
    """Return the entries with the given field values; None does not filter, an empty text matches empty fields.

    `since` is inclusive, `until` exclusive. A memory that the viewer may not see has no entries.

    All functions of this module that take a cursor raise InvalidQueryError.
    """
    field_values = {
        "principal": principal_name,
        "action": action,
        "request_id": request_id,
        "occurred_at__gte": since,
        "occurred_at__lt": until,
    }
    condition = Q(**{name: value for name, value in field_values.items() if value is not None})
    if memory_id is None:
        return _list_page(condition, principal, _decode_cursor(condition, principal, cursor), limit)
    return _list_memory_entries(memory_id, principal, condition, cursor, limit) or AuditPage(
        entries=[], next_cursor=None
    )


def list_exposed_memories(
    principal_name: str, principal: Principal, *, max_reads: int = MAX_READS_EXAMINED
) -> list[MemoryExposure]:
    """Return the visible memories of this principal's latest `max_reads` reads, each once, the latest first."""
    with rls.as_reader(principal.clearance):
        reads = _visible_entries(principal.clearance, Q(principal=principal_name, action__in=READ_ACTIONS)).order_by(
            "-occurred_at", "-seq"
        )[:max_reads]
        read_times_by_memory: dict[UUID, list[datetime]] = {}
        for memory_ids, occurred_at in reads.values_list("memory_ids", "occurred_at"):
            for memory_id in memory_ids:
                read_times_by_memory.setdefault(memory_id, []).append(occurred_at)
        visible_ids = _visible_memory_ids(principal.clearance, read_times_by_memory)
    return [
        MemoryExposure(memory_id=exposed_id, read_count=len(read_times), last_read_at=read_times[0])
        for exposed_id, read_times in read_times_by_memory.items()
        if exposed_id in visible_ids
    ]


def _list_memory_entries(
    memory_id: UUID, principal: Principal, condition: Q, cursor: str, limit: int
) -> AuditPage | None:
    condition &= Q(memory_ids__contains=[memory_id])
    position = _decode_cursor(condition, principal, cursor)
    with rls.as_reader(principal.clearance):
        if not _visible_memories(principal.clearance).with_id(memory_id).exists():
            return None
        return _list_page(condition, principal, position, limit)


def _list_page(condition: Q, principal: Principal, position: Position | None, limit: int) -> AuditPage:
    with rls.as_reader(principal.clearance):
        rows = list(_slice_from(_visible_entries(principal.clearance, condition), position, limit + 1))
        page_rows = rows[:limit]
        visible_ids = _visible_memory_ids(
            principal.clearance, {memory_id for row in page_rows for memory_id in row.memory_ids}
        )
    next_cursor = (
        _create_codec(condition, principal).encode(*_find_next_position(page_rows, position))
        if len(rows) > limit
        else None
    )
    return AuditPage(entries=[_to_visible_entry(row, visible_ids) for row in page_rows], next_cursor=next_cursor)


def _visible_entries(clearance: Clearance, condition: Q) -> QuerySet[AuditEntry]:
    return AuditEntry.objects.filter(snapshot_covered_q(clearance), _visible_without_hidden_q(clearance), condition)


def _visible_memories(clearance: Clearance) -> Any:
    return Memory.objects.visible_to(clearance).current()


def _visible_without_hidden_q(clearance: Clearance) -> Q:
    """Only entries that would also exist in a database without the memories hidden from `clearance`.

    A list would have been read without them too. But a hidden memory could not have been read by its id, and no other
    action could have affected it.
    """
    requested_memory_id = Cast(KeyTextTransform("requested_memory_id", OuterRef("details")), UUIDField())
    any_visible_memory = Exists(
        _visible_memories(clearance).filter(ID_INDEX_GUARD, EqualsAny(F("memory_id"), OuterRef("memory_ids")))
    )
    requested_memory_visible = Exists(_visible_memories(clearance).with_id(requested_memory_id))
    is_list = Q(action=AuditAction.MEMORY_READ) | Q(memory_ids__len=0)
    return (Q(details__has_key="requested_memory_id") & requested_memory_visible) | (
        ~Q(details__has_key="requested_memory_id") & (is_list | any_visible_memory)
    )


def _slice_from(entries: QuerySet[AuditEntry], position: Position | None, count: int) -> QuerySet[AuditEntry]:
    newest_first = entries.order_by("-occurred_at", "-seq")
    if position is None:
        return newest_first[:count]
    occurred_at, skipped_count = position
    return newest_first.filter(occurred_at__lte=occurred_at)[skipped_count : skipped_count + count]


def _find_next_position(page_rows: list[AuditEntry], position: Position | None) -> Position:
    """Return the position after `page_rows`, the page that began at `position`."""
    last_occurred_at = page_rows[-1].occurred_at
    skipped_count = sum(row.occurred_at == last_occurred_at for row in page_rows)
    if position and position[0] == last_occurred_at:
        skipped_count += position[1]
    return last_occurred_at, skipped_count


def _create_codec(condition: Q, principal: Principal) -> CursorCodec:
    return create_cursor_codec(principal, "audit entries", condition)


def _decode_cursor(condition: Q, principal: Principal, cursor: str) -> Position | None:
    if not cursor:
        return None
    occurred_at, skipped_count = _create_codec(condition, principal).decode(cursor, datetime, int)
    return occurred_at, skipped_count


def _visible_memory_ids(clearance: Clearance, memory_ids: Iterable[UUID]) -> set[UUID]:
    """Return those of the memories that `clearance` may see."""
    return set(_visible_memories(clearance).with_ids(memory_ids).values_list("memory_id", flat=True))


def _to_visible_entry(row: AuditEntry, visible_ids: set[UUID]) -> VisibleEntry:
    return VisibleEntry(
        occurred_at=row.occurred_at,
        principal=row.principal,
        action=row.action,
        route=row.route,
        query=row.query,
        memory_ids=[memory_id for memory_id in row.memory_ids if memory_id in visible_ids],
        details={name: value for name, value in row.details.items() if name != "requested_memory_id"},
        request_id=row.request_id,
    )
