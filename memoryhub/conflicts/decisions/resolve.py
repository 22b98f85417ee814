"""Resolve groups and undo decisions: versions, decisions and an audit entry, in one transaction.

The members are read again after the record clock has ticked, when no other transaction writes: the second of two
concurrent requests is refused as stale. A losing memory is retired only if every clearance that can see it can see the
whole group. Otherwise it stays active, because retiring it would reveal that hidden members exist.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import orjson
from django.db import connection

from memoryhub.audit.actions import AuditAction
from memoryhub.conflicts.decisions.plans import GroupMember, ResolutionPlan, list_members, plan_resolutions
from memoryhub.conflicts.decisions.resolution_requests import (
    REFUSAL_MESSAGES,
    PolicyAttribution,
    Resolution,
    ResolutionRequest,
    ResolutionResult,
    UndoResult,
    ValidityPeriod,
    refusal_error,
)
from memoryhub.conflicts.groups import group_keys
from memoryhub.conflicts.groups.group_keys import GroupKey
from memoryhub.conflicts.models import Claim, Decision
from memoryhub.firewall import audit_events, rls
from memoryhub.firewall.clearance import normalize_labels
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories import clock
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import apply_decisions
from memoryhub.memories.writes.envelope import OperationRejectedError
from memoryhub.memories.writes.versions import write_transaction

__all__ = [
    "REFUSAL_MESSAGES",
    "GroupMember",
    "PolicyAttribution",
    "Resolution",
    "ResolutionRequest",
    "ResolutionResult",
    "UndoResult",
    "ValidityPeriod",
    "list_members",
    "resolve",
    "resolve_many",
    "undo_decisions",
]  # fmt: skip


def resolve(
    resolution_request: ResolutionRequest, *, principal: Principal, route: str = "", request_id: str = ""
) -> ResolutionResult:
    """Carry out one request; returns its result after COMMIT.

    Raises MissingScopeError without the scopes `curate` and `read`, and OperationRejectedError with a code of
    REFUSAL_MESSAGES.
    """
    (result,) = _execute([resolution_request], principal, None, route=route, request_id=request_id)
    if isinstance(result, OperationRejectedError):
        raise result
    return result


def resolve_many(
    resolution_requests: Sequence[ResolutionRequest],
    *,
    principal: Principal,
    attribution: PolicyAttribution | None = None,
    route: str = "",
    request_id: str = "",
) -> list[ResolutionResult]:
    """Carry out those requests that can be carried out, in one transaction; returns a result for each, in order.

    Raises MissingScopeError without the scopes `curate` and `read`.
    """
    results = _execute(resolution_requests, principal, attribution, route=route, request_id=request_id)
    return [
        ResolutionResult(key=resolution_request.key, refusal=result.code)
        if isinstance(result, OperationRejectedError)
        else result
        for resolution_request, result in zip(resolution_requests, results, strict=True)
    ]


def undo_decisions(
    decision_ids: Sequence[UUID], *, principal: Principal, reason: str, route: str = "", request_id: str = ""
) -> list[UndoResult]:
    """Undo decisions in one transaction, in whatever order they were made.

    Returns a result for each distinct id, in order. Raises MissingScopeError without the scopes `curate` and `read`,
    and OperationRejectedError if `reason` is blank.
    """
    _require_scopes(principal)
    if not reason.strip():
        raise OperationRejectedError({"reason": ["is required."]})
    with write_transaction(()):
        clock.next_record_time()
        with rls.as_reader(principal.clearance):
            query = Decision.objects.visible_to(principal.clearance).filter(decision_id__in=decision_ids).with_undo()
            decisions_by_id: dict[UUID, Decision] = {decision.decision_id: decision for decision in query}
        undo_ids = {id_: uuid4() for id_ in dict.fromkeys(decision_ids) if not _undo_refusal(decisions_by_id.get(id_))}
        with rls.as_writer(None):
            insert_decisions(
                [
                    _undo_decision_row(decisions_by_id[id_], undo_id, principal, reason)
                    for id_, undo_id in undo_ids.items()
                ]
            )
            undo_id_by_merged_id = {
                merged_id: undo_id for id_, undo_id in undo_ids.items() if (merged_id := decisions_by_id[id_].merged_id)
            }
            restored_by_decision = apply_decisions.restore_retired(undo_ids, created_memories=undo_id_by_merged_id)
        visible_ids = _visible_ids([memory_id for ids in restored_by_decision.values() for memory_id in ids], principal)
        results = [
            UndoResult(
                undoes_id=id_,
                decision_id=undo_ids.get(id_),
                restored_ids=[memory_id for memory_id in restored_by_decision.get(id_, []) if memory_id in visible_ids],
                refusal="" if id_ in undo_ids else _undo_refusal(decisions_by_id.get(id_)),
            )
            for id_ in dict.fromkeys(decision_ids)
        ]
        if undo_ids:
            affected_ids = sorted(
                visible_ids
                | {affected_id for id_ in undo_ids for affected_id in decisions_by_id[id_].memory_ids}
                | undo_id_by_merged_id.keys()
            )
            details = {"reason": reason, **({"decision_id": str(*undo_ids)} if len(undo_ids) == 1 else {})}
            audit_events.record_audit_event(
                AuditAction.CONFLICT_UNDO,
                principal=principal,
                memory_ids=affected_ids,
                details=details,
                route=route,
                request_id=request_id,
            )
    return results


def _execute(
    resolution_requests: Sequence[ResolutionRequest],
    principal: Principal,
    attribution: PolicyAttribution | None,
    *,
    route: str,
    request_id: str,
) -> list[ResolutionResult | OperationRejectedError]:
    """The result of each request, or its refusal."""
    _require_scopes(principal)
    with write_transaction(()):
        now = clock.next_record_time()
        with rls.as_reader(principal.clearance):
            plans_or_refusals = plan_resolutions(resolution_requests, principal, now)
        plans_by_key = {key: plan for key, plan in plans_or_refusals.items() if isinstance(plan, ResolutionPlan)}
        with rls.as_writer(None):
            results_by_key = {key: _apply_plan(plan) for key, plan in plans_by_key.items()}
            retiring_decisions = {
                member.id: plan.decision_id for plan in plans_by_key.values() for member in plan.retired_members
            }
            other_spelling_ids = {id_ for plan in plans_by_key.values() for id_ in plan.other_spelling_ids}
            exceeding_source_ids = {
                member.id for plan in plans_by_key.values() for member in plan.exceeding_source_members
            }
            apply_decisions.set_status(
                retiring_decisions,
                status="retired",
                other_spelling_ids=other_spelling_ids,
                exceeding_source_ids=exceeding_source_ids,
            )
            insert_decisions(
                [
                    _decision_row(plan, results_by_key[key].merged_id, principal, attribution)
                    for key, plan in plans_by_key.items()
                ]
            )
        _release_claims(plans_by_key, principal)
        if plans_by_key:
            affected_ids = sorted(
                {
                    memory_id
                    for plan in plans_by_key.values()
                    for memory_id in _affected_ids(plan, results_by_key[plan.resolution_request.key])
                }
            )
            details = _audit_details(plans_by_key.values(), attribution)
            audit_events.record_audit_event(
                AuditAction.CONFLICT_RESOLVE,
                principal=principal,
                memory_ids=affected_ids,
                details=details,
                route=route,
                request_id=request_id,
            )
    remaining_results: dict[GroupKey, ResolutionResult | OperationRejectedError] = {
        key: plan if isinstance(plan, OperationRejectedError) else results_by_key[key]
        for key, plan in plans_or_refusals.items()
    }
    # The second of two requests about one group finds it decided.
    stale_refusal = refusal_error("stale")
    return [remaining_results.pop(resolution_request.key, stale_refusal) for resolution_request in resolution_requests]


def _require_scopes(principal: Principal) -> None:
    # Without the scope `read` the refusals would reveal which groups exist.
    principal.require_scopes(Scope.CURATE, Scope.READ)


def _apply_plan(plan: ResolutionPlan) -> ResolutionResult:
    merged_id = (
        apply_decisions.store_merged_draft(plan.merged_draft, decision_id=plan.decision_id)
        if plan.merged_draft
        else None
    )
    kept_ids, retired_ids, still_active_ids = (
        _memory_ids(members) for members in (plan.kept_members, plan.retired_members, plan.still_active_members)
    )
    return ResolutionResult(
        key=plan.resolution_request.key,
        decision_id=plan.decision_id,
        kept_ids=kept_ids,
        retired_ids=retired_ids,
        still_active_ids=still_active_ids,
        merged_id=merged_id,
    )


def _release_claims(released_keys: Iterable[GroupKey], principal: Principal) -> None:
    key_set = set(released_keys)
    own_claims = Claim.objects.filter(subject__in={key[0] for key in key_set}, principal=principal.name)
    Claim.objects.filter(id__in=[claim.pk for claim in own_claims if claim.key in key_set]).delete()


def _visible_ids(memory_ids: Sequence[UUID], principal: Principal) -> set[UUID]:
    with rls.as_reader(principal.clearance):
        visible_rows = Memory.objects.visible_to(principal.clearance).current().with_ids(memory_ids)
        return set(visible_rows.values_list("memory_id", flat=True))


def _undo_refusal(decision: Decision | None) -> str:
    if decision is None:
        return "not_found"
    if decision.outcome == "undo":
        return "cannot_undo_undo"
    return "already_undone" if getattr(decision, "undone_by_id", None) else ""


def _decision_row(
    plan: ResolutionPlan, merged_id: UUID | None, principal: Principal, attribution: PolicyAttribution | None
) -> dict[str, Any]:
    resolution, members = plan.resolution_request.resolution, plan.members
    labels = [normalize_labels(member.sensitivity_labels) for member in members]
    validity = {str(id_): period.model_dump(mode="json", by_alias=True) for id_, period in resolution.validity.items()}
    return {
        "decision_id": plan.decision_id,
        "outcome": resolution.outcome,
        **_key_columns(plan.resolution_request.key),
        "memory_ids": _memory_ids(members),
        "kept_ids": _memory_ids(plan.kept_members),
        "retired_ids": _memory_ids(plan.retired_members),
        "still_active_ids": _memory_ids(plan.still_active_members),
        "merged_id": merged_id,
        "accepted_hashes": plan.accepted_hashes,
        "validity": orjson.dumps(validity).decode(),
        "deferred_until": resolution.deferred_until,
        "evidence": bytes.fromhex(plan.resolution_request.evidence),
        "reason": resolution.reason,
        "principal": principal.name,
        "policy_id": attribution and attribution.policy_id,
        "policy_version": attribution and attribution.policy_version,
        "rule": plan.resolution_request.rule,
        "run_id": attribution and attribution.run_id,
        "undoes_id": None,
        "tiers": sorted({member.classification_tier for member in members}),
        "any_labels": sorted(frozenset().union(*labels)),
        "common_labels": sorted(frozenset.intersection(*labels)),
        "namespaces": sorted({member.namespace for member in members}),
    }


def _undo_decision_row(decision: Decision, undo_id: UUID, principal: Principal, reason: str) -> dict[str, Any]:
    copied_fields = (
        "subject",
        "collection",
        "namespace",
        "memory_ids",
        "evidence",
        "tiers",
        "any_labels",
        "common_labels",
    )
    return {
        **{name: getattr(decision, name) for name in (*copied_fields, "namespaces")},
        "kept_ids": [],
        "retired_ids": [],
        "still_active_ids": [],
        "accepted_hashes": [],
        "validity": "{}",
        "merged_id": None,
        "deferred_until": None,
        "policy_id": None,
        "policy_version": None,
        "rule": "",
        "run_id": None,
        "decision_id": undo_id,
        "outcome": "undo",
        "reason": reason,
        "principal": principal.name,
        "undoes_id": decision.decision_id,
    }


def insert_decisions(rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert decisions from the values of all columns. `decided_at` defaults to the record time of the transaction."""
    with connection.cursor() as cursor:
        cursor.executemany(_INSERT_SQL, [{"decided_at": None, **row} for row in rows])


_INSERT_SQL = """
INSERT INTO decisions (
    decision_id, decided_at, outcome, subject, collection, namespace, memory_ids, kept_ids, retired_ids,
    still_active_ids, merged_id, accepted_hashes, validity, deferred_until, evidence, reason, principal, policy_id,
    policy_version, rule, run_id, undoes_id, tiers, any_labels, common_labels, namespaces
) VALUES (
    %(decision_id)s, %(decided_at)s, %(outcome)s, %(subject)s, %(collection)s, %(namespace)s, %(memory_ids)s::uuid[],
    %(kept_ids)s::uuid[], %(retired_ids)s::uuid[], %(still_active_ids)s::uuid[], %(merged_id)s,
    %(accepted_hashes)s::bytea[], %(validity)s::jsonb, %(deferred_until)s, %(evidence)s, %(reason)s, %(principal)s,
    %(policy_id)s, %(policy_version)s, %(rule)s, %(run_id)s, %(undoes_id)s, %(tiers)s::varchar[],
    %(any_labels)s::varchar[], %(common_labels)s::varchar[], %(namespaces)s::varchar[]
)
"""


def _key_columns(key: GroupKey) -> dict[str, str | None]:
    return dict(zip(group_keys.KEY_COLUMNS, (*key, None)[:3], strict=True))


def _memory_ids(members: Iterable[GroupMember]) -> list[UUID]:
    return [member.memory_id for member in members]


def _affected_ids(plan: ResolutionPlan, result: ResolutionResult) -> Iterator[UUID]:
    yield from _memory_ids(plan.members)
    if result.merged_id:
        yield result.merged_id


def _audit_details(plans: Iterable[ResolutionPlan], attribution: PolicyAttribution | None) -> dict[str, Any]:
    """The details that apply to each of the memories. The decisions hold those of a single group."""
    plan_list = list(plans)
    common: dict[str, set[str]] = {
        "outcome": {plan.resolution_request.resolution.outcome for plan in plan_list},
        "reason": {plan.resolution_request.resolution.reason for plan in plan_list},
        "decision_id": {str(plan.decision_id) for plan in plan_list},
    }
    details: dict[str, Any] = {name: values.pop() for name, values in common.items() if len(values) == 1}
    if attribution:
        details |= {
            "policy_id": str(attribution.policy_id),
            "version": attribution.policy_version,
            "run_id": str(attribution.run_id),
        }
    return details
