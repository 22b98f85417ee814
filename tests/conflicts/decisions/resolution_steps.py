"""Steps that the tests of decisions share: store rival values, decide about their group, undo it, look."""

from typing import Any
from uuid import UUID

from memoryhub.conflicts.decisions import resolve
from memoryhub.conflicts.decisions.resolve import Resolution, ResolutionRequest
from memoryhub.conflicts.groups.group_keys import compute_evidence
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.models import Memory
from tests.factories import make_memory

KEY = ("user:ada", "city")


def make_steward(name: str = "user:ada", **clearance: Any) -> Principal:
    clearance_value = Clearance(**clearance) if clearance else unrestricted_clearance()
    return Principal(
        name=name, scopes=frozenset({Scope.READ, Scope.CURATE}), clearance=clearance_value, actor_type="user"
    )


STEWARD = make_steward()


def make_value(content: str, **fields: Any) -> Memory:
    return make_memory(subject=KEY[0], collection=KEY[1], content=content, **fields)


def resolution_request(principal: Principal = STEWARD, key: tuple[str, ...] = KEY, **choice: Any) -> ResolutionRequest:
    members = resolve.list_members(key, principal)
    evidence = compute_evidence((member.memory_id, member.version) for member in members)
    return ResolutionRequest(key=key, evidence=evidence, resolution=Resolution(**{"reason": "Asked her.", **choice}))


def keep_values(*kept_memories: Memory, principal: Principal = STEWARD) -> resolve.ResolutionResult:
    outcome = "keep_one" if len({memory.content for memory in kept_memories}) == 1 else "keep_several"
    return resolve.resolve(
        resolution_request(principal, outcome=outcome, keep=[memory.memory_id for memory in kept_memories]),
        principal=principal,
    )


def undo_decisions(*decision_ids: UUID | None, principal: Principal = STEWARD) -> list[resolve.UndoResult]:
    return resolve.undo_decisions(
        [decision_id for decision_id in decision_ids if decision_id], principal=principal, reason="It was wrong."
    )


def current_version(memory: Memory) -> Memory:
    return Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)


def current_statuses(*memories: Memory) -> list[str]:
    return [current_version(memory).status for memory in memories]
