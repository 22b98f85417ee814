"""Conflicts at scale: a million memories, and among them fifty thousand groups that are open."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from statistics import median
from typing import Any, LiteralString
from unittest.mock import patch
from uuid import uuid4

import httpx
import psycopg
from django.db import connection as application
from django.db import transaction

from memoryhub.config import SUPERUSER
from memoryhub.firewall.types import Principal, Scope, everything
from memoryhub.memories import ingest, rejected
from memoryhub.ops import embedded
from tests.benchmarks.generate import TIER_SHARES, TIERS, Row, rows
from tests.benchmarks.pages import LIMIT, Params, Timing, get, p95
from tests.benchmarks.store import Store

ROWS_PER_GROUP = 20
"""Of so many rows three are members of one group; the others say something that nobody disputes."""
MEMBERS = 3
VALUES = (
    "The budget is {} EUR.",
    "The rollout is planned for 2026-0{}-01.",
    "It runs on version {}.4 since the last release.",
    "The team has {} members.",
)


class GroupStore(Store):
    """Every twenty rows hold one group of three; the other keys are single rows, or repeat what was said."""

    def __init__(self, count: int) -> None:
        super().__init__(count, home=f"bench-{count}-conflicts")

    def generated(self) -> Iterator[Row]:
        dice = Random(11)
        tier = TIERS[0]
        for number, row in enumerate(rows(self.count, dimensions=0)):
            group, place = divmod(number, ROWS_PER_GROUP)
            if place == 0:
                tier = dice.choices(TIERS, TIER_SHARES)[0]
            if place >= MEMBERS:
                # Some support what their neighbour says; it is no conflict to say the same.
                told = number - number % 7 if number % 7 < 2 else number
                content = f"Noted: {told}." if number % 7 < 2 else row.content
                yield row._replace(subject=f"user:{told % 50_021:05}", collection=f"note-{told}", content=content)
                continue
            content = VALUES[group % 8].format(place + 2) if group % 8 < len(VALUES) else row.content
            # One in five members is classified by itself: readers see different groups of one key.
            own = dice.choices(TIERS, TIER_SHARES)[0] if dice.random() < 0.2 else tier
            name = f"project:{group * 7919 % 50_000:05}"
            yield row._replace(subject=name, collection="plan", content=content, classification_tier=own)

    def key(self, name: str) -> str:
        return str(json.loads((self.home / "credentials.json").read_text())["keys"][name])


READERS = {"low": ("read-internal", ["", "public", "internal"]), "high": ("read-restricted", ["", *TIERS])}
DEEP, AT_ONCE = 500, 200
WARM_UP, PLAIN_TIMES = 10, 3
DECIDED = 10_000
BATCH, BATCHES = 1_000, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    groups: dict[str, int]
    """How many groups each reader has, by the plain question."""
    pages: list[Timing]
    """Over HTTP; as SQL the naive question, where it is the same."""
    writes: dict[str, tuple[list[float], list[float]]]
    """Milliseconds of a batch, without looking for what was rejected and with that."""


def measure_groups(count: int, times: int) -> Measured:
    store = GroupStore(count)
    with store.served() as client:
        store.fill()
        # As anybody would ask: with the server's own settings, past row-level security.
        with psycopg.connect(store.config.embedded_dsn(SUPERUSER), autocommit=True) as connection:
            counted = {name: _number(connection, tiers) for name, (_, tiers) in READERS.items()}
            pages = list(_pages(client, store, connection, times))
    with embedded.running(store.config), store.connect() as connection:
        writes = {"nothing was rejected before": _writes()}
        with _rejected(connection):
            writes[f"{DECIDED:,} were rejected"] = _writes()
            writes[f"{DECIDED:,} were rejected, a tenth arrives again"] = _writes(again=10)
    return Measured(groups=counted, pages=pages, writes=writes)


def _pages(
    client: httpx.Client, store: GroupStore, connection: psycopg.Connection[Any], times: int
) -> Iterator[Timing]:
    for name, (key, tiers) in READERS.items():
        client.headers["Authorization"] = f"Bearer {store.key(key)}"
        yield _timed(f"{name}, the list of memories, to compare with", client, {}, times, path="/api/memories")
        yield _timed(f"{name}, first page", client, {}, times, connection, tiers)
        yield _timed(f"{name}, page {DEEP}", client, _deep(client), times)
        yield _timed(f"{name}, first page of contradictions", client, {"class": "contradiction"}, times)
    with _settled(store):
        yield _timed(f"{name}, first page behind {DECIDED:,} that are decided", client, {}, times)
        yield _timed(f"{name}, first page of those decided", client, {"status": "decided"}, times)
        yield _timed(f"{name}, first page of both", client, {"status": "all"}, times)


def _timed(
    name: str,
    client: httpx.Client,
    params: Params,
    times: int,
    connection: psycopg.Connection[Any] | None = None,
    tiers: list[str] | None = None,
    *,
    path: str = "/api/conflicts",
) -> Timing:
    timing = Timing(name)
    for number in range(times + WARM_UP):
        spent, found = get(client, path, {**params, "limit": str(LIMIT)})
        assert len(found.get("conflicts") or found["records"]) == LIMIT
        if number >= WARM_UP:
            timing.http.append(spent)
    for _ in range(PLAIN_TIMES if connection else 0):
        assert connection
        started = time.perf_counter()
        connection.execute(NAIVE, [tiers]).fetchall()
        timing.sql.append((time.perf_counter() - started) * 1000)
    print(f"{name}: {median(timing.http):.1f} / {p95(timing.http):.1f} ms", file=sys.stderr)
    return timing


def _deep(client: httpx.Client) -> Params:
    """The cursor of page DEEP."""
    cursor: Params = {}
    before = (DEEP - 1) * LIMIT
    for limit in [AT_ONCE] * (before // AT_ONCE) + [LIMIT] * (before % AT_ONCE // LIMIT):
        _, found = get(client, "/api/conflicts", {**cursor, "limit": str(limit)})
        cursor = {"cursor": found["next_cursor"]}
    return cursor


def _number(connection: psycopg.Connection[Any], tiers: list[str]) -> int:
    found = connection.execute(NUMBER, [tiers]).fetchone()
    assert found
    return int(found[0])


@contextmanager
def _settled(store: GroupStore) -> Iterator[None]:
    """The first DECIDED groups are no conflicts, as a steward has found."""
    with store.connect() as connection:
        # Decisions are never deleted; those of a benchmark are, past the trigger that says so.
        connection.execute("SET session_replication_role = replica")
        connection.execute(SETTLE, [DECIDED])
        connection.execute("VACUUM (ANALYZE) decisions")
        try:
            yield
        finally:
            connection.execute("DELETE FROM decisions")
            connection.execute("VACUUM (ANALYZE) decisions")


@contextmanager
def _rejected(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """One member of each of the first DECIDED groups was retired by a decision."""
    connection.execute("SET session_replication_role = replica")
    made = uuid4()
    connection.execute(REJECT, [made, DECIDED])
    connection.execute("VACUUM (ANALYZE) memories")
    try:
        yield
    finally:
        connection.execute("UPDATE memories SET status = 'active', decision = NULL WHERE decision = %s", [made])
        connection.execute("VACUUM (ANALYZE) memories")


def _writes(*, again: int = 0) -> tuple[list[float], list[float]]:
    """Batches of memories in turns, in this process, and taken back: a run leaves the store as it was."""
    by = Principal(name="key:bench", source="bench", scopes=frozenset(Scope), clearance=everything())
    said = _said(BATCH // again) if again else []
    spent: tuple[list[float], list[float]] = ([], [])
    for number in range(2 * BATCHES + 2):
        batch = [_envelope(f"{uuid4()}", place) for place in range(BATCH)]
        batch[: len(said)] = [envelope | told for envelope, told in zip(batch, said, strict=False)]
        asks = number % 2
        with transaction.atomic():
            started = time.perf_counter()
            if asks:
                ingest.write(batch, by=by)
            else:
                with patch.object(rejected, "decisions", lambda drafts, _: [None] * len(drafts)):
                    ingest.write(batch, by=by)
            took = (time.perf_counter() - started) * 1000
            transaction.set_rollback(True)
        if number > 1:
            spent[asks].append(took)
    print(f"batch: {median(spent[0]):.0f} and {median(spent[1]):.0f} ms", file=sys.stderr)
    return spent


def _envelope(name: str, place: int) -> dict[str, Any]:
    """Every fifth is about something that many others are about."""
    about = {"subject": f"project:{place * 37 % 50_000:05}", "collection": "plan"} if place % 5 == 0 else {}
    told = {"subject": f"user:{place:05}", "collection": name, "content": f"It is said that {name} is so."}
    return {"payload_id": name, "timestamp": "2026-01-01T00:00:00Z", "actor_type": "agent", **told, **about}


def _said(number: int) -> list[dict[str, str]]:
    """What some of the rejected memories said."""
    with transaction.atomic(), application.cursor() as cursor:
        cursor.execute("SELECT set_config('memoryhub.writes_as', '*', true)")
        cursor.execute(SAID, [number])
        names = ("subject", "collection", "content", "namespace", "classification_tier")
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def conflicts_section(found: Measured, *, rows: int) -> list[str]:
    """The lines of "Conflicts"."""
    counted = ", ".join(f"{number:,} for a {name} clearance" for name, number in found.groups.items())
    return [
        "## Conflicts",
        "",
        f"{rows:,} memories; open groups: {counted}. Pages of {LIMIT} over HTTP with keys of two clearances, and in the"
        " same run the naive question of the same rows, past row-level security:"
        " `GROUP BY subject, collection HAVING count(DISTINCT content) > 1`, the newest 50. The groups that are decided"
        " were found to be no conflicts: all their values stay in force, and they come before the open ones.",
        "",
        "| question | HTTP p50 / p95 | naive SQL | naive / p50 |",
        "|---|---|---|---|",
        *(_line(timing) for timing in found.pages),
        "",
        "Writing with and without the look for what was rejected before:"
        f" batches of {BATCH:,} in one process, in turns, without COMMIT.",
        "",
        "| of what is written | without p50 / p95 | with p50 / p95 | ratio of p50 |",
        "|---|---|---|---|",
        *(
            f"| {name} | {_pair(without)} | {_pair(with_)} | {median(with_) / median(without):.2f} |"
            for name, (without, with_) in found.writes.items()
        ),
    ]


def _line(timing: Timing) -> str:
    naive = f"{median(timing.sql):,.0f} | {median(timing.sql) / median(timing.http):,.0f}" if timing.sql else " |"
    return f"| {timing.name} | {_pair(timing.http)} | {naive} |"


def _pair(milliseconds: list[float]) -> str:
    return f"{median(milliseconds):.1f} / {p95(milliseconds):.1f}"


NAIVE: LiteralString = """
SELECT subject, collection, count(DISTINCT content), max("timestamp") AS latest FROM memories
WHERE superseded_at IS NULL AND status = 'active' AND subject <> '' AND classification_tier = ANY (%s)
GROUP BY subject, collection HAVING count(DISTINCT content) > 1
ORDER BY latest DESC LIMIT 50
"""
NUMBER: LiteralString = """
SELECT count(*) FROM (
    SELECT FROM memories
    WHERE superseded_at IS NULL AND status = 'active' AND subject <> '' AND classification_tier = ANY (%s)
    GROUP BY subject, collection HAVING count(DISTINCT content_sha256) > 1
) AS groups
"""
SETTLE: LiteralString = """
INSERT INTO decisions (
    decision_id, at, outcome, subject, collection, memory_ids, kept, retired, "left", settled, validity, evidence,
    reason, principal, rule, tiers, some_labels, all_labels, namespaces
)
SELECT gen_random_uuid(), now(), 'not_a_conflict', subject, collection, array_agg(memory_id), array_agg(memory_id),
       '{}', '{}', array_agg(DISTINCT content_sha256), '{}', '', 'For the benchmark.', 'key:bench', '',
       array_agg(DISTINCT classification_tier), '{}', '{}', array_agg(DISTINCT namespace)
FROM memories WHERE superseded_at IS NULL AND status = 'active' AND collection = 'plan'
GROUP BY subject, collection ORDER BY subject LIMIT %s
"""
REJECT: LiteralString = """
UPDATE memories SET status = 'retired', decision = %s
WHERE id IN (
    SELECT max(id) FROM memories WHERE superseded_at IS NULL AND status = 'active' AND collection = 'plan'
    GROUP BY subject ORDER BY subject LIMIT %s
)
"""
SAID: LiteralString = """
SELECT subject, collection, content, namespace, classification_tier FROM memories
WHERE superseded_at IS NULL AND status = 'retired' AND decision IS NOT NULL LIMIT %s
"""
