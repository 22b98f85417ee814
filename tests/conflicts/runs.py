"""What tests of policies share: somebody who may make and run them, policies, and groups to decide."""

from collections import Counter
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from memoryhub.conflicts import policies, prospects, runs
from memoryhub.conflicts.keys import Key
from memoryhub.conflicts.models import Decision, Policy, PolicyRun
from memoryhub.conflicts.prospects import Prospect
from memoryhub.firewall.types import Clearance, Principal, Scope, everything
from memoryhub.memories.models import Memory
from tests.builders import make_memory

ADMIN = Principal(name="user:root", scopes=frozenset({Scope.ADMIN}), clearance=everything())
# Of all that a policy decides if it is asked to.
CLASSES = ["contradiction", "update", "duplicate"]
LATEST = [{"rule": "latest_event"}]


def admin(**clearance: Any) -> Principal:
    return Principal(name="user:root", scopes=frozenset({Scope.ADMIN}), clearance=Clearance(**clearance))


def make_policy(*rules: str | dict[str, Any], by: Principal = ADMIN, **fields: Any) -> Policy:
    told = [{"rule": rule} if isinstance(rule, str) else rule for rule in rules] or LATEST
    draft = policies.read({"name": "Newest first", "rules": told, "classes": CLASSES, **fields})
    return policies.save(draft, by=by)


def change(policy: Policy, *, by: Principal = ADMIN, **fields: Any) -> Policy:
    return policies.save(policies.draft_of(policy, **fields), by=by, policy_id=policy.policy_id, version=policy.version)


def make_group(subject: str, *contents: str, collection: str = "city", **fields: Any) -> list[Memory]:
    """A memory for each content, each a day later than the one before it."""
    return [
        make_memory(
            subject=subject, collection=collection, content=content, timestamp=f"2026-03-{day:02}T12:00:00Z", **fields
        )
        for day, content in enumerate(contents, 1)
    ]


def tried(policy: Policy, *, by: Principal = ADMIN, at_once: int = prospects.AT_ONCE) -> list[Prospect]:
    return [each for some in prospects.dry_run(policy, by=by, at_once=at_once) for each in some]


def carried_out(policy: Policy, *, by: Principal = ADMIN, size: int | None = None) -> PolicyRun:
    return finished(runs.start(policy.policy_id, by=by), by=by, size=size)


def finished(run: PolicyRun, *, by: Principal = ADMIN, size: int | None = None) -> PolicyRun:
    while run.finished is None:
        run = runs.go_on(run.run_id, by=by, size=size)
    return run


def taken_back(run: PolicyRun, *, by: Principal = ADMIN, size: int | None = None) -> int:
    undone = 0
    while True:
        step = runs.undo(run.run_id, by=by, reason="Was a mistake.", size=size)
        undone += step.undone
        if step.is_finished:
            return undone


def standing(memories: Iterable[Memory]) -> dict[str, str]:
    """What each memory says, and its status now."""
    ids = [memory.memory_id for memory in memories]
    rows = Memory.objects.filter(memory_id__in=ids, superseded_at=None)
    return dict(rows.values_list("content", "status"))


def decided() -> Counter[Key]:
    """How many decisions are in force about each key."""
    return Counter(decision.key for decision in Decision.objects.in_force())


def current() -> set[tuple[UUID, str]]:
    return set(Memory.objects.filter(superseded_at=None).values_list("memory_id", "status"))
