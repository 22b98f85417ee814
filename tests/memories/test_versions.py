"""A change closes the current version and adds the next: the record of a memory has neither gap nor overlap."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from django.db import connection
from django.db.models import F, Q

from memoryhub.memories.models import Memory, RecordClock
from memoryhub.memories.writes import write
from memoryhub.memories.writes.identity import OnConflict
from memoryhub.memories.writes.write import WriteOutcome
from tests.factories import WRITER, envelope, make_memory
from tests.harness.databases import DatabaseHandle
from tests.memories.raw_rows import execute, insert_whole_row


def contents_known_at(instant: datetime) -> list[str]:
    """What a question about record time would find: recorded at or before, superseded after."""
    known_versions = Memory.objects.filter(
        Q(superseded_at__isnull=True) | Q(superseded_at__gt=instant), recorded_at__lte=instant
    )
    return list(known_versions.order_by("payload_id").values_list("content", flat=True))


def list_versions(payload_id: str) -> list[Memory]:
    return list(Memory.objects.filter(payload_id=payload_id).order_by("version"))


@pytest.mark.django_db
def test_a_version_ends_at_the_instant_at_which_the_next_begins():
    for content in ("one", "two", "three"):
        make_memory(payload_id="p", content=content)

    first, second, third = list_versions("p")

    assert {first.memory_id} == {second.memory_id, third.memory_id}
    assert [memory.version for memory in list_versions("p")] == [1, 2, 3]
    assert first.superseded_at == second.recorded_at
    assert second.superseded_at == third.recorded_at
    assert third.superseded_at is None
    tick = timedelta(microseconds=1)
    assert contents_known_at(first.recorded_at - tick) == []
    assert contents_known_at(first.recorded_at) == contents_known_at(second.recorded_at - tick) == ["one"]
    assert contents_known_at(second.recorded_at) == contents_known_at(third.recorded_at - tick) == ["two"]
    assert contents_known_at(third.recorded_at) == ["three"]


@pytest.mark.django_db
def test_versions_within_one_batch_are_believed_one_after_the_other():
    batch = [envelope(payload_id="p", content=f"v{index}") for index in range(1, 6)]
    receipts = write.write_memories([*batch, envelope(payload_id="q")], principal=WRITER, on_conflict=OnConflict.UPDATE)

    assert [receipt.outcome for receipt in receipts] == [
        WriteOutcome.CREATED,
        *[WriteOutcome.UPDATED] * 4,
        WriteOutcome.CREATED,
    ]
    assert [receipt.version for receipt in receipts] == [1, None, None, None, None, 1]
    version_list = list_versions("p")
    assert [memory.content for memory in version_list] == ["v1", "v2", "v3", "v4", "v5"]
    assert all(before.superseded_at == after.recorded_at for before, after in pairwise(version_list))
    assert not Memory.objects.filter(superseded_at__lte=F("recorded_at")).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("on_conflict", OnConflict)
def test_the_same_write_again_adds_nothing(on_conflict):
    item = envelope(payload_id="p", request_id="attempt-1")
    (first,) = write.write_memories([item], principal=WRITER, on_conflict=on_conflict)
    (repeated,) = write.write_memories([{**item, "request_id": "attempt-2"}], principal=WRITER, on_conflict=on_conflict)

    assert repeated.outcome is WriteOutcome.DUPLICATE
    assert (repeated.memory_id, repeated.version) == (first.memory_id, None)
    assert [memory.request_id for memory in list_versions("p")] == ["attempt-1"]


@pytest.mark.django_db
def test_other_content_is_refused_unless_an_update_is_asked_for():
    make_memory(payload_id="p", content="one")
    (receipt,) = write.write_memories([envelope(payload_id="p", content="two")], principal=WRITER)

    assert (receipt.outcome, receipt.code, receipt.memory_id) == (WriteOutcome.CONFLICT, "payload_id_conflict", None)
    assert [memory.content for memory in list_versions("p")] == ["one"]


@pytest.mark.django_db
def test_back_to_an_earlier_content_is_a_new_version():
    """Only the version in force is compared: what was believed before is history, not a duplicate."""
    for content in ("one", "two", "one"):
        make_memory(payload_id="p", content=content)

    assert [memory.content for memory in list_versions("p")] == ["one", "two", "one"]


@pytest.mark.django_db
def test_what_a_writer_leaves_out_is_remembered_as_defaulted():
    memory = make_memory(payload_id="p", subject="user:ada", namespace="", metadata={})

    assert {"namespace", "metadata", "timestamp", "classification_tier", "actor_type"} <= set(memory.defaulted_fields)
    assert {"payload_id", "content", "source", "subject"}.isdisjoint(memory.defaulted_fields)


@pytest.mark.django_db
def test_a_clock_that_was_set_back_moves_record_time_back_by_nothing():
    ((future,),) = execute(
        "INSERT INTO record_clock VALUES (1, now() + interval '30 days')"
        " ON CONFLICT (id) DO UPDATE SET instant = excluded.instant RETURNING instant"
    )
    instants = [execute("SELECT record_time_next()")[0][0] for _ in range(5)]

    assert instants == [future + timedelta(microseconds=index) for index in range(1, 6)]
    first_version, second_version = (
        make_memory(payload_id="p", content="one"),
        make_memory(payload_id="p", content="two"),
    )
    assert instants[-1] < first_version.recorded_at < second_version.recorded_at
    assert RecordClock.objects.get().instant == second_version.recorded_at


@pytest.mark.django_db
def test_a_tick_comes_after_every_tick_before_it_and_is_now():
    instants = [execute("SELECT record_time_next()")[0][0] for _ in range(200)]
    ((database_now,),) = execute("SELECT clock_timestamp()")

    assert instants == sorted(set(instants))
    assert database_now - timedelta(seconds=30) < instants[0] <= instants[-1] <= database_now


@pytest.mark.django_db
def test_rows_written_together_are_recorded_at_one_instant():
    ids = [insert_whole_row(payload_id=f"p-{index}") for index in range(3)]

    assert len({memory.recorded_at for memory in Memory.objects.filter(id__in=ids)}) == 1


@pytest.mark.django_db(transaction=True)
def test_each_transaction_has_an_instant_of_its_own_though_it_comes_over_the_same_connection():
    make_memory(payload_id="p")
    first_id, second_id, third_id = (
        insert_whole_row(payload_id="a"),
        insert_whole_row(payload_id="b"),
        make_memory(payload_id="c").id,
    )

    instants = [Memory.objects.get(id=row).recorded_at for row in (first_id, second_id, third_id)]

    assert instants == sorted(set(instants))
    ((record_time_current,),) = execute("SELECT nullif(current_setting('memoryhub.record_time', true), '')")
    assert record_time_current is None, "the instant ends with its transaction"


@pytest.mark.django_db(transaction=True)
def test_what_was_rolled_back_lends_its_instant_to_nobody():
    other_database = DatabaseHandle(connection.settings_dict["NAME"])
    try:
        with other_database.activate():
            execute("BEGIN")
            ((lost_instant,),) = execute("SELECT record_time_next()")
            execute("SAVEPOINT before")
            insert_whole_row(payload_id="lost")
            execute("ROLLBACK")
        kept_memory = make_memory(payload_id="kept")
        with other_database.activate():
            execute("BEGIN")
            execute("SAVEPOINT before")
            insert_whole_row(payload_id="lost")
            execute("ROLLBACK TO before")
        later = make_memory(payload_id="later")
        with other_database.activate():
            latest_id = insert_whole_row(payload_id="latest")
            execute("COMMIT")
    finally:
        other_database.close()

    assert lost_instant < kept_memory.recorded_at < later.recorded_at < Memory.objects.get(id=latest_id).recorded_at
    assert sorted(Memory.objects.values_list("payload_id", flat=True)) == ["kept", "later", "latest"]
