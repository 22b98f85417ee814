"""Undoing a classification: each memory is as it was before, and nobody undoes more than they may change and see."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.audit.models import AuditEntry
from memoryhub.firewall.clearance import Clearance, normalize_labels, unrestricted_clearance
from memoryhub.firewall.principal import Principal
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import ASSERTED_COLUMNS
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.envelope import OperationRejectedError
from tests.factories import make_memory
from tests.harness.strategies import KNOWN_TIERS, LABELS, example_settings, roll_back
from tests.memories.classification_steps import (
    CURATOR,
    STEWARD,
    classify_memory,
    make_plan,
    plan_for_query,
    undo_result,
)
from tests.memories.raw_rows import stored_row

pytestmark = pytest.mark.django_db


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
