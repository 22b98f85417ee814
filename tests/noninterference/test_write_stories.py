"""A writer is answered alike in two worlds, with hidden rows and without, in the stories that hypothesis makes.

A leak that is built in is noticed by the comparison of the two worlds.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given

from memoryhub.audit import log
from memoryhub.memories import clock as record_clock
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import write
from tests.harness.strategies import SOAK, example_settings
from tests.noninterference.writes.handwritten_stories import NOW, write_step
from tests.noninterference.writes.invariants import ClassificationFloor
from tests.noninterference.writes.steps import ImportHidden, Read, Story
from tests.noninterference.writes.stories import story_strategy
from tests.noninterference.writes.story_run import StorySummary, WorldDifferenceError

pytestmark = pytest.mark.soak

MIN_OUTCOMES = 10_000 if SOAK else 500


def test_what_writers_are_answered_is_what_they_are_answered_in_a_world_without_hidden_rows(run):
    """10,000 outcomes in soak, 500 in every run: no answer differs, and nothing hidden is changed."""
    total = StorySummary()

    @example_settings(95, soak_examples=1_200)
    @given(story_strategy())
    def compare_story(story: Story) -> None:
        total.add(run(*story.steps, row_security=story.row_security).summary)

    compare_story()

    assert sum(total.outcomes.values()) >= MIN_OUTCOMES, total
    assert EXPECTED_OUTCOMES - total.outcomes.keys() == set(), total
    assert EXPECTED_MEETINGS - total.meetings.keys() == set(), total
    assert total.reads > 0, total


# What the stories must have come to, or else they have proved little.
EXPECTED_OUTCOMES = {
    "created", "updated", "duplicate", "payload_id_conflict", "declassification", "above_clearance", "invalid_value",
}  # fmt: skip
EXPECTED_MEETINGS = {
    "a reclassified memory",
    "an id of a hidden row of its source",
    "an id of a hidden row of another source",
}


class TestComparison:
    """What it would find if it were there."""

    HIDDEN = ImportHidden(
        (
            {
                "source": "vault",
                "payload_id": "p-1",
                "content": "Hidden canary.",
                "classification_tier": "restricted",
            },
        )
    )

    def test_finds_a_receipt_that_counts_hidden_rows(self, run, monkeypatch):
        after = self.patch_receipts(
            monkeypatch, lambda receipt: replace(receipt, memory_id=UUID(int=Memory.objects.count()))
        )

        with pytest.raises(WorldDifferenceError):
            run(self.HIDDEN, write_step("duo-low", content="Paris."), row_security=False)
        assert after

    def test_finds_a_write_that_closes_a_hidden_row(self, run, monkeypatch):
        def close_hidden_row(receipt: write.WriteReceipt) -> write.WriteReceipt:
            record_clock.next_record_time()
            Memory.objects.filter(source="vault", superseded_at=None).update(superseded_at=NOW)
            return receipt

        self.patch_receipts(monkeypatch, close_hidden_row)

        with pytest.raises(AssertionError, match="a row of another source was changed"):
            run(self.HIDDEN, write_step("duo-low", content="Paris."), row_security=False)

    def test_finds_a_write_that_says_it_has_stored_what_it_has_not(self, run, monkeypatch):
        self.patch_receipts(
            monkeypatch,
            lambda receipt: (
                replace(receipt, outcome=write.WriteOutcome.UPDATED)
                if receipt.outcome is write.WriteOutcome.DUPLICATE
                else receipt
            ),
        )

        with pytest.raises(AssertionError, match="a version for each stored write"):
            run(write_step("duo-low", content="Paris."), write_step("duo-low", content="Paris."))

    def test_finds_a_write_that_is_not_in_the_audit_log(self, run, monkeypatch):
        monkeypatch.setattr(log, "append_events", lambda _: None)

        with pytest.raises(AssertionError, match="who wrote is in the audit log"):
            run(write_step("duo-low", content="Paris."))

    def test_compares_reads_where_nothing_differs_for_the_reader(self, run):
        result = run(
            self.HIDDEN,
            write_step("duo-low", content="Paris."),
            Read("duo-low", "/api/memories?limit=50"),
            Read("duo-low", "/api/memories/{}"),
            Read("root", "/api/memories?limit=50"),
        )

        assert result.summary.reads == 2, "root sees the hidden row"

    @pytest.mark.parametrize(
        ("change", "is_lowered"),
        [
            ({}, False),
            ({"classification_tier": "restricted"}, False),
            ({"normalized_labels": ["eu", "hr", "pii"]}, False),
            ({"classification_tier": "public"}, True),
            ({"normalized_labels": ["hr"]}, True),
            ({"namespace": "beta"}, True),
        ],
    )
    def test_knows_when_a_classification_was_lowered(self, change, is_lowered):
        row = {"classification_tier": "internal", "normalized_labels": ["eu", "hr"], "namespace": "alpha"}

        assert ClassificationFloor(row=row).is_lowered_by({**row, **change}) == is_lowered

    def patch_receipts(self, monkeypatch, change: Callable[[write.WriteReceipt], write.WriteReceipt]) -> list[Any]:
        """The receipts of every write from now on are what `change` makes of them."""
        write_all, seen_receipts = write.write_memories, []

        def write_with_leak(*args: Any, **kwargs: Any) -> list[write.WriteReceipt]:
            receipts = [change(receipt) for receipt in write_all(*args, **kwargs)]
            seen_receipts.extend(receipts)
            return receipts

        monkeypatch.setattr(write, "write_memories", write_with_leak)
        return seen_receipts
