"""An answer about an earlier instant never changes, and a reader that follows record time misses nothing.

threats.md, CC-08 and CC-09: eight writers at once, short and long transactions, some rolled back. The same checker is
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

from memoryhub.firewall import wall
from memoryhub.firewall.types import everything
from memoryhub.memories.ingest import OnConflict
from memoryhub.memories.models import Memory
from memoryhub.memories.moment import Moment
from tests.builders import make_key, store
from tests.harness.databases import keepers_address
from tests.harness.generated import SOAK, planted

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.soak]

WRITERS = 8
SECONDS = 60 if SOAK else 8
QUESTIONS = 2_000 if SOAK else 400
# Of those that the product is asked; each of them is asked again and again.
INSTANTS = 1_000 if SOAK else 60
LONGEST_SECONDS = 5.0 if SOAK else 1.0

Answers = dict[datetime, frozenset[tuple[UUID, int, str]]]
BEGINNING = datetime.min.replace(tzinfo=UTC)
Known = frozenset[int]
Write = Callable[[random.Random, threading.Event], None]


class RolledBack(Exception):
    pass


@dataclass
class Observer:
    """Asks what was known at past instants, and follows the record as a client with a cursor would."""

    connection: psycopg.Connection[Any]
    table: str
    clock: str
    asked: dict[datetime, Known] = field(default_factory=dict)
    followed: list[tuple[datetime, int]] = field(default_factory=list)
    until: datetime = BEGINNING

    def horizon(self) -> datetime | None:
        """The instant up to which the record is said to be complete."""
        found = self.connection.execute(self.clock.encode()).fetchone()
        return found[0] if found else None

    def known_at(self, moment: datetime) -> Known:
        question = sql.SQL("""
            SELECT id FROM {} WHERE recorded_at <= %(t)s AND (superseded_at IS NULL OR superseded_at > %(t)s)
        """).format(sql.Identifier(self.table))
        return frozenset(row for (row,) in self.connection.execute(question, {"t": moment}))

    def ask(self, moment: datetime) -> None:
        if moment not in self.asked:
            self.asked[moment] = self.known_at(moment)

    def changed(self) -> list[datetime]:
        """The instants about which the record now says something else than before."""
        return [moment for moment, before in self.asked.items() if self.known_at(moment) != before]

    def follow(self, horizon: datetime) -> None:
        """Read what was recorded since the last time, up to the horizon; never look back."""
        question = sql.SQL("SELECT recorded_at, id FROM {} WHERE recorded_at > %s AND recorded_at <= %s ORDER BY 1, 2")
        self.followed += self.connection.execute(
            question.format(sql.Identifier(self.table)), (self.until, horizon)
        ).fetchall()
        self.until = horizon

    def all_recorded(self) -> list[int]:
        question = sql.SQL("SELECT id FROM {} ORDER BY id").format(sql.Identifier(self.table))
        return [row for (row,) in self.connection.execute(question)]


@contextmanager
def observer(table: str, clock: str) -> Iterator[Observer]:
    with psycopg.connect(keepers_address(connection.settings_dict["NAME"]), autocommit=True) as own:
        yield Observer(own, table, clock)


def let_write(write: Write, watch: Observer) -> None:
    """Eight writers for SECONDS; meanwhile the observer asks about QUESTIONS instants spread over what has passed."""
    with writing(write):
        observe(watch)


@contextmanager
def writing(write: Write, beside: Sequence[Callable[[threading.Event], None]] = ()) -> Iterator[None]:
    """Eight writers, and what goes on `beside` them until it is told to stop, each in a thread of its own."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def work(number: int) -> None:
        dice = random.Random(number)
        try:
            while not stop.is_set():
                with suppress(RolledBack):
                    write(dice, stop)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    def go_on(deed: Callable[[threading.Event], None]) -> None:
        try:
            deed(stop)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(WRITERS)]
    threads += [threading.Thread(target=go_on, args=(deed,)) for deed in beside]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []


def observe(watch: Observer) -> None:
    dice = random.Random(0)
    started = datetime.now(UTC)
    end = time.monotonic() + SECONDS
    # A busy machine takes longer to ask as often.
    while (left := end - time.monotonic()) > 0 or len(watch.asked) < QUESTIONS * 3 // 4:
        assert left > -10 * SECONDS
        horizon = watch.horizon()
        if horizon is not None:
            watch.follow(horizon)
            # Instants at the edge are where an answer would change; older ones are asked, too.
            watch.ask(horizon)
            watch.ask(started + (horizon - started) * dice.random())
        time.sleep(max(min(left, SECONDS * 2 / QUESTIONS * 0.9), 0))


def pause(dice: random.Random) -> None:
    time.sleep(dice.uniform(0.001, 0.05) if dice.random() < 0.98 else 0.3)


def write_memories(dice: random.Random, _stop: threading.Event) -> None:
    """A transaction of the product's own writing: creates, updates and batches, slow before and slow after."""
    with transaction.atomic():
        pause(dice)
        for _ in range(dice.randint(1, 2)):
            payload_ids = sorted({f"p-{dice.randint(1, 60)}" for _ in range(dice.randint(1, 4))})
            drafts = [planted(payload_id=name, content=f"{dice.random()}") for name in payload_ids]
            store(drafts, on_conflict=OnConflict.REPLACE)
        if dice.random() < 0.5:
            pause(dice)
        if dice.random() < 0.2:
            raise RolledBack


def write_scratch(dice: random.Random, _stop: threading.Event) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        pause(dice)
        cursor.execute(
            "UPDATE scratch SET superseded_at = now() WHERE superseded_at IS NULL AND id ="
            " (SELECT id FROM scratch WHERE superseded_at IS NULL ORDER BY id DESC LIMIT 1 FOR UPDATE SKIP LOCKED)"
        )
        cursor.execute("INSERT INTO scratch DEFAULT VALUES")
        pause(dice)
        if dice.random() < 0.2:
            raise RolledBack


def test_an_answer_about_an_earlier_instant_never_changes():
    with observer("memories", "SELECT instant FROM record_clock") as watch:
        let_write(write_memories, watch)

        assert len(watch.asked) >= QUESTIONS * 3 // 4
        assert len(set(watch.asked.values())) > QUESTIONS // 8, "the record did change meanwhile"
        assert watch.changed() == []

        # CC-08: whoever followed the clock has seen every version once, in order.
        last = watch.horizon()
        assert last is not None
        watch.follow(last)
        seen = [row for _, row in watch.followed]
        assert sorted(seen) == watch.all_recorded()
        assert len(set(seen)) == len(seen)
        instants = [moment for moment, _ in watch.followed]
        assert instants == sorted(instants)
        assert len(seen) > 100


def write_at_length(dice: random.Random, stop: threading.Event) -> None:
    """A transaction of 10 ms or, now and then, of seconds: mostly before it writes, and sometimes after that."""
    is_long = dice.random() < 0.02
    seconds = dice.uniform(LONGEST_SECONDS / 5, LONGEST_SECONDS) if is_long else dice.uniform(0.005, 0.015)
    is_early = is_long and dice.random() < 0.2
    try:
        with transaction.atomic():
            # Whoever holds the clock holds up all others, who wait for lock_timeout.
            stop.wait(0 if is_early else seconds)
            payload_ids = sorted({f"p-{dice.randint(1, 400)}" for _ in range(dice.randint(1, 4))})
            store(
                [planted(payload_id=name, content=f"{dice.random()}") for name in payload_ids],
                on_conflict=OnConflict.REPLACE,
            )
            stop.wait(min(seconds, 2.0) if is_early else 0.002)
            if dice.random() < 0.2:
                raise RolledBack
    except OperationalError as error:
        _lock_timeout_alone(error)


def _lock_timeout_alone(error: OperationalError) -> None:
    if not isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
        raise error


def answer(instant: datetime) -> frozenset[tuple[UUID, int, str]]:
    """What the product says was in force at an instant, as a reader is told of it."""
    with wall.behind(everything()):
        moment = Moment.asked(as_of=None, known_at=instant)
        assert moment.clipped == ()
        found = moment.of(Memory.objects.visible_to(everything()))
        return frozenset(found.values_list("memory_id", "version", "content"))


def ask_the_product(answers: Answers, changed: list[datetime]) -> None:
    """Ask about INSTANTS random ones that have passed, and each time again about one that was asked before."""
    dice = random.Random(0)
    started = datetime.now(UTC)
    end = time.monotonic() + SECONDS
    while (left := end - time.monotonic()) > 0 or len(answers) < INSTANTS:
        assert left > -10 * SECONDS
        try:
            # Some have just passed: those are where an answer would change, and it waits for them in the writers' line.
            now = datetime.now(UTC)
            instant = now if dice.random() < 0.2 else started + (now - started) * dice.random()
            answers.setdefault(instant, answer(instant))
            again = dice.choice(list(answers))
            changed += [again] if answer(again) != answers[again] else []
        except OperationalError as error:
            _lock_timeout_alone(error)
        time.sleep(max(min(left, SECONDS / INSTANTS / 3), 0))


@dataclass
class PageReader:
    """Walks the pages of GET /api/timetravel, again and again."""

    key: str
    walks: list[tuple[datetime, list[tuple[str, int]]]] = field(default_factory=list)

    def __call__(self, stop: threading.Event) -> None:
        client = Client(headers={"Authorization": f"Bearer {self.key}"})
        while not stop.is_set():
            rows: list[tuple[str, int]] = []
            asked: dict[str, Any] = {"as_of": "2026-06-01", "limit": 23}
            while asked:
                response = client.get("/api/timetravel", asked)
                if response.status_code == 503:  # A writer has held the clock for longer than lock_timeout.
                    break
                page = response.json()
                rows += [(record["memory_id"], record["version"]) for record in page["records"]]
                asked = asked | {"cursor": page["next_cursor"]} if page["has_more"] else {}
            else:
                self.walks.append((datetime.fromisoformat(page["known_at"]), rows))


def in_force(watch: Observer, instant: datetime) -> set[tuple[str, int]]:
    """The same in plain SQL."""
    question = """
        SELECT memory_id::text, version FROM memories
        WHERE recorded_at <= %(t)s AND (superseded_at IS NULL OR superseded_at > %(t)s)
    """
    return set(watch.connection.execute(question, {"t": instant}).fetchall())


def test_what_the_product_told_of_an_instant_stays_and_its_pages_skip_nothing():
    answers: Answers = {}
    changed: list[datetime] = []
    reader = PageReader(make_key(clearance={"max_tier": "restricted"}))

    with writing(write_at_length, [reader]):
        ask_the_product(answers, changed)
    changed += [instant for instant, before in answers.items() if answer(instant) != before]

    assert changed == []
    assert len(answers) >= INSTANTS
    assert len(set(answers.values())) > INSTANTS // 4, "the record did change meanwhile"
    with observer("memories", "SELECT instant FROM record_clock") as watch:
        for instant, rows in reader.walks:
            assert len(set(rows)) == len(rows)
            assert set(rows) == in_force(watch, instant)
        for instant, before in answers.items():
            assert {(str(memory_id), version) for memory_id, version, _ in before} == in_force(watch, instant)
    assert len({instant for instant, _ in reader.walks}) > 3
    assert max(len(rows) for _, rows in reader.walks) > 23 * 3, "of several pages"


def test_at_every_instant_a_memory_has_at_most_one_version():
    """Half-open intervals that meet: no instant at which a memory was two things, or nothing in between."""
    with observer("memories", "SELECT instant FROM record_clock") as watch:
        stop = threading.Event()
        threading.Timer(1.5, stop.set).start()
        threads = [threading.Thread(target=_write_until, args=(number, stop)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        torn = watch.connection.execute("""
            SELECT a.id FROM memories AS a
            LEFT JOIN memories AS b ON b.memory_id = a.memory_id AND b.version = a.version + 1
            WHERE a.superseded_at IS DISTINCT FROM b.recorded_at
        """).fetchall()
        versions = watch.connection.execute("SELECT max(version) FROM memories").fetchone()

    assert torn == []
    assert versions is not None
    assert versions[0] > 2


def _write_until(number: int, stop: threading.Event) -> None:
    dice = random.Random(number)
    while not stop.is_set():
        with suppress(RolledBack):
            write_memories(dice, stop)
    connection.close()


def test_the_checker_sees_the_answers_of_a_table_with_default_now_change():
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE scratch (id bigserial PRIMARY KEY, recorded_at timestamptz NOT NULL DEFAULT now(),"
            " superseded_at timestamptz)"
        )
    try:
        with observer("scratch", "SELECT clock_timestamp()") as watch:
            let_write(write_scratch, watch)

            assert len(watch.asked) >= QUESTIONS * 3 // 4
            assert len(watch.changed()) > len(watch.asked) // 4
            watch.follow(datetime.now(UTC) + timedelta(days=1))
            assert {row for _, row in watch.followed} < set(watch.all_recorded()), "a follower misses rows there"
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE scratch")
