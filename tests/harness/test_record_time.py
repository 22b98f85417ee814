"""An answer about an earlier instant never changes, and a reader that follows record time misses nothing.

CC-08 and CC-09: eight writers at once, short and long transactions, some rolled back. The same checker is
let loose on a table whose record time is `DEFAULT now()`, as most are: there it must see answers change. What the
product itself answers meanwhile, be it at an instant or page by page, is held to the same.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import OperationalError, connection, transaction
from django.test import Client
from psycopg import sql

from memoryhub.firewall import rls
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.memories.models import Memory
from memoryhub.memories.point_in_time import PointInTime
from memoryhub.memories.writes.identity import OnConflict
from tests.factories import make_key, store_drafts
from tests.harness.databases import unrestricted_dsn
from tests.harness.strategies import SOAK, prepare_memory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.soak]

WRITER_COUNT = 8
RUN_SECONDS = 60 if SOAK else 3
QUESTION_COUNT = 2_000 if SOAK else 160
# Of those that the product is asked; each of them is asked again and again.
INSTANT_COUNT = 1_000 if SOAK else 40
MAX_TRANSACTION_SECONDS = 5.0 if SOAK else 0.6

RowsByInstant = dict[datetime, frozenset[tuple[UUID, int, str]]]
BEGINNING = datetime.min.replace(tzinfo=UTC)
KnownIds = frozenset[int]
WriteFunction = Callable[[random.Random, threading.Event], None]


class RolledBackError(Exception):
    pass


@dataclass
class Observer:
    """Asks what was known at past instants, and follows the record as a client with a cursor would."""

    connection: psycopg.Connection[Any]
    table: str
    clock: str
    known_by_instant: dict[datetime, KnownIds] = field(default_factory=dict)
    followed_rows: list[tuple[datetime, int]] = field(default_factory=list)
    followed_until: datetime = BEGINNING

    def watermark(self) -> datetime | None:
        """The instant up to which the record is said to be complete."""
        horizon_row = self.connection.execute(self.clock.encode()).fetchone()
        return horizon_row[0] if horizon_row else None

    def known_at(self, instant: datetime) -> KnownIds:
        query = sql.SQL("""
            SELECT id FROM {} WHERE recorded_at <= %(t)s AND (superseded_at IS NULL OR superseded_at > %(t)s)
        """).format(sql.Identifier(self.table))
        return frozenset(row for (row,) in self.connection.execute(query, {"t": instant}))

    def check_instant(self, instant: datetime) -> None:
        if instant not in self.known_by_instant:
            self.known_by_instant[instant] = self.known_at(instant)

    def changed_instants(self) -> list[datetime]:
        """The instants about which the record now says something else than before."""
        return [instant for instant, before in self.known_by_instant.items() if self.known_at(instant) != before]

    def follow(self, watermark: datetime) -> None:
        """Read what was recorded since the last time, up to the watermark; never look back."""
        query = sql.SQL("SELECT recorded_at, id FROM {} WHERE recorded_at > %s AND recorded_at <= %s ORDER BY 1, 2")
        self.followed_rows += self.connection.execute(
            query.format(sql.Identifier(self.table)), (self.followed_until, watermark)
        ).fetchall()
        self.followed_until = watermark

    def all_recorded_ids(self) -> list[int]:
        query = sql.SQL("SELECT id FROM {} ORDER BY id").format(sql.Identifier(self.table))
        return [row for (row,) in self.connection.execute(query)]


@contextmanager
def open_observer(table: str, clock: str) -> Iterator[Observer]:
    with psycopg.connect(unrestricted_dsn(connection.settings_dict["NAME"]), autocommit=True) as owner_connection:
        yield Observer(owner_connection, table, clock)


def run_writers_observed(write_function: WriteFunction, observer_: Observer) -> None:
    """Eight writers for RUN_SECONDS; meanwhile the observer asks about QUESTION_COUNT instants of the past."""
    with run_writers(write_function):
        observe_until_done(observer_)


@contextmanager
def run_writers(
    write_function: WriteFunction, companions: Sequence[Callable[[threading.Event], None]] = ()
) -> Iterator[None]:
    """Eight writers, and the `companions` beside them until `stop` is set, each in a thread of its own."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def run_writer(writer_index: int) -> None:
        rng = random.Random(writer_index)
        try:
            while not stop.is_set():
                with suppress(RolledBackError):
                    write_function(rng, stop)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    def run_companion(companion: Callable[[threading.Event], None]) -> None:
        try:
            companion(stop)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run_writer, args=(writer_number,)) for writer_number in range(WRITER_COUNT)]
    threads += [threading.Thread(target=run_companion, args=(companion_function,)) for companion_function in companions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []


def observe_until_done(observer_: Observer) -> None:
    rng = random.Random(0)
    start_time = datetime.now(UTC)
    end = time.monotonic() + RUN_SECONDS
    # A busy machine takes longer to ask as often.
    while (seconds_left := end - time.monotonic()) > 0 or len(observer_.known_by_instant) < QUESTION_COUNT * 3 // 4:
        assert seconds_left > -10 * RUN_SECONDS
        watermark = observer_.watermark()
        if watermark is not None:
            observer_.follow(watermark)
            # Instants at the edge are where an answer would change; older ones are asked, too.
            observer_.check_instant(watermark)
            observer_.check_instant(start_time + (watermark - start_time) * rng.random())
        time.sleep(max(min(seconds_left, RUN_SECONDS * 2 / QUESTION_COUNT * 0.9), 0))


def sleep_briefly(rng: random.Random) -> None:
    time.sleep(rng.uniform(0.001, 0.05) if rng.random() < 0.98 else 0.3)


def write_memory_batch(rng: random.Random, _stop: threading.Event) -> None:
    """A transaction of the product's own writing: creates, updates and batches, slow before and slow after."""
    with transaction.atomic():
        sleep_briefly(rng)
        for _ in range(rng.randint(1, 2)):
            payload_ids = sorted({f"p-{rng.randint(1, 60)}" for _ in range(rng.randint(1, 4))})
            drafts = [prepare_memory(payload_id=name, content=f"{rng.random()}") for name in payload_ids]
            store_drafts(drafts, on_conflict=OnConflict.REPLACE)
        if rng.random() < 0.5:
            sleep_briefly(rng)
        if rng.random() < 0.2:
            raise RolledBackError


def write_scratch(rng: random.Random, _stop: threading.Event) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        sleep_briefly(rng)
        cursor.execute(
            "UPDATE scratch SET superseded_at = now() WHERE superseded_at IS NULL AND id ="
            " (SELECT id FROM scratch WHERE superseded_at IS NULL ORDER BY id DESC LIMIT 1 FOR UPDATE SKIP LOCKED)"
        )
        cursor.execute("INSERT INTO scratch DEFAULT VALUES")
        sleep_briefly(rng)
        if rng.random() < 0.2:
            raise RolledBackError


def test_an_answer_about_an_earlier_instant_never_changes():
    with open_observer("memories", "SELECT instant FROM record_clock") as observer_:
        run_writers_observed(write_memory_batch, observer_)

        assert len(observer_.known_by_instant) >= QUESTION_COUNT * 3 // 4
        assert len(set(observer_.known_by_instant.values())) > QUESTION_COUNT // 8, "the record did change meanwhile"
        assert observer_.changed_instants() == []

        # CC-08: an observer that followed the clock has seen every version once, in order.
        last = observer_.watermark()
        assert last is not None
        observer_.follow(last)
        followed_ids = [row for _, row in observer_.followed_rows]
        assert sorted(followed_ids) == observer_.all_recorded_ids()
        assert len(set(followed_ids)) == len(followed_ids)
        instants = [instant for instant, _ in observer_.followed_rows]
        assert instants == sorted(instants)
        assert len(followed_ids) > (100 if SOAK else 20), "the writers did write"


def write_at_length(rng: random.Random, stop: threading.Event) -> None:
    """A transaction of 10 ms or, now and then, of seconds: mostly before it writes, and sometimes after that."""
    is_long = rng.random() < 0.02
    seconds = (
        rng.uniform(MAX_TRANSACTION_SECONDS / 5, MAX_TRANSACTION_SECONDS) if is_long else rng.uniform(0.005, 0.015)
    )
    is_early = is_long and rng.random() < 0.2
    try:
        with transaction.atomic():
            # The holder of the clock delays all other writers, which wait for lock_timeout.
            stop.wait(0 if is_early else seconds)
            payload_ids = sorted({f"p-{rng.randint(1, 400)}" for _ in range(rng.randint(1, 4))})
            store_drafts(
                [prepare_memory(payload_id=name, content=f"{rng.random()}") for name in payload_ids],
                on_conflict=OnConflict.REPLACE,
            )
            stop.wait(min(seconds, 2.0) if is_early else 0.002)
            if rng.random() < 0.2:
                raise RolledBackError
    except OperationalError as error:
        _reraise_unless_lock_timeout(error)


def _reraise_unless_lock_timeout(error: OperationalError) -> None:
    if not isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
        raise error


def rows_at(instant: datetime) -> frozenset[tuple[UUID, int, str]]:
    """The versions that the product returns to a reader as current at an instant."""
    with rls.as_reader(unrestricted_clearance()):
        point_in_time = PointInTime.resolve(as_of=None, known_at=instant)
        assert point_in_time.clipped == ()
        visible_versions = point_in_time.current_versions(Memory.objects.visible_to(unrestricted_clearance()))
        return frozenset(visible_versions.values_list("memory_id", "version", "content"))


def check_product(rows_by_instant: RowsByInstant, changed_instants: list[datetime]) -> None:
    """Ask about INSTANT_COUNT random ones that have passed, and each time again about one that was asked before."""
    rng = random.Random(0)
    start_time = datetime.now(UTC)
    end = time.monotonic() + RUN_SECONDS
    while (seconds_left := end - time.monotonic()) > 0 or len(rows_by_instant) < INSTANT_COUNT:
        assert seconds_left > -10 * RUN_SECONDS
        try:
            # Some have just passed: those are where an answer would change, and it waits for them in the writers' line.
            current_instant = datetime.now(UTC)
            instant = (
                current_instant if rng.random() < 0.2 else start_time + (current_instant - start_time) * rng.random()
            )
            rows_by_instant.setdefault(instant, rows_at(instant))
            checked_instant = rng.choice(list(rows_by_instant))
            changed_instants += (
                [checked_instant] if rows_at(checked_instant) != rows_by_instant[checked_instant] else []
            )
        except OperationalError as error:
            _reraise_unless_lock_timeout(error)
        time.sleep(max(min(seconds_left, RUN_SECONDS / INSTANT_COUNT / 3), 0))


@dataclass
class PageReader:
    """Walks the pages of GET /api/timetravel, again and again."""

    key: str
    walks: list[tuple[datetime, list[tuple[str, int]]]] = field(default_factory=list)

    def __call__(self, stop: threading.Event) -> None:
        client = Client(headers={"Authorization": f"Bearer {self.key}"})
        while not stop.is_set():
            rows: list[tuple[str, int]] = []
            params: dict[str, Any] = {"as_of": "2026-06-01", "limit": 23}
            while params:
                response = client.get("/api/timetravel", params)
                if response.status_code == 503:  # A writer has held the clock for longer than lock_timeout.
                    break
                page = response.json()
                rows += [(record["memory_id"], record["version"]) for record in page["records"]]
                params = params | {"cursor": page["next_cursor"]} if page["has_more"] else {}
            else:
                self.walks.append((datetime.fromisoformat(page["known_at"]), rows))


def rows_at_in_sql(observer_: Observer, instant: datetime) -> set[tuple[str, int]]:
    """The same in plain SQL."""
    query = """
        SELECT memory_id::text, version FROM memories
        WHERE recorded_at <= %(t)s AND (superseded_at IS NULL OR superseded_at > %(t)s)
    """
    return set(observer_.connection.execute(query, {"t": instant}).fetchall())


def test_a_response_about_an_instant_stays_the_same_and_its_pages_skip_nothing():
    answers: RowsByInstant = {}
    changed_instants: list[datetime] = []
    reader = PageReader(make_key(clearance={"max_tier": "restricted"}))
    # Of several pages from the beginning.
    store_drafts([prepare_memory(payload_id=f"p-{index}") for index in range(100)])

    with run_writers(write_at_length, [reader]):
        check_product(answers, changed_instants)
    changed_instants += [instant for instant, before in answers.items() if rows_at(instant) != before]

    assert changed_instants == []
    assert len(answers) >= INSTANT_COUNT
    assert len(set(answers.values())) > INSTANT_COUNT // 4, "the record did change meanwhile"
    with open_observer("memories", "SELECT instant FROM record_clock") as observer_:
        for instant, rows in reader.walks:
            assert len(set(rows)) == len(rows)
            assert set(rows) == rows_at_in_sql(observer_, instant)
        for instant, before in answers.items():
            assert {(str(memory_id), version) for memory_id, version, _ in before} == rows_at_in_sql(observer_, instant)
    assert len({instant for instant, _ in reader.walks}) > 3
    assert max(len(rows) for _, rows in reader.walks) > 23 * 3, "of several pages"


def test_at_every_instant_a_memory_has_at_most_one_version():
    """Half-open intervals that meet: no instant at which a memory was two things, or nothing in between."""
    with open_observer("memories", "SELECT instant FROM record_clock") as observer_:
        stop = threading.Event()
        threading.Timer(1.5, stop.set).start()
        threads = [
            threading.Thread(target=_write_until_stopped, args=(writer_index, stop))
            for writer_index in range(WRITER_COUNT)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        torn_versions = observer_.connection.execute("""
            SELECT a.id FROM memories AS a
            LEFT JOIN memories AS b ON b.memory_id = a.memory_id AND b.version = a.version + 1
            WHERE a.superseded_at IS DISTINCT FROM b.recorded_at
        """).fetchall()
        versions = observer_.connection.execute("SELECT max(version) FROM memories").fetchone()

    assert torn_versions == []
    assert versions is not None
    assert versions[0] > 2


def _write_until_stopped(writer_index: int, stop: threading.Event) -> None:
    rng = random.Random(writer_index)
    while not stop.is_set():
        with suppress(RolledBackError):
            write_memory_batch(rng, stop)
    connection.close()


def test_the_checker_sees_the_answers_of_a_table_with_default_now_change():
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE scratch (id bigserial PRIMARY KEY, recorded_at timestamptz NOT NULL DEFAULT now(),"
            " superseded_at timestamptz)"
        )
    try:
        with open_observer("scratch", "SELECT clock_timestamp()") as observer_:
            run_writers_observed(write_scratch, observer_)

            assert len(observer_.known_by_instant) >= QUESTION_COUNT * 3 // 4
            assert len(observer_.changed_instants()) > len(observer_.known_by_instant) // 4
            observer_.follow(datetime.now(UTC) + timedelta(days=1))
            assert {row for _, row in observer_.followed_rows} < set(observer_.all_recorded_ids()), (
                "a follower misses rows there"
            )
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE scratch")
