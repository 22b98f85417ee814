"""A writer cannot tell what is hidden from it, nor that somebody reclassified what its source wrote.

Two worlds with write steps: the same writes in both, and in one of them hidden rows of other sources, and a steward who
reclassifies some of the writers' rows. First the attacks by name, each a short story; then the
stories that hypothesis makes.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from hypothesis import given

from memoryhub.audit import log
from memoryhub.memories import clock as record_clock
from memoryhub.memories.models import MAX_LABELS, Memory
from memoryhub.memories.writes import write
from tests.factories import utc
from tests.harness.strategies import SOAK, example_settings
from tests.noninterference.writes.invariants import ClassificationFloor
from tests.noninterference.writes.steps import (
    Fields,
    ImportHidden,
    Move,
    Read,
    Reclassify,
    ResolveHidden,
    Step,
    Story,
    Write,
    WriteHidden,
    WriteOutsideClearance,
)
from tests.noninterference.writes.stories import BEYOND_FIELDS, story_strategy
from tests.noninterference.writes.story_run import StoryRun, StorySummary, WorldDifferenceError, run_story
from tests.noninterference.writes.writers import (
    SOURCE_CLEARANCES,
    USUAL_FIELDS,
    WRITERS,
    WriteWorlds,
    create_write_worlds,
)

pytestmark = pytest.mark.soak

NOW = utc("2026-03-10 12:00")
MIN_OUTCOMES = 10_000 if SOAK else 500
OMEGA_ROW = {"payload_id": "p-1", "source": "crm", "namespace": "omega", "content": "Hidden canary."}
WRITER_BY_SOURCE = {"mail": "labels", "crm": "spaces", "duo": "duo-low", "desk": "desk"}


@pytest.fixture(scope="module")
def clock() -> Iterator[Any]:
    with time_machine.travel(NOW, tick=False) as coordinates:
        yield coordinates


@pytest.fixture(scope="module")
def write_worlds(django_db_blocker: Any, clock: Any) -> Iterator[WriteWorlds]:
    with django_db_blocker.unblock(), create_write_worlds() as both_worlds:
        yield both_worlds


@pytest.fixture
def run(write_worlds: WriteWorlds, clock: Any) -> Callable[..., StoryRun]:
    """Runs a story in both worlds, in which each step is a second later than the one before."""

    def move_clock(seconds: int) -> None:
        clock.move_to(NOW + timedelta(seconds=seconds), tick=False)

    def run(*steps: Step, row_security: bool = True) -> StoryRun:
        return run_story(write_worlds, Story(steps, row_security=row_security), move_clock=move_clock)

    return run


def write_step(writer: str, *, on_conflict: str = "", **fields: Any) -> Write:
    """One envelope, within the writer's clearance."""
    usual_fields = WRITERS[writer].usual_fields or USUAL_FIELDS.get(fields.get("source", ""), {})
    return Write(writer, ({"payload_id": "p-1", **usual_fields, **fields},), on_conflict)


def batch_step(writer: str, *items: Fields, on_conflict: str = "") -> Write:
    return Write(writer, tuple({**WRITERS[writer].usual_fields, **item} for item in items), on_conflict, is_batch=True)


def receipt_outcomes(story_run: StoryRun) -> list[list[tuple[int, str]]]:
    """The status and outcome or code of every receipt of every write."""
    return [[receipt.status_and_outcome for receipt in receipts] for receipts in story_run.receipts]


def final_row(story_run: StoryRun, payload_id: str = "p-1", *, is_hidden: bool = False) -> dict[str, Any]:
    """The memory of a writer under this id, or the hidden one, as it ends in the world that has hidden rows."""
    ids = story_run.plain.tables.memory_ids()
    (row,) = (
        row
        for memory_id, row in story_run.crowded.tables.current().items()
        if row["payload_id"] == payload_id and (memory_id not in ids) == is_hidden
    )
    return dict(row)


with_and_without_query_filter = pytest.mark.parametrize(
    "row_security", [True, False], ids=["both layers", "query filter alone"]
)
every_source = pytest.mark.parametrize("source", sorted(SOURCE_CLEARANCES))


class TestIdOfHiddenRow:
    """Rows under the writer's own source, beyond that source's clearance, which the operator imported."""

    @every_source
    @with_and_without_query_filter
    def test_is_a_free_id_whatever_is_sent_under_it(self, run, source, row_security):
        """A right guess of the hidden content and a wrong one, single and in batches."""
        modes = ("", "refuse", "update", "replace")
        hidden = [
            {"source": source, "payload_id": f"p{index}-{mode}", "content": "Hidden canary.", **hiding_fields}
            for index, hiding_fields in enumerate([*BEYOND_FIELDS[source], BEYOND_FIELDS[source][0]])
            for mode in modes
        ]
        *_, last = BEYOND_FIELDS[source]
        hidden_row = {"source": source, "payload_id": "p-1", "content": "Hidden canary.", **last}
        writer = WRITER_BY_SOURCE[source]
        guesses = {
            mode: [
                {"payload_id": row["payload_id"], "content": content}
                for row, content in zip(
                    [row for row in hidden if str(row["payload_id"]).endswith(f"-{mode}")],
                    ("A wrong guess.", "Hidden canary.", "A wrong guess.", "Hidden canary."),
                    strict=False,
                )
            ]
            for mode in modes
        }
        result = run(
            ImportHidden((*hidden, hidden_row)),
            *(batch_step(writer, *guesses[mode], on_conflict=mode) for mode in modes),
            write_step(writer, content="Hidden canary."),
            row_security=row_security,
        )

        assert [receipt.outcome for receipts in result.receipts for receipt in receipts] == ["created"] * (
            len(hidden) + 1
        )
        assert {receipt.version for receipts in result.receipts for receipt in receipts} == {1}

    @every_source
    def test_is_a_free_id_to_an_admin_who_writes_as_that_source(self, run, source):
        for hiding_fields in BEYOND_FIELDS[source]:
            hidden = {"source": source, "payload_id": "p-1", "content": "Hidden canary.", **hiding_fields}
            result = run(ImportHidden((hidden,)), write_step("root", source=source, content="Paris."))

            assert receipt_outcomes(result) == [[(201, "created")]]

    @pytest.mark.parametrize("on_conflict", ["update", "replace"])
    def test_needs_content_like_any_id_that_is_not_there(self, run, on_conflict):
        result = run(ImportHidden((OMEGA_ROW,)), write_step("spaces", role="assistant", on_conflict=on_conflict))

        assert receipt_outcomes(result) == [[(400, "invalid_value")]]
        assert list(result.receipts[0][0].errors) == ["content"]

    def test_is_a_free_id_in_a_batch_that_repeats_it(self, run):
        first_item, second_item = {"payload_id": "p-1", "content": "One."}, {"payload_id": "p-1", "content": "Two."}

        result = run(
            ImportHidden((OMEGA_ROW,)),
            batch_step("spaces", first_item, first_item, second_item),
            batch_step("spaces", second_item, first_item, on_conflict="update"),
        )

        assert receipt_outcomes(result) == [
            [(200, "created"), (200, "duplicate"), (200, "payload_id_conflict")],
            [(200, "updated"), (200, "updated")],
        ]

    @pytest.mark.parametrize("on_conflict", ["update", "replace"])
    def test_does_not_lead_a_writer_of_two_namespaces_to_a_memory_in_a_third_one(self, run, on_conflict):
        """Whose readers would lose it, at earlier instants too."""
        result = run(
            ImportHidden((OMEGA_ROW,)),
            write_step("spaces", content="Paris.", on_conflict=on_conflict),
            write_step("spaces", content="London.", namespace="beta", on_conflict=on_conflict),
        )

        hidden = final_row(result, is_hidden=True)
        assert (hidden["namespace"], hidden["content"], hidden["version"]) == ("omega", "Hidden canary.", 1)

    def test_under_another_source_is_a_free_id(self, run):
        """FW-09"""
        vault = {
            "source": "vault",
            "payload_id": "p-1",
            "content": "Hidden canary.",
            "classification_tier": "restricted",
        }
        own_items = [
            write_step(writer, content="Hidden canary.")
            for writer in ("labels", "spaces", "duo-low", "duo-high", "desk")
        ]

        result = run(WriteHidden((vault,)), ImportHidden(({**vault, "source": "attic"},)), *own_items)

        assert receipt_outcomes(result) == [[(201, "created")]] * 3 + [[(200, "duplicate")]] + [[(201, "created")]]


class TestTwoKeysOfOneSource:
    """The clearance for writing is the source's, which is that of the first key that named it."""

    @pytest.mark.parametrize("beyond_fields", BEYOND_FIELDS["duo"])
    def test_write_within_the_clearance_of_their_source_whatever_they_may_read(self, run, beyond_fields):
        result = run(*(write_step(writer, content="Paris.", **beyond_fields) for writer in ("duo-low", "duo-high")))

        assert receipt_outcomes(result) == [[(403, "above_clearance")]] * 2

    @pytest.mark.parametrize("beyond_fields", BEYOND_FIELDS["duo"])
    def test_reveal_to_each_other_nothing_beyond_that_clearance(self, run, beyond_fields):
        ids = {"": "p-1", "update": "p-2", "replace": "p-3"}
        result = run(
            *(
                WriteOutsideClearance("duo-high", {"payload_id": id_, "content": "Hidden canary.", **beyond_fields})
                for id_ in ids.values()
            ),
            *(write_step("duo-low", payload_id=id_, content="Paris.", on_conflict=mode) for mode, id_ in ids.items()),
        )

        assert receipt_outcomes(result) == [[(201, "created")]] * 3

    def test_share_what_they_wrote_and_the_ids(self, run):
        result = run(
            write_step("duo-high", content="Paris."),
            write_step("duo-low", content="Paris."),
            write_step("duo-low", content="London."),
            write_step("duo-low", content="London.", on_conflict="update"),
            write_step("duo-high", content="London."),
        )

        assert receipt_outcomes(result) == [
            [(201, "created")], [(200, "duplicate")], [(409, "payload_id_conflict")], [(200, "updated")],
            [(200, "duplicate")],
        ]  # fmt: skip


class TestAdmin:
    @pytest.mark.parametrize("source", ["mail", "vault", "nobody"])
    def test_without_full_clearance_writes_as_its_own_source_alone(self, run, source):
        """Whether the other one exists or not."""
        vault = {"source": "vault", "payload_id": "p-1", "content": "Hidden canary."}
        result = run(WriteHidden((vault,)), write_step("desk", source=source, content="Hidden canary."))

        assert receipt_outcomes(result) == [[(403, "source_mismatch")]]

    @every_source
    def test_who_sees_everything_writes_as_any_source_within_its_clearance(self, run, source):
        for hiding_fields in BEYOND_FIELDS[source]:
            beyond_row = {"payload_id": "p-1", "source": source, "content": "Hidden canary.", **hiding_fields}
            result = run(Write("root", (beyond_row,)), write_step("root", source=source, content="Paris."))

            assert receipt_outcomes(result) == [[(403, "above_clearance")], [(201, "created")]]

    @every_source
    @pytest.mark.parametrize("admin", ["desk", "root"])
    def test_plants_nothing_that_the_writers_of_a_source_would_meet(self, run, source, admin):
        for hiding_fields in BEYOND_FIELDS[source]:
            hidden = {"payload_id": "p-1", "source": source, "content": "Hidden canary.", **hiding_fields}
            result = run(
                WriteOutsideClearance(admin, hidden),
                write_step(WRITER_BY_SOURCE[source], content="Paris.", on_conflict="update"),
            )

            assert receipt_outcomes(result) == [[(201, "created")]]


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


@with_and_without_query_filter
def test_a_value_that_was_rejected_among_hidden_memories_is_new_to_a_writer(run, row_security):
    """FW-12"""
    subject_fields = {"subject": "hidden-subject", "collection": "hidden-collection"}
    rows = [
        {
            "source": "vault",
            "payload_id": f"p-{index}",
            "content": content,
            "classification_tier": "restricted",
            **subject_fields,
        }
        for index, content in enumerate(("Hidden canary.", "Paris."))
    ]
    result = run(
        ImportHidden(tuple(rows)),
        ResolveHidden(tuple(subject_fields.values())),
        *(
            write_step(writer, content=row["content"], **subject_fields, payload_id=row["content"])
            for writer in ("duo-low", "desk")
            for row in rows
        ),
        row_security=row_security,
    )

    assert receipt_outcomes(result) == [[(201, "created")]] * 4
    assert sorted(row["status"] for row in result.crowded.tables.current().values() if row["source"] == "vault") == [
        "active",
        "retired",
    ]


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
