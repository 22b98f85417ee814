"""A change closes the current version and adds the next: the record of a memory has neither gap nor overlap."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from django.db import connection
from django.db.models import F, Q

from memoryhub.memories import ingest
from memoryhub.memories.ingest import OnConflict, Outcome
from memoryhub.memories.models import Memory, RecordClock
from tests.builders import WRITER, envelope, make_memory
from tests.harness.databases import World
from tests.memories.rows import execute, insert


def known_at(moment: datetime) -> list[str]:
    """What a question about record time would find: recorded at or before, superseded after."""
    found = Memory.objects.filter(Q(superseded_at__isnull=True) | Q(superseded_at__gt=moment), recorded_at__lte=moment)
    return list(found.order_by("payload_id").values_list("content", flat=True))


def versions(payload_id: str) -> list[Memory]:
    return list(Memory.objects.filter(payload_id=payload_id).order_by("version"))


@pytest.mark.django_db
def test_a_version_ends_at_the_instant_at_which_the_next_begins():
    for content in ("one", "two", "three"):
        make_memory(payload_id="p", content=content)

    first, second, third = versions("p")

    assert {first.memory_id} == {second.memory_id, third.memory_id}
    assert [memory.version for memory in versions("p")] == [1, 2, 3]
    assert first.superseded_at == second.recorded_at
    assert second.superseded_at == third.recorded_at
    assert third.superseded_at is None
    tick = timedelta(microseconds=1)
    assert known_at(first.recorded_at - tick) == []
    assert known_at(first.recorded_at) == known_at(second.recorded_at - tick) == ["one"]
    assert known_at(second.recorded_at) == known_at(third.recorded_at - tick) == ["two"]
    assert known_at(third.recorded_at) == ["three"]


@pytest.mark.django_db
def test_versions_within_one_batch_are_believed_one_after_the_other():
    batch = [envelope(payload_id="p", content=f"v{number}") for number in range(1, 6)]
    receipts = ingest.write([*batch, envelope(payload_id="q")], by=WRITER, on_conflict=OnConflict.UPDATE)

    assert [receipt.outcome for receipt in receipts] == [Outcome.CREATED, *[Outcome.UPDATED] * 4, Outcome.CREATED]
    assert [receipt.version for receipt in receipts] == [1, None, None, None, None, 1]
    found = versions("p")
    assert [memory.content for memory in found] == ["v1", "v2", "v3", "v4", "v5"]
    assert all(one.superseded_at == after.recorded_at for one, after in pairwise(found))
    assert not Memory.objects.filter(superseded_at__lte=F("recorded_at")).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("on_conflict", OnConflict)
def test_the_same_write_again_adds_nothing(on_conflict):
    item = envelope(payload_id="p", request_id="attempt-1")
    (first,) = ingest.write([item], by=WRITER, on_conflict=on_conflict)
    (again,) = ingest.write([{**item, "request_id": "attempt-2"}], by=WRITER, on_conflict=on_conflict)

    assert again.outcome is Outcome.DUPLICATE
    assert (again.memory_id, again.version) == (first.memory_id, None)
    assert [memory.request_id for memory in versions("p")] == ["attempt-1"]


@pytest.mark.django_db
def test_other_content_is_refused_unless_an_update_is_asked_for():
    make_memory(payload_id="p", content="one")
    (receipt,) = ingest.write([envelope(payload_id="p", content="two")], by=WRITER)

    assert (receipt.outcome, receipt.code, receipt.memory_id) == (Outcome.CONFLICT, "payload_id_conflict", None)
    assert [memory.content for memory in versions("p")] == ["one"]


@pytest.mark.django_db
def test_back_to_an_earlier_content_is_a_new_version():
    """Only the version in force is compared: what was believed before is history, not a duplicate."""
    for content in ("one", "two", "one"):
        make_memory(payload_id="p", content=content)

    assert [memory.content for memory in versions("p")] == ["one", "two", "one"]


@pytest.mark.django_db
def test_what_a_writer_leaves_out_is_remembered_as_defaulted():
    memory = make_memory(payload_id="p", subject="user:ada", namespace="", metadata={})

    assert {"namespace", "metadata", "timestamp", "classification_tier", "actor_type"} <= set(memory.defaulted)
    assert {"payload_id", "content", "source", "subject"}.isdisjoint(memory.defaulted)


@pytest.mark.django_db
def test_a_clock_that_was_set_back_moves_record_time_back_by_nothing():
    ((future,),) = execute(
        "INSERT INTO record_clock VALUES (1, now() + interval '30 days')"
        " ON CONFLICT (id) DO UPDATE SET instant = excluded.instant RETURNING instant"
    )
    instants = [execute("SELECT record_tick()")[0][0] for _ in range(5)]

    assert instants == [future + timedelta(microseconds=number) for number in range(1, 6)]
    one, two = make_memory(payload_id="p", content="one"), make_memory(payload_id="p", content="two")
    assert instants[-1] < one.recorded_at < two.recorded_at
    assert RecordClock.objects.get().instant == two.recorded_at


@pytest.mark.django_db
def test_a_tick_comes_after_every_tick_before_it_and_is_now():
    instants = [execute("SELECT record_tick()")[0][0] for _ in range(200)]
    ((now,),) = execute("SELECT clock_timestamp()")

    assert instants == sorted(set(instants))
    assert now - timedelta(seconds=30) < instants[0] <= instants[-1] <= now


@pytest.mark.django_db
def test_rows_written_together_are_recorded_at_one_instant():
    ids = [insert(payload_id=f"p-{number}") for number in range(3)]

    assert len({memory.recorded_at for memory in Memory.objects.filter(id__in=ids)}) == 1


@pytest.mark.django_db(transaction=True)
def test_each_transaction_has_an_instant_of_its_own_though_it_comes_over_the_same_connection():
    make_memory(payload_id="p")
    one, two, three = insert(payload_id="a"), insert(payload_id="b"), make_memory(payload_id="c").id

    instants = [Memory.objects.get(id=row).recorded_at for row in (one, two, three)]

    assert instants == sorted(set(instants))
    ((left,),) = execute("SELECT nullif(current_setting('memoryhub.record_instant', true), '')")
    assert left is None, "the instant ends with its transaction"


@pytest.mark.django_db(transaction=True)
def test_what_was_rolled_back_lends_its_instant_to_nobody():
    other = World(connection.settings_dict["NAME"])
    try:
        with other.entered():
            execute("BEGIN")
            ((lost,),) = execute("SELECT record_tick()")
            execute("SAVEPOINT before")
            insert(payload_id="lost")
            execute("ROLLBACK")
        kept = make_memory(payload_id="kept")
        with other.entered():
            execute("BEGIN")
            execute("SAVEPOINT before")
            insert(payload_id="lost")
            execute("ROLLBACK TO before")
        later = make_memory(payload_id="later")
        with other.entered():
            latest = insert(payload_id="latest")
            execute("COMMIT")
    finally:
        other.close()

    assert lost < kept.recorded_at < later.recorded_at < Memory.objects.get(id=latest).recorded_at
    assert sorted(Memory.objects.values_list("payload_id", flat=True)) == ["kept", "later", "latest"]
