"""Carrying out a policy over all open groups, and taking that back: in steps, each of which is one transaction.

What a step decided and how far the run has come are committed together. A run that was killed goes on where it was, and
another one meets the same groups: those that are decided are open no more, so nothing is decided twice.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
from django.core.signing import BadSignature, Signer
from django.db.models import Q, QuerySet
from django.http import QueryDict
from django.utils import timezone

from memoryhub.conflicts import decide, policies, prospects
from memoryhub.conflicts.choices import Automatic, Choice, Wish
from memoryhub.conflicts.models import Decision, Policy, PolicyRun
from memoryhub.conflicts.prospects import Prospect
from memoryhub.firewall import deeds, wall
from memoryhub.firewall.cursors import signer_of
from memoryhub.firewall.querysets import covered_by
from memoryhub.firewall.reach import reach_columns, reach_of
from memoryhub.firewall.types import Clearance, Principal, Scope
from memoryhub.memories import clock
from memoryhub.memories.envelope import Rejected
from memoryhub.memories.filters import refuse_unknown
from memoryhub.memories.ingest import committed
from memoryhub.memories.pages import bad_cursor, parse_limit

STEP = 100
"""Groups that are looked at, or decisions that are undone, in one transaction: writers wait for it."""
PARAMETERS = ("limit", "cursor")
REFUSALS = {
    "not_found": "There is no such run.",
    "disabled": "The policy is disabled.",
    "superseded": "The policy has changed since the run was started. Start another one.",
    "other_reach": "The run was started by somebody who sees other memories. Start one of your own.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    runs: list[PolicyRun]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Undoing:
    """What one step undid, and whether that was all of it."""

    run: PolicyRun
    undone: int
    refused: int
    is_finished: bool


def start(policy_id: UUID, *, by: Principal, route: str = "", request_id: str = "") -> PolicyRun:
    """A new run of a policy, which has decided nothing yet: `go_on` carries out its steps.

    Raises PermissionDenied for who is no admin, and Rejected: `not_found`, `disabled`.
    """
    _check(by)
    policy = policies.one(policy_id, by)
    if policy is None:
        raise Rejected({"": ["There is no such policy."]}, "not_found")
    if not policy.is_enabled:
        raise _refused("disabled")
    run = PolicyRun(run_id=uuid4(), policy=policy, principal=by.name, **reach_columns(reach_of(by.clearance)))
    with deeds.together():
        run.save(force_insert=True)
        told = {"policy": str(policy.policy_id), "name": policy.name, "version": policy.version}
        deeds.tell("policy.run", by=by, details={**told, "run": str(run.run_id)}, route=route, request_id=request_id)
    return run


def go_on(run_id: UUID, *, by: Principal, size: int | None = None, route: str = "", request_id: str = "") -> PolicyRun:
    """Carry out the next step of a run, and tell how far it has come, after COMMIT. A finished run stays as it is.

    Raises PermissionDenied for who is no admin, and Rejected with a code of REFUSALS.
    """
    _check(by)
    with committed(()):
        run = _locked(run_id, by)
        if run.finished is None:
            _check_it_fits(run, by)
            after = None if run.after is None else tuple(run.after)
            found = prospects.look(run.policy, by=by, after=after, number=size or STEP)
            decided = _decide(run, [each for each in found.prospects if not each.left], by, route, request_id)
            run.seen += len(found.prospects)
            run.decided += decided
            run.left += len(found.prospects) - decided
            run.after = found.last if found.last is None else list(found.last)
            run.finished = timezone.now() if found.last is None else None
            run.save()
    return run


def undo(
    run_id: UUID, *, by: Principal, reason: str, size: int | None = None, route: str = "", request_id: str = ""
) -> Undoing:
    """Undo the next decisions of a run that are in force, and tell how many that were. The run ends there.

    Raises PermissionDenied for who is no admin, and Rejected: `not_found`, `invalid_value` without a reason.
    """
    _check(by)
    if not reason.strip():
        raise Rejected({"reason": ["is required."]})
    with committed(()):
        run = _locked(run_id, by)
        due = _in_force(run, by.clearance, size or STEP)
        found = decide.undo(list(due), by=by, reason=reason, route=route, request_id=request_id) if due else []
        undone = sum(not each.refusal for each in found)
        is_finished = len(due) < (size or STEP)
        run.undone += undone
        # Those that are undone by now are not passed over once more; whoever comes later and sees more begins anew.
        run.undoing = None if is_finished else max(due.values())
        run.finished = run.finished or timezone.now()
        run.save()
    return Undoing(run=run, undone=undone, refused=len(due) - undone, is_finished=is_finished)


def one(run_id: UUID, by: Principal) -> PolicyRun | None:
    """A run, if `by` sees as much as whoever started it."""
    return _seen(by).filter(run_id=run_id).first()


def of_policy(policy_id: UUID, by: Principal, number: int = 20) -> list[PolicyRun]:
    """The last runs of a policy that `by` may know of."""
    return list(_seen(by).filter(policy__policy_id=policy_id)[:number])


def page(data: QueryDict, *, reader: Principal) -> RunPage:
    """The page of runs that `limit` and `cursor` ask for, the newest first. Raises BadQuery."""
    refuse_unknown(data, frozenset(PARAMETERS))
    limit, signer = parse_limit(data.get("limit", "")), signer_of(reader, "policy runs")
    found = _seen(reader)
    if cursor := data.get("cursor"):
        started, run_id = _read(cursor, signer)
        found = found.filter(Q(started__lt=started) | Q(started=started, run_id__lt=run_id))
    runs = list(found[: limit + 1])
    last = runs[limit - 1] if len(runs) > limit else None
    return RunPage(runs=runs[:limit], next_cursor=_write(last, signer) if last else None)


def may_go_on(run: PolicyRun, by: Principal) -> bool:
    """Whether there is something left to do for a run, and `by` may do it."""
    return run.finished is None and by.may(Scope.ADMIN) and _why_not(run, by) == ""


def as_json(run: PolicyRun) -> dict[str, Any]:
    told = ("run_id", "principal", "started", "finished", "seen", "decided", "left", "undone")
    policy: Policy = run.policy
    named = {"policy_id": policy.policy_id, "policy_version": policy.version, "policy_name": policy.name}
    return {**{name: getattr(run, name) for name in told}, **named}


def reason_of(policy: Policy, prospect: Prospect) -> str:
    """Why an automatic decision was made, in words."""
    return f"Policy “{policy.name}”, version {policy.version}, {prospect.rule}: {prospect.words}."


def _decide(run: PolicyRun, due: Sequence[Prospect], by: Principal, route: str, request_id: str) -> int:
    """How many groups were decided. What has changed since it was looked at is left: another run meets it again."""
    if not due:
        return 0
    # From here on nobody else writes, so that nobody decides what is about to be decided.
    clock.tick()
    still_open = prospects.still_open([each.key for each in due], by)
    wishes = [
        Wish(
            key=each.key,
            evidence=each.evidence,
            choice=Choice(outcome="keep_one", keep=[each.keep], reason=reason_of(run.policy, each)),
            rule=each.rule,
        )
        for each in due
        if each.keep and each.key in still_open
    ]
    automatic = Automatic(policy=run.policy.policy_id, policy_version=run.policy.version, run=run.run_id)
    outcomes = decide.decide_all(wishes, by=by, automatic=automatic, route=route, request_id=request_id)
    return sum(not outcome.refusal for outcome in outcomes)


def _check(by: Principal) -> None:
    by.require(Scope.ADMIN)


def _check_it_fits(run: PolicyRun, by: Principal) -> None:
    if code := _why_not(run, by):
        raise _refused(code)


def _why_not(run: PolicyRun, by: Principal) -> str:
    if run.reach != reach_columns(reach_of(by.clearance)):
        return "other_reach"
    newest = policies.one(run.policy.policy_id, by)
    if newest is None or newest.version != run.policy.version:
        return "superseded"
    return ""


def _refused(code: str) -> Rejected:
    return Rejected({"": [REFUSALS[code]]}, code)


def _seen(by: Principal) -> QuerySet[PolicyRun]:
    found = PolicyRun.objects.filter(covered_by(by.clearance), covered_by(by.clearance, through="policy__"))
    return found.select_related("policy").order_by("-started", "-run_id")


def _locked(run_id: UUID, by: Principal) -> PolicyRun:
    found = _seen(by).select_for_update(of=("self",)).filter(run_id=run_id).first()
    if found is None:
        raise _refused("not_found")
    return found


def _in_force(run: PolicyRun, clearance: Clearance, number: int) -> dict[UUID, int]:
    """The next decisions of a run that nobody has undone, and that may be seen; each with its internal number."""
    with wall.behind(clearance):
        found = Decision.objects.visible_to(clearance).in_force().filter(run=run.run_id, id__gt=run.undoing or 0)
        return dict(found.order_by("id").values_list("decision_id", "id")[:number])


def _write(run: PolicyRun, signer: Signer) -> str:
    place = orjson.dumps([run.started.isoformat(), str(run.run_id)])
    return signer.sign(base64.urlsafe_b64encode(place).decode())


def _read(cursor: str, signer: Signer) -> tuple[datetime, UUID]:
    try:
        started, run_id = orjson.loads(base64.urlsafe_b64decode(signer.unsign(cursor)))
    except (BadSignature, ValueError):
        raise bad_cursor() from None
    return datetime.fromisoformat(started), UUID(run_id)
