"""What tests of policies share: somebody who may make and run them, policies, and groups to decide."""

from collections import Counter
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from memoryhub.conflicts.groups.group_keys import GroupKey
from memoryhub.conflicts.models import Decision, Policy, PolicyRun
from memoryhub.conflicts.policies import dry_runs, policies, policy_evaluation, policy_runs
from memoryhub.conflicts.policies.policy_evaluation import GroupEvaluation
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.models import Memory
from tests.factories import make_memory

ADMIN = Principal(name="user:root", scopes=frozenset({Scope.ADMIN}), clearance=unrestricted_clearance())
# Of all that a policy decides if it is asked to.
DECIDED_CLASSES = ["contradiction", "update", "duplicate"]
LATEST_EVENT_RULES = [{"rule": "latest_event"}]


def make_admin(**clearance: Any) -> Principal:
    return Principal(name="user:root", scopes=frozenset({Scope.ADMIN}), clearance=Clearance(**clearance))


def make_policy(*rules: str | dict[str, Any], principal: Principal = ADMIN, **fields: Any) -> Policy:
    rule_list = [{"rule": rule} if isinstance(rule, str) else rule for rule in rules] or LATEST_EVENT_RULES
    draft = policies.parse_input({"name": "Newest first", "rules": rule_list, "classes": DECIDED_CLASSES, **fields})
    return policies.save_version(draft, principal=principal)


def change_policy(policy: Policy, *, principal: Principal = ADMIN, **fields: Any) -> Policy:
    return policies.save_version(
        policies.to_input(policy, **fields), principal=principal, policy_id=policy.policy_id, version=policy.version
    )


def make_group(subject: str, *contents: str, collection: str = "city", **fields: Any) -> list[Memory]:
    """A memory for each content, each a day later than the one before it."""
    return [
        make_memory(
            subject=subject, collection=collection, content=content, timestamp=f"2026-03-{day:02}T12:00:00Z", **fields
        )
        for day, content in enumerate(contents, 1)
    ]


def dry_run_policy(
    policy: Policy, *, principal: Principal = ADMIN, batch_size: int = policy_evaluation.BATCH_SIZE
) -> list[GroupEvaluation]:
    return [
        group_evaluation
        for batch in dry_runs.iter_dry_run(policy, principal=principal, batch_size=batch_size)
        for group_evaluation in batch
    ]


def run_policy(policy: Policy, *, principal: Principal = ADMIN, size: int | None = None) -> PolicyRun:
    return finish_run(policy_runs.start_run(policy.policy_id, principal=principal), principal=principal, size=size)


def finish_run(run: PolicyRun, *, principal: Principal = ADMIN, size: int | None = None) -> PolicyRun:
    while run.finished_at is None:
        run = policy_runs.advance_run(run.run_id, principal=principal, batch_size=size)
    return run


def undo_run(run: PolicyRun, *, principal: Principal = ADMIN, size: int | None = None) -> int:
    undone_count = 0
    while True:
        step = policy_runs.undo_step(run.run_id, principal=principal, reason="Was a mistake.", batch_size=size)
        undone_count += step.undone_count
        if step.is_finished:
            return undone_count


def statuses_by_content(memories: Iterable[Memory]) -> dict[str, str]:
    """What each memory says, and its status now."""
    ids = [memory.memory_id for memory in memories]
    rows = Memory.objects.filter(memory_id__in=ids, superseded_at=None)
    return dict(rows.values_list("content", "status"))


def decisions_by_key() -> Counter[GroupKey]:
    """How many decisions are in force about each key."""
    return Counter(decision.key for decision in Decision.objects.in_force())


def current_statuses() -> set[tuple[UUID, str]]:
    return set(Memory.objects.filter(superseded_at=None).values_list("memory_id", "status"))
