"""What the lists of conflicts say is what a plain reader of the same rows finds, whatever was decided."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.conflicts.decisions import resolve
from memoryhub.conflicts.decisions.resolve import Resolution, ResolutionRequest
from memoryhub.conflicts.groups.consistency import ConsistencyReport, verify_conflicts
from memoryhub.conflicts.groups.group_keys import GroupKey, compute_evidence
from memoryhub.conflicts.models import Decision, GroupClassCache
from memoryhub.firewall import rls
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories import clock
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import apply_decisions
from tests.conflicts.groups.test_groups import list_all_groups
from tests.factories import make_memory, store_drafts
from tests.harness.strategies import KNOWN_TIERS, example_settings, prepare_memory, roll_back

pytestmark = pytest.mark.django_db

STEWARD = Principal(
    name="user:steward", scopes=frozenset({Scope.READ, Scope.CURATE}), clearance=unrestricted_clearance()
)
CLEARANCES = (
    unrestricted_clearance(),
    Clearance(),
    Clearance(max_tier="confidential", blocked_labels=frozenset({"PII"})),
    Clearance(max_tier="restricted", namespaces=frozenset({"team"})),
)
WEIGHTED_READERS = [*CLEARANCES[:1] * 4, *CLEARANCES]
SUBJECTS = ("user:ada", "caf\u00e9")

ROW_STRATEGY = st.fixed_dictionaries(
    {
        "subject": st.sampled_from(SUBJECTS),
        "collection": st.just("city"),
        "content": st.sampled_from(["Paris", "Berlin", "Rome"]),
        "namespace": st.sampled_from(["", "team"]),
        "tier": st.sampled_from([*KNOWN_TIERS[:1] * 3, *KNOWN_TIERS]),
        "labels": st.sampled_from([[], [], ["pii"]]),
    }
)
ACTION_STRATEGY = st.fixed_dictionaries(
    {
        "clearance": st.sampled_from(WEIGHTED_READERS),
        "size": st.sampled_from([2, 2, 3]),
        "index": st.integers(0, 3),
        "outcome": st.sampled_from(["keep_one", "keep_several", "merge", "not_a_conflict", "defer", "undo"]),
        "joins": st.none() | st.none() | ROW_STRATEGY,
    }
)


@example_settings(20, soak_examples=2_000)
@given(
    rows=st.lists(ROW_STRATEGY, min_size=5, max_size=12),
    actions=st.lists(ACTION_STRATEGY, min_size=2, max_size=5),
    reader=st.sampled_from(WEIGHTED_READERS),
    scope=st.sampled_from(["collection", "namespace"]),
)
def test_what_is_open_and_what_is_decided_follows_from_rows_and_decisions(rows, actions, reader, scope):
    with roll_back():
        store_drafts([prepare_memory(**row) for row in rows])
        for action in actions:
            _take_action(**action)

        expected = dict(_expected_states(reader, 2 if scope == "collection" else 3))
        for status in ("open", "decided"):
            listed_groups = list_all_groups(f"scope={scope}&status={status}", clearance=reader)
            assert {group.key: group.evidence for group in listed_groups} == {
                key: evidence for key, (state, evidence) in expected.items() if state == status
            }
        all_groups = list_all_groups(f"scope={scope}&status=all", clearance=reader, limit=2)
        assert {group.key: (group.status, group.evidence) for group in all_groups} == expected
        assert len(all_groups) == len(expected)
        assert verify_conflicts([reader]).findings == []


def _take_action(*, clearance: Clearance, size: int, index: int, outcome: str, joins: dict[str, Any] | None) -> None:
    principal = Principal(name="user:steward", scopes=STEWARD.scopes, clearance=clearance)
    if outcome == "undo":
        decision_ids = list(Decision.objects.visible_to(clearance).values_list("decision_id", flat=True).order_by("id"))
        resolve.undo_decisions(decision_ids[index : index + 1], principal=principal, reason="It was wrong.")
    elif disputed_keys := sorted(_disputed_keys(clearance, size)):
        _resolve(disputed_keys[index % len(disputed_keys)], outcome, principal)
    if joins:
        store_drafts([prepare_memory(**joins)])


def _disputed_keys(clearance: Clearance, size: int) -> Iterator[GroupKey]:
    values: dict[GroupKey, set[str]] = defaultdict(set)
    for row in Memory.objects.filter(superseded_at=None, status="active"):
        if clearance.permits(row):
            values[(row.subject, row.collection, row.namespace)[:size]].add(row.content)
    yield from (key for key, contents in values.items() if len(contents) > 1)


def _resolve(key: GroupKey, outcome: str, principal: Principal) -> None:
    members = resolve.list_members(key, principal)
    values = list({member.content_sha256: member.memory_id for member in members}.values())
    choices: dict[str, dict[str, Any]] = {
        "keep_one": {"keep": values[:1]},
        "keep_several": {"keep": values[:2]},
        "merge": {"content": f"Both: {uuid4()}"},
    }
    choice = Resolution(outcome=outcome, reason="Asked.", **choices.get(outcome, {}))  # type: ignore[arg-type]  # drawn
    resolve.resolve_many(
        [ResolutionRequest(key=key, evidence=_members_evidence(members), resolution=choice)], principal=principal
    )


def _members_evidence(members: list[resolve.GroupMember]) -> str:
    return compute_evidence((member.memory_id, member.version) for member in members)


def _expected_states(clearance: Clearance, size: int) -> Iterator[tuple[GroupKey, tuple[str, str]]]:
    """The definition, over all rows and all decisions, with the firewall's rule in Python."""
    current = {row.memory_id: row for row in Memory.objects.filter(superseded_at=None)}
    visible_ids = {memory_id for memory_id, row in current.items() if clearance.permits(row)}
    undone_ids = set(Decision.objects.values_list("undoes_id", flat=True))
    in_force: dict[GroupKey, list[Decision]] = defaultdict(list)
    for decision in Decision.objects.exclude(outcome="undo"):
        if decision.decision_id not in undone_ids and set(decision.memory_ids) <= visible_ids:
            in_force[decision.key].append(decision)
    rows: dict[GroupKey, list[Memory]] = defaultdict(list)
    for memory_id in visible_ids:
        row = current[memory_id]
        rows[(row.subject, row.collection, row.namespace)[:size]].append(row)
    for key, key_rows in rows.items():
        active = [row for row in key_rows if row.status == "active"]
        ids = {decision.decision_id for decision in in_force[key]}
        retired = [row for row in key_rows if row.status == "retired" and row.decision_id in ids]
        values = {bytes(row.content_sha256) for row in active}
        is_accepted = any(values <= set(map(bytes, decision.accepted_hashes)) for decision in in_force[key])
        evidence = compute_evidence((row.memory_id, row.version) for row in active)
        if len(values) > 1:
            yield key, ("decided" if is_accepted else "open", evidence)
        elif in_force[key] and len(values | {bytes(row.content_sha256) for row in retired}) > 1:
            yield key, ("decided", evidence)


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
            f"Memory {stray_memory.memory_id} is retired by {outcome.decision_id}, which rejected nothing like it."
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
