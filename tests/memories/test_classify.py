"""Classifying one memory or many: their versions and history, their quarantine, and what readers see of them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.http import QueryDict

from memoryhub.audit.models import AuditEntry
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.principal import Principal
from memoryhub.memories import facets
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.point_in_time import NOW
from memoryhub.memories.writes import classify, write
from memoryhub.memories.writes.envelope import OperationRejectedError
from memoryhub.memories.writes.write import WriteOutcome
from tests.factories import WRITER, envelope, make_memory
from tests.memories.classification_steps import CURATOR, STEWARD, classify_memory, make_plan, plan_for_query
from tests.memories.raw_rows import insert_whole_row, stored_row

pytestmark = pytest.mark.django_db

LOW = Clearance(max_tier="internal", blocked_labels=frozenset({"pii"}))


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
