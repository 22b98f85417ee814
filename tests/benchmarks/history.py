"""Time travel: a million memories, three in ten of them with an earlier version, asked at instants of both axes."""

import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from random import Random
from statistics import median
from typing import Any, LiteralString, NamedTuple

import httpx
import psycopg
from psycopg import sql

from memoryhub.config import SUPERUSER
from memoryhub.memories.ingest import COLUMNS
from memoryhub.memories.models import Memory
from memoryhub.memories.triggers import STAMP
from tests.benchmarks.generate import DAYS, EPOCH, Row, rows
from tests.benchmarks.pages import LIMIT, Params, Timing, get, p95
from tests.benchmarks.store import CHUNK, Store, values_of, write_rows

EVERY, CHANGED = 10, 3
"""Of so many memories so many have been changed once."""
PAGE = 1_000
QUANTILES = {"1 %": 0.01, "50 %": 0.5, "99 %": 0.99}
WARM_UP, PLAIN_TIMES = 10, 2
TRAVEL = "/api/timetravel"


class Version(NamedTuple):
    row: Row
    memory_id: uuid.UUID
    version: int
    recorded_at: datetime
    superseded_at: datetime | None


class HistoryStore(Store):
    """Memories that became known within minutes of their events; some of them were changed within a month."""

    def __init__(self, count: int) -> None:
        super().__init__(count, home=f"bench-{count}-history")

    def versions(self) -> Iterator[Version]:
        dice = Random(7)
        for number, row in enumerate(rows(self.count, dimensions=0)):
            memory_id = uuid.UUID(int=dice.getrandbits(128), version=4)
            known = row.timestamp + timedelta(seconds=dice.random() * 600)
            if number % EVERY >= CHANGED:
                yield Version(row, memory_id, 1, known, None)
                continue
            changed = known + timedelta(days=dice.random() * 30, seconds=1)
            yield Version(row._replace(content=f"First: {row.content}"), memory_id, 1, known, changed)
            yield Version(row, memory_id, 2, changed, None)

    def load(self, connection: psycopg.Connection[Any]) -> Iterator[int]:
        # Record time is the hub's to give. Here it is told, past the trigger that gives it.
        trigger = sql.Identifier(STAMP.get_pgid(Memory()))
        connection.execute(sql.SQL("ALTER TABLE memories DISABLE TRIGGER {}").format(trigger))
        versions, done = self.versions(), 0
        while chunk := list(islice(versions, CHUNK)):
            write_rows(
                connection, COLUMNS | {"recorded_at": "timestamptz", "superseded_at": "timestamptz"}, map(_told, chunk)
            )
            yield (done := done + len(chunk))
        connection.execute(sql.SQL("ALTER TABLE memories ENABLE TRIGGER {}").format(trigger))


def _told(version: Version) -> dict[str, Any]:
    return values_of(version.row) | {name: getattr(version, name) for name in Version._fields[1:]}


def measure_history(count: int, times: int) -> list[tuple[Timing, str]]:
    """Each question over HTTP, beside plain SQL for the same, and the name of the question it is compared with."""
    store = HistoryStore(count)
    with store.served() as client:
        store.fill()
        # As anybody would ask: with the server's own settings, past row-level security.
        with psycopg.connect(store.config.embedded_dsn(SUPERUSER), autocommit=True) as connection:
            return list(Comparison(client, connection, times).timings())


@dataclass(frozen=True)
class Comparison:
    client: httpx.Client
    connection: psycopg.Connection[Any]
    times: int

    def timings(self) -> Iterator[tuple[Timing, str]]:
        page = {"limit": str(LIMIT)}
        now, deep_now = "list, now", f"list, now, page {PAGE:,}"
        yield self.timed(now, "/api/memories", page), ""
        yield self.timed(deep_now, "/api/memories", page | _deep(self.client, "/api/memories", {})), ""
        for axis in ("as_of", "known_at"):
            for words, quantile in QUANTILES.items():
                instant = EPOCH + timedelta(days=DAYS) * quantile
                asked = {axis: instant.isoformat()}
                sql_params = {"as_of": None, "known_at": None} | {axis: instant}
                name = f"{axis} {words}"
                yield self.timed(f"list, {name}", TRAVEL, page | asked, PLAIN_LIST, sql_params), now
                if deep := _deep(self.client, TRAVEL, asked):
                    yield self.timed(f"list, {name}, page {PAGE:,}", TRAVEL, page | asked | deep), deep_now
                state = page | asked | {"view": "state"}
                yield self.timed(f"state, {name}", TRAVEL, state, PLAIN_STATE, sql_params), now
        middle = EPOCH + timedelta(days=DAYS) / 2
        for axis in ("known", "event"):
            two_days = {"axis": axis, "since": middle.isoformat(), "until": (middle + timedelta(days=2)).isoformat()}
            yield self.timed(f"diff of two days, {axis}", "/api/diff", page | two_days), ""
            whole = {"axis": axis, "since": (EPOCH - timedelta(days=1)).isoformat()}
            yield self.timed(f"diff of the whole history, {axis}", "/api/diff", page | whole), ""

    def timed(
        self, name: str, path: str, params: Params, plain: LiteralString = "", told: Mapping[str, Any] | None = None
    ) -> Timing:
        timing = Timing(name)
        for number in range(self.times + WARM_UP):
            spent, _ = get(self.client, path, params)
            if number >= WARM_UP:
                timing.http.append(spent)
        for _ in range(PLAIN_TIMES if plain else 0):
            started = time.perf_counter()
            self.connection.execute(plain, told).fetchall()
            timing.sql.append((time.perf_counter() - started) * 1000)
        print(f"{name}: {median(timing.http):.1f} / {p95(timing.http):.1f} ms", file=sys.stderr)
        return timing


def _deep(client: httpx.Client, path: str, params: Params) -> Params:
    """The cursor of page PAGE, or nothing if there are fewer."""
    cursor: Params = {}
    for _ in range((PAGE - 1) * LIMIT // 200):
        _, found = get(client, path, {**params, **cursor, "limit": "200"})
        if not found["has_more"]:
            return {}
        cursor = {"cursor": found["next_cursor"]}
    return cursor


PLAIN_LIST = """
SELECT * FROM memories
WHERE timestamp <= coalesce(%(as_of)s, timestamp)
  AND recorded_at <= coalesce(%(known_at)s, recorded_at)
  AND (superseded_at IS NULL OR superseded_at > %(known_at)s)
  AND status = 'active'
ORDER BY timestamp DESC, memory_id DESC LIMIT 51
"""
PLAIN_STATE = """
SELECT * FROM (
    SELECT DISTINCT ON (subject, collection) * FROM memories
    WHERE timestamp <= coalesce(%(as_of)s, timestamp)
      AND recorded_at <= coalesce(%(known_at)s, recorded_at)
      AND (superseded_at IS NULL OR superseded_at > %(known_at)s)
      AND status = 'active'
    ORDER BY subject, collection, timestamp DESC, recorded_at DESC, id DESC
) AS state
ORDER BY timestamp DESC, memory_id DESC LIMIT 51
"""
