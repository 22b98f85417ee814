"""Export of memories as JSON lines that `import_memories` reads without loss.

The policies, their runs and the decisions come first, then the memories in the order in which their values became
known: a hub that imports them in this order gives the same answers.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction
from django.db.models import BigIntegerField, Count, DateTimeField
from django.db.models.functions import Coalesce
from django.http import QueryDict
from django.utils.http import urlencode

from memoryhub.audit import log
from memoryhub.audit.actions import AuditAction
from memoryhub.firewall import rls
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.clearance_snapshot import snapshot_clearance
from memoryhub.firewall.principal import Principal
from memoryhub.memories.fields import FIELDS
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.pagination import MAX_LIMIT
from memoryhub.memories.querysets import ACTIVE, EXPIRED, MemoryQuerySet
from memoryhub.memories.records import MemoryRecord, iter_stored_records
from memoryhub.timetravel.point_queries import TimeTravelPage, query_at
from memoryhub.transfer import conflict_records

EXPORT_PRINCIPAL_NAME = "system:export"
BATCH_SIZE = 2_000
_EXPORTED_FIELDS = [field for field in FIELDS if field.is_exported]
_HISTORY_FIELDS = ("recorded_at", "superseded_at")


@dataclass(slots=True)
class ExportSummary:
    """Number of lines that an export wrote, and of what it left out."""

    memory_count: int = 0
    other_line_counts: Counter[str] = field(default_factory=Counter)
    """Lines that are not memories, by type."""
    inactive_counts: Counter[str] = field(default_factory=Counter)
    """Memories that were left out, by status."""
    skipped_decision_count: int = 0
    """Decisions that were left out because not all of their memories are in the export."""
    skipped_version_count: int = 0
    """Versions that were left out."""


def iter_jsonl(
    filters: MemoryFilterSet,
    *,
    include_history: bool = False,
    is_active_only: bool = False,
    summary: ExportSummary | None = None,
) -> Iterator[bytes]:
    """One line for each memory that matches `filters`, of any status, after those of the policies and decisions.

    With `include_history` there is one line for every version of those memories that the caller may see.
    `is_active_only` leaves out memories that are not active. A filtered export has only the decisions of which it has
    all memories, and no policies.
    """
    export = _Export(filters, include_history, is_active_only, summary or ExportSummary())
    record_export(urlencode(filters.active_filters), route="export_memories", clearance=filters.clearance)
    for line in export.iter_lines():
        yield orjson.dumps(line, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


@dataclass(slots=True)
class _Export:
    filters: MemoryFilterSet
    include_history: bool
    is_active_only: bool
    summary: ExportSummary
    visible_decision_ids: set[UUID] = field(default_factory=set)
    """All decisions that the reader may see, in the export or not."""
    validity_by_decision: dict[UUID, dict[UUID, Any]] = field(default_factory=dict)
    """The periods of event time in which memories hold, by the decision that set them."""

    def iter_lines(self) -> Iterator[dict[str, Any]]:
        clearance, known_at = self.filters.clearance, self.filters.point_in_time.known_at
        if not self._is_partial:
            for line in conflict_records.iter_policy_lines(clearance, known_at):
                self.summary.other_line_counts[line["type"]] += 1
                yield line
        filter_exported_ids = self._filter_exported_ids if self._is_partial else None
        for decision in conflict_records.iter_decision_lines(clearance, filter_exported_ids, known_at):
            self._collect_decision(decision.line)
            if decision.is_complete:
                self.summary.other_line_counts["decision"] += 1
                yield decision.line
            else:
                self.summary.skipped_decision_count += 1
        periods_by_memory = {
            memory_id: period
            for periods_by_memory in self.validity_by_decision.values()
            for memory_id, period in periods_by_memory.items()
        }
        field_names = (
            *("effective_asserted_at" if field.name == "asserted_at" else field.name for field in _EXPORTED_FIELDS),
            *(_HISTORY_FIELDS if self.include_history else ()),
        )
        with rls.as_reader(clearance):
            self._count_skipped()
            for row in iter_stored_records(_order_by_assertion(self._exported_versions()), field_names, BATCH_SIZE):
                self.summary.memory_count += 1
                yield self._build_memory_line(row, periods_by_memory)

    @property
    def _is_partial(self) -> bool:
        return self.is_active_only or bool(self.filters.values.keys() - {"known_at"})

    def _matching_memories(self) -> MemoryQuerySet:
        # Of any status, whereas the list without a filter shows only active memories.
        memories: MemoryQuerySet = self.filters.qs.matching_by_index(self.filters.search_terms).as_id_subquery()
        return memories.active() if self.is_active_only else memories

    def _exported_versions(self) -> MemoryQuerySet:
        filters = self.filters
        if not self.include_history:
            return self._matching_memories()
        return filters.point_in_time.known_versions(filters.visible_versions).with_ids(
            self._matching_memories().values("memory_id")
        )

    def _filter_exported_ids(self, memory_ids: set[UUID]) -> set[UUID]:
        return set(self._matching_memories().with_ids(sorted(memory_ids)).values_list("memory_id", flat=True))

    def _count_skipped(self) -> None:
        if self.is_active_only:
            memories: MemoryQuerySet = self.filters.qs.matching_by_index(self.filters.search_terms).as_id_subquery()
            inactive_counts = (
                memories.exclude(status=ACTIVE).order_by().values_list("status").annotate(memory_count=Count("id"))
            )
            # The unary plus drops the statuses without a memory.
            self.summary.inactive_counts = +Counter(
                {**dict(inactive_counts), EXPIRED: memories.with_statuses([EXPIRED]).count()}
            )
        if not self.include_history:
            filters = self.filters
            versions = filters.point_in_time.known_versions(filters.visible_versions)
            all_versions = (
                versions.with_ids(self._matching_memories().values("memory_id")) if self._is_partial else versions
            )
            self.summary.skipped_version_count = all_versions.count() - self._matching_memories().count()

    def _collect_decision(self, line: dict[str, Any]) -> None:
        self.visible_decision_ids.add(line["decision_id"])
        self.validity_by_decision.pop(line["undoes_id"], None)
        if line["validity"]:
            self.validity_by_decision[line["decision_id"]] = {
                UUID(memory_id): period for memory_id, period in line["validity"].items()
            }

    def _build_memory_line(self, row: MemoryRecord, periods_by_memory: dict[UUID, Any]) -> dict[str, Any]:
        line = {**row, "asserted_at": row["effective_asserted_at"]}
        del line["effective_asserted_at"]
        is_unrestricted = self.filters.clearance == unrestricted_clearance()
        for memory_field in _EXPORTED_FIELDS:
            value, same_as = line[memory_field.name], memory_field.same_as
            is_redundant = value == memory_field.default or (same_as and value == row[same_as])
            # What a source sent may be hidden from a reader, so only an unrestricted export has it.
            if is_redundant or (memory_field.is_operator_only and not is_unrestricted):
                del line[memory_field.name]
        if line["decision_id"] not in self.visible_decision_ids:
            del line["decision_id"]
        if period := periods_by_memory.get(line["memory_id"]):
            line["validity"] = period
        return line


def iter_time_travel_pages(params: QueryDict, *, clearance: Clearance) -> Iterator[TimeTravelPage]:
    """All pages of the time travel query in `params`, at least one. Raises InvalidQueryError."""
    page_params = params.copy()
    page_params["limit"] = str(MAX_LIMIT)
    principal = Principal(name=EXPORT_PRINCIPAL_NAME, clearance=clearance)
    cursor: str | None = ""
    while cursor is not None:
        page_params["cursor"] = cursor
        with rls.as_reader(clearance):
            time_travel_page = query_at(page_params, principal=principal)
        if not cursor:
            record_export(params.urlencode(), route="time_travel", clearance=clearance)
        yield time_travel_page
        cursor = time_travel_page.page.next_cursor


def record_export(query: str, *, route: str, clearance: Clearance) -> None:
    """Record the export before its first line, in its own transaction: a long export must block no other writer."""
    audit_event = log.AuditEvent(
        principal=EXPORT_PRINCIPAL_NAME,
        action=AuditAction.MEMORY_EXPORT,
        route=route,
        query=query,
        clearance_snapshot=snapshot_clearance(clearance),
    )
    with transaction.atomic():
        log.append_events(audit_event)


def _order_by_assertion(rows: MemoryQuerySet) -> MemoryQuerySet:
    """Rows in the order in which values supersede each other if their event times are equal."""
    asserted_at = Coalesce("asserted_at", "recorded_at", output_field=DateTimeField())
    asserted_version_id = Coalesce("asserted_version_id", "id", output_field=BigIntegerField())
    ordered_rows: MemoryQuerySet = rows.annotate(effective_asserted_at=asserted_at).order_by(
        "effective_asserted_at", asserted_version_id, "version"
    )
    return ordered_rows
