"""The check of the conflict lists finds what is wrong with them, and nothing else."""

from uuid import UUID

import pytest

from memoryhub.conflicts.decisions import resolve
from memoryhub.conflicts.decisions.resolve import Resolution, ResolutionRequest
from memoryhub.conflicts.groups.consistency import ConsistencyReport, verify_conflicts
from memoryhub.conflicts.groups.group_keys import compute_evidence
from memoryhub.conflicts.models import GroupClassCache
from memoryhub.firewall import rls
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories import clock
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import apply_decisions
from tests.conflicts.groups.test_groups import list_all_groups
from tests.factories import make_memory

pytestmark = pytest.mark.django_db

STEWARD = Principal(
    name="user:steward", scopes=frozenset({Scope.READ, Scope.CURATE}), clearance=unrestricted_clearance()
)


def _members_evidence(members: list[resolve.GroupMember]) -> str:
    return compute_evidence((member.memory_id, member.version) for member in members)


class TestVerifying:
    def test_finds_nothing_wrong_with_what_is_right(self):
        paris = make_memory(subject="user:ada", collection="city", content="Paris")
        for subject in ("user:ada", "user:bob"):
            for content in ("Berlin", "Rome"):
                make_memory(subject=subject, collection="city", content=content)
        _keep_memory(paris)
        progress_calls: list[tuple[str, int]] = []

        report = verify_conflicts(
            [unrestricted_clearance(), Clearance()], progress=lambda label, count: progress_calls.append((label, count))
        )

        # Each for two readers; what is open in two scopes, what was decided in the one that it was decided in.
        assert report == ConsistencyReport(open=4, decided=2, decisions=2, retired=4)
        assert ("groups by collection", 2) in progress_calls

    def test_finds_a_class_that_was_kept_and_is_another(self):
        for content in ("Paris", "Berlin"):
            make_memory(subject="user:ada", collection="city", content=content)
        assert len(list_all_groups()) == 1
        GroupClassCache.objects.update(conflict_class="duplicate")

        report = verify_conflicts([unrestricted_clearance()])

        assert report.findings == [
            "'user:ada' / 'city' was kept as duplicate, and is contradiction.",
            "'user:ada' / 'city' / '' was kept as duplicate, and is contradiction.",
        ]

    def test_finds_a_memory_that_no_decision_retired(self):
        paris = make_memory(subject="user:ada", collection="city", content="Paris")
        make_memory(subject="user:ada", collection="city", content="Berlin")
        outcome = _keep_memory(paris)
        stray_memory = make_memory(subject="user:ada", collection="city", content="Rome")
        _set_retired(stray_memory, outcome.decision_id)

        report = verify_conflicts([unrestricted_clearance()])

        assert report.findings == [
            f"Memory {stray_memory.memory_id} is retired by {outcome.decision_id}, which did not reject its value."
        ]

    def test_finds_a_memory_whose_decision_was_undone(self):
        paris = make_memory(subject="user:ada", collection="city", content="Paris")
        make_memory(subject="user:ada", collection="city", content="Berlin")
        outcome = _keep_memory(paris)
        assert outcome.decision_id
        resolve.undo_decisions([outcome.decision_id], principal=STEWARD, reason="It was wrong.")
        _set_retired(paris, outcome.decision_id)

        findings = verify_conflicts([unrestricted_clearance()]).findings

        assert f"Memory {paris.memory_id} is retired by {outcome.decision_id}, which was undone." in findings


def _keep_memory(memory: Memory) -> resolve.ResolutionResult:
    key = (memory.subject, memory.collection)
    choice = Resolution(outcome="keep_one", keep=[memory.memory_id], reason="Asked.")
    return resolve.resolve(
        ResolutionRequest(key=key, evidence=_members_evidence(resolve.list_members(key, STEWARD)), resolution=choice),
        principal=STEWARD,
    )


def _set_retired(memory: Memory, decision_id: UUID | None) -> None:
    assert decision_id
    current = Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)
    clock.next_record_time()
    with rls.as_writer(None):
        apply_decisions.set_status({current.id: decision_id}, status="retired")
