"""Changing what memories are classified as: each change is a version, and all of a request are one entry in the ledger.

A plan says what would become of each memory. Carrying it out does that, or nothing if one of them has changed since.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from heapq import nlargest
from typing import Annotated, Any, Self, TypeVar
from uuid import UUID

import orjson
from django.core.signing import BadSignature, Signer
from django.db import connection
from django.utils.crypto import constant_time_compare, salted_hmac
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from memoryhub.audit import ledger
from memoryhub.firewall import wall
from memoryhub.firewall.models import ClearanceRecord
from memoryhub.firewall.reach import reach_of
from memoryhub.firewall.types import Clearance, Principal, Scope, label_key, label_keys, opens
from memoryhub.memories import clock
from memoryhub.memories.envelope import (
    Errors,
    Labels,
    NewLabels,
    Rejected,
    Text,
    Tier,
    label_warnings,
    one_of,
    rejected,
)
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.ingest import COLUMNS, committed
from memoryhub.memories.models import MAX_LABELS, Memory
from memoryhub.memories.querysets import LOOKED_UP, MemoryQuerySet
from memoryhub.memories.records import WHOLE, Record, newest

AT_ONCE = 10_000
"""Memories that one plan holds at most: every writer waits while it is carried out."""
MAX_REASON = 1_000
MOST_WAYS = 50
QUARANTINE = ("active", "quarantined")
"""The states between which a memory is put away and released; what is retired or erased has left both."""

REFUSALS = {
    "above_clearance": "It would be hidden from you, and you could not undo it.",
    "declassification": "It would be seen by readers who could not see it, and you may not declassify.",
    "not_in_force": "It is retired or erased.",
    "too_many_labels": f"It would carry more than {MAX_LABELS} labels.",
}


def _reason(value: str) -> str:
    if len(value) > MAX_REASON:
        raise PydanticCustomError("reason", f"must be at most {MAX_REASON:,} characters long.")
    return value


Reason = Annotated[Text, AfterValidator(_reason)]


class Change(BaseModel):
    """What is to become of a classification. What is not named stays; labels are compared as policies compare them."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    classification_tier: Tier = ""
    add_labels: NewLabels = Field(default_factory=list)
    remove_labels: Labels = Field(default_factory=list)
    status: Annotated[str, one_of(*QUARANTINE)] = ""
    reason: Reason = ""

    @model_validator(mode="after")
    def _is_a_change(self) -> Self:
        if not self.asked:
            raise PydanticCustomError("empty", "There is nothing named to change.")
        if label_keys(self.add_labels) & label_keys(self.remove_labels):
            raise PydanticCustomError("both", "The same label is added and removed.")
        return self

    @property
    def asked(self) -> dict[str, Any]:
        """What is named, without the reason."""
        named = self.model_dump(include={"classification_tier", "add_labels", "remove_labels", "status"})
        return {name: value for name, value in named.items() if value}

    @property
    def warnings(self) -> Errors:
        """What a reader may mistake in the labels that are added, told as errors are."""
        return label_warnings("add_labels", self.add_labels)

    def applied_to(self, before: "Classification") -> "Classification":
        unwanted, held = label_keys(self.remove_labels), label_keys(before.sensitivity_labels)
        kept = [label for label in before.sensitivity_labels if label_key(label) not in unwanted]
        added = {label_key(label): label for label in self.add_labels if label_key(label) not in held}
        after = replace(
            before,
            classification_tier=self.classification_tier or before.classification_tier,
            sensitivity_labels=(*kept, *added.values()),
            status=self.status or before.status,
        )
        # What a steward has said is no longer what was filled in for a silent writer.
        said = {name for name, value in before.shown.items() if after.shown[name] != value}
        return replace(after, defaulted=tuple(name for name in before.defaulted if name not in said))


Shape = TypeVar("Shape", bound=BaseModel)


def read(given: Any, shape: type[Shape]) -> Shape:
    """What is asked for in `given`, a decoded JSON value. Raises Rejected with the errors of every field."""
    if not isinstance(given, Mapping):
        raise Rejected({"": ["must be a JSON object."]})
    try:
        return shape.model_validate(given)
    except ValidationError as error:
        raise rejected(error) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """What the firewall judges a memory by, whether it is put away, and which of its fields nobody gave."""

    namespace: str
    classification_tier: str
    sensitivity_labels: tuple[str, ...]
    status: str
    defaulted: tuple[str, ...]

    @property
    def key(self) -> tuple[str, tuple[str, ...], str]:
        return self.classification_tier, self.sensitivity_labels, self.status

    @property
    def shown(self) -> dict[str, Any]:
        """What a change may change."""
        return {
            "classification_tier": self.classification_tier,
            "sensitivity_labels": list(self.sensitivity_labels),
            "status": self.status,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The version in force of one memory, as far as a plan knows it."""

    id: int
    memory_id: UUID
    version: int
    source: str
    timestamp: datetime
    classification: Classification


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a plan does to one memory: nothing, if `after` is as before or there is a `refusal`, a key of REFUSALS."""

    row: Row
    after: Classification
    opens: bool
    closes: bool
    """Whether taking it back would open the memory."""
    hidden_from: frozenset[str]
    """The names of the clearances on record that see the memory before, and do not after."""
    refusal: str

    @property
    def before(self) -> Classification:
        return self.row.classification

    @property
    def is_due(self) -> bool:
        return not self.refusal and self.after != self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a change would do, memory by memory in the order of their ids, for the principal who may see them all."""

    by: Principal
    asked: dict[str, Any]
    steps: list[Step]
    clearances: Mapping[str, Clearance] = field(default_factory=dict)
    """Those on record, by name."""

    @property
    def due(self) -> list[Step]:
        return [step for step in self.steps if step.is_due]

    @property
    def opened(self) -> int:
        """How many memories would be seen by somebody who could not see them."""
        return sum(step.opens for step in self.due)

    @property
    def closed(self) -> int:
        """How many memories would be hidden from a clearance on record that sees them."""
        return sum(bool(step.hidden_from) for step in self.due)

    @property
    def hidden_from(self) -> list[str]:
        """The names of those clearances, as far as they see no more than the principal does."""
        names = {name for step in self.due for name in step.hidden_from}
        return sorted(name for name in names if self.by.clearance.covers(self.clearances[name]))

    @property
    def unchanged(self) -> int:
        return sum(step.after == step.before for step in self.steps)

    @property
    def refused(self) -> dict[str, int]:
        return dict(Counter(step.refusal for step in self.steps if step.refusal))

    @property
    def alike(self) -> list[tuple[int, Step]]:
        """A step for each way in which memories would change, with how many of them do; the most frequent first."""
        ways = {(step.before.key, step.after.key, step.opens): step for step in self.due}
        counts = Counter((step.before.key, step.after.key, step.opens) for step in self.due)
        return [(count, ways[way]) for way, count in counts.most_common(MOST_WAYS)]

    @property
    def token(self) -> str:
        """Stands for this plan, whoever makes it again; a plan over other memories or versions has another."""
        evidence = [(step.row.memory_id.hex, step.row.version, step.after.shown, step.refusal) for step in self.steps]
        return salted_hmac("memoryhub.relabel", repr((self.by.name, evidence)), algorithm="sha256").hexdigest()

    def check(self, token: str) -> None:
        """Raise Rejected, `stale`, if `token` stands for another plan."""
        if not constant_time_compare(token, self.token):
            raise stale()


@dataclass(frozen=True, slots=True, kw_only=True)
class Relabelled:
    """What was done. `undo` is the token that takes it back, which opens again what was closed."""

    changed: int
    undo: str = ""
    undo_opens: bool = False


def stale() -> Rejected:
    return Rejected({"": ["It has changed since it was read. Nothing was done; look at it again."]}, "stale")


def plan_one(memory_id: UUID, change: Change, *, by: Principal) -> Plan:
    """What `change` would do to one memory: a plan without steps if there is none that `by` may see."""
    return _plan(Memory.objects.visible_to(by.clearance).current().with_id(memory_id), change, by)


def plan_found(filters: MemoryFilterSet, change: Change, *, by: Principal) -> Plan:
    """What `change` would do to what `filters` find.

    Raises Rejected, `too_large`, beyond AT_ONCE memories, and `in_the_past` for what was known earlier.
    """
    if filters.moment.known_at is not None:
        raise Rejected({"known_at": ["is history, which stays as it is."]}, "in_the_past")
    return _plan(filters.found, change, by)


def _plan(found: MemoryQuerySet, change: Change, by: Principal) -> Plan:
    with wall.behind(by.clearance):
        rows = _rows(found.visible_to(by.clearance))
        after = [(row, change.applied_to(row.classification)) for row in rows]
    return _plan_of(after, by=by, asked=change.asked)


def plan_undo(token: str, *, by: Principal) -> Plan:
    """What takes back what `by` did under this token, as far as it is still in force. Raises Rejected for a bad token.

    A record instant is one transaction's alone: what began then was changed then, and what ended then was before it.
    """
    try:
        told = _undo_signer(by).unsign(token)
    except BadSignature:
        raise Rejected({"": ["There is nothing here that you could undo."]}) from None
    instant = datetime.fromisoformat(told)
    with wall.behind(by.clearance):
        seen = Memory.objects.visible_to(by.clearance)
        rows = _rows(seen.current().filter(LOOKED_UP, recorded_at=instant))
        ended = _rows(seen.with_ids([row.memory_id for row in rows]).filter(superseded_at=instant))
        before = {row.memory_id: row.classification for row in ended}
        after = [(row, before[row.memory_id]) for row in rows if row.memory_id in before]
    return _plan_of(after, by=by, asked={"undo": told})


def sample(plan: Plan, number: int) -> list[Record]:
    """The newest of the memories that would change."""
    rows = nlargest(number, (step.row for step in plan.due), key=lambda row: (row.timestamp, row.memory_id))
    seen = Memory.objects.visible_to(plan.by.clearance).current()
    with wall.behind(plan.by.clearance):
        return newest(seen.with_ids([row.memory_id for row in rows]), number, WHOLE)


def carry_out(plan: Plan, *, reason: str = "", route: str = "", request_id: str = "") -> Relabelled:
    """Do what is due in `plan`, in one transaction, and tell of it after COMMIT.

    Raises PermissionDenied for who may not judge memories, and Rejected: `invalid_value` if something would be opened
    without a reason, one of REFUSALS if there is nothing else to do, `stale` if a memory has changed since.
    """
    plan.by.require(Scope.INSPECT)
    due = plan.due
    if plan.opened and not reason.strip():
        raise Rejected({"reason": ["is required: this opens memories to more readers."]})
    if not due:
        for code in plan.refused:
            raise Rejected({"": [REFUSALS[code]]}, code)
        return Relabelled(changed=0)
    with committed({step.row.source for step in due}):
        instant = clock.tick()
        _lock(due, plan.by)
        _write(due)
        ledger.append(replace(_event(plan, reason), route=route, request_id=request_id))
    undo = _undo_signer(plan.by).sign(instant.isoformat())
    return Relabelled(changed=len(due), undo=undo, undo_opens=any(step.closes for step in due))


def _undo_signer(by: Principal) -> Signer:
    return Signer(salt=f"memoryhub.undo:{by.name}")


_COLUMNS = (
    "id", "memory_id", "version", "source", "timestamp", "namespace", "classification_tier", "sensitivity_labels",
    "status", "defaulted",
)  # fmt: skip


def _rows(found: MemoryQuerySet) -> list[Row]:
    """The rows of `found`, in the order in which everybody locks them. Raises Rejected beyond AT_ONCE."""
    told = list(found.order_by("memory_id").values_list(*_COLUMNS)[: AT_ONCE + 1])
    if len(told) > AT_ONCE:
        raise Rejected({"": [f"More than {AT_ONCE:,} memories are meant. Narrow it down."]}, "too_large")
    return [_row(*values) for values in told]


def _row(*values: Any) -> Row:
    id_, memory_id, version, source, timestamp, namespace, tier, labels, status, defaulted = values
    return Row(
        id=id_,
        memory_id=memory_id,
        version=version,
        source=source,
        timestamp=timestamp,
        classification=Classification(
            namespace=namespace,
            classification_tier=tier,
            sensitivity_labels=tuple(labels),
            status=status,
            defaulted=tuple(defaulted),
        ),
    )


def _plan_of(pairs: Iterable[tuple[Row, Classification]], *, by: Principal, asked: dict[str, Any]) -> Plan:
    clearances = {record.name: record.as_clearance() for record in ClearanceRecord.objects.all()}
    # Ten thousand memories are classified in a few ways.
    opening = cache(lambda before, after: opens(before, after, clearances.values()))
    hiding = cache(lambda before, after: _hidden_from(before, after, clearances))
    refusing = cache(lambda before, after: _refusal(before, after, by, is_opened=opening(before, after)))
    steps = [
        Step(
            row=row,
            after=after,
            opens=opening(row.classification, after),
            closes=opening(after, row.classification),
            hidden_from=hiding(row.classification, after),
            refusal=refusing(row.classification, after),
        )
        for row, after in pairs
    ]
    return Plan(by=by, asked=asked, steps=steps, clearances=clearances)


def _hidden_from(before: Classification, after: Classification, clearances: Mapping[str, Clearance]) -> frozenset[str]:
    return frozenset(
        name for name, clearance in clearances.items() if clearance.shows(before) and not clearance.shows(after)
    )


def _refusal(before: Classification, after: Classification, by: Principal, *, is_opened: bool) -> str:
    if before == after:
        return ""
    if before.status == "erased" or (before.status != after.status and before.status not in QUARANTINE):
        return "not_in_force"
    if not by.clearance.permits(after):
        return "above_clearance"
    if len(after.sensitivity_labels) > max(MAX_LABELS, len(before.sensitivity_labels)):
        return "too_many_labels"
    return "declassification" if is_opened and not by.may(Scope.DECLASSIFY) else ""


def _lock(due: list[Step], by: Principal) -> None:
    """Lock the rows that were planned on. Raises Rejected, `stale`, if one is no longer in force or no longer seen."""
    wanted = [step.row.id for step in due]
    seen = Memory.objects.visible_to(by.clearance).current().filter(id__in=wanted).order_by("memory_id")
    if list(seen.select_for_update().values_list("id", flat=True)) != wanted:
        raise stale()


_CHANGED = {
    "version": "m.version + 1",
    "classification_tier": "next.classification_tier",
    "sensitivity_labels": "next.sensitivity_labels",
    "label_keys": "next.label_keys",
    "defaulted": "next.defaulted",
    "status": "next.status",
}
_CLOSE = "UPDATE memories SET superseded_at = now() WHERE id = ANY(%s)"
# The fingerprint stays: the writer's own write sent again is the same write, whatever it was classified as since.
_ADD = f"""
INSERT INTO memories ({", ".join(COLUMNS)}, said_at, said_id)
SELECT {", ".join(_CHANGED.get(name, f"m.{name}") for name in COLUMNS)},
       coalesce(m.said_at, m.recorded_at), coalesce(m.said_id, m.id)
FROM jsonb_to_recordset(%s) AS next (
    id bigint, classification_tier varchar, sensitivity_labels varchar[], label_keys varchar[], defaulted varchar[],
    status varchar
) JOIN memories AS m ON m.id = next.id
"""  # noqa: S608 - put together from names of columns, which are constants


def _write(due: list[Step]) -> None:
    following = [
        {
            "id": step.row.id,
            **step.after.shown,
            "label_keys": sorted(label_keys(step.after.sensitivity_labels)),
            "defaulted": step.after.defaulted,
        }
        for step in due
    ]
    with connection.cursor() as cursor:
        cursor.execute(_CLOSE, [[step.row.id for step in due]])
        cursor.execute(_ADD, [orjson.dumps(following).decode()])


def _event(plan: Plan, reason: str) -> ledger.Event:
    due = plan.due
    return ledger.Event(
        principal=plan.by.name,
        action=_action(due),
        memory_ids=[step.row.memory_id for step in due],
        # Of each memory alone its versions tell; here stands what is true of all of them.
        details={
            "asked": plan.asked,
            "before": _common(step.before for step in due),
            "after": _common(step.after for step in due),
            "reason": reason,
        },
        reach=reach_of(plan.by.clearance),
    )


def _action(due: list[Step]) -> str:
    moved = {(step.before.status, step.after.status) for step in due}
    if moved == {("active", "quarantined")}:
        return "memory.quarantine"
    return "memory.release" if moved == {("quarantined", "active")} else "memory.relabel"


def _common(classifications: Iterable[Classification]) -> dict[str, Any]:
    first, *others = [classification.shown for classification in classifications]
    return {name: value for name, value in first.items() if all(other[name] == value for other in others)}
