"""A writer cannot tell from what it is answered that hidden rows exist: the attacks by name, each a short story."""

import pytest

from tests.noninterference.writes.handwritten_stories import (
    batch_step,
    final_row,
    receipt_outcomes,
    with_and_without_query_filter,
    write_step,
)
from tests.noninterference.writes.steps import (
    ImportHidden,
    ResolveHidden,
    Write,
    WriteHidden,
    WriteOutsideClearance,
)
from tests.noninterference.writes.stories import BEYOND_FIELDS
from tests.noninterference.writes.writers import SOURCE_CLEARANCES

pytestmark = pytest.mark.soak

OMEGA_ROW = {"payload_id": "p-1", "source": "crm", "namespace": "omega", "content": "Hidden canary."}
WRITER_BY_SOURCE = {"mail": "labels", "crm": "spaces", "duo": "duo-low", "desk": "desk"}
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
