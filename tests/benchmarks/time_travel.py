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

from memoryhub.config import SUPERUSER_ROLE
from memoryhub.memories.models import Memory
from memoryhub.memories.triggers import STAMP_RECORD_TIME
from memoryhub.memories.writes.versions import COLUMN_TYPES
from tests.benchmarks.generate import DAYS, EPOCH, Row, generate_rows
from tests.benchmarks.pages import PAGE_LIMIT, Params, Timing, p95, timed_get
from tests.benchmarks.store import CHUNK_SIZE, Store, row_values, write_rows

VERSION_INTERVAL, VERSIONS_PER_MEMORY = 10, 3
"""Of so many memories so many have been changed once."""
DEEP_ROW = 1_000
QUANTILES = {"1 %": 0.01, "50 %": 0.5, "99 %": 0.99}
WARM_UP_TIMES, PLAIN_TIMES = 10, 2
TIME_TRAVEL_URL = "/api/timetravel"


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
        rng = Random(7)
        for row_index, row in enumerate(generate_rows(self.count, dimensions=0)):
            memory_id = uuid.UUID(int=rng.getrandbits(128), version=4)
            recorded_at = row.timestamp + timedelta(seconds=rng.random() * 600)
            if row_index % VERSION_INTERVAL >= VERSIONS_PER_MEMORY:
                yield Version(row, memory_id, 1, recorded_at, None)
                continue
            superseded_at = recorded_at + timedelta(days=rng.random() * 30, seconds=1)
            yield Version(row._replace(content=f"First: {row.content}"), memory_id, 1, recorded_at, superseded_at)
            yield Version(row, memory_id, 2, superseded_at, None)

    def load(self, connection: psycopg.Connection[Any]) -> Iterator[int]:
        # The hub sets record time. Here it is given, past the trigger that sets it.
        trigger = sql.Identifier(STAMP_RECORD_TIME.get_pgid(Memory()))
        connection.execute(sql.SQL("ALTER TABLE memories DISABLE TRIGGER {}").format(trigger))
        versions, loaded_rows = self.versions(), 0
        while chunk := list(islice(versions, CHUNK_SIZE)):
            write_rows(
                connection,
                COLUMN_TYPES | {"recorded_at": "timestamptz"},
                map(_version_values, chunk),
            )
            yield (loaded_rows := loaded_rows + len(chunk))
        connection.execute(sql.SQL("ALTER TABLE memories ENABLE TRIGGER {}").format(trigger))


def _version_values(version: Version) -> dict[str, Any]:
    return row_values(version.row) | {name: getattr(version, name) for name in Version._fields[1:]}


def measure_history(count: int, times: int) -> list[tuple[Timing, str]]:
    """Each question over HTTP, beside plain SQL for the same, and the name of the question it is compared with."""
    store = HistoryStore(count)
    with store.serve() as client:
        store.fill()
        # As anybody would ask: with the server's own settings, past row-level security.
        with psycopg.connect(store.config.embedded_dsn(SUPERUSER_ROLE), autocommit=True) as connection:
            return list(TimeTravelComparison(client, connection, times).timings())


@dataclass(frozen=True)
class TimeTravelComparison:
    client: httpx.Client
    connection: psycopg.Connection[Any]
    times: int

    def timings(self) -> Iterator[tuple[Timing, str]]:
        page = {"limit": str(PAGE_LIMIT)}
        list_now, list_now_deep = "list, now", f"list, now, page {DEEP_ROW:,}"
        yield self.measure(list_now, "/api/memories", page), ""
        yield self.measure(list_now_deep, "/api/memories", page | _deep_cursor(self.client, "/api/memories", {})), ""
        for axis in ("as_of", "known_at"):
            for percent_label, quantile in QUANTILES.items():
                instant = EPOCH + timedelta(days=DAYS) * quantile
                instant_params = {axis: instant.isoformat()}
                sql_params = {"as_of": None, "known_at": None} | {axis: instant}
                name = f"{axis} {percent_label}"
                yield (
                    self.measure(f"list, {name}", TIME_TRAVEL_URL, page | instant_params, PLAIN_LIST, sql_params),
                    list_now,
                )
                if deep_params := _deep_cursor(self.client, TIME_TRAVEL_URL, instant_params):
                    yield (
                        self.measure(
                            f"list, {name}, page {DEEP_ROW:,}", TIME_TRAVEL_URL, page | instant_params | deep_params
                        ),
                        list_now_deep,
                    )
                state = page | instant_params | {"view": "state"}
                yield self.measure(f"state, {name}", TIME_TRAVEL_URL, state, PLAIN_STATE, sql_params), list_now
        middle = EPOCH + timedelta(days=DAYS) / 2
        for axis in ("record", "event"):
            two_days = {"axis": axis, "since": middle.isoformat(), "until": (middle + timedelta(days=2)).isoformat()}
            yield self.measure(f"diff of two days, {axis}", "/api/diff", page | two_days), ""
            diff_params = {"axis": axis, "since": (EPOCH - timedelta(days=1)).isoformat()}
            yield self.measure(f"diff of the whole history, {axis}", "/api/diff", page | diff_params), ""

    def measure(
        self,
        name: str,
        path: str,
        params: Params,
        plain_sql: LiteralString = "",
        sql_params: Mapping[str, Any] | None = None,
    ) -> Timing:
        timing = Timing(name)
        for iteration in range(self.times + WARM_UP_TIMES):
            elapsed, _ = timed_get(self.client, path, params)
            if iteration >= WARM_UP_TIMES:
                timing.http.append(elapsed)
        for _ in range(PLAIN_TIMES if plain_sql else 0):
            start_time = time.perf_counter()
            self.connection.execute(plain_sql, sql_params).fetchall()
            timing.sql.append((time.perf_counter() - start_time) * 1000)
        print(f"{name}: {median(timing.http):.1f} / {p95(timing.http):.1f} ms", file=sys.stderr)
        return timing


def _deep_cursor(client: httpx.Client, path: str, params: Params) -> Params:
    """The cursor of page DEEP_ROW, or nothing if there are fewer."""
    cursor: Params = {}
    for _ in range((DEEP_ROW - 1) * PAGE_LIMIT // 200):
        _, page_json = timed_get(client, path, {**params, **cursor, "limit": "200"})
        if not page_json["has_more"]:
            return {}
        cursor = {"cursor": page_json["next_cursor"]}
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
