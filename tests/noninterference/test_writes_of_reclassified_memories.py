"""A writer cannot tell that somebody reclassified what its source wrote: the attacks by name, each a short story."""

from typing import Any

import pytest

from memoryhub.memories.models import MAX_LABELS
from tests.noninterference.writes.handwritten_stories import (
    batch_step,
    final_row,
    receipt_outcomes,
    with_and_without_query_filter,
    write_step,
)
from tests.noninterference.writes.steps import ImportHidden, Move, Reclassify, ResolveHidden, Step
from tests.noninterference.writes.writers import WRITERS

pytestmark = pytest.mark.soak

# What a steward may make of the memory of a writer; some of it takes the memory out of the writer's sight.
CLOSING_STEPS: dict[str, tuple[Step, ...]] = {
    "raised": (Reclassify({"classification_tier": "internal"}),),
    "raised out of sight": (Reclassify({"classification_tier": "restricted"}, over_api=True),),
    "labelled out of sight": (Reclassify({"add_labels": ["sealed"]}),),
    "moved out of sight": (Move({"namespace": "omega"}),),
    "touched often": (
        Reclassify({"classification_tier": "confidential"}),
        Reclassify({"add_labels": ["hr"]}),
        Reclassify({"status": "quarantined"}),
        Move({"namespace": "omega"}),
    ),
}
each_closing_step = pytest.mark.parametrize("steward", CLOSING_STEPS.values(), ids=CLOSING_STEPS)


class TestMemoryClosedBySteward:
    @each_closing_step
    @with_and_without_query_filter
    def test_is_known_to_its_writer_as_it_was_sent(self, run, steward, row_security):
        sent_fields: dict[str, Any] = {"content": "Paris.", "role": "assistant", "metadata": {"n": 1}}
        result = run(
            write_step("spaces", **sent_fields),
            *steward,
            write_step("spaces", **sent_fields),
            write_step("spaces", **sent_fields, on_conflict="update"),
            write_step("spaces", **sent_fields, on_conflict="replace"),
            write_step("spaces", on_conflict="update"),
            write_step("spaces", content="London."),
            batch_step("spaces", {"payload_id": "p-1", **sent_fields}),
            row_security=row_security,
        )

        assert receipt_outcomes(result) == [
            [(201, "created")], [(200, "duplicate")], [(200, "duplicate")], [(200, "duplicate")], [(200, "duplicate")],
            [(409, "payload_id_conflict")], [(200, "duplicate")],
        ]  # fmt: skip

    @each_closing_step
    @pytest.mark.parametrize("on_conflict", ["update", "replace"])
    def test_is_updated_as_if_nobody_had_and_stays_closed(self, run, steward, on_conflict):
        """That it stays closed, what it says by then, and the audit log are compared after each write."""
        result = run(
            write_step("spaces", content="Paris."),
            *steward,
            write_step("spaces", content="London.", on_conflict=on_conflict),
            write_step("spaces", content="London.", on_conflict=on_conflict),
            batch_step(
                "spaces",
                {"payload_id": "p-1", "content": "Rome."},
                {"payload_id": "p-1", "content": "Paris."},
                on_conflict=on_conflict,
            ),
        )

        assert receipt_outcomes(result)[1:] == [
            [(200, "updated")],
            [(200, "duplicate")],
            [(200, "updated"), (200, "updated")],
        ]
        assert final_row(result)["content"] == "Paris."

    @each_closing_step
    def test_has_receipts_that_do_not_count_what_the_steward_did(self, run, steward):
        result = run(
            write_step("spaces", content="Paris."),
            *steward,
            write_step("spaces", content="Paris."),
            write_step("spaces", content="London.", on_conflict="update"),
        )

        assert [receipt.version for (receipt,) in result.receipts] == [1, None, None]

    @each_closing_step
    def test_is_raised_by_its_writer_as_if_nobody_had(self, run, steward):
        """To what the steward made of it already, too."""
        higher = {"classification_tier": "internal"}
        result = run(
            write_step("spaces", content="Paris."),
            *steward,
            write_step("spaces", **higher, on_conflict="update"),
            write_step("spaces", **higher, on_conflict="update"),
            write_step("spaces", content="Paris.", **higher, sensitivity_labels=["hr"], on_conflict="replace"),
        )

        assert receipt_outcomes(result)[1:] == [[(200, "updated")], [(200, "duplicate")], [(200, "updated")]]

    @each_closing_step
    def test_is_not_lowered_by_its_writer_below_what_it_sent_last(self, run, steward):
        """Nor is it called lowering if less than what the steward made of it is sent."""
        sent_fields: dict[str, Any] = {"classification_tier": "internal", "sensitivity_labels": ["eu", "hr"]}
        lowered_changes: tuple[dict[str, Any], ...] = (
            {"classification_tier": "public"},
            {"sensitivity_labels": ["eu"]},
            {"namespace": "beta"},
        )
        result = run(
            write_step("spaces", content="Paris.", **sent_fields),
            *steward,
            *(
                write_step("spaces", content="London.", **{**sent_fields, **lowered_change}, on_conflict=mode)
                for lowered_change in lowered_changes
                for mode in ("update", "replace")
            ),
            write_step("spaces", content="London.", **sent_fields, on_conflict="update"),
        )

        assert receipt_outcomes(result) == [[(201, "created")], *[[(403, "declassification")]] * 6, [(200, "updated")]]

    def test_is_refused_in_the_same_words_beyond_the_writers_clearance(self, run):
        """In whatever spelling the writer sends the label that the steward added."""
        result = run(
            write_step("spaces", content="Paris."),
            Reclassify({"add_labels": ["sealed"]}),
            *(
                write_step("spaces", sensitivity_labels=[label], on_conflict="update")
                for label in ("sealed", "SEALED", "sealed ", "sea\u200bled", "sea\u00adled", "\uff53ealed")
            ),
        )

        assert receipt_outcomes(result)[1:] == [[(403, "above_clearance")]] * 6

    def test_stays_in_quarantine(self, run):
        result = run(
            write_step("spaces", content="Paris."),
            Reclassify({"status": "quarantined"}),
            write_step("spaces", content="London.", on_conflict="update"),
            write_step("spaces", content="Rome.", on_conflict="replace"),
        )

        assert (final_row(result)["status"], final_row(result)["content"]) == ("quarantined", "Rome.")

    def test_may_get_more_labels_than_a_memory_may_carry(self, run):
        """The steward's and the writer's together; the writer alone sends no more than it may."""
        added_labels = [f"steward-{index}" for index in range(MAX_LABELS - 1)]
        result = run(
            write_step("spaces", content="Paris.", sensitivity_labels=["hr"]),
            Reclassify({"add_labels": added_labels}),
            write_step("spaces", sensitivity_labels=["hr", "eu"], on_conflict="update"),
        )

        assert receipt_outcomes(result) == [[(201, "created")], [(200, "updated")]]

    @pytest.mark.parametrize(
        "steward",
        [
            Move({"namespace": "beta"}),
            Reclassify({"add_labels": ["eu"]}),
            Reclassify({"classification_tier": "restricted"}),
        ],
        ids=["moved", "labelled", "raised"],
    )
    def test_says_what_was_rejected_before_as_if_nobody_had(self, run, steward):
        """A decision that everybody may see has rejected this value, and the receipt says so."""
        subject_fields = {"subject": "user:bob", "collection": "city"}
        result = run(
            write_step("spaces", content="Bonn.", **subject_fields),
            steward,
            write_step("spaces", content="Oslo.", on_conflict="update"),
        )

        assert result.receipts[1][0].outcome == "updated"
        assert result.receipts[1][0].decision_id is not None

    @pytest.mark.parametrize("writer", ["labels", "spaces", "duo-low", "desk"])
    @with_and_without_query_filter
    def test_and_was_rejected_beside_hidden_ones_is_not_rejected_to_its_writer(self, run, writer, row_security):
        """Nor, after it wrote that again, to anybody else."""
        subject_fields = {"subject": "hidden-subject", "collection": "hidden-collection"}
        vault = {"source": "vault", "payload_id": "v-1", "content": "Paris.", "classification_tier": "restricted"}
        result = run(
            write_step(writer, content="Hidden canary.", **subject_fields),
            Reclassify({"classification_tier": "restricted"}),
            ImportHidden(({**vault, **subject_fields},)),
            ResolveHidden(tuple(subject_fields.values()), content="Paris."),
            write_step(writer, payload_id="p-2", content="Hidden canary.", **subject_fields),
            write_step(writer, content="London.", on_conflict="update"),
            write_step(writer, content="Hidden canary.", on_conflict="update"),
            *(
                write_step(other_writer, payload_id="p-3", content="Hidden canary.", **subject_fields)
                for other_writer in WRITERS
                if other_writer != "root"
            ),
            row_security=row_security,
        )

        assert result.summary.steps["ResolveHidden"] == 1
        assert "retired" in {row["status"] for row in result.crowded.tables.rows.values()}
        assert {receipt.decision_id for receipts in result.receipts for receipt in receipts} == {None}


class TestMemoryOpenedBySteward:
    @pytest.mark.parametrize(
        "steward",
        [
            Reclassify({"classification_tier": "public"}),
            Reclassify({"remove_labels": ["hr"]}),
            Move({"namespace": "beta"}),
        ],
        ids=["lowered", "label removed", "moved"],
    )
    @pytest.mark.parametrize("on_conflict", ["update", "replace"])
    def test_is_written_as_if_nobody_had(self, run, steward, on_conflict):
        sent_fields: dict[str, Any] = {"classification_tier": "internal", "sensitivity_labels": ["eu", "hr"]}
        result = run(
            write_step("spaces", content="Paris.", **sent_fields),
            steward,
            write_step("spaces", content="Paris.", **sent_fields),
            write_step("spaces", content="London.", **sent_fields, on_conflict=on_conflict),
            write_step(
                "spaces", content="London.", **{**sent_fields, "classification_tier": "public"}, on_conflict=on_conflict
            ),
            write_step(
                "spaces", content="London.", **{**sent_fields, "sensitivity_labels": ["eu"]}, on_conflict=on_conflict
            ),
        )

        assert receipt_outcomes(result)[1:] == [
            [(200, "duplicate")], [(200, "updated")], [(403, "declassification")], [(403, "declassification")],
        ]  # fmt: skip
