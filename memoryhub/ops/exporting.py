"""Writing memories as JSON lines that `import_memories` reads back without loss.

First the policies, their runs and the decisions, then the memories, in the order in which what they say came to be
known: an import that reads them in this order gives the same answers.
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

from memoryhub.audit import ledger
from memoryhub.conflicts import transfer
from memoryhub.firewall import wall
from memoryhub.firewall.reach import reach_of
from memoryhub.firewall.types import Clearance, Principal, everything
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.pages import MAX_LIMIT
from memoryhub.memories.querysets import ACTIVE, EXPIRED, MemoryQuerySet
from memoryhub.memories.records import ENVELOPE, Record, shaped
from memoryhub.timetravel.travel import Answer, travel

EXPORTER = "system:export"
CHUNK = 2_000
_ALSO = ("kind", "pinned", "expires_at", "propagation", "defaulted")
_OF_THE_HUB = ("memory_id", "version", "status", "decision", "said")
_OF_THE_DECISION = ("is_other_spelling", "decided_beyond_source")
_SENT = {"sent_namespace": "namespace", "sent_tier": "classification_tier", "sent_labels": "sensitivity_labels"}
_HISTORY = ("recorded_at", "superseded_at")


@dataclass(slots=True)
class Summary:
    """What an export wrote, and what it left out."""

    memories: int = 0
    others: Counter[str] = field(default_factory=Counter)
    """Lines that are no memories, by their type."""
    inactive: Counter[str] = field(default_factory=Counter)
    """Memories that were left out, by their status."""
    decisions: int = 0
    """Decisions that were left out, because not all of their memories are in the export."""
    earlier_versions: int = 0
    """Versions that were left out."""


def export_lines(
    filters: MemoryFilterSet, *, history: bool = False, active_only: bool = False, summary: Summary | None = None
) -> Iterator[bytes]:
    """One line for each memory that `filters` find, whatever its status, and for the decisions and policies.

    With `history`, every version that the caller may see of those memories. `active_only` leaves out memories that are
    not in force. A filtered export holds the decisions all of whose memories it holds, and no policies.
    """
    export = _Export(filters, history, active_only, summary or Summary())
    _enter(urlencode(filters.active), route="export_memories", clearance=filters.clearance)
    for line in export.lines():
        yield orjson.dumps(line, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


@dataclass(slots=True)
class _Export:
    filters: MemoryFilterSet
    history: bool
    active_only: bool
    summary: Summary
    seen_decisions: set[UUID] = field(default_factory=set)
    """All that the reader may see, in the export or not."""
    validity: dict[UUID, dict[UUID, Any]] = field(default_factory=dict)
    """The spans of event time for which memories hold, by the decision that says so."""

    def lines(self) -> Iterator[dict[str, Any]]:
        clearance, known_at = self.filters.clearance, self.filters.moment.known_at
        if not self._is_partial:
            for line in transfer.policy_lines(clearance, known_at):
                self.summary.others[line["type"]] += 1
                yield line
        among = self._among if self._is_partial else None
        for decision in transfer.decision_lines(clearance, among, known_at):
            self._keep(decision.line)
            if decision.is_whole:
                self.summary.others["decision"] += 1
                yield decision.line
            else:
                self.summary.decisions += 1
        spans = {memory_id: span for spans in self.validity.values() for memory_id, span in spans.items()}
        also = (*_ALSO, *_OF_THE_HUB, *_OF_THE_DECISION, *_SENT, "beyond_source", *(_HISTORY if self.history else ()))
        names = (*ENVELOPE, "embedding", *also)
        with wall.behind(clearance):
            self._count_left_out()
            for row in shaped(_in_order(self._versions()), names, CHUNK):
                self.summary.memories += 1
                yield self._line(row, spans)

    @property
    def _is_partial(self) -> bool:
        return self.active_only or bool(self.filters.values.keys() - {"known_at"})

    def _found(self) -> MemoryQuerySet:
        # Of any status: without a filter the list shows those in force alone.
        found: MemoryQuerySet = self.filters.qs.looked_up(self.filters.sought).at_once()
        return found.active() if self.active_only else found

    def _versions(self) -> MemoryQuerySet:
        filters = self.filters
        if not self.history:
            return self._found()
        return filters.moment.recorded(filters.seen).with_ids(self._found().values("memory_id"))

    def _among(self, memory_ids: set[UUID]) -> set[UUID]:
        return set(self._found().with_ids(sorted(memory_ids)).values_list("memory_id", flat=True))

    def _count_left_out(self) -> None:
        if self.active_only:
            found: MemoryQuerySet = self.filters.qs.looked_up(self.filters.sought).at_once()
            inactive = found.exclude(status=ACTIVE).order_by().values_list("status").annotate(number=Count("id"))
            # The unary plus leaves out what there is none of.
            self.summary.inactive = +Counter({**dict(inactive), EXPIRED: found.with_status(EXPIRED).count()})
        if not self.history:
            filters = self.filters
            versions = filters.moment.recorded(filters.seen)
            every = versions.with_ids(self._found().values("memory_id")) if self._is_partial else versions
            self.summary.earlier_versions = every.count() - self._found().count()

    def _keep(self, line: dict[str, Any]) -> None:
        self.seen_decisions.add(line["decision_id"])
        self.validity.pop(line["reverses"], None)
        if line["validity"]:
            self.validity[line["decision_id"]] = {UUID(id_): span for id_, span in line["validity"].items()}

    def _line(self, row: Record, validity: dict[UUID, Any]) -> dict[str, Any]:
        line = _without_defaults(row)
        line["said_at"] = line.pop("said")
        if line["decision"] not in self.seen_decisions:
            del line["decision"]
        if span := validity.get(line["memory_id"]):
            line["validity"] = span
        # What a source sent may be more than what a reader may see of it.
        is_operators = self.filters.clearance == everything()
        for name, other in _SENT.items():
            if not is_operators or line[name] == line[other]:
                del line[name]
        for name in ("decided_beyond_source", "beyond_source"):
            if not (is_operators and line[name]):
                del line[name]
        return line


def travelled(data: QueryDict, *, clearance: Clearance) -> Iterator[Answer]:
    """All pages of what `data` asks of `timetravel`; there is one at least. Raises BadQuery."""
    asked = data.copy()
    asked["limit"] = str(MAX_LIMIT)
    reader = Principal(name=EXPORTER, clearance=clearance)
    cursor: str | None = ""
    while cursor is not None:
        asked["cursor"] = cursor
        with wall.behind(clearance):
            answer = travel(asked, reader=reader)
        if not cursor:
            _enter(data.urlencode(), route="as_of", clearance=clearance)
        yield answer
        cursor = answer.page.next_cursor


def _enter(query: str, *, route: str, clearance: Clearance) -> None:
    """Before the first line, and in a transaction of its own: an export may take long, and nobody waits for it."""
    told = ledger.Event(principal=EXPORTER, action="memory.export", route=route, query=query, reach=reach_of(clearance))
    with transaction.atomic():
        ledger.append(told)


def _in_order(rows: MemoryQuerySet) -> MemoryQuerySet:
    """Rows in the order in which values supersede each other, where their event time does not say."""
    said = Coalesce("said_at", "recorded_at", output_field=DateTimeField())
    of_a_moment = Coalesce("said_id", "id", output_field=BigIntegerField())
    ordered: MemoryQuerySet = rows.annotate(said=said).order_by("said", of_a_moment, "version")
    return ordered


def _without_defaults(row: Record) -> dict[str, Any]:
    """A column that came later than the envelope stands in a line only where it says something."""
    silent: dict[str, Any] = {
        "embedding": None,
        "kind": "fact",
        "pinned": False,
        "expires_at": None,
        "propagation": None,
        "is_other_spelling": False,
    }
    return {name: value for name, value in row.items() if name not in silent or value != silent[name]}
