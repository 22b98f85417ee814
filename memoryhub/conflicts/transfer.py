"""Decisions, policies and their runs as lines of an export, and back: all that another hub needs to go on from them.

A decision names its memories by id, and each of them by source and payload_id: where a memory has another id in the
hub that reads, it is found by these. Claims do not travel: whoever held one has to read again.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from django.db.models import Q
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from memoryhub.audit import ledger
from memoryhub.conflicts import decisions, policies
from memoryhub.conflicts.decide import add_decisions
from memoryhub.conflicts.models import OUTCOMES, Decision, Policy, PolicyRun
from memoryhub.firewall import wall
from memoryhub.firewall.querysets import covered_by
from memoryhub.firewall.reach import reach_of
from memoryhub.firewall.types import Clearance, Principal
from memoryhub.memories import clock
from memoryhub.memories.envelope import Document, Instant, Name, Rejected, Text, one_of, rejected
from memoryhub.memories.exported import Id
from memoryhub.memories.ingest import Outcome, Receipt, committed
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import fetched
from memoryhub.memories.stored_versions import find_ids

CHUNK = 500
Line = dict[str, Any]
Among = Callable[[set[UUID]], set[UUID]]
"""Which of some memories are in an export."""


def _hexadecimal(value: str) -> str:
    try:
        return bytes.fromhex(value).hex()
    except ValueError:
        raise PydanticCustomError("hexadecimal", "must be hexadecimal.") from None


Hash = Annotated[str, AfterValidator(_hexadecimal)]
Whole = Annotated[int, Field(ge=0)]
Version = Annotated[int, Field(ge=1)]


class Item(BaseModel):
    """A line of an export that is no memory."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    type: str


class ReachItem(Item):
    """An item that is for those who may see all that its maker could see."""

    reach_tiers: list[Text]
    reach_blocked: list[Text]
    reach_required: list[Text]
    reach_namespaces: list[Text] | None


class PolicyLine(ReachItem):
    type: Literal["policy"]
    policy_id: Id
    version: Version
    name: Name
    namespace: Name | None
    collection: Name | None
    classes: list[Text]
    rules: list[dict[str, Any]]
    is_enabled: bool
    at: Instant
    principal: Text


class RunLine(ReachItem):
    type: Literal["policy_run"]
    run_id: Id
    policy_id: Id
    policy_version: Version
    principal: Text
    started: Instant
    finished: Instant | None
    after: list[Text] | None
    seen: Whole
    decided: Whole
    left: Whole
    undone: Whole


class Named(BaseModel):
    """A memory that a decision names."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    memory_id: Id
    source: Name
    payload_id: Name

    @property
    def name(self) -> tuple[UUID, str, str]:
        return self.memory_id, self.source, self.payload_id


class DecisionLine(Item):
    type: Literal["decision"]
    decision_id: Id
    at: Instant
    outcome: Annotated[str, one_of(*OUTCOMES)]
    subject: Name
    collection: Name
    namespace: Name | None
    memory_ids: list[Id]
    kept: list[Id]
    retired: list[Id]
    left: list[Id]
    merged: Id | None
    memories: list[Named]
    settled: list[Hash]
    validity: dict[Id, Document]
    until: Instant | None
    evidence: Hash
    reason: Annotated[Text, Field(min_length=1)]
    principal: Text
    policy: Id | None
    policy_version: Version | None
    rule: Text
    run: Id | None
    reverses: Id | None
    tiers: list[Text]
    some_labels: list[Text]
    all_labels: list[Text]
    namespaces: list[Text]


_SHAPES: dict[str, type[Item]] = {"policy": PolicyLine, "policy_run": RunLine, "decision": DecisionLine}
_OF_POLICY = ("name", "namespace", "collection", "classes", "rules", "is_enabled")
_REACH = ("reach_tiers", "reach_blocked", "reach_required", "reach_namespaces")
_SAID = (
    "decision_id", "at", "outcome", "subject", "collection", "namespace", "memory_ids", "kept", "retired", "left",
    "merged", "validity", "until", "evidence", "reason", "principal", "policy", "policy_version", "rule", "run",
    "reverses",
)  # fmt: skip
_CLASSIFIED = ("tiers", "some_labels", "all_labels", "namespaces")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedDecision:
    """A decision that a reader may see, as a line."""

    line: Line
    is_whole: bool
    """Whether all of its memories are in the export."""


def policy_lines(clearance: Clearance, known_at: datetime | None = None) -> Iterator[Line]:
    """All versions of the policies that `clearance` may see, in the order of their making, and then their runs."""
    moment = Q() if known_at is None else Q(at__lte=known_at)
    seen = Policy.objects.filter(moment, policy_id__in=policies.visible_ids(clearance))
    for policy in seen.order_by("at", "id").iterator(CHUNK):
        told = ("policy_id", "version", *_OF_POLICY, "at", "principal", *_REACH)
        yield {"type": "policy", **{name: getattr(policy, name) for name in told}}
    begun = Q() if known_at is None else Q(started__lte=known_at)
    runs = PolicyRun.objects.filter(begun, covered_by(clearance), policy__in=seen).select_related("policy")
    for run in runs.order_by("started", "run_id").iterator(CHUNK):
        numbers = ("run_id", "principal", "started", "finished", "after", "seen", "decided", "left", "undone", *_REACH)
        named = {"policy_id": run.policy.policy_id, "policy_version": run.policy.version}
        yield {"type": "policy_run", **named, **{name: getattr(run, name) for name in numbers}}


def decision_lines(
    clearance: Clearance, among: Among | None = None, known_at: datetime | None = None
) -> Iterator[ExportedDecision]:
    """The decisions that `clearance` may see, in the order of their making. None is an export of all memories."""
    moment, last = Q() if known_at is None else Q(recorded_at__lte=known_at), 0
    while True:
        with wall.behind(clearance):
            seen = Decision.objects.visible_to(clearance).filter(moment, id__gt=last).undone_by().order_by("id")
            rows: list[Decision] = list(seen[:CHUNK])
            found = list(_exported(rows, clearance, among))
        yield from found
        if len(rows) < CHUNK:
            return
        last = rows[-1].pk


def read(raw: Mapping[str, Any]) -> Item:
    """The item in a line. Raises Rejected with the errors of every field."""
    shape = _SHAPES.get(raw["type"]) if isinstance(raw["type"], str) else None
    if shape is None:
        raise Rejected({"type": [f"must be one of {', '.join(_SHAPES)}."]})
    try:
        return shape.model_validate(raw)
    except ValidationError as error:
        raise rejected(error) from None


def restore(items: Sequence[Item], *, by: Principal) -> list[Receipt]:
    """Store items of one type in one transaction; a receipt for each, in order. For the operator alone."""
    if not by.is_operator:
        refusal = {"type": ["is imported by the operator alone."]}
        return [Receipt(payload_id=None, outcome=Outcome.REJECTED, code="scope_required", errors=refusal)] * len(items)
    with committed(None):
        clock.tick()
        if isinstance(items[0], DecisionLine):
            return _restore_decisions([item for item in items if isinstance(item, DecisionLine)], by)
        own = {item.policy_id for item in items if isinstance(item, PolicyLine)}
        receipts = [_one_by_one(item, by, own) for item in items]
        if any(receipt.outcome is Outcome.CREATED for receipt in receipts):
            _record("policy.import", by, [])
        return receipts


def _exported(rows: Sequence[Decision], clearance: Clearance, among: Among | None) -> Iterator[ExportedDecision]:
    members = {row.pk: {*row.memory_ids, *([row.merged] if row.merged else [])} for row in rows}
    every = set().union(*members.values())
    kept = every if among is None else among(every)
    latest = Memory.objects.visible_to(clearance).with_ids(sorted(every)).filter(superseded_at__isnull=True)
    names = {named[0]: named for named in latest.values_list("memory_id", "source", "payload_id")}
    # What a reader is told of a decision, with what it takes to judge by it elsewhere.
    for row, told in zip(rows, decisions.shown_to(rows, clearance), strict=True):
        named = [dict(zip(Named.model_fields, names[id_], strict=True)) for id_ in members[row.pk] if id_ in names]
        line = {
            "type": "decision",
            **{name: getattr(told, name) for name in _SAID},
            "memories": sorted(named, key=lambda one: str(one["memory_id"])),
            "settled": [bytes(value).hex() for value in row.settled],
            **{name: getattr(row, name) for name in _CLASSIFIED},
        }
        yield ExportedDecision(line=line, is_whole=members[row.pk] <= kept)


def _one_by_one(item: Item, by: Principal, own: set[UUID]) -> Receipt:
    if isinstance(item, PolicyLine):
        return _restore_policy(item, by, own)
    if isinstance(item, RunLine):
        return _restore_run(item)
    raise TypeError(item)


def _restore_policy(line: PolicyLine, by: Principal, own: set[UUID]) -> Receipt:
    columns = line.model_dump(exclude={"type"})
    stored = Policy.objects.filter(policy_id=line.policy_id, version=line.version).first()
    if stored is not None:
        return _compared(all(getattr(stored, name) == value for name, value in columns.items()), "version")
    try:
        policies.read({name: columns[name] for name in _OF_POLICY})
    except Rejected as reason:
        return _refused(Outcome.REJECTED, reason.errors)
    rivals = Q(namespace=line.namespace, collection=line.collection, classes__overlap=line.classes)
    known = {policy.pk for policy in policies.newest(by) if policy.is_enabled and policy.policy_id not in own}
    if line.is_enabled and Policy.objects.filter(rivals, pk__in=known).exists():
        return _refused(Outcome.CONFLICT, {"policy": ["decides groups that a policy of this hub decides already."]})
    made = Policy(**columns)
    made.save(force_insert=True)
    # The field puts the time of the import in its place.
    Policy.objects.filter(pk=made.pk).update(at=line.at)
    return Receipt(payload_id=None, outcome=Outcome.CREATED)


def _restore_run(line: RunLine) -> Receipt:
    policy = Policy.objects.filter(policy_id=line.policy_id, version=line.policy_version).first()
    if policy is None:
        return _refused(Outcome.REJECTED, {"policy_id": ["is of no policy that is stored."]})
    columns = line.model_dump(exclude={"type", "run_id", "policy_id", "policy_version"})
    stored = PolicyRun.objects.filter(run_id=line.run_id).first()
    if stored is not None:
        same = stored.policy == policy and stored.principal == line.principal and stored.started == line.started
        return _compared(same, "run_id")
    PolicyRun(run_id=line.run_id, policy=policy, **columns).save(force_insert=True)
    PolicyRun.objects.filter(run_id=line.run_id).update(started=line.started)
    return Receipt(payload_id=None, outcome=Outcome.CREATED)


def _restore_decisions(lines: Sequence[DecisionLine], by: Principal) -> list[Receipt]:
    ids = [line.decision_id for line in lines]
    reversed_ids = [line.reverses for line in lines if line.reverses]
    stored = {row["decision_id"]: row for row in fetched(_STORED, [[*ids, *reversed_ids]])}
    undone = {row["reverses"] for row in fetched(_UNDONE, [reversed_ids])}
    here = find_ids({one.name for line in lines for one in line.memories})
    due: dict[UUID, Line] = {}
    receipts = []
    for line in lines:
        known = due.get(line.decision_id) or stored.get(line.decision_id)
        if known is not None:
            is_same = all(getattr(line, name) == known[name] for name in _COMPARED)
            receipts.append(_compared(is_same, "decision_id"))
            continue
        own_ids = {one.memory_id: here[one.name] for one in line.memories}
        if errors := _why_not(line, own_ids, stored.keys() | due.keys(), undone):
            receipts.append(_refused(Outcome.CONFLICT, errors))
            continue
        due[line.decision_id] = _row(line, {id_: own for id_, own in own_ids.items() if own})
        undone |= {line.reverses} if line.reverses else set()
        receipts.append(Receipt(payload_id=None, outcome=Outcome.CREATED))
    if due:
        add_decisions(list(due.values()))
        touched = sorted({memory_id for row in due.values() for memory_id in row["memory_ids"]})
        _record("conflict.import", by, touched)
    return receipts


def _why_not(
    line: DecisionLine, own_ids: Mapping[UUID, UUID | None], known: Collection[UUID], undone: Collection[UUID]
) -> dict[str, list[str]]:
    if not {*line.memory_ids, *line.kept, *line.retired, *line.left} <= own_ids.keys():
        return {"memories": ["must name each memory of the decision by source and payload_id."]}
    if None in own_ids.values():
        return {"memories": ["have the memory_id of another memory here."]}
    if (line.outcome == "undo") != (line.reverses is not None):
        return {"reverses": ["is given with an undo, and with nothing else."]}
    if line.reverses and line.reverses not in known:
        return {"reverses": ["is no decision that is stored."]}
    if line.reverses in undone:
        return {"reverses": ["was undone here already."]}
    return {}


def _row(line: DecisionLine, own_ids: Mapping[UUID, UUID]) -> Line:
    def here(memory_ids: Iterable[UUID]) -> list[UUID]:
        return [own_ids.get(memory_id, memory_id) for memory_id in memory_ids]

    return {
        **line.model_dump(exclude={"type", "memories"}),
        **{name: here(getattr(line, name)) for name in ("memory_ids", "kept", "retired", "left")},
        "merged": next(iter(here([line.merged] if line.merged else [])), None),
        "settled": [bytes.fromhex(value) for value in line.settled],
        "evidence": bytes.fromhex(line.evidence),
        "validity": orjson.dumps({str(own_ids.get(id_, id_)): span for id_, span in line.validity.items()}).decode(),
    }


def _compared(is_same: bool, field: str) -> Receipt:
    if is_same:
        return Receipt(payload_id=None, outcome=Outcome.DUPLICATE)
    return _refused(Outcome.CONFLICT, {field: ["is stored with other content."]})


def _refused(outcome: Outcome, errors: dict[str, list[str]]) -> Receipt:
    return Receipt(payload_id=None, outcome=outcome, code="import_conflict", errors=errors)


def _record(action: str, by: Principal, memory_ids: Sequence[UUID]) -> None:
    event = ledger.Event(principal=by.name, action=action, memory_ids=memory_ids, reach=reach_of(by.clearance))
    ledger.append(event)


_COMPARED = ("at", "outcome", "subject", "collection", "namespace", "reason", "principal", "reverses")
_STORED = f"SELECT decision_id, {', '.join(_COMPARED)} FROM decisions WHERE decision_id = ANY (%s::uuid[])"  # noqa: S608
_UNDONE = "SELECT decision_id, reverses FROM decisions WHERE reverses = ANY (%s::uuid[])"
