"""Deciding about groups, and undoing that: versions, decisions and an entry in the ledger, in one transaction.

What is decided on is read again after the tick, when nobody else writes: whoever comes second is told so. Nothing that
a reader sees is changed for the sake of memories that this reader may not see: a memory is retired only if whoever may
see it may see all of the group; it is left in force otherwise (FW-12).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import orjson
from django.db import connection

from memoryhub.audit import ledger
from memoryhub.conflicts import keys
from memoryhub.conflicts.choices import REFUSALS, Automatic, Choice, Outcome, Undone, Validity, Wish
from memoryhub.conflicts.keys import Key
from memoryhub.conflicts.models import Claim, Decision
from memoryhub.conflicts.plans import Member, Plan, members, plans
from memoryhub.firewall import wall
from memoryhub.firewall.reach import reach_of
from memoryhub.firewall.types import Principal, Scope, label_keys
from memoryhub.memories import clock, ingest, standing
from memoryhub.memories.envelope import Rejected
from memoryhub.memories.ingest import committed
from memoryhub.memories.models import Memory

__all__ = [
    "REFUSALS", "Automatic", "Choice", "Member", "Outcome", "Undone", "Validity", "Wish", "decide", "decide_all",
    "members", "undo",
]  # fmt: skip


def decide(wish: Wish, *, by: Principal, route: str = "", request_id: str = "") -> Outcome:
    """Carry out one wish; tells of it after COMMIT.

    Raises PermissionDenied for who may not judge memories, and Rejected with a code of REFUSALS.
    """
    errors: dict[Key, Rejected] = {}
    (outcome,) = _carry_out([wish], by, None, errors, route=route, request_id=request_id)
    for reason in errors.values():
        raise reason
    return outcome


def decide_all(
    wishes: Sequence[Wish],
    *,
    by: Principal,
    automatic: Automatic | None = None,
    route: str = "",
    request_id: str = "",
) -> list[Outcome]:
    """Carry out what can be carried out of `wishes`, in one transaction, and tell of each, in order.

    Raises PermissionDenied for who may not judge memories.
    """
    return _carry_out(wishes, by, automatic, {}, route=route, request_id=request_id)


def undo(
    decision_ids: Sequence[UUID], *, by: Principal, reason: str, route: str = "", request_id: str = ""
) -> list[Undone]:
    """Undo decisions, in one transaction: each once, in whatever order they were made. Tells of each, in order.

    Raises PermissionDenied for who may not judge memories, and Rejected without a reason.
    """
    _check(by)
    if not reason.strip():
        raise Rejected({"reason": ["is required."]})
    with committed(()):
        clock.tick()
        with wall.behind(by.clearance):
            asked = Decision.objects.visible_to(by.clearance).filter(decision_id__in=decision_ids).undone_by()
            found: dict[UUID, Decision] = {decision.decision_id: decision for decision in asked}
        due = {id_: uuid4() for id_ in dict.fromkeys(decision_ids) if not _why_not_undone(found.get(id_))}
        with wall.writing(None):
            add_decisions([_undo_row(found[id_], undo_id, by, reason) for id_, undo_id in due.items()])
            merged = {made: undo_id for id_, undo_id in due.items() if (made := found[id_].merged)}
            back = standing.give_back(due, made=merged)
        seen = _seen([memory_id for ids in back.values() for memory_id in ids], by)
        undone = [
            Undone(
                reverses=id_,
                decision_id=due.get(id_),
                restored=[memory_id for memory_id in back.get(id_, []) if memory_id in seen],
                refusal="" if id_ in due else _why_not_undone(found.get(id_)),
            )
            for id_ in dict.fromkeys(decision_ids)
        ]
        if due:
            touched = sorted(seen | {one for id_ in due for one in found[id_].memory_ids} | merged.keys())
            details = {"reason": reason, **({"decision": str(*due)} if len(due) == 1 else {})}
            _tell("conflict.undo", by, touched, details, route=route, request_id=request_id)
    return undone


def _carry_out(
    wishes: Sequence[Wish],
    by: Principal,
    automatic: Automatic | None,
    errors: dict[Key, Rejected],
    *,
    route: str,
    request_id: str,
) -> list[Outcome]:
    _check(by)
    with committed(()):
        now = clock.tick()
        with wall.behind(by.clearance):
            due = dict(plans(wishes, by, now, errors))
        with wall.writing(None):
            done = {key: _write(plan) for key, plan in due.items()}
            retired = {member.id: plan.decision_id for plan in due.values() for member in plan.retired}
            spellings = {id_ for plan in due.values() for id_ in plan.other_spellings}
            beyond = {member.id for plan in due.values() for member in plan.beyond_source}
            standing.stand(retired, status="retired", other_spellings=spellings, beyond_source=beyond)
            add_decisions([_row(plan, done[key].merged, by, automatic) for key, plan in due.items()])
        _release(due, by)
        if due:
            touched = sorted({one for plan in due.values() for one in _touched(plan, done[plan.wish.key])})
            told = _details(due.values(), automatic)
            _tell("conflict.decide", by, touched, told, route=route, request_id=request_id)
    refused = {key: Outcome(key=key, refusal=error.code) for key, error in errors.items()}
    # Of two wishes about one group the second finds it decided.
    first: set[Key] = set()
    outcomes = []
    for wish in wishes:
        again = wish.key in first
        outcomes.append(Outcome(key=wish.key, refusal="stale") if again else {**refused, **done}[wish.key])
        first.add(wish.key)
    return outcomes


def _check(by: Principal) -> None:
    # Who could decide without reading would be told by refusals what there is.
    by.require(Scope.INSPECT, Scope.READ)


def _write(plan: Plan) -> Outcome:
    merged = ingest.add(plan.merged, decision=plan.decision_id) if plan.merged else None
    kept, retired, left = (_ids(rows) for rows in (plan.kept, plan.retired, plan.left))
    return Outcome(
        key=plan.wish.key, decision_id=plan.decision_id, kept=kept, retired=retired, left=left, merged=merged
    )


def _release(of: Iterable[Key], by: Principal) -> None:
    wanted = set(of)
    mine = Claim.objects.filter(subject__in={key[0] for key in wanted}, principal=by.name)
    Claim.objects.filter(id__in=[claim.pk for claim in mine if claim.key in wanted]).delete()


def _seen(memory_ids: Sequence[UUID], by: Principal) -> set[UUID]:
    with wall.behind(by.clearance):
        seen = Memory.objects.visible_to(by.clearance).current().with_ids(memory_ids)
        return set(seen.values_list("memory_id", flat=True))


def _why_not_undone(decision: Decision | None) -> str:
    if decision is None:
        return "not_found"
    if decision.outcome == "undo":
        return "is_undo"
    return "already_undone" if getattr(decision, "undo", None) else ""


def _row(plan: Plan, merged: UUID | None, by: Principal, automatic: Automatic | None) -> dict[str, Any]:
    choice, found = plan.wish.choice, plan.found
    labels = [label_keys(member.sensitivity_labels) for member in found]
    validity = {str(id_): spell.model_dump(mode="json", by_alias=True) for id_, spell in choice.validity.items()}
    return {
        "decision_id": plan.decision_id,
        "outcome": choice.outcome,
        **_named(plan.wish.key),
        "memory_ids": _ids(found),
        "kept": _ids(plan.kept),
        "retired": _ids(plan.retired),
        "left": _ids(plan.left),
        "merged": merged,
        "settled": plan.settled,
        "validity": orjson.dumps(validity).decode(),
        "until": choice.until,
        "evidence": bytes.fromhex(plan.wish.evidence),
        "reason": choice.reason,
        "principal": by.name,
        "policy": automatic and automatic.policy,
        "policy_version": automatic and automatic.policy_version,
        "rule": plan.wish.rule,
        "run": automatic and automatic.run,
        "reverses": None,
        "tiers": sorted({member.classification_tier for member in found}),
        "some_labels": sorted(frozenset().union(*labels)),
        "all_labels": sorted(frozenset.intersection(*labels)),
        "namespaces": sorted({member.namespace for member in found}),
    }


def _undo_row(decision: Decision, undo_id: UUID, by: Principal, reason: str) -> dict[str, Any]:
    same = ("subject", "collection", "namespace", "memory_ids", "evidence", "tiers", "some_labels", "all_labels")
    return {
        **{name: getattr(decision, name) for name in (*same, "namespaces")},
        "kept": [],
        "retired": [],
        "left": [],
        "settled": [],
        "validity": "{}",
        "merged": None,
        "until": None,
        "policy": None,
        "policy_version": None,
        "rule": "",
        "run": None,
        "decision_id": undo_id,
        "outcome": "undo",
        "reason": reason,
        "principal": by.name,
        "reverses": decision.decision_id,
    }


def add_decisions(rows: Sequence[Mapping[str, Any]]) -> None:
    """Store decisions with the values of all columns; without the time of its making one is made now."""
    with connection.cursor() as cursor:
        cursor.executemany(_DECIDED, [{"at": None, **row} for row in rows])


_DECIDED = """
INSERT INTO decisions (
    decision_id, at, outcome, subject, collection, namespace, memory_ids, kept, retired, "left", merged, settled,
    validity, until, evidence, reason, principal, policy, policy_version, rule, run, reverses, tiers, some_labels,
    all_labels, namespaces
) VALUES (
    %(decision_id)s, %(at)s, %(outcome)s, %(subject)s, %(collection)s, %(namespace)s, %(memory_ids)s::uuid[],
    %(kept)s::uuid[], %(retired)s::uuid[], %(left)s::uuid[], %(merged)s, %(settled)s::bytea[], %(validity)s::jsonb,
    %(until)s, %(evidence)s, %(reason)s, %(principal)s, %(policy)s, %(policy_version)s, %(rule)s, %(run)s, %(reverses)s,
    %(tiers)s::varchar[], %(some_labels)s::varchar[], %(all_labels)s::varchar[], %(namespaces)s::varchar[]
)
"""


def _named(key: Key) -> dict[str, str | None]:
    return dict(zip(keys.COLUMNS, (*key, None)[:3], strict=True))


def _ids(rows: Iterable[Member]) -> list[UUID]:
    return [member.memory_id for member in rows]


def _touched(plan: Plan, outcome: Outcome) -> Iterator[UUID]:
    yield from _ids(plan.found)
    if outcome.merged:
        yield outcome.merged


def _details(due: Iterable[Plan], automatic: Automatic | None) -> dict[str, Any]:
    """What holds for each of the memories alone; of the groups the decisions tell."""
    told = list(due)
    common: dict[str, set[str]] = {
        "outcome": {plan.wish.choice.outcome for plan in told},
        "reason": {plan.wish.choice.reason for plan in told},
        "decision": {str(plan.decision_id) for plan in told},
    }
    details: dict[str, Any] = {name: values.pop() for name, values in common.items() if len(values) == 1}
    if automatic:
        details |= {"policy": str(automatic.policy), "version": automatic.policy_version, "run": str(automatic.run)}
    return details


def _tell(
    action: str,
    by: Principal,
    touched: Sequence[UUID],
    details: Mapping[str, Any],
    *,
    route: str,
    request_id: str,
) -> None:
    ledger.append(
        ledger.Event(
            principal=by.name,
            action=action,
            memory_ids=touched,
            details=details,
            reach=reach_of(by.clearance),
            route=route,
            request_id=request_id,
        )
    )
