"""Policy runs: apply a policy to all open groups, and undo that, in steps of one transaction each.

The decisions of a step and the progress of the run are committed together, so a killed run continues where it stopped.
Another run meets the same groups and decides nothing twice, because a decided group is no longer open.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

from django.db.models import Q, QuerySet
from django.http import QueryDict
from django.utils import timezone
from pydantic import Field
from typing_extensions import TypedDict

from memoryhub.audit.actions import AuditAction
from memoryhub.conflicts.decisions import resolve
from memoryhub.conflicts.decisions.resolution_requests import PolicyAttribution, Resolution, ResolutionRequest
from memoryhub.conflicts.groups.open_groups import find_open_keys
from memoryhub.conflicts.models import Decision, Policy, PolicyRun
from memoryhub.conflicts.policies import policies, policy_evaluation
from memoryhub.conflicts.policies.policy_evaluation import GroupEvaluation
from memoryhub.core.shapes import select_fields
from memoryhub.firewall import audit_events, rls
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.clearance_snapshot import snapshot_clearance, snapshot_covered_q
from memoryhub.firewall.cursors import create_cursor_codec
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories import clock
from memoryhub.memories.filter_fields import reject_unknown_params
from memoryhub.memories.pagination import parse_limit
from memoryhub.memories.writes.envelope import OperationRejectedError
from memoryhub.memories.writes.versions import write_transaction

BATCH_SIZE = 100
"""Groups evaluated, or decisions undone, in one transaction; writers wait for it."""
PAGE_PARAMS = ("limit", "cursor")
REFUSAL_MESSAGES = {
    "not_found": "There is no such run.",
    "policy_disabled": "The policy is disabled.",
    "policy_changed": "The policy has changed since the run was started. Start another run.",
    "clearance_differs": "The run was started by a principal that sees other memories. Start another run.",
}


class PolicyRunDocument(TypedDict):
    """One run of a policy over the open groups."""

    run_id: UUID
    policy_id: UUID
    policy_version: int
    policy_name: str
    principal: str
    started_at: datetime
    finished_at: Annotated[datetime | None, Field(description="Null while the run has steps left.")]
    groups_seen: Annotated[int, Field(description="Open groups that the run has evaluated.")]
    decisions_made: int
    groups_skipped: int
    decisions_undone: Annotated[int, Field(description="Decisions that were undone with the run.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    runs: list[PolicyRun]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoStep:
    """The result of one step of undoing a run."""

    run: PolicyRun
    undone_count: int
    refused_count: int
    is_finished: bool


def start_run(policy_id: UUID, *, principal: Principal, route: str = "", request_id: str = "") -> PolicyRun:
    """Create a run of a policy; `advance_run` carries out its steps.

    Raises MissingScopeError without the scope `admin`, and OperationRejectedError: `not_found`, `policy_disabled`.
    """
    principal.require_scopes(Scope.ADMIN)
    policy = policies.get_current(policy_id, principal)
    if policy is None:
        raise OperationRejectedError({"": ["There is no such policy."]}, "not_found")
    if not policy.is_enabled:
        raise _refusal_error("policy_disabled")
    run = PolicyRun(
        run_id=uuid4(),
        policy=policy,
        principal=principal.name,
        **snapshot_clearance(principal.clearance).to_columns(),
    )
    with audit_events.atomic():
        run.save(force_insert=True)
        policy_details = {"policy_id": str(policy.policy_id), "name": policy.name, "version": policy.version}
        audit_events.record_audit_event(
            AuditAction.POLICY_RUN,
            principal=principal,
            details={**policy_details, "run_id": str(run.run_id)},
            route=route,
            request_id=request_id,
        )
    return run


def advance_run(
    run_id: UUID, *, principal: Principal, batch_size: int | None = None, route: str = "", request_id: str = ""
) -> PolicyRun:
    """Carry out the next step of a run; returns the run after COMMIT. A finished run is returned unchanged.

    Raises MissingScopeError without the scope `admin`, and OperationRejectedError with a code of REFUSAL_MESSAGES.
    """
    principal.require_scopes(Scope.ADMIN)
    with write_transaction(()):
        run = _lock_run(run_id, principal)
        if run.finished_at is None:
            _require_advanceable(run, principal)
            after_key = None if run.resume_after is None else tuple(run.resume_after)
            batch = policy_evaluation.evaluate_batch(
                run.policy, principal=principal, after_key=after_key, limit=batch_size or BATCH_SIZE
            )
            decided_count = _resolve_groups(
                run,
                [evaluation for evaluation in batch.evaluations if not evaluation.skip_reason],
                principal,
                route,
                request_id,
            )
            run.groups_seen += len(batch.evaluations)
            run.decisions_made += decided_count
            run.groups_skipped += len(batch.evaluations) - decided_count
            run.resume_after = batch.last_key if batch.last_key is None else list(batch.last_key)
            run.finished_at = timezone.now() if batch.last_key is None else None
            run.save()
    return run


def undo_step(
    run_id: UUID,
    *,
    principal: Principal,
    reason: str,
    batch_size: int | None = None,
    route: str = "",
    request_id: str = "",
) -> UndoStep:
    """Undo the next decisions of a run that are in force. An unfinished run ends there.

    Raises MissingScopeError without the scope `admin`, and OperationRejectedError: `not_found`, or `invalid_value` if
    `reason` is blank.
    """
    principal.require_scopes(Scope.ADMIN)
    if not reason.strip():
        raise OperationRejectedError({"reason": ["is required."]})
    with write_transaction(()):
        run = _lock_run(run_id, principal)
        row_id_by_decision = _list_in_force(run, principal.clearance, batch_size or BATCH_SIZE)
        results = (
            resolve.undo_decisions(
                list(row_id_by_decision), principal=principal, reason=reason, route=route, request_id=request_id
            )
            if row_id_by_decision
            else []
        )
        undone_count = sum(not result.refusal for result in results)
        is_finished = len(row_id_by_decision) < (batch_size or BATCH_SIZE)
        run.decisions_undone += undone_count
        # The next step skips the decisions that are undone. At the end the cursor is cleared: a later caller may see
        # more decisions, and starts from the first one.
        run.undo_cursor = None if is_finished else max(row_id_by_decision.values())
        run.finished_at = run.finished_at or timezone.now()
        run.save()
    return UndoStep(
        run=run,
        undone_count=undone_count,
        refused_count=len(row_id_by_decision) - undone_count,
        is_finished=is_finished,
    )


def get_run(run_id: UUID, principal: Principal) -> PolicyRun | None:
    """The run with this id; None unless `principal` sees as much as the principal that started it."""
    return _visible_runs(principal).filter(run_id=run_id).first()


def list_for_policy(policy_id: UUID, principal: Principal, limit: int = 20) -> list[PolicyRun]:
    """The latest runs of a policy that `principal` may see, the newest first."""
    return list(_visible_runs(principal).filter(policy__policy_id=policy_id)[:limit])


def list_page(params: QueryDict, *, principal: Principal) -> RunPage:
    """The page of runs given by `limit` and `cursor`, the newest first. Raises InvalidQueryError."""
    reject_unknown_params(params, frozenset(PAGE_PARAMS))
    limit, codec = parse_limit(params.get("limit", "")), create_cursor_codec(principal, "policy runs")
    visible_runs = _visible_runs(principal)
    if cursor := params.get("cursor"):
        started_at, run_id = codec.decode(cursor, datetime, UUID)
        visible_runs = visible_runs.filter(Q(started_at__lt=started_at) | Q(started_at=started_at, run_id__lt=run_id))
    runs = list(visible_runs[: limit + 1])
    next_cursor = codec.encode(runs[limit - 1].started_at, runs[limit - 1].run_id) if len(runs) > limit else None
    return RunPage(runs=runs[:limit], next_cursor=next_cursor)


def can_advance(run: PolicyRun, principal: Principal) -> bool:
    """Whether a run is unfinished and `principal` may advance it."""
    return run.finished_at is None and principal.has_scope(Scope.ADMIN) and _find_advance_refusal(run, principal) == ""


def to_json(run: PolicyRun) -> PolicyRunDocument:
    policy: Policy = run.policy
    policy_fields = {"policy_id": policy.policy_id, "policy_version": policy.version, "policy_name": policy.name}
    return select_fields(PolicyRunDocument, vars(run) | policy_fields)


def format_reason(policy: Policy, evaluation: GroupEvaluation) -> str:
    """The reason of an automatic decision."""
    return f"Policy “{policy.name}”, version {policy.version}, {evaluation.rule}: {evaluation.explanation}."


def _resolve_groups(
    run: PolicyRun, evaluations: Sequence[GroupEvaluation], principal: Principal, route: str, request_id: str
) -> int:
    """Resolve the groups; returns how many were decided. A group that has changed since is left to another run."""
    if not evaluations:
        return 0
    # After this call no other transaction writes, so nobody else can decide these groups meanwhile.
    clock.next_record_time()
    with rls.as_reader(principal.clearance):
        open_keys = set(find_open_keys([evaluation.key for evaluation in evaluations], clearance=principal.clearance))
    resolution_requests = [
        ResolutionRequest(
            key=evaluation.key,
            evidence=evaluation.evidence,
            resolution=Resolution(
                outcome="keep_one", keep=[evaluation.keep], reason=format_reason(run.policy, evaluation)
            ),
            rule=evaluation.rule,
        )
        for evaluation in evaluations
        if evaluation.keep and evaluation.key in open_keys
    ]
    attribution = PolicyAttribution(
        policy_id=run.policy.policy_id, policy_version=run.policy.version, run_id=run.run_id
    )
    results = resolve.resolve_many(
        resolution_requests, principal=principal, attribution=attribution, route=route, request_id=request_id
    )
    return sum(not result.refusal for result in results)


def _require_advanceable(run: PolicyRun, principal: Principal) -> None:
    if code := _find_advance_refusal(run, principal):
        raise _refusal_error(code)


def _find_advance_refusal(run: PolicyRun, principal: Principal) -> str:
    if run.clearance_snapshot != snapshot_clearance(principal.clearance):
        return "clearance_differs"
    current_version = policies.get_current(run.policy.policy_id, principal)
    if current_version is None or current_version.version != run.policy.version:
        return "policy_changed"
    return ""


def _refusal_error(code: str) -> OperationRejectedError:
    return OperationRejectedError({"": [REFUSAL_MESSAGES[code]]}, code)


def _visible_runs(principal: Principal) -> QuerySet[PolicyRun]:
    visible_runs = PolicyRun.objects.filter(
        snapshot_covered_q(principal.clearance), snapshot_covered_q(principal.clearance, relation_prefix="policy__")
    )
    return visible_runs.select_related("policy").order_by("-started_at", "-run_id")


def _lock_run(run_id: UUID, principal: Principal) -> PolicyRun:
    run = _visible_runs(principal).select_for_update(of=("self",)).filter(run_id=run_id).first()
    if run is None:
        raise _refusal_error("not_found")
    return run


def _list_in_force(run: PolicyRun, clearance: Clearance, limit: int) -> dict[UUID, int]:
    """The next decisions of a run that are in force and visible, each with its row id."""
    with rls.as_reader(clearance):
        decisions = (
            Decision.objects.visible_to(clearance).in_force().filter(run_id=run.run_id, id__gt=run.undo_cursor or 0)
        )
        return dict(decisions.order_by("id").values_list("decision_id", "id")[:limit])
