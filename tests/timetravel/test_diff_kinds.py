"""The kinds of change in a diff: added, changed, reclassified, resolved, removed, erased."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from memoryhub.memories import clock
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import apply_decisions
from tests.factories import make_memory, utc
from tests.memories.raw_rows import execute
from tests.timetravel.diff_steps import change_kinds, classify_memory, current_instant, get_diff

pytestmark = pytest.mark.django_db

ID_A, ID_B = UUID(int=1), UUID(int=2)


def set_status(memory: Memory, decision_id: UUID, status: str) -> None:
    """The next version, which stands so because of a decision."""
    clock.next_record_time()
    latest_version = Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)
    apply_decisions.set_status({latest_version.pk: decision_id}, status=status)


def erase_memory(memory: Memory) -> None:
    """The tombstone, as erasure leaves it: all versions blank, the latest one new."""
    execute("SELECT record_time_next()")
    make_memory(payload_id=memory.payload_id, content="Soon gone.")
    execute(
        "UPDATE memories SET status = 'erased', content = '', embedding = NULL, metadata = '{}', propagation = NULL,"
        " fingerprint = '' WHERE memory_id = %s",
        memory.memory_id,
    )


class TestKinds:
    def test_what_is_new_is_added(self, reader):
        since = current_instant()
        memory = make_memory(subject="user:ada", collection="city")

        (change,) = get_diff(reader, since=since)["changes"]

        assert (change["memory_id"], change["kinds"]) == (str(memory.memory_id), ["added"])
        assert (change["before"], change["text_diff"], change["fields"]) == (None, None, [])
        assert change["after"]["content"] == memory.content
        assert (change["subject"], change["collection"]) == ("user:ada", "city")
        assert datetime.fromisoformat(change["changed_at"]) == memory.recorded_at

    def test_a_memory_with_other_content_is_changed_and_diffed_word_by_word(self, reader):
        make_memory(payload_id="a", content="Ada lives in Paris.", timestamp=utc("2026-03-01 12:00"))
        since = current_instant()
        make_memory(payload_id="a", content="Ada lives in Rome.", timestamp=utc("2026-03-01 12:00"))

        (change,) = get_diff(reader, since=since)["changes"]

        assert (change["kinds"], change["fields"]) == (["changed"], ["content"])
        assert (change["before"]["version"], change["after"]["version"]) == (1, 2)
        assert change["text_diff"] == [
            {"op": "equal", "text": "Ada lives in "},
            {"op": "delete", "text": "Paris"},
            {"op": "insert", "text": "Rome"},
            {"op": "equal", "text": "."},
        ]

    def test_numbers_that_only_look_alike_to_the_database_are_a_change(self, reader):
        make_memory(payload_id="a", content="One.", metadata={"n": 1})
        since = current_instant()
        make_memory(payload_id="a", content="Two.", metadata={"n": 1.0})

        (change,) = get_diff(reader, since=since)["changes"]

        assert "metadata" in change["fields"]

    @pytest.mark.parametrize(
        ("first", "later_change", "expected"),
        [
            ({}, {"classification_tier": "internal"}, ["reclassified"]),
            ({}, {"add_labels": ["pii"]}, ["reclassified"]),
            ({}, {"status": "quarantined"}, ["quarantined"]),
            ({"status": "quarantined"}, {"status": "active"}, ["restored"]),
            ({}, {"status": "quarantined", "add_labels": ["pii"]}, ["reclassified", "quarantined"]),
        ],
        ids=str,
    )
    def test_a_classification_change_is_shown_as_such(self, reader, first, later_change, expected):
        memory = make_memory()
        if first:
            classify_memory(memory, **first)
        since = current_instant()
        classify_memory(memory, **later_change)

        assert change_kinds(reader, since=since) == [expected]

    @pytest.mark.parametrize(
        ("first", "later_status", "expected"),
        [
            ((), (ID_A, "retired"), ["resolved", "retired"]),
            ((), (ID_A, "active"), ["resolved"]),
            ((ID_A, "retired"), (ID_B, "active"), ["resolved", "restored"]),
            ((ID_A, "retired"), (ID_B, "retired"), ["resolved"]),
            ((ID_A, "retired"), (ID_A, "active"), ["restored"]),
        ],
    )
    def test_what_a_decision_makes_of_a_memory_is_resolved(self, reader, first, later_status, expected):
        memory = make_memory()
        if first:
            set_status(memory, *first)
        since = current_instant()
        set_status(memory, *later_status)

        assert change_kinds(reader, since=since) == [expected]
        assert change_kinds(reader, since=since, change="resolved") == ([expected] if "resolved" in expected else [])

    def test_what_comes_with_a_decision_is_added_and_resolved(self, reader):
        memory = make_memory()
        set_status(memory, ID_A, "retired")

        (change,) = get_diff(reader)["changes"]

        assert (change["kinds"], change["fields"]) == (["added", "resolved"], [])
        assert get_diff(reader)["counts"]["kinds"] == {"added": 1, "resolved": 1}

    def test_a_decision_in_force_is_not_listed_again_when_its_memory_is_classified(self, reader):
        memory = make_memory()
        set_status(memory, ID_A, "retired")
        since = current_instant()
        classify_memory(memory, classification_tier="internal")

        assert change_kinds(reader, since=since) == [["reclassified"]]

    def test_what_was_changed_back_is_no_change(self, reader):
        memory = make_memory()
        since = current_instant()
        classify_memory(memory, classification_tier="internal")
        classify_memory(memory, classification_tier="public")

        assert get_diff(reader, since=since)["changes"] == []

    def test_what_outlived_its_time_is_gone_when_it_did(self, reader):
        expires_at = clock.database_now() + timedelta(seconds=0.3)
        memory = make_memory(expires_at=expires_at)
        since = current_instant()
        execute("SELECT pg_sleep(0.4)")

        (change,) = get_diff(reader, since=since)["changes"]

        assert (change["kinds"], change["after"], change["before"]["memory_id"]) == (
            ["removed"],
            None,
            str(memory.memory_id),
        )
        assert datetime.fromisoformat(change["changed_at"]) == expires_at

    def test_what_outlived_its_time_and_was_written_again_later_is_gone_in_between(self, reader):
        expires_at = clock.database_now() + timedelta(seconds=0.3)
        make_memory(payload_id="a", content="Short.", expires_at=expires_at)
        since = current_instant()
        execute("SELECT pg_sleep(0.4)")
        until = current_instant()
        make_memory(payload_id="a", content="Again.")

        assert change_kinds(reader, since=since, until=until) == [["removed"]]
        assert change_kinds(reader, since=until) == [["added"]]
        assert change_kinds(reader, since=since) == [["changed"]]

    def test_what_was_erased_says_nothing_of_what_it_said(self, reader):
        memory = make_memory(payload_id="a", content="A secret of Ada's.")
        since = current_instant()
        erase_memory(memory)

        (change,) = get_diff(reader, since=since)["changes"]

        assert "erased" in change["kinds"]
        assert (change["before"]["content"], change["after"]["content"], change["text_diff"]) == ("", "", None)
