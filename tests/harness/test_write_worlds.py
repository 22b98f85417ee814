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

from memoryhub.audit import ledger
from memoryhub.memories import clock as record_clock
from memoryhub.memories import ingest
from memoryhub.memories.models import MAX_LABELS, Memory
from tests.builders import at
from tests.harness.generated import SOAK, examples
from tests.harness.write_worlds.checks import Floor
from tests.harness.write_worlds.compare import Difference, StoryRun, Summary, run_story
from tests.harness.write_worlds.steps import (
    DecideAbove,
    Fields,
    Hide,
    HideOverApi,
    Move,
    Read,
    Reclassify,
    Step,
    Story,
    Write,
    WriteBeyond,
)
from tests.harness.write_worlds.stories import BEYOND, stories
from tests.harness.write_worlds.writers import SOURCES, USUAL, WRITERS, WriteWorlds, write_worlds

pytestmark = pytest.mark.soak

NOW = at("2026-03-10 12:00")
MIN_OUTCOMES = 10_000 if SOAK else 500
OMEGA = {"payload_id": "p-1", "source": "crm", "namespace": "omega", "content": "Hidden canary."}
WRITER_OF = {"mail": "labels", "crm": "spaces", "duo": "duo-low", "desk": "desk"}


@pytest.fixture(scope="module")
def clock() -> Iterator[Any]:
    with time_machine.travel(NOW, tick=False) as coordinates:
        yield coordinates


@pytest.fixture(scope="module")
def worlds(django_db_blocker: Any, clock: Any) -> Iterator[WriteWorlds]:
    with django_db_blocker.unblock(), write_worlds() as both:
        yield both


@pytest.fixture
def run(worlds: WriteWorlds, clock: Any) -> Callable[..., StoryRun]:
    """Tells a story in both worlds, in which each step is a second later than the one before."""

    def move_clock(seconds: int) -> None:
        clock.move_to(NOW + timedelta(seconds=seconds), tick=False)

    def run(*steps: Step, second_wall: bool = True) -> StoryRun:
        return run_story(worlds, Story(steps, second_wall=second_wall), move_clock=move_clock)

    return run


def write(writer: str, *, on_conflict: str = "", **fields: Any) -> Write:
    """One envelope, within the writer's clearance."""
    usual = WRITERS[writer].usual or USUAL.get(fields.get("source", ""), {})
    return Write(writer, ({"payload_id": "p-1", **usual, **fields},), on_conflict)


def batch(writer: str, *items: Fields, on_conflict: str = "") -> Write:
    return Write(writer, tuple({**WRITERS[writer].usual, **item} for item in items), on_conflict, batch=True)


def shorts(story_run: StoryRun) -> list[list[tuple[int, str]]]:
    """The status and outcome or code of every receipt of every write."""
    return [[receipt.short for receipt in receipts] for receipts in story_run.receipts]


def shown(story_run: StoryRun, payload_id: str = "p-1", *, hidden: bool = False) -> dict[str, Any]:
    """The memory of a writer under this id, or the hidden one, as it ends in the world that has hidden rows."""
    ids = story_run.plain.tables.memory_ids()
    (row,) = (
        row
        for memory_id, row in story_run.crowded.tables.current().items()
        if row["payload_id"] == payload_id and (memory_id not in ids) == hidden
    )
    return dict(row)


both_walls = pytest.mark.parametrize("second_wall", [True, False], ids=["both walls", "the first wall alone"])
every_source = pytest.mark.parametrize("source", sorted(SOURCES))


class TestTheIdOfAHiddenRow:
    """Rows under the writer's own source, beyond that source's clearance, which the operator imported."""

    @every_source
    @both_walls
    def test_is_a_free_id_whatever_is_sent_under_it(self, run, source, second_wall):
        """A right guess of the hidden content and a wrong one, single and in batches."""
        modes = ("", "refuse", "update", "replace")
        hidden = [
            {"source": source, "payload_id": f"p{number}-{mode}", "content": "Hidden canary.", **why}
            for number, why in enumerate([*BEYOND[source], BEYOND[source][0]])
            for mode in modes
        ]
        *_, last = BEYOND[source]
        alone = {"source": source, "payload_id": "p-1", "content": "Hidden canary.", **last}
        writer = WRITER_OF[source]
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
            Hide((*hidden, alone)),
            *(batch(writer, *guesses[mode], on_conflict=mode) for mode in modes),
            write(writer, content="Hidden canary."),
            second_wall=second_wall,
        )

        assert [receipt.outcome for receipts in result.receipts for receipt in receipts] == ["created"] * (
            len(hidden) + 1
        )
        assert {receipt.version for receipts in result.receipts for receipt in receipts} == {1}

    @every_source
    def test_is_a_free_id_to_an_admin_who_writes_as_that_source(self, run, source):
        for why in BEYOND[source]:
            hidden = {"source": source, "payload_id": "p-1", "content": "Hidden canary.", **why}
            result = run(Hide((hidden,)), write("root", source=source, content="Paris."))

            assert shorts(result) == [[(201, "created")]]

    @pytest.mark.parametrize("on_conflict", ["update", "replace"])
    def test_needs_content_like_any_id_that_is_not_there(self, run, on_conflict):
        result = run(Hide((OMEGA,)), write("spaces", role="assistant", on_conflict=on_conflict))

        assert shorts(result) == [[(400, "invalid_value")]]
        assert list(result.receipts[0][0].errors) == ["content"]

    def test_is_a_free_id_in_a_batch_that_repeats_it(self, run):
        one, two = {"payload_id": "p-1", "content": "One."}, {"payload_id": "p-1", "content": "Two."}

        result = run(Hide((OMEGA,)), batch("spaces", one, one, two), batch("spaces", two, one, on_conflict="update"))

        assert shorts(result) == [
            [(200, "created"), (200, "duplicate"), (200, "payload_id_conflict")],
            [(200, "updated"), (200, "updated")],
        ]

    @pytest.mark.parametrize("on_conflict", ["update", "replace"])
    def test_does_not_lead_a_writer_of_two_namespaces_to_a_memory_in_a_third_one(self, run, on_conflict):
        """Whose readers would lose it, at earlier instants too."""
        result = run(
            Hide((OMEGA,)),
            write("spaces", content="Paris.", on_conflict=on_conflict),
            write("spaces", content="London.", namespace="beta", on_conflict=on_conflict),
        )

        hidden = shown(result, hidden=True)
        assert (hidden["namespace"], hidden["content"], hidden["version"]) == ("omega", "Hidden canary.", 1)

    def test_under_another_source_is_a_free_id(self, run):
        """FW-09"""
        vault = {
            "source": "vault",
            "payload_id": "p-1",
            "content": "Hidden canary.",
            "classification_tier": "restricted",
        }
        own = [
            write(writer, content="Hidden canary.") for writer in ("labels", "spaces", "duo-low", "duo-high", "desk")
        ]

        result = run(HideOverApi((vault,)), Hide(({**vault, "source": "attic"},)), *own)

        assert shorts(result) == [[(201, "created")]] * 3 + [[(200, "duplicate")]] + [[(201, "created")]]


class TestTwoKeysOfOneSource:
    """The clearance for writing is the source's, which is that of the first key that named it."""

    @pytest.mark.parametrize("beyond", BEYOND["duo"])
    def test_write_within_the_clearance_of_their_source_whatever_they_may_read(self, run, beyond):
        result = run(*(write(writer, content="Paris.", **beyond) for writer in ("duo-low", "duo-high")))

        assert shorts(result) == [[(403, "above_clearance")]] * 2

    @pytest.mark.parametrize("beyond", BEYOND["duo"])
    def test_tell_each_other_nothing_beyond_that_clearance(self, run, beyond):
        ids = {"": "p-1", "update": "p-2", "replace": "p-3"}
        result = run(
            *(
                WriteBeyond("duo-high", {"payload_id": id_, "content": "Hidden canary.", **beyond})
                for id_ in ids.values()
            ),
            *(write("duo-low", payload_id=id_, content="Paris.", on_conflict=mode) for mode, id_ in ids.items()),
        )

        assert shorts(result) == [[(201, "created")]] * 3

    def test_share_what_they_wrote_and_the_ids(self, run):
        result = run(
            write("duo-high", content="Paris."),
            write("duo-low", content="Paris."),
            write("duo-low", content="London."),
            write("duo-low", content="London.", on_conflict="update"),
            write("duo-high", content="London."),
        )

        assert shorts(result) == [
            [(201, "created")], [(200, "duplicate")], [(409, "payload_id_conflict")], [(200, "updated")],
            [(200, "duplicate")],
        ]  # fmt: skip


class TestAnAdmin:
    @pytest.mark.parametrize("source", ["mail", "vault", "nobody"])
    def test_without_full_clearance_writes_as_its_own_source_alone(self, run, source):
        """Whether the other one exists or not."""
        vault = {"source": "vault", "payload_id": "p-1", "content": "Hidden canary."}
        result = run(HideOverApi((vault,)), write("desk", source=source, content="Hidden canary."))

        assert shorts(result) == [[(403, "source_mismatch")]]

    @every_source
    def test_who_sees_everything_writes_as_any_source_within_its_clearance(self, run, source):
        for why in BEYOND[source]:
            beyond = {"payload_id": "p-1", "source": source, "content": "Hidden canary.", **why}
            result = run(Write("root", (beyond,)), write("root", source=source, content="Paris."))

            assert shorts(result) == [[(403, "above_clearance")], [(201, "created")]]

    @every_source
    @pytest.mark.parametrize("admin", ["desk", "root"])
    def test_plants_nothing_that_the_writers_of_a_source_would_meet(self, run, source, admin):
        for why in BEYOND[source]:
            hidden = {"payload_id": "p-1", "source": source, "content": "Hidden canary.", **why}
            result = run(WriteBeyond(admin, hidden), write(WRITER_OF[source], content="Paris.", on_conflict="update"))

            assert shorts(result) == [[(201, "created")]]


# What a steward may make of the memory of a writer; some of it takes the memory out of the writer's sight.
CLOSED: dict[str, tuple[Step, ...]] = {
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
closed = pytest.mark.parametrize("steward", CLOSED.values(), ids=CLOSED)


class TestAMemoryThatAStewardClosed:
    @closed
    @both_walls
    def test_is_known_to_its_writer_as_it_was_sent(self, run, steward, second_wall):
        sent: dict[str, Any] = {"content": "Paris.", "role": "assistant", "metadata": {"n": 1}}
        result = run(
            write("spaces", **sent),
            *steward,
            write("spaces", **sent),
            write("spaces", **sent, on_conflict="update"),
            write("spaces", **sent, on_conflict="replace"),
            write("spaces", on_conflict="update"),
            write("spaces", content="London."),
            batch("spaces", {"payload_id": "p-1", **sent}),
            second_wall=second_wall,
        )

        assert shorts(result) == [
            [(201, "created")], [(200, "duplicate")], [(200, "duplicate")], [(200, "duplicate")], [(200, "duplicate")],
            [(409, "payload_id_conflict")], [(200, "duplicate")],
        ]  # fmt: skip

    @closed
    @pytest.mark.parametrize("on_conflict", ["update", "replace"])
    def test_is_updated_as_if_nobody_had_and_stays_closed(self, run, steward, on_conflict):
        """That it stays closed, what it says by then, and the audit log are compared after each write."""
        result = run(
            write("spaces", content="Paris."),
            *steward,
            write("spaces", content="London.", on_conflict=on_conflict),
            write("spaces", content="London.", on_conflict=on_conflict),
            batch(
                "spaces",
                {"payload_id": "p-1", "content": "Rome."},
                {"payload_id": "p-1", "content": "Paris."},
                on_conflict=on_conflict,
            ),
        )

        assert shorts(result)[1:] == [[(200, "updated")], [(200, "duplicate")], [(200, "updated"), (200, "updated")]]
        assert shown(result)["content"] == "Paris."

    @closed
    def test_has_receipts_that_do_not_count_what_the_steward_did(self, run, steward):
        result = run(
            write("spaces", content="Paris."),
            *steward,
            write("spaces", content="Paris."),
            write("spaces", content="London.", on_conflict="update"),
        )

        assert [receipt.version for (receipt,) in result.receipts] == [1, None, None]

    @closed
    def test_is_raised_by_its_writer_as_if_nobody_had(self, run, steward):
        """To what the steward made of it already, too."""
        higher = {"classification_tier": "internal"}
        result = run(
            write("spaces", content="Paris."),
            *steward,
            write("spaces", **higher, on_conflict="update"),
            write("spaces", **higher, on_conflict="update"),
            write("spaces", content="Paris.", **higher, sensitivity_labels=["hr"], on_conflict="replace"),
        )

        assert shorts(result)[1:] == [[(200, "updated")], [(200, "duplicate")], [(200, "updated")]]

    @closed
    def test_is_not_lowered_by_its_writer_below_what_it_sent_last(self, run, steward):
        """Nor is it called lowering if less than what the steward made of it is sent."""
        sent: dict[str, Any] = {"classification_tier": "internal", "sensitivity_labels": ["eu", "hr"]}
        lower: tuple[dict[str, Any], ...] = (
            {"classification_tier": "public"},
            {"sensitivity_labels": ["eu"]},
            {"namespace": "beta"},
        )
        result = run(
            write("spaces", content="Paris.", **sent),
            *steward,
            *(
                write("spaces", content="London.", **{**sent, **less}, on_conflict=mode)
                for less in lower
                for mode in ("update", "replace")
            ),
            write("spaces", content="London.", **sent, on_conflict="update"),
        )

        assert shorts(result) == [[(201, "created")], *[[(403, "declassification")]] * 6, [(200, "updated")]]

    def test_is_refused_in_the_same_words_beyond_the_writers_clearance(self, run):
        """In whatever spelling the writer sends the label that the steward added."""
        result = run(
            write("spaces", content="Paris."),
            Reclassify({"add_labels": ["sealed"]}),
            *(
                write("spaces", sensitivity_labels=[label], on_conflict="update")
                for label in ("sealed", "SEALED", "sealed ", "sea\u200bled", "sea\u00adled", "\uff53ealed")
            ),
        )

        assert shorts(result)[1:] == [[(403, "above_clearance")]] * 6

    def test_stays_in_quarantine(self, run):
        result = run(
            write("spaces", content="Paris."),
            Reclassify({"status": "quarantined"}),
            write("spaces", content="London.", on_conflict="update"),
            write("spaces", content="Rome.", on_conflict="replace"),
        )

        assert (shown(result)["status"], shown(result)["content"]) == ("quarantined", "Rome.")

    def test_may_get_more_labels_than_a_memory_may_carry(self, run):
        """The steward's and the writer's together; the writer alone sends no more than it may."""
        added = [f"steward-{number}" for number in range(MAX_LABELS - 1)]
        result = run(
            write("spaces", content="Paris.", sensitivity_labels=["hr"]),
            Reclassify({"add_labels": added}),
            write("spaces", sensitivity_labels=["hr", "eu"], on_conflict="update"),
        )

        assert shorts(result) == [[(201, "created")], [(200, "updated")]]

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
        about = {"subject": "user:bob", "collection": "city"}
        result = run(
            write("spaces", content="Bonn.", **about),
            steward,
            write("spaces", content="Oslo.", on_conflict="update"),
        )

        assert result.receipts[1][0].outcome == "updated"
        assert result.receipts[1][0].decision is not None

    @pytest.mark.parametrize("writer", ["labels", "spaces", "duo-low", "desk"])
    @both_walls
    def test_and_was_rejected_beside_hidden_ones_is_not_rejected_to_its_writer(self, run, writer, second_wall):
        """Nor, after it wrote that again, to anybody else."""
        about = {"subject": "hidden-subject", "collection": "hidden-collection"}
        vault = {"source": "vault", "payload_id": "v-1", "content": "Paris.", "classification_tier": "restricted"}
        result = run(
            write(writer, content="Hidden canary.", **about),
            Reclassify({"classification_tier": "restricted"}),
            Hide(({**vault, **about},)),
            DecideAbove(tuple(about.values()), content="Paris."),
            write(writer, payload_id="p-2", content="Hidden canary.", **about),
            write(writer, content="London.", on_conflict="update"),
            write(writer, content="Hidden canary.", on_conflict="update"),
            *(
                write(other, payload_id="p-3", content="Hidden canary.", **about)
                for other in WRITERS
                if other != "root"
            ),
            second_wall=second_wall,
        )

        assert result.summary.steps["DecideAbove"] == 1
        assert "retired" in {row["status"] for row in result.crowded.tables.rows.values()}
        assert {receipt.decision for receipts in result.receipts for receipt in receipts} == {None}


class TestAMemoryThatAStewardOpened:
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
        sent: dict[str, Any] = {"classification_tier": "internal", "sensitivity_labels": ["eu", "hr"]}
        result = run(
            write("spaces", content="Paris.", **sent),
            steward,
            write("spaces", content="Paris.", **sent),
            write("spaces", content="London.", **sent, on_conflict=on_conflict),
            write("spaces", content="London.", **{**sent, "classification_tier": "public"}, on_conflict=on_conflict),
            write("spaces", content="London.", **{**sent, "sensitivity_labels": ["eu"]}, on_conflict=on_conflict),
        )

        assert shorts(result)[1:] == [
            [(200, "duplicate")], [(200, "updated")], [(403, "declassification")], [(403, "declassification")],
        ]  # fmt: skip


@both_walls
def test_a_value_that_was_rejected_among_hidden_memories_is_new_to_a_writer(run, second_wall):
    """FW-12"""
    about = {"subject": "hidden-subject", "collection": "hidden-collection"}
    rows = [
        {
            "source": "vault",
            "payload_id": f"p-{number}",
            "content": content,
            "classification_tier": "restricted",
            **about,
        }
        for number, content in enumerate(("Hidden canary.", "Paris."))
    ]
    result = run(
        Hide(tuple(rows)),
        DecideAbove(tuple(about.values())),
        *(
            write(writer, content=row["content"], **about, payload_id=row["content"])
            for writer in ("duo-low", "desk")
            for row in rows
        ),
        second_wall=second_wall,
    )

    assert shorts(result) == [[(201, "created")]] * 4
    assert sorted(row["status"] for row in result.crowded.tables.current().values() if row["source"] == "vault") == [
        "active",
        "retired",
    ]


def test_what_writers_are_answered_is_what_they_are_answered_in_a_world_without_hidden_rows(run):
    """10,000 outcomes in soak, 500 in every run: no answer differs, and nothing hidden is changed."""
    total = Summary()

    @examples(95, soak=1_200)
    @given(stories())
    def compare_story(story: Story) -> None:
        total.add(run(*story.steps, second_wall=story.second_wall).summary)

    compare_story()

    assert sum(total.outcomes.values()) >= MIN_OUTCOMES, total
    assert REACHED - total.outcomes.keys() == set(), total
    assert MET - total.meetings.keys() == set(), total
    assert total.reads > 0, total


# What the stories must have come to, or else they have proved little.
REACHED = {
    "created", "updated", "duplicate", "payload_id_conflict", "declassification", "above_clearance", "invalid_value",
}  # fmt: skip
MET = {
    "a reclassified memory",
    "an id of a hidden row of its source",
    "an id of a hidden row of another source",
}


class TestTheComparisonItself:
    """What it would find if it were there."""

    HIDDEN = Hide(
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
        after = self.each_write(
            monkeypatch, lambda receipt: replace(receipt, memory_id=UUID(int=Memory.objects.count()))
        )

        with pytest.raises(Difference):
            run(self.HIDDEN, write("duo-low", content="Paris."), second_wall=False)
        assert after

    def test_finds_a_write_that_closes_a_hidden_row(self, run, monkeypatch):
        def close(receipt: ingest.Receipt) -> ingest.Receipt:
            record_clock.tick()
            Memory.objects.filter(source="vault", superseded_at=None).update(superseded_at=NOW)
            return receipt

        self.each_write(monkeypatch, close)

        with pytest.raises(AssertionError, match="a row of another source was changed"):
            run(self.HIDDEN, write("duo-low", content="Paris."), second_wall=False)

    def test_finds_a_write_that_says_it_has_stored_what_it_has_not(self, run, monkeypatch):
        self.each_write(
            monkeypatch,
            lambda receipt: (
                replace(receipt, outcome=ingest.Outcome.UPDATED)
                if receipt.outcome is ingest.Outcome.DUPLICATE
                else receipt
            ),
        )

        with pytest.raises(AssertionError, match="a version for each stored write"):
            run(write("duo-low", content="Paris."), write("duo-low", content="Paris."))

    def test_finds_a_write_that_is_not_in_the_audit_log(self, run, monkeypatch):
        monkeypatch.setattr(ledger, "append", lambda _: None)

        with pytest.raises(AssertionError, match="who wrote is in the audit log"):
            run(write("duo-low", content="Paris."))

    def test_compares_reads_where_nothing_differs_for_the_reader(self, run):
        result = run(
            self.HIDDEN,
            write("duo-low", content="Paris."),
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
            ({"label_keys": ["eu", "hr", "pii"]}, False),
            ({"classification_tier": "public"}, True),
            ({"label_keys": ["hr"]}, True),
            ({"namespace": "beta"}, True),
        ],
    )
    def test_knows_when_a_classification_was_lowered(self, change, is_lowered):
        row = {"classification_tier": "internal", "label_keys": ["eu", "hr"], "namespace": "alpha"}

        assert Floor(row=row).is_lowered_by({**row, **change}) == is_lowered

    def each_write(self, monkeypatch, change: Callable[[ingest.Receipt], ingest.Receipt]) -> list[Any]:
        """The receipts of every write from now on are what `change` makes of them."""
        write_all, seen = ingest.write, []

        def leaking(*args: Any, **kwargs: Any) -> list[ingest.Receipt]:
            receipts = [change(receipt) for receipt in write_all(*args, **kwargs)]
            seen.extend(receipts)
            return receipts

        monkeypatch.setattr(ingest, "write", leaking)
        return seen
