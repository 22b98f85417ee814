"""Up to when the record is complete: who waits for whom, and that what was told stays told.

threats.md: TM-04, DB-12.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from memoryhub.firewall import wall
from memoryhub.firewall.types import everything
from memoryhub.memories import clock
from memoryhub.memories.models import Memory
from memoryhub.memories.moment import Moment
from tests.builders import make_key, make_memory, store
from tests.harness.databases import World
from tests.harness.generated import planted
from tests.memories.rows import execute

pytestmark = pytest.mark.django_db(transaction=True)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SOON = 1.0


@pytest.fixture
def other() -> Iterator[World]:
    """Somebody else in the same database, with a connection of their own."""
    made = World(connection.settings_dict["NAME"])
    yield made
    made.close()


@contextmanager
def transaction_of(world: World) -> Iterator[None]:
    """One that stays open over the block, in which the test itself goes on."""
    with world.entered():
        opened = transaction.atomic()
        opened.__enter__()
    try:
        yield
    finally:
        with world.entered():
            opened.__exit__(None, None, None)


@pytest.fixture
def tell() -> Iterator[Callable[[datetime], None]]:
    """Say that an instant was told; no test after this one shall live in the future."""

    def tell(instant: datetime) -> None:
        execute("SELECT setval('record_told', %s)", (instant - EPOCH) // timedelta(microseconds=1))

    yield tell
    tell(clock.now())


def status(api: Any) -> dict[str, Any]:
    began = time.monotonic()
    answer = api(make_key()).get("/api/status")
    assert answer.status_code == 200
    assert time.monotonic() - began < SOON, "the status waits for nobody"
    found: dict[str, Any] = answer.json()
    return found | {"horizon": datetime.fromisoformat(found["horizon"])}


def test_a_reader_stands_in_no_writers_way_and_in_no_other_readers(other):
    make_memory(payload_id="p", content="before")
    with transaction_of(other):
        with other.entered(), wall.behind(everything()):
            settled = clock.settle()
            seen = Moment(known_at=settled).of(Memory.objects.visible_to(everything())).count()
        execute("SET lock_timeout = '200ms'")
        after = make_memory(payload_id="p", content="after")
        assert clock.settle() >= after.recorded_at > settled
        with other.entered(), wall.behind(everything()):
            assert Moment(known_at=settled).of(Memory.objects.visible_to(everything())).count() == seen == 1

    execute("RESET lock_timeout")


def test_what_is_asked_after_settling_sees_every_write_up_to_then(other):
    """Also in a transaction that began before the write."""
    with transaction_of(other):
        with other.entered():
            assert Memory.objects.count() == 0
        written = make_memory(payload_id="p")
        with other.entered():
            settled = clock.settle()
            assert settled >= written.recorded_at
            assert list(Memory.objects.values_list("recorded_at", flat=True)) == [written.recorded_at]


def test_settling_waits_for_who_is_writing_but_not_for_ever(other):
    before = clock.settle()
    with transaction_of(other):
        with other.entered():
            store([planted(payload_id="p")])
        execute("SET lock_timeout = '200ms'")
        assert clock.settle(before) == before, "what was told needs no waiting"
        with pytest.raises(OperationalError):
            clock.settle()
        execute("RESET lock_timeout")

    assert clock.settle() >= Memory.objects.get().recorded_at


def test_the_second_reader_of_an_instant_waits_for_nobody(other):
    instant = clock.now()
    assert clock.settle(instant) == instant
    with transaction_of(other):
        with other.entered():
            store([planted(payload_id="p")])
        execute("SET lock_timeout = '200ms'")
        assert clock.settle(instant) == instant
        execute("RESET lock_timeout")


@pytest.mark.parametrize("is_asked", [True, False], ids=["asked before", "never asked"])
def test_the_status_says_how_far_the_record_lags_while_somebody_writes(api, other, is_asked):
    """DB-12: never wrong, only late. The first write of a hub is one, too."""
    told = clock.settle() if is_asked else None
    with transaction_of(other):
        with other.entered():
            store([planted(payload_id="p")])
            (recorded_at,) = Memory.objects.values_list("recorded_at", flat=True)
        time.sleep(0.3)
        first = status(api)
        time.sleep(0.3)
        then = status(api)

        assert first["horizon"] == then["horizon"] < recorded_at
        assert told in (None, first["horizon"])
        assert 0.3 <= first["lag_seconds"] < then["lag_seconds"] - 0.3 < 600

    after = status(api)
    assert after["horizon"] > recorded_at
    assert after["lag_seconds"] < SOON


def test_the_horizon_of_a_hub_at_rest_is_now(api):
    make_memory()
    before = clock.now()

    told = status(api)

    assert before <= told["horizon"] <= clock.now()
    assert 0 <= told["lag_seconds"] < SOON


def test_an_instant_that_was_told_does_not_come_again_when_the_clock_goes_back(tell):
    """TM-04: as if the server had been an hour ahead when it was asked."""
    make_memory(payload_id="p", content="before")
    told = clock.now() + timedelta(hours=1)
    tell(told)
    execute("UPDATE record_clock SET instant = instant - interval '1 day'")
    held = clock.settle(told), clock.settle()

    one, two = make_memory(payload_id="p", content="one"), make_memory(payload_id="p", content="two")

    assert held == (told, told)
    assert told < one.recorded_at < two.recorded_at < told + timedelta(seconds=1)
    seen = Memory.objects.visible_to(everything())
    assert [row.content for row in Moment.asked(as_of=None, known_at=told).of(seen)] == ["before"]
    assert [row.content for row in Moment.asked(as_of=None, known_at=two.recorded_at).of(seen)] == ["two"]


def test_the_first_instant_of_all_comes_after_what_was_told_while_its_writer_waited(other, tell):
    """The clock has no row yet: a reader makes one to settle, and takes it back."""
    execute("TRUNCATE record_clock")
    written: list[Memory] = []

    def write() -> None:
        try:
            written.append(make_memory())
        finally:
            connection.close()

    writer = threading.Thread(target=write)
    with other.entered(), transaction.atomic():
        execute("INSERT INTO record_clock VALUES (1, clock_timestamp())")
        writer.start()
        while not execute("SELECT pid FROM pg_locks WHERE NOT granted"):
            time.sleep(0.01)
        told = clock.now()
        tell(told)
        transaction.set_rollback(True)
    writer.join()

    (memory,) = written
    assert memory.recorded_at > told


def test_what_was_told_stays_told_though_the_transaction_that_asked_is_rolled_back(tell):
    with transaction.atomic():
        told = clock.settle()
        transaction.set_rollback(True)

    ((kept,),) = execute("SELECT record_told()")
    assert kept == told
    tell(told + timedelta(minutes=1))
    execute("TRUNCATE record_clock")
    assert make_memory().recorded_at == told + timedelta(minutes=1, microseconds=1)


def test_an_instant_that_is_still_to_come_is_not_told(tell):
    tell(EPOCH)
    settled = clock.settle()

    assert settled <= clock.now()
    ((kept,),) = execute("SELECT record_told()")
    assert kept == settled


def test_settling_leaves_the_clock_as_it_was():
    """It would tell whether a hidden memory was written since."""
    make_memory()
    ((before,),) = execute("SELECT instant FROM record_clock")
    clock.settle()

    assert execute("SELECT instant FROM record_clock") == [(before,)]
