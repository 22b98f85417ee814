"""Relabelling: what becomes of a memory and its history, who may do it, and what of it can be taken back."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.audit.models import AuditEntry
from memoryhub.firewall import wall
from memoryhub.firewall.types import Clearance, Principal, Scope, everything, label_keys, opens
from memoryhub.memories import facets, ingest, relabel
from memoryhub.memories.envelope import Rejected
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.ingest import Outcome
from memoryhub.memories.models import Memory
from memoryhub.memories.moment import NOW
from memoryhub.memories.querysets import SAID
from memoryhub.memories.relabel import Change, Plan, Relabelled
from tests.builders import WRITER, envelope, make_clearance, make_memory
from tests.harness.generated import KNOWN_TIERS, LABELS, examples, rolled_back
from tests.memories.rows import insert, stored

pytestmark = pytest.mark.django_db

STEWARD = Principal(
    name="user:sue",
    clearance=Clearance(max_tier="restricted"),
    scopes=frozenset({Scope.READ, Scope.INSPECT, Scope.DECLASSIFY}),
)
CAREFUL = Principal(
    name="user:cal", clearance=Clearance(max_tier="confidential"), scopes=frozenset({Scope.READ, Scope.INSPECT})
)
LOW = Clearance(max_tier="internal", blocked_labels=frozenset({"pii"}))


@pytest.fixture(params=[True, False], ids=["behind both walls", "behind the first wall alone"])
def walls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(wall, "behind", lambda _: nullcontext())


def planned(memory: Memory, by: Principal = STEWARD, **asked: Any) -> Plan:
    return relabel.plan_one(memory.memory_id, relabel.read(asked, Change), by=by)


def classify(memory: Memory, by: Principal = STEWARD, reason: str = "Checked.", **asked: Any) -> Memory:
    """`memory` relabelled, as it is now."""
    relabel.carry_out(planned(memory, by, **asked), reason=reason)
    return Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)


def found(query: str, by: Principal = STEWARD, **asked: Any) -> Plan:
    filters = MemoryFilterSet(QueryDict(query), clearance=by.clearance)
    return relabel.plan_found(filters, relabel.read(asked, Change), by=by)


def undone(done: Relabelled, by: Principal = STEWARD) -> Relabelled:
    return relabel.carry_out(relabel.plan_undo(done.undo, by=by), reason="Taken back.")


def seen(clearance: Clearance) -> list[str]:
    rows = Memory.objects.visible_to(clearance).current()
    return list(rows.order_by("payload_id").values_list("payload_id", flat=True))


class TestAVersion:
    def test_is_added_that_is_the_same_but_for_what_was_changed(self):
        memory = make_memory(
            labels=["PII", "eu"], metadata={"n": 1.50, "deep": {"a": [None]}}, embedding=[0.5] * 384, kind="summary",
            propagation={"a": 1}, expires_at="2999-01-01T00:00:00Z", pinned=True, subject="user:ada",
        )  # fmt: skip
        after = classify(memory, classification_tier="confidential", add_labels=["Legal"], remove_labels=["pii"])

        then, now = stored(memory.id), stored(after.id)
        changed = {name for name in now if now[name] != then[name]}
        assert changed == {
            "id", "version", "recorded_at", "said_at", "said_id", "superseded_at", "classification_tier",
            "sensitivity_labels", "label_keys", "defaulted",
        }  # fmt: skip
        assert (now["said_at"], now["said_id"]) == (then["recorded_at"], then["id"])
        assert (after.version, after.classification_tier) == (2, "confidential")
        assert (after.sensitivity_labels, after.label_keys) == (["eu", "Legal"], ["eu", "legal"])
        assert set(memory.defaulted) - set(after.defaulted) == {"classification_tier"}
        assert then["superseded_at"] == now["recorded_at"]

    def test_is_not_added_where_nothing_changes(self):
        memory = make_memory(tier="internal", labels=["PII"])

        assert classify(memory, classification_tier="internal", add_labels=["pii"], remove_labels=["eu"]) == memory
        assert not AuditEntry.objects.filter(action__startswith="memory.re").exists()

    def test_leaves_the_writers_own_write_a_duplicate(self):
        sent = envelope(payload_id="p", content="Ada lives in Paris.")
        (receipt,) = ingest.write([sent], by=WRITER)
        classify(Memory.objects.get(), classification_tier="restricted")

        (again,) = ingest.write([sent], by=WRITER)

        assert (again.outcome, again.memory_id) == (Outcome.DUPLICATE, receipt.memory_id)

    def test_can_be_counted_at_once(self):
        memory = make_memory(namespace="team")
        make_memory(namespace="team")
        classify(memory, classification_tier="internal", add_labels=["eu"])

        counted = facets.count(MemoryFilterSet(QueryDict(), clearance=everything())).dimensions
        assert [(one.value, one.count) for one in counted["tier"]] == [("internal", 1), ("public", 1)]
        assert [(one.value, one.count) for one in counted["label"]] == [("eu", 1)]
        assert facets.total(Clearance()) == 1


class TestQuarantine:
    def test_takes_a_memory_off_the_lists_and_release_puts_it_back(self):
        memory = make_memory()
        everywhere = MemoryFilterSet(QueryDict(), clearance=STEWARD.clearance)

        away = classify(memory, CAREFUL, status="quarantined")
        assert (away.status, facets.count(everywhere).total, list(everywhere.found)) == ("quarantined", 0, [])
        back = classify(memory, CAREFUL, reason="", status="active")

        assert (back.status, facets.count(everywhere).total) == ("active", 1)
        actions = AuditEntry.objects.filter(principal=CAREFUL.name).order_by("seq").values_list("action", flat=True)
        assert list(actions) == ["memory.quarantine", "memory.release"]

    def test_is_not_for_what_is_retired(self):
        memory = Memory.objects.get(id=insert(status="retired"))

        with pytest.raises(Rejected) as refused:
            classify(memory, status="active")
        assert refused.value.code == "not_in_force"
        assert classify(memory, classification_tier="internal").status == "retired"

    def test_changes_nothing_of_what_is_erased(self):
        memory = Memory.objects.get(id=insert(status="erased", content=""))

        changes: list[dict[str, Any]] = [{"status": "quarantined"}, {"classification_tier": "internal"}]
        for asked in changes:
            with pytest.raises(Rejected) as refused:
                classify(memory, **asked)
            assert refused.value.code == "not_in_force"


class TestWhoMay:
    @pytest.mark.parametrize("scopes", [set(), {Scope.READ}, {Scope.WRITE}, {Scope.READ, Scope.DECLASSIFY}])
    def test_nobody_without_the_scope(self, scopes):
        memory = make_memory()
        reader = Principal(name="user:rob", clearance=everything(), scopes=frozenset(scopes))

        with pytest.raises(PermissionDenied):
            classify(memory, reader, classification_tier="internal")
        assert Memory.objects.count() == 1

    @pytest.mark.parametrize(
        ("stands", "asked"),
        [
            ({"tier": "confidential"}, {"classification_tier": "internal"}),
            ({"tier": "confidential"}, {"classification_tier": "public", "add_labels": ["pii"]}),
            ({"labels": ["PII"]}, {"remove_labels": ["pii"]}),
            ({"labels": ["pii", "eu"]}, {"remove_labels": ["EU"], "classification_tier": "confidential"}),
            ({}, {"add_labels": ["cleared"]}),
        ],
    )
    def test_only_who_may_declassify_opens_and_says_why(self, stands, asked):
        make_clearance(required_labels=["Cleared"])
        memory = make_memory(**stands)

        with pytest.raises(Rejected) as refused:
            classify(memory, CAREFUL, **asked)
        assert refused.value.code == "declassification"
        for blank in ("", "  \n"):
            with pytest.raises(Rejected) as refused:
                classify(memory, reason=blank, **asked)
            assert (refused.value.code, list(refused.value.errors)) == ("invalid_value", ["reason"])
        assert Memory.objects.count() == 1
        assert classify(memory, reason="It was announced.", **asked).version == 2

    @pytest.mark.parametrize(
        ("asked", "clearance"),
        [
            ({"classification_tier": "restricted"}, Clearance(max_tier="confidential")),
            (
                {"add_labels": ["PII"]},
                Clearance(max_tier="restricted", blocked_labels=frozenset({"pii"})),
            ),
            ({"remove_labels": ["TEAM-A"]}, Clearance(max_tier="restricted", required_labels=frozenset({"team-a"}))),
        ],
    )
    def test_nobody_makes_a_memory_vanish_from_themselves(self, asked, clearance):
        memory = make_memory(labels=["team-a"])
        steward = Principal(name="user:sue", clearance=clearance, scopes=STEWARD.scopes)

        with pytest.raises(Rejected) as refused:
            classify(memory, steward, **asked)
        assert refused.value.code == "above_clearance"
        assert Memory.objects.count() == 1

    @pytest.mark.usefixtures("walls")
    def test_what_is_hidden_is_not_there(self):
        hidden = make_memory(tier="restricted")

        assert planned(hidden, CAREFUL, classification_tier="public").steps == []
        assert relabel.plan_one(uuid.uuid4(), Change(status="quarantined"), by=CAREFUL).steps == []
        assert found("", CAREFUL, classification_tier="public").steps == []

    @pytest.mark.usefixtures("walls")
    def test_filters_that_were_read_for_somebody_else_do_not_widen_what_is_seen(self):
        make_memory(tier="restricted")
        theirs = MemoryFilterSet(QueryDict(), clearance=everything())

        assert relabel.plan_found(theirs, Change(status="quarantined"), by=CAREFUL).steps == []


class TestReaders:
    def test_lose_sight_of_what_is_raised_and_of_how_it_was(self):
        """FW-13"""
        for asked in ({"classification_tier": "confidential"}, {"add_labels": ["PII"]}):
            memory = make_memory(tier="internal")
            history = NOW.history(Memory.objects.visible_to(LOW), memory.memory_id)
            assert len(history) == 1

            classify(memory, CAREFUL, **asked)

            assert len(history.all()) == 0
            assert not Memory.objects.visible_to(LOW).current().filter(memory_id=memory.memory_id).exists()

    def test_of_what_is_lowered_see_what_it_is_from_then_on(self):
        """FW-14"""
        memory = make_memory(payload_id="p", tier="confidential", content="The merger is on.")
        make_memory(payload_id="p", tier="confidential", content="The merger is done.")
        after = classify(memory, classification_tier="internal")

        (visible,) = NOW.history(Memory.objects.visible_to(LOW), memory.memory_id)

        assert (visible.version, visible.content) == (3, "The merger is done.")
        assert visible.recorded_at == after.recorded_at
        assert len(NOW.history(Memory.objects.visible_to(everything()), memory.memory_id)) == 3


class TestMany:
    def test_are_changed_as_the_plan_said(self):
        for tier in ("public", "public", "internal", "confidential", "restricted"):
            make_memory(subject="user:ada", tier=tier)
        other = make_memory(subject="user:bob")
        plan = found("subject=user:ada", CAREFUL, classification_tier="internal", add_labels=["eu"])

        assert (len(plan.steps), len(plan.due), plan.unchanged, plan.opened) == (4, 3, 0, 0)
        assert plan.refused == {"declassification": 1}
        assert relabel.carry_out(plan).changed == 3

        told = Memory.objects.filter(superseded_at=None).values_list("classification_tier", "label_keys")
        assert sorted((tier, *labels) for tier, labels in told) == [
            ("confidential",), ("internal", "eu"), ("internal", "eu"), ("internal", "eu"), ("public",), ("restricted",),
        ]  # fmt: skip
        assert stored(other.id)["superseded_at"] is None

    def test_are_one_transaction_and_one_entry_that_names_them_and_says_why(self):
        memories = [make_memory(subject="user:ada", tier=tier) for tier in ("internal", "internal", "confidential")]
        entries = AuditEntry.objects.count()
        plan = found("subject=user:ada", classification_tier="public")

        relabel.carry_out(plan, reason="Announced.", request_id="r-1")

        assert AuditEntry.objects.count() == entries + 1
        entry = AuditEntry.objects.latest("seq")
        assert (entry.action, entry.principal, entry.request_id) == ("memory.relabel", "user:sue", "r-1")
        assert sorted(entry.memory_ids) == sorted(memory.memory_id for memory in memories)
        assert entry.details == {
            "asked": {"classification_tier": "public"},
            "before": {"sensitivity_labels": [], "status": "active"},
            "after": {"classification_tier": "public", "sensitivity_labels": [], "status": "active"},
            "reason": "Announced.",
        }
        assert list(entry.reach_tiers) == ["public", "internal", "confidential", "restricted"]
        assert len({row.recorded_at for row in Memory.objects.filter(superseded_at=None)}) == 1

    def test_are_all_as_they_were_if_one_has_changed_since(self):
        one, two = make_memory(subject="user:ada"), make_memory(subject="user:ada")
        plan = found("subject=user:ada", classification_tier="internal")
        classify(two, add_labels=["eu"])
        rows, entries = Memory.objects.count(), AuditEntry.objects.count()

        with pytest.raises(Rejected) as refused:
            relabel.carry_out(plan)

        assert refused.value.code == "stale"
        assert (Memory.objects.count(), AuditEntry.objects.count()) == (rows, entries)
        assert stored(one.id)["superseded_at"] is None

    def test_are_told_apart_by_a_token_that_stands_for_the_plan_and_its_maker(self):
        memory = make_memory()
        plan = found("", classification_tier="internal")
        plan.check(found("", classification_tier="internal").token)
        other = Principal(name="user:eve", clearance=STEWARD.clearance, scopes=STEWARD.scopes)

        others = [found("", other, classification_tier="internal"), found("", classification_tier="confidential")]
        make_memory(payload_id=memory.payload_id, content="Changed.")
        others.append(found("", classification_tier="internal"))

        for theirs in (*(made.token for made in others), "", plan.token[:-1]):
            with pytest.raises(Rejected):
                plan.check(theirs)

    def test_are_not_too_many(self, monkeypatch):
        monkeypatch.setattr(relabel, "AT_ONCE", 2)
        for _ in range(3):
            make_memory()

        with pytest.raises(Rejected) as refused:
            found("", classification_tier="internal")
        assert refused.value.code == "too_large"

    def test_carry_no_more_labels_than_a_memory_can(self):
        full, other = make_memory(labels=[f"l-{number}" for number in range(64)]), make_memory()

        plan = found("", add_labels=["eu"])

        assert plan.refused == {"too_many_labels": 1}
        assert [step.row.memory_id for step in plan.due] == [other.memory_id]
        assert full.version == 1


class TestUndo:
    def test_brings_back_each_as_it_was_and_says_so(self):
        make_memory(tier="internal", labels=["EU", "eu", "hr"])
        make_memory()
        before = [stored(row.id) for row in Memory.objects.order_by("memory_id")]
        done = relabel.carry_out(
            found("", classification_tier="confidential", remove_labels=["eu"]), reason="So be it."
        )
        assert done.undo_opens

        assert undone(done).changed == 2

        now = [stored(row.id) for row in Memory.objects.filter(superseded_at=None).order_by("memory_id")]
        for then, after in zip(before, now, strict=True):
            assert {name for name in after if after[name] != then[name]} == {"id", "version", "recorded_at", *SAID}
        assert AuditEntry.objects.latest("seq").details["asked"] == {"undo": done.undo.rpartition(":")[0]}

    def test_leaves_alone_what_was_changed_since(self):
        one, two = make_memory(), make_memory()
        done = relabel.carry_out(found("", classification_tier="internal"))
        classify(two, add_labels=["eu"])

        assert undone(done).changed == 1
        tiers = {row.memory_id: row.classification_tier for row in Memory.objects.filter(superseded_at=None)}
        assert tiers == {one.memory_id: "public", two.memory_id: "internal"}
        assert undone(done).changed == 0

    def test_needs_what_it_needs(self):
        make_memory()
        done = relabel.carry_out(found("", CAREFUL, classification_tier="internal"))

        with pytest.raises(Rejected) as refused:
            undone(done, CAREFUL)
        assert refused.value.code == "declassification"

    def test_takes_a_token_of_ones_own(self):
        make_memory()
        done = relabel.carry_out(found("", classification_tier="internal"))

        for forged in ("", "x", done.undo[:-1], done.undo.upper()):
            with pytest.raises(Rejected):
                relabel.plan_undo(forged, by=STEWARD)
        with pytest.raises(Rejected):
            relabel.plan_undo(done.undo, by=Principal(name="user:eve", clearance=everything(), scopes=STEWARD.scopes))

    @pytest.mark.usefixtures("walls")
    def test_shows_nothing_that_may_no_longer_be_seen(self):
        make_memory(tier="restricted")
        done = relabel.carry_out(found("", classification_tier="public"), reason="Announced.")
        lowered = Principal(name="user:sue", clearance=Clearance(max_tier="internal"), scopes=STEWARD.scopes)

        assert relabel.plan_undo(done.undo, by=lowered).steps == []


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({}, ""), ({"reason": "Because."}, ""), ({"classification_tier": "secret"}, "classification_tier"),
        ({"classification_tier": ""}, "classification_tier"), ({"classification_tier": None}, "classification_tier"),
        ({"add_labels": "pii"}, "add_labels"), ({"add_labels": [""]}, "add_labels.0"),
        ({"add_labels": ["a\x00"]}, "add_labels.0"), ({"add_labels": ["x" * 256]}, "add_labels.0"),
        ({"remove_labels": [1]}, "remove_labels.0"), ({"add_labels": ["PII"], "remove_labels": ["pii"]}, ""),
        ({"add_labels": [str(number) for number in range(65)]}, "add_labels"),
        ({"status": "retired"}, "status"), ({"status": "erased"}, "status"), ({"tier": "public"}, "tier"),
        ({"status": "active", "reason": "x" * 1_001}, "reason"), ([], ""), ("public", ""), (None, ""),
    ],
)  # fmt: skip
def test_a_change_that_makes_no_sense_is_refused_by_field(asked, named):
    with pytest.raises(Rejected) as refused:
        relabel.read(asked, Change)

    assert list(refused.value.errors) == [named]


@pytest.mark.soak
@given(
    stands=st.tuples(st.sampled_from(KNOWN_TIERS), st.lists(st.sampled_from(LABELS), max_size=4)),
    tier=st.sampled_from(("", *KNOWN_TIERS)),
    add=st.lists(st.sampled_from(LABELS), max_size=3),
    remove=st.lists(st.sampled_from(LABELS), max_size=3),
    clearance=st.builds(
        Clearance,
        max_tier=st.sampled_from(KNOWN_TIERS),
        blocked_labels=st.frozensets(st.sampled_from(LABELS), max_size=2),
    ),
)
@examples(50)
def test_whatever_is_relabelled_is_back_as_it_was_when_it_is_undone(stands, tier, add, remove, clearance):
    asked = {"classification_tier": tier, "add_labels": add, "remove_labels": remove}
    asked = {name: value for name, value in asked.items() if value}
    if not asked or label_keys(add) & label_keys(remove):
        return
    with rolled_back():
        memory = make_memory(tier=stands[0], labels=stands[1])
        plan = planned(memory, **asked)
        (step,) = plan.steps
        done = relabel.carry_out(plan, reason="Checked.")
        after = Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)

        # What a change opens is exactly what some clearance sees of it that it did not see.
        assert step.opens or clearance.permits(memory) or not clearance.permits(after)
        assert step.closes or clearance.permits(after) or not clearance.permits(memory)
        assert label_keys(after.sensitivity_labels) == (label_keys(stands[1]) - label_keys(remove)) | label_keys(add)
        if done.changed:
            undone(done)
            now = Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)
            assert now.version == 3
            same = {name for name in stored(now.id) if stored(now.id)[name] == stored(memory.id)[name]}
            assert stored(now.id).keys() - same == {"id", "version", "recorded_at", "superseded_at", *SAID}


def test_an_unknown_tier_is_as_closed_as_can_be_and_none_as_open():
    def row(tier: str) -> Any:
        return relabel.Classification(
            namespace="", classification_tier=tier, sensitivity_labels=(), status="active", defaulted=()
        )

    assert opens(row("gone-from-the-order"), row("restricted"))
    assert opens(row("internal"), row(""))
    assert not opens(row(""), row("public"))


@pytest.mark.django_db(transaction=True)
def test_of_two_stewards_at_once_one_wins():
    """CC-06, CC-07: whoever comes second planned on a version that is no longer in force."""
    memory = make_memory()
    both = threading.Barrier(2)

    def race(tier: str) -> str:
        try:
            plan = planned(memory, classification_tier=tier)
            both.wait(timeout=30)
            return f"{relabel.carry_out(plan).changed} changed"
        except Rejected as refused:
            return refused.code
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(race, ("internal", "confidential")))

    assert sorted(told) == ["1 changed", "stale"]
    assert Memory.objects.count() == 2
    assert AuditEntry.objects.filter(action="memory.relabel").count() == 1
