"""Classifying: what becomes of a memory and its history, who may do it, and what of it can be taken back."""

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
from memoryhub.firewall import rls
from memoryhub.firewall.clearance import Clearance, normalize_labels, unrestricted_clearance, widens_visibility
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories import facets
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.point_in_time import NOW
from memoryhub.memories.querysets import ASSERTED_COLUMNS
from memoryhub.memories.writes import classify, write
from memoryhub.memories.writes.classification_plan import ClassificationChange, ClassificationPlan, ClassificationState
from memoryhub.memories.writes.classify import ClassificationResult
from memoryhub.memories.writes.envelope import OperationRejectedError, parse_body
from memoryhub.memories.writes.write import WriteOutcome
from tests.factories import WRITER, envelope, make_clearance, make_memory
from tests.harness.strategies import KNOWN_TIERS, LABELS, example_settings, roll_back
from tests.memories.raw_rows import insert_whole_row, stored_row

pytestmark = pytest.mark.django_db

STEWARD = Principal(
    name="user:sue",
    clearance=Clearance(max_tier="restricted"),
    scopes=frozenset({Scope.READ, Scope.CURATE, Scope.DECLASSIFY}),
)
CURATOR = Principal(
    name="user:cal", clearance=Clearance(max_tier="confidential"), scopes=frozenset({Scope.READ, Scope.CURATE})
)
LOW = Clearance(max_tier="internal", blocked_labels=frozenset({"pii"}))


@pytest.fixture(params=[True, False], ids=["behind both walls", "behind the first wall alone"])
def protection_layers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(rls, "as_reader", lambda _: nullcontext())


def make_plan(memory: Memory, principal: Principal = STEWARD, **change_fields: Any) -> ClassificationPlan:
    return classify.plan_for_memory(
        memory.memory_id, parse_body(change_fields, ClassificationChange), principal=principal
    )


def classify_memory(
    memory: Memory, principal: Principal = STEWARD, reason: str = "Checked.", **change_fields: Any
) -> Memory:
    """`memory` reclassified, as it is now."""
    classify.apply_plan(make_plan(memory, principal, **change_fields), reason=reason)
    return Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)


def plan_for_query(query: str, principal: Principal = STEWARD, **change_fields: Any) -> ClassificationPlan:
    filters = MemoryFilterSet(QueryDict(query), clearance=principal.clearance)
    return classify.plan_for_filter(filters, parse_body(change_fields, ClassificationChange), principal=principal)


def undo_result(result: ClassificationResult, principal: Principal = STEWARD) -> ClassificationResult:
    return classify.apply_plan(classify.plan_undo(result.undo_token, principal=principal), reason="Taken back.")


def visible_payload_ids(clearance: Clearance) -> list[str]:
    rows = Memory.objects.visible_to(clearance).current()
    return list(rows.order_by("payload_id").values_list("payload_id", flat=True))


class TestVersion:
    def test_is_added_that_is_the_same_but_for_what_was_changed(self):
        memory = make_memory(
            labels=["PII", "eu"], metadata={"n": 1.50, "deep": {"a": [None]}}, embedding=[0.5] * 384, kind="summary",
            propagation={"a": 1}, expires_at="2999-01-01T00:00:00Z", pinned=True, subject="user:ada",
        )  # fmt: skip
        after = classify_memory(memory, classification_tier="confidential", add_labels=["Legal"], remove_labels=["pii"])

        old_row, new_row = stored_row(memory.id), stored_row(after.id)
        changed_columns = {name for name in new_row if new_row[name] != old_row[name]}
        assert changed_columns == {
            "id", "version", "recorded_at", "asserted_at", "asserted_version_id", "superseded_at",
            "classification_tier", "sensitivity_labels", "normalized_labels", "defaulted_fields",
        }  # fmt: skip
        assert (new_row["asserted_at"], new_row["asserted_version_id"]) == (old_row["recorded_at"], old_row["id"])
        assert (after.version, after.classification_tier) == (2, "confidential")
        assert (after.sensitivity_labels, after.normalized_labels) == (["eu", "Legal"], ["eu", "legal"])
        assert set(memory.defaulted_fields) - set(after.defaulted_fields) == {"classification_tier"}
        assert old_row["superseded_at"] == new_row["recorded_at"]

    def test_is_not_added_where_nothing_changes(self):
        memory = make_memory(tier="internal", labels=["PII"])

        assert (
            classify_memory(memory, classification_tier="internal", add_labels=["pii"], remove_labels=["eu"]) == memory
        )
        assert not AuditEntry.objects.filter(action__startswith="memory.re").exists()

    def test_leaves_the_writers_own_write_a_duplicate(self):
        payload = envelope(payload_id="p", content="Ada lives in Paris.")
        (receipt,) = write.write_memories([payload], principal=WRITER)
        classify_memory(Memory.objects.get(), classification_tier="restricted")

        (repeated_receipt,) = write.write_memories([payload], principal=WRITER)

        assert (repeated_receipt.outcome, repeated_receipt.memory_id) == (WriteOutcome.DUPLICATE, receipt.memory_id)

    def test_can_be_counted_at_once(self):
        memory = make_memory(namespace="team")
        make_memory(namespace="team")
        classify_memory(memory, classification_tier="internal", add_labels=["eu"])

        facet_counts = facets.count_facets(MemoryFilterSet(QueryDict(), clearance=unrestricted_clearance())).dimensions
        assert [(facet_value.value, facet_value.count) for facet_value in facet_counts["tier"]] == [
            ("internal", 1),
            ("public", 1),
        ]
        assert [(facet_value.value, facet_value.count) for facet_value in facet_counts["label"]] == [("eu", 1)]
        assert facets.count_active(Clearance()) == 1


class TestQuarantine:
    def test_takes_a_memory_off_the_lists_and_release_puts_it_back(self):
        memory = make_memory()
        steward_filters = MemoryFilterSet(QueryDict(), clearance=STEWARD.clearance)

        quarantined_memory = classify_memory(memory, CURATOR, status="quarantined")
        assert (
            quarantined_memory.status,
            facets.count_facets(steward_filters).total,
            list(steward_filters.results),
        ) == ("quarantined", 0, [])
        released_memory = classify_memory(memory, CURATOR, reason="", status="active")

        assert (released_memory.status, facets.count_facets(steward_filters).total) == ("active", 1)
        actions = AuditEntry.objects.filter(principal=CURATOR.name).order_by("seq").values_list("action", flat=True)
        assert list(actions) == ["memory.quarantine", "memory.release"]

    def test_is_not_for_what_is_retired(self):
        memory = Memory.objects.get(id=insert_whole_row(status="retired"))

        with pytest.raises(OperationRejectedError) as exc_info:
            classify_memory(memory, status="active")
        assert exc_info.value.code == "not_active"
        assert classify_memory(memory, classification_tier="internal").status == "retired"

    def test_changes_nothing_of_what_is_erased(self):
        memory = Memory.objects.get(id=insert_whole_row(status="erased", content=""))

        changes: list[dict[str, Any]] = [{"status": "quarantined"}, {"classification_tier": "internal"}]
        for change_fields in changes:
            with pytest.raises(OperationRejectedError) as exc_info:
                classify_memory(memory, **change_fields)
            assert exc_info.value.code == "not_active"


class TestPermissions:
    @pytest.mark.parametrize("scopes", [set(), {Scope.READ}, {Scope.WRITE}, {Scope.READ, Scope.DECLASSIFY}])
    def test_nobody_without_the_scope(self, scopes):
        memory = make_memory()
        reader = Principal(name="user:rob", clearance=unrestricted_clearance(), scopes=frozenset(scopes))

        with pytest.raises(PermissionDenied):
            classify_memory(memory, reader, classification_tier="internal")
        assert Memory.objects.count() == 1

    @pytest.mark.parametrize(
        ("current_fields", "change_fields"),
        [
            ({"tier": "confidential"}, {"classification_tier": "internal"}),
            ({"tier": "confidential"}, {"classification_tier": "public", "add_labels": ["pii"]}),
            ({"labels": ["PII"]}, {"remove_labels": ["pii"]}),
            ({"labels": ["pii", "eu"]}, {"remove_labels": ["EU"], "classification_tier": "confidential"}),
            ({}, {"add_labels": ["cleared"]}),
        ],
    )
    def test_only_who_may_declassify_opens_and_says_why(self, current_fields, change_fields):
        make_clearance(required_labels=["Cleared"])
        memory = make_memory(**current_fields)

        with pytest.raises(OperationRejectedError) as exc_info:
            classify_memory(memory, CURATOR, **change_fields)
        assert exc_info.value.code == "declassification"
        for blank in ("", "  \n"):
            with pytest.raises(OperationRejectedError) as exc_info:
                classify_memory(memory, reason=blank, **change_fields)
            assert (exc_info.value.code, list(exc_info.value.errors)) == ("invalid_value", ["reason"])
        assert Memory.objects.count() == 1
        assert classify_memory(memory, reason="It was announced.", **change_fields).version == 2

    @pytest.mark.parametrize(
        ("change_fields", "clearance"),
        [
            ({"classification_tier": "restricted"}, Clearance(max_tier="confidential")),
            (
                {"add_labels": ["PII"]},
                Clearance(max_tier="restricted", blocked_labels=frozenset({"pii"})),
            ),
            ({"remove_labels": ["TEAM-A"]}, Clearance(max_tier="restricted", required_labels=frozenset({"team-a"}))),
        ],
    )
    def test_nobody_makes_a_memory_vanish_from_themselves(self, change_fields, clearance):
        memory = make_memory(labels=["team-a"])
        steward = Principal(name="user:sue", clearance=clearance, scopes=STEWARD.scopes)

        with pytest.raises(OperationRejectedError) as exc_info:
            classify_memory(memory, steward, **change_fields)
        assert exc_info.value.code == "above_clearance"
        assert Memory.objects.count() == 1

    @pytest.mark.usefixtures("protection_layers")
    def test_what_is_hidden_is_not_there(self):
        hidden = make_memory(tier="restricted")

        assert make_plan(hidden, CURATOR, classification_tier="public").planned_changes == []
        assert (
            classify.plan_for_memory(
                uuid.uuid4(), ClassificationChange(status="quarantined"), principal=CURATOR
            ).planned_changes
            == []
        )
        assert plan_for_query("", CURATOR, classification_tier="public").planned_changes == []

    @pytest.mark.usefixtures("protection_layers")
    def test_filters_that_were_read_for_somebody_else_do_not_widen_what_is_seen(self):
        make_memory(tier="restricted")
        other_filters = MemoryFilterSet(QueryDict(), clearance=unrestricted_clearance())

        assert (
            classify.plan_for_filter(
                other_filters, ClassificationChange(status="quarantined"), principal=CURATOR
            ).planned_changes
            == []
        )


class TestReaders:
    def test_lose_sight_of_what_is_raised_and_of_how_it_was(self):
        """FW-13"""
        for change_fields in ({"classification_tier": "confidential"}, {"add_labels": ["PII"]}):
            memory = make_memory(tier="internal")
            history = NOW.versions_of(Memory.objects.visible_to(LOW), memory.memory_id)
            assert len(history) == 1

            classify_memory(memory, CURATOR, **change_fields)

            assert len(history.all()) == 0
            assert not Memory.objects.visible_to(LOW).current().filter(memory_id=memory.memory_id).exists()

    def test_of_what_is_lowered_see_what_it_is_from_then_on(self):
        """FW-14"""
        memory = make_memory(payload_id="p", tier="confidential", content="The merger is on.")
        make_memory(payload_id="p", tier="confidential", content="The merger is done.")
        after = classify_memory(memory, classification_tier="internal")

        (visible,) = NOW.versions_of(Memory.objects.visible_to(LOW), memory.memory_id)

        assert (visible.version, visible.content) == (3, "The merger is done.")
        assert visible.recorded_at == after.recorded_at
        assert len(NOW.versions_of(Memory.objects.visible_to(unrestricted_clearance()), memory.memory_id)) == 3


class TestMany:
    def test_are_changed_as_the_plan_said(self):
        for tier in ("public", "public", "internal", "confidential", "restricted"):
            make_memory(subject="user:ada", tier=tier)
        other_memory = make_memory(subject="user:bob")
        plan = plan_for_query("subject=user:ada", CURATOR, classification_tier="internal", add_labels=["eu"])

        assert (len(plan.planned_changes), len(plan.effective_changes), plan.unchanged_count, plan.widened_count) == (
            4,
            3,
            0,
            0,
        )
        assert plan.refusal_counts == {"declassification": 1}
        assert classify.apply_plan(plan).changed_count == 3

        classification_rows = Memory.objects.filter(superseded_at=None).values_list(
            "classification_tier", "normalized_labels"
        )
        assert sorted((tier, *labels) for tier, labels in classification_rows) == [
            ("confidential",), ("internal", "eu"), ("internal", "eu"), ("internal", "eu"), ("public",), ("restricted",),
        ]  # fmt: skip
        assert stored_row(other_memory.id)["superseded_at"] is None

    def test_are_one_transaction_and_one_entry_that_names_them_and_says_why(self):
        memories = [make_memory(subject="user:ada", tier=tier) for tier in ("internal", "internal", "confidential")]
        entries = AuditEntry.objects.count()
        plan = plan_for_query("subject=user:ada", classification_tier="public")

        classify.apply_plan(plan, reason="Announced.", request_id="r-1")

        assert AuditEntry.objects.count() == entries + 1
        entry = AuditEntry.objects.latest("seq")
        assert (entry.action, entry.principal, entry.request_id) == ("memory.reclassify", "user:sue", "r-1")
        assert sorted(entry.memory_ids) == sorted(memory.memory_id for memory in memories)
        assert entry.details == {
            "requested": {"classification_tier": "public"},
            "before": {"sensitivity_labels": [], "status": "active"},
            "after": {"classification_tier": "public", "sensitivity_labels": [], "status": "active"},
            "reason": "Announced.",
        }
        assert list(entry.clearance_tiers) == ["public", "internal", "confidential", "restricted"]
        assert len({row.recorded_at for row in Memory.objects.filter(superseded_at=None)}) == 1

    def test_are_all_as_they_were_if_one_has_changed_since(self):
        ada_memory, second_memory = make_memory(subject="user:ada"), make_memory(subject="user:ada")
        plan = plan_for_query("subject=user:ada", classification_tier="internal")
        classify_memory(second_memory, add_labels=["eu"])
        rows, entries = Memory.objects.count(), AuditEntry.objects.count()

        with pytest.raises(OperationRejectedError) as exc_info:
            classify.apply_plan(plan)

        assert exc_info.value.code == "stale"
        assert (Memory.objects.count(), AuditEntry.objects.count()) == (rows, entries)
        assert stored_row(ada_memory.id)["superseded_at"] is None

    def test_are_distinguished_by_a_token_of_the_plan_and_its_maker(self):
        memory = make_memory()
        plan = plan_for_query("", classification_tier="internal")
        plan.check_token(plan_for_query("", classification_tier="internal").confirmation_token)
        other_principal = Principal(name="user:eve", clearance=STEWARD.clearance, scopes=STEWARD.scopes)

        other_plans = [
            plan_for_query("", other_principal, classification_tier="internal"),
            plan_for_query("", classification_tier="confidential"),
        ]
        make_memory(payload_id=memory.payload_id, content="Changed.")
        other_plans.append(plan_for_query("", classification_tier="internal"))

        for invalid_token in (
            *(plan_made.confirmation_token for plan_made in other_plans),
            "",
            plan.confirmation_token[:-1],
        ):
            with pytest.raises(OperationRejectedError):
                plan.check_token(invalid_token)

    def test_are_not_too_many(self, monkeypatch):
        monkeypatch.setattr(classify, "MAX_PLAN_SIZE", 2)
        for _ in range(3):
            make_memory()

        with pytest.raises(OperationRejectedError) as exc_info:
            plan_for_query("", classification_tier="internal")
        assert exc_info.value.code == "too_large"

    def test_carry_no_more_labels_than_a_memory_can(self):
        full_memory, other_memory = make_memory(labels=[f"l-{index}" for index in range(64)]), make_memory()

        plan = plan_for_query("", add_labels=["eu"])

        assert plan.refusal_counts == {"too_many_labels": 1}
        assert [step.row.memory_id for step in plan.effective_changes] == [other_memory.memory_id]
        assert full_memory.version == 1


class TestUndo:
    def test_brings_back_each_as_it_was_and_says_so(self):
        make_memory(tier="internal", labels=["EU", "eu", "hr"])
        make_memory()
        before = [stored_row(row.id) for row in Memory.objects.order_by("memory_id")]
        result = classify.apply_plan(
            plan_for_query("", classification_tier="confidential", remove_labels=["eu"]), reason="So be it."
        )
        assert result.undo_widens

        assert undo_result(result).changed_count == 2

        current_rows = [stored_row(row.id) for row in Memory.objects.filter(superseded_at=None).order_by("memory_id")]
        for old_row, after in zip(before, current_rows, strict=True):
            assert {name for name in after if after[name] != old_row[name]} == {
                "id",
                "version",
                "recorded_at",
                *ASSERTED_COLUMNS,
            }
        assert AuditEntry.objects.latest("seq").details["requested"] == {
            "undone_at": result.undo_token.rpartition(":")[0]
        }

    def test_leaves_alone_what_was_changed_since(self):
        first_memory, second_memory = make_memory(), make_memory()
        result = classify.apply_plan(plan_for_query("", classification_tier="internal"))
        classify_memory(second_memory, add_labels=["eu"])

        assert undo_result(result).changed_count == 1
        tiers = {row.memory_id: row.classification_tier for row in Memory.objects.filter(superseded_at=None)}
        assert tiers == {first_memory.memory_id: "public", second_memory.memory_id: "internal"}
        assert undo_result(result).changed_count == 0

    def test_needs_what_it_needs(self):
        make_memory()
        result = classify.apply_plan(plan_for_query("", CURATOR, classification_tier="internal"))

        with pytest.raises(OperationRejectedError) as exc_info:
            undo_result(result, CURATOR)
        assert exc_info.value.code == "declassification"

    def test_takes_a_token_of_ones_own(self):
        make_memory()
        result = classify.apply_plan(plan_for_query("", classification_tier="internal"))

        for forged_token in ("", "x", result.undo_token[:-1], result.undo_token.upper()):
            with pytest.raises(OperationRejectedError):
                classify.plan_undo(forged_token, principal=STEWARD)
        with pytest.raises(OperationRejectedError):
            classify.plan_undo(
                result.undo_token,
                principal=Principal(name="user:eve", clearance=unrestricted_clearance(), scopes=STEWARD.scopes),
            )

    @pytest.mark.usefixtures("protection_layers")
    def test_shows_nothing_that_may_no_longer_be_seen(self):
        make_memory(tier="restricted")
        result = classify.apply_plan(plan_for_query("", classification_tier="public"), reason="Announced.")
        lowered_principal = Principal(name="user:sue", clearance=Clearance(max_tier="internal"), scopes=STEWARD.scopes)

        assert classify.plan_undo(result.undo_token, principal=lowered_principal).planned_changes == []


@pytest.mark.parametrize(
    ("change_fields", "field"),
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
def test_a_change_that_makes_no_sense_is_refused_by_field(change_fields, field):
    with pytest.raises(OperationRejectedError) as exc_info:
        parse_body(change_fields, ClassificationChange)

    assert list(exc_info.value.errors) == [field]


@pytest.mark.soak
@given(
    current_fields=st.tuples(st.sampled_from(KNOWN_TIERS), st.lists(st.sampled_from(LABELS), max_size=4)),
    tier=st.sampled_from(("", *KNOWN_TIERS)),
    add=st.lists(st.sampled_from(LABELS), max_size=3),
    remove=st.lists(st.sampled_from(LABELS), max_size=3),
    clearance=st.builds(
        Clearance,
        max_tier=st.sampled_from(KNOWN_TIERS),
        blocked_labels=st.frozensets(st.sampled_from(LABELS), max_size=2),
    ),
)
@example_settings(50)
def test_whatever_is_reclassified_is_back_as_it_was_when_it_is_undone(current_fields, tier, add, remove, clearance):
    change_fields = {"classification_tier": tier, "add_labels": add, "remove_labels": remove}
    change_fields = {name: value for name, value in change_fields.items() if value}
    if not change_fields or normalize_labels(add) & normalize_labels(remove):
        return
    with roll_back():
        memory = make_memory(tier=current_fields[0], labels=current_fields[1])
        plan = make_plan(memory, **change_fields)
        (step,) = plan.planned_changes
        undo_plan_result = classify.apply_plan(plan, reason="Checked.")
        after = Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)

        # What a change opens is exactly what some clearance sees of it that it did not see.
        assert step.widens or clearance.permits(memory) or not clearance.permits(after)
        assert step.narrows or clearance.permits(after) or not clearance.permits(memory)
        assert normalize_labels(after.sensitivity_labels) == (
            normalize_labels(current_fields[1]) - normalize_labels(remove)
        ) | normalize_labels(add)
        if undo_plan_result.changed_count:
            undo_result(undo_plan_result)
            current_memory = Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)
            assert current_memory.version == 3
            same_columns = {
                name
                for name in stored_row(current_memory.id)
                if stored_row(current_memory.id)[name] == stored_row(memory.id)[name]
            }
            assert stored_row(current_memory.id).keys() - same_columns == {
                "id",
                "version",
                "recorded_at",
                "superseded_at",
                *ASSERTED_COLUMNS,
            }


def test_an_unknown_tier_is_as_closed_as_can_be_and_none_as_open():
    def row(tier: str) -> Any:
        return ClassificationState(
            namespace="", classification_tier=tier, sensitivity_labels=(), status="active", defaulted_fields=()
        )

    assert widens_visibility(row("gone-from-the-order"), row("restricted"))
    assert widens_visibility(row("internal"), row(""))
    assert not widens_visibility(row(""), row("public"))


@pytest.mark.django_db(transaction=True)
def test_of_two_stewards_at_once_one_wins():
    """CC-06, CC-07: the second change was planned on a version that is no longer current."""
    memory = make_memory()
    barrier = threading.Barrier(2)

    def race(tier: str) -> str:
        try:
            plan = make_plan(memory, classification_tier=tier)
            barrier.wait(timeout=30)
            return f"{classify.apply_plan(plan).changed_count} changed"
        except OperationRejectedError as error:
            return error.code
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(race, ("internal", "confidential")))

    assert sorted(outcomes) == ["1 changed", "stale"]
    assert Memory.objects.count() == 2
    assert AuditEntry.objects.filter(action="memory.reclassify").count() == 1
