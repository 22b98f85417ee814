"""Up to when the record is complete: who waits for whom, and that a reported watermark stays true.

Threats TM-04, DB-12.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from memoryhub.firewall import rls
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.memories import clock
from memoryhub.memories.models import Memory
from memoryhub.memories.point_in_time import PointInTime
from tests.factories import make_key, make_memory, store_drafts
from tests.harness.databases import DatabaseHandle
from tests.harness.strategies import prepare_memory
from tests.memories.raw_rows import execute

pytestmark = pytest.mark.django_db(transaction=True)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_STATUS_SECONDS = 1.0


@pytest.fixture
def other_session() -> Iterator[DatabaseHandle]:
    """Somebody else in the same database, with a connection of their own."""
    session = DatabaseHandle(connection.settings_dict["NAME"])
    yield session
    session.close()


@contextmanager
def open_transaction(session: DatabaseHandle) -> Iterator[None]:
    """One that stays open over the block, in which the test itself goes on."""
    with session.activate():
        open_block = transaction.atomic()
        open_block.__enter__()
    try:
        yield
    finally:
        with session.activate():
            open_block.__exit__(None, None, None)


@pytest.fixture
def set_watermark() -> Iterator[Callable[[datetime], None]]:
    """Set the reported watermark; no test after this one shall live in the future."""

    def set_watermark(instant: datetime) -> None:
        execute("SELECT setval('record_time_watermark', %s)", (instant - EPOCH) // timedelta(microseconds=1))

    yield set_watermark
    set_watermark(clock.database_now())


def get_status(api: Any) -> dict[str, Any]:
    start_time = time.monotonic()
    response = api(make_key()).get("/api/status")
    assert response.status_code == 200
    assert time.monotonic() - start_time < MAX_STATUS_SECONDS, "the status waits for nobody"
    status_json: dict[str, Any] = response.json()
    return status_json | {"watermark": datetime.fromisoformat(status_json["watermark"])}


def test_a_reader_stands_in_no_writers_way_and_in_no_other_readers(other_session):
    make_memory(payload_id="p", content="before")
    with open_transaction(other_session):
        with other_session.activate(), rls.as_reader(unrestricted_clearance()):
            settled_at = clock.stable_record_time()
            visible_count = (
                PointInTime(known_at=settled_at)
                .current_versions(Memory.objects.visible_to(unrestricted_clearance()))
                .count()
            )
        execute("SET lock_timeout = '200ms'")
        after = make_memory(payload_id="p", content="after")
        assert clock.stable_record_time() >= after.recorded_at > settled_at
        with other_session.activate(), rls.as_reader(unrestricted_clearance()):
            assert (
                PointInTime(known_at=settled_at)
                .current_versions(Memory.objects.visible_to(unrestricted_clearance()))
                .count()
                == visible_count
                == 1
            )

    execute("RESET lock_timeout")


def test_what_is_asked_after_settling_sees_every_write_up_to_then(other_session):
    """Also in a transaction that began before the write."""
    with open_transaction(other_session):
        with other_session.activate():
            assert Memory.objects.count() == 0
        written_memory = make_memory(payload_id="p")
        with other_session.activate():
            settled_at = clock.stable_record_time()
            assert settled_at >= written_memory.recorded_at
            assert list(Memory.objects.values_list("recorded_at", flat=True)) == [written_memory.recorded_at]


def test_settling_waits_for_who_is_writing_but_not_for_ever(other_session):
    before = clock.stable_record_time()
    with open_transaction(other_session):
        with other_session.activate():
            store_drafts([prepare_memory(payload_id="p")])
        execute("SET lock_timeout = '200ms'")
        assert clock.stable_record_time(before) == before, "a reported instant needs no waiting"
        with pytest.raises(OperationalError):
            clock.stable_record_time()
        execute("RESET lock_timeout")

    assert clock.stable_record_time() >= Memory.objects.get().recorded_at


def test_the_second_reader_of_an_instant_waits_for_nobody(other_session):
    instant = clock.database_now()
    assert clock.stable_record_time(instant) == instant
    with open_transaction(other_session):
        with other_session.activate():
            store_drafts([prepare_memory(payload_id="p")])
        execute("SET lock_timeout = '200ms'")
        assert clock.stable_record_time(instant) == instant
        execute("RESET lock_timeout")


@pytest.mark.parametrize("is_asked", [True, False], ids=["asked before", "never asked"])
def test_the_status_says_how_far_the_record_lags_while_somebody_writes(api, other_session, is_asked):
    """DB-12: never wrong, only late. The first write of a hub is one, too."""
    watermark = clock.stable_record_time() if is_asked else None
    with open_transaction(other_session):
        with other_session.activate():
            store_drafts([prepare_memory(payload_id="p")])
            (recorded_at,) = Memory.objects.values_list("recorded_at", flat=True)
        time.sleep(0.3)
        first = get_status(api)
        time.sleep(0.3)
        later_status = get_status(api)

        assert first["watermark"] == later_status["watermark"] < recorded_at
        assert watermark in (None, first["watermark"])
        assert 0.3 <= first["watermark_lag_seconds"] < later_status["watermark_lag_seconds"] - 0.3 < 600

    after = get_status(api)
    assert after["watermark"] > recorded_at
    assert after["watermark_lag_seconds"] < MAX_STATUS_SECONDS


def test_the_horizon_of_a_hub_at_rest_is_now(api):
    make_memory()
    before = clock.database_now()

    status_json = get_status(api)

    assert before <= status_json["watermark"] <= clock.database_now()
    assert 0 <= status_json["watermark_lag_seconds"] < MAX_STATUS_SECONDS


def test_a_reported_instant_does_not_come_again_when_the_clock_goes_back(set_watermark):
    """TM-04: as if the server had been an hour ahead when it was asked."""
    make_memory(payload_id="p", content="before")
    future_instant = clock.database_now() + timedelta(hours=1)
    set_watermark(future_instant)
    execute("UPDATE record_clock SET instant = instant - interval '1 day'")
    settled_instants = clock.stable_record_time(future_instant), clock.stable_record_time()

    first_version, second_version = (
        make_memory(payload_id="p", content="one"),
        make_memory(payload_id="p", content="two"),
    )

    assert settled_instants == (future_instant, future_instant)
    assert (
        future_instant < first_version.recorded_at < second_version.recorded_at < future_instant + timedelta(seconds=1)
    )
    visible_memories = Memory.objects.visible_to(unrestricted_clearance())
    assert [
        row.content
        for row in PointInTime.resolve(as_of=None, known_at=future_instant).current_versions(visible_memories)
    ] == ["before"]
    assert [
        row.content
        for row in PointInTime.resolve(as_of=None, known_at=second_version.recorded_at).current_versions(
            visible_memories
        )
    ] == ["two"]


def test_the_first_instant_of_all_comes_after_the_watermark_reported_while_its_writer_waited(
    other_session, set_watermark
):
    """The clock has no row yet: a reader makes one to settle, and takes it back."""
    execute("TRUNCATE record_clock")
    written_memories: list[Memory] = []

    def write_first() -> None:
        try:
            written_memories.append(make_memory())
        finally:
            connection.close()

    writer = threading.Thread(target=write_first)
    with other_session.activate(), transaction.atomic():
        execute("INSERT INTO record_clock VALUES (1, clock_timestamp())")
        writer.start()
        while not execute("SELECT pid FROM pg_locks WHERE NOT granted"):
            time.sleep(0.01)
        watermark = clock.database_now()
        set_watermark(watermark)
        transaction.set_rollback(True)
    writer.join()

    (memory,) = written_memories
    assert memory.recorded_at > watermark


def test_a_reported_watermark_stays_though_the_transaction_that_read_it_is_rolled_back(set_watermark):
    with transaction.atomic():
        watermark = clock.stable_record_time()
        transaction.set_rollback(True)

    ((stored_watermark,),) = execute("SELECT record_time_watermark()")
    assert stored_watermark == watermark
    set_watermark(watermark + timedelta(minutes=1))
    execute("TRUNCATE record_clock")
    assert make_memory().recorded_at == watermark + timedelta(minutes=1, microseconds=1)


def test_a_future_instant_is_not_reported(set_watermark):
    set_watermark(EPOCH)
    settled_at = clock.stable_record_time()

    assert settled_at <= clock.database_now()
    ((stored_watermark,),) = execute("SELECT record_time_watermark()")
    assert stored_watermark == settled_at


def test_settling_leaves_the_clock_as_it_was():
    """Otherwise it would reveal whether a hidden memory was written since."""
    make_memory()
    ((before,),) = execute("SELECT instant FROM record_clock")
    clock.stable_record_time()

    assert execute("SELECT instant FROM record_clock") == [(before,)]
