"""What the lists of conflicts say is what a plain reader of the same rows finds, whatever was decided."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.conflicts import decide
from memoryhub.conflicts.decide import Choice, Wish
from memoryhub.conflicts.keys import Key, evidence_of
from memoryhub.conflicts.models import Decision, GroupClass
from memoryhub.conflicts.verify import Report, verify
from memoryhub.firewall import wall
from memoryhub.firewall.types import Clearance, Principal, Scope, everything
from memoryhub.memories import clock, standing
from memoryhub.memories.models import Memory
from tests.builders import make_memory, store
from tests.conflicts.test_groups import found
from tests.harness.generated import KNOWN_TIERS, examples, planted, rolled_back

pytestmark = pytest.mark.django_db

STEWARD = Principal(name="user:steward", scopes=frozenset({Scope.READ, Scope.INSPECT}), clearance=everything())
READERS = (
    everything(),
    Clearance(),
    Clearance(max_tier="confidential", blocked_labels=frozenset({"PII"})),
    Clearance(max_tier="restricted", namespaces=frozenset({"team"})),
)
MOSTLY_ALL = [*READERS[:1] * 4, *READERS]
SUBJECTS = ("user:ada", "caf\u00e9")

ROWS = st.fixed_dictionaries(
    {
        "subject": st.sampled_from(SUBJECTS),
        "collection": st.just("city"),
        "content": st.sampled_from(["Paris", "Berlin", "Rome"]),
        "namespace": st.sampled_from(["", "team"]),
        "tier": st.sampled_from([*KNOWN_TIERS[:1] * 3, *KNOWN_TIERS]),
        "labels": st.sampled_from([[], [], ["pii"]]),
    }
)
DEEDS = st.fixed_dictionaries(
    {
        "reader": st.sampled_from(MOSTLY_ALL),
        "size": st.sampled_from([2, 2, 3]),
        "place": st.integers(0, 3),
        "outcome": st.sampled_from(["keep_one", "keep_several", "merge", "not_a_conflict", "defer", "undo"]),
        "joins": st.none() | st.none() | ROWS,
    }
)


@examples(20, soak=2_000)
@given(
    rows=st.lists(ROWS, min_size=5, max_size=12),
    deeds=st.lists(DEEDS, min_size=2, max_size=5),
    reader=st.sampled_from(MOSTLY_ALL),
    scope=st.sampled_from(["collection", "namespace"]),
)
def test_what_is_open_and_what_is_decided_follows_from_rows_and_decisions(rows, deeds, reader, scope):
    with rolled_back():
        store([planted(**row) for row in rows])
        for deed in deeds:
            _do(**deed)

        expected = dict(_plain(reader, 2 if scope == "collection" else 3))
        for status in ("open", "decided"):
            listed = found(f"scope={scope}&status={status}", clearance=reader)
            assert {group.key: group.evidence for group in listed} == {
                key: evidence for key, (stands, evidence) in expected.items() if stands == status
            }
        every = found(f"scope={scope}&status=all", clearance=reader, limit=2)
        assert {group.key: (group.status, group.evidence) for group in every} == expected
        assert len(every) == len(expected)
        assert verify([reader]).findings == []


def _do(*, reader: Clearance, size: int, place: int, outcome: str, joins: dict[str, Any] | None) -> None:
    by = Principal(name="user:steward", scopes=STEWARD.scopes, clearance=reader)
    if outcome == "undo":
        made = list(Decision.objects.visible_to(reader).values_list("decision_id", flat=True).order_by("id"))
        decide.undo(made[place : place + 1], by=by, reason="It was wrong.")
    elif disputed := sorted(_disputed(reader, size)):
        _decide(disputed[place % len(disputed)], outcome, by)
    if joins:
        store([planted(**joins)])


def _disputed(reader: Clearance, size: int) -> Iterator[Key]:
    values: dict[Key, set[str]] = defaultdict(set)
    for row in Memory.objects.filter(superseded_at=None, status="active"):
        if reader.permits(row):
            values[(row.subject, row.collection, row.namespace)[:size]].add(row.content)
    yield from (key for key, said in values.items() if len(said) > 1)


def _decide(key: Key, outcome: str, by: Principal) -> None:
    members = decide.members(key, by)
    values = list({member.content_sha256: member.memory_id for member in members}.values())
    choices: dict[str, dict[str, Any]] = {
        "keep_one": {"keep": values[:1]},
        "keep_several": {"keep": values[:2]},
        "merge": {"content": f"Both: {uuid4()}"},
    }
    choice = Choice(outcome=outcome, reason="Asked.", **choices.get(outcome, {}))  # type: ignore[arg-type]  # drawn
    decide.decide_all([Wish(key=key, evidence=_evidence(members), choice=choice)], by=by)


def _evidence(members: list[decide.Member]) -> str:
    return evidence_of((member.memory_id, member.version) for member in members)


def _plain(reader: Clearance, size: int) -> Iterator[tuple[Key, tuple[str, str]]]:
    """The definition, over all rows and all decisions, with the firewall's rule in Python."""
    current = {row.memory_id: row for row in Memory.objects.filter(superseded_at=None)}
    seen = {memory_id for memory_id, row in current.items() if reader.permits(row)}
    undone = set(Decision.objects.values_list("reverses", flat=True))
    in_force: dict[Key, list[Decision]] = defaultdict(list)
    for decision in Decision.objects.exclude(outcome="undo"):
        if decision.decision_id not in undone and set(decision.memory_ids) <= seen:
            in_force[decision.key].append(decision)
    rows: dict[Key, list[Memory]] = defaultdict(list)
    for memory_id in seen:
        row = current[memory_id]
        rows[(row.subject, row.collection, row.namespace)[:size]].append(row)
    for key, of_key in rows.items():
        active = [row for row in of_key if row.status == "active"]
        ids = {decision.decision_id for decision in in_force[key]}
        retired = [row for row in of_key if row.status == "retired" and row.decision in ids]
        values = {bytes(row.content_sha256) for row in active}
        settled = any(values <= set(map(bytes, decision.settled)) for decision in in_force[key])
        evidence = evidence_of((row.memory_id, row.version) for row in active)
        if len(values) > 1:
            yield key, ("decided" if settled else "open", evidence)
        elif in_force[key] and len(values | {bytes(row.content_sha256) for row in retired}) > 1:
            yield key, ("decided", evidence)


class TestVerifying:
    def test_finds_nothing_wrong_with_what_is_right(self):
        paris = make_memory(subject="user:ada", collection="city", content="Paris")
        for subject in ("user:ada", "user:bob"):
            for content in ("Berlin", "Rome"):
                make_memory(subject=subject, collection="city", content=content)
        _keep(paris)
        told: list[tuple[str, int]] = []

        report = verify([everything(), Clearance()], progress=lambda what, number: told.append((what, number)))

        # Each for two readers; what is open in two scopes, what was decided in the one that it was decided in.
        assert report == Report(open=4, decided=2, decisions=2, retired=4)
        assert ("groups by collection", 2) in told

    def test_finds_a_class_that_was_kept_and_is_another(self):
        for content in ("Paris", "Berlin"):
            make_memory(subject="user:ada", collection="city", content=content)
        assert len(found()) == 1
        GroupClass.objects.update(klass="duplicate")

        report = verify([everything()])

        assert report.findings == [
            "'user:ada' / 'city' was kept as duplicate, and is contradiction.",
            "'user:ada' / 'city' / '' was kept as duplicate, and is contradiction.",
        ]

    def test_finds_a_memory_that_no_decision_retired(self):
        paris = make_memory(subject="user:ada", collection="city", content="Paris")
        make_memory(subject="user:ada", collection="city", content="Berlin")
        outcome = _keep(paris)
        stray = make_memory(subject="user:ada", collection="city", content="Rome")
        _retire(stray, outcome.decision_id)

        report = verify([everything()])

        assert report.findings == [
            f"Memory {stray.memory_id} is retired by {outcome.decision_id}, which rejected nothing like it."
        ]

    def test_finds_a_memory_whose_decision_was_undone(self):
        paris = make_memory(subject="user:ada", collection="city", content="Paris")
        make_memory(subject="user:ada", collection="city", content="Berlin")
        outcome = _keep(paris)
        assert outcome.decision_id
        decide.undo([outcome.decision_id], by=STEWARD, reason="It was wrong.")
        _retire(paris, outcome.decision_id)

        findings = verify([everything()]).findings

        assert f"Memory {paris.memory_id} is retired by {outcome.decision_id}, which was undone." in findings


def _keep(memory: Memory) -> decide.Outcome:
    key = (memory.subject, memory.collection)
    choice = Choice(outcome="keep_one", keep=[memory.memory_id], reason="Asked.")
    return decide.decide(Wish(key=key, evidence=_evidence(decide.members(key, STEWARD)), choice=choice), by=STEWARD)


def _retire(memory: Memory, decision_id: UUID | None) -> None:
    assert decision_id
    current = Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)
    clock.tick()
    with wall.writing(None):
        standing.stand({current.id: decision_id}, status="retired")
