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

from memoryhub.config import SUPERUSER_ROLE
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.writes import rejected_values, write
from memoryhub.operations import embedded_postgres
from tests.benchmarks.generate import TIER_SHARES, TIERS, Row, generate_rows
from tests.benchmarks.pages import PAGE_LIMIT, Params, Timing, p95, timed_get
from tests.benchmarks.store import Store

ROWS_PER_GROUP = 20
"""Of so many rows three are members of one group; the others say something that nobody disputes."""
MEMBERS_PER_GROUP = 3
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

    def generate_rows(self) -> Iterator[Row]:
        rng = Random(11)
        tier = TIERS[0]
        for row_index, row in enumerate(generate_rows(self.count, dimensions=0)):
            group, member_index = divmod(row_index, ROWS_PER_GROUP)
            if member_index == 0:
                tier = rng.choices(TIERS, TIER_SHARES)[0]
            if member_index >= MEMBERS_PER_GROUP:
                # Some support what their neighbour says; it is no conflict to say the same.
                content_number = row_index - row_index % 7 if row_index % 7 < 2 else row_index
                content = f"Noted: {content_number}." if row_index % 7 < 2 else row.content
                yield row._replace(
                    subject=f"user:{content_number % 50_021:05}", collection=f"note-{content_number}", content=content
                )
                continue
            content = VALUES[group % 8].format(member_index + 2) if group % 8 < len(VALUES) else row.content
            # One in five members is classified by itself: readers see different groups of one key.
            row_tier = rng.choices(TIERS, TIER_SHARES)[0] if rng.random() < 0.2 else tier
            name = f"project:{group * 7919 % 50_000:05}"
            yield row._replace(subject=name, collection="plan", content=content, classification_tier=row_tier)

    def make_key(self, name: str) -> str:
        return str(json.loads((self.home / "credentials.json").read_text())["keys"][name])


READERS = {"low": ("read-internal", ["", "public", "internal"]), "high": ("read-restricted", ["", *TIERS])}
DEEP_PAGES, BATCH_SIZE = 500, 200
WARM_UP_TIMES, PLAIN_TIMES = 10, 3
MAX_DECIDED = 10_000
WRITE_BATCH_SIZE, BATCH_COUNT = 1_000, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupResults:
    groups: dict[str, int]
    """How many groups each reader has, by the plain question."""
    pages: list[Timing]
    """Over HTTP; as SQL the naive question, where it is the same."""
    writes: dict[str, tuple[list[float], list[float]]]
    """Milliseconds of a batch, without looking for what was rejected and with that."""


def measure_groups(count: int, times: int) -> GroupResults:
    store = GroupStore(count)
    with store.serve() as client:
        store.fill()
        # As anybody would ask: with the server's own settings, past row-level security.
        with psycopg.connect(store.config.embedded_dsn(SUPERUSER_ROLE), autocommit=True) as connection:
            group_counts = {name: _count_groups(connection, tiers) for name, (_, tiers) in READERS.items()}
            pages = list(_measure_pages(client, store, connection, times))
    with embedded_postgres.run_server(store.config), store.connect() as connection:
        writes = {"nothing was rejected before": _measure_writes()}
        with _rejected_memories(connection):
            writes[f"{MAX_DECIDED:,} were rejected"] = _measure_writes()
            writes[f"{MAX_DECIDED:,} were rejected, a tenth arrives again"] = _measure_writes(repeated_every=10)
    return GroupResults(groups=group_counts, pages=pages, writes=writes)


def _measure_pages(
    client: httpx.Client, store: GroupStore, connection: psycopg.Connection[Any], times: int
) -> Iterator[Timing]:
    for name, (key, tiers) in READERS.items():
        client.headers["Authorization"] = f"Bearer {store.make_key(key)}"
        yield _measure_page(f"{name}, the list of memories, to compare with", client, {}, times, path="/api/memories")
        yield _measure_page(f"{name}, first page", client, {}, times, connection, tiers)
        yield _measure_page(f"{name}, page {DEEP_PAGES}", client, _deep_cursor(client), times)
        yield _measure_page(f"{name}, first page of contradictions", client, {"class": "contradiction"}, times)
    with _decided_groups(store):
        yield _measure_page(f"{name}, first page after {MAX_DECIDED:,} that are decided", client, {}, times)
        yield _measure_page(f"{name}, first page of those decided", client, {"status": "decided"}, times)
        yield _measure_page(f"{name}, first page of both", client, {"status": "all"}, times)


def _measure_page(
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
    for iteration in range(times + WARM_UP_TIMES):
        elapsed, page_json = timed_get(client, path, {**params, "limit": str(PAGE_LIMIT)})
        assert len(page_json.get("conflicts") or page_json["records"]) == PAGE_LIMIT
        if iteration >= WARM_UP_TIMES:
            timing.http.append(elapsed)
    for _ in range(PLAIN_TIMES if connection else 0):
        assert connection
        start_time = time.perf_counter()
        connection.execute(NAIVE_SQL, [tiers]).fetchall()
        timing.sql.append((time.perf_counter() - start_time) * 1000)
    print(f"{name}: {median(timing.http):.1f} / {p95(timing.http):.1f} ms", file=sys.stderr)
    return timing


def _deep_cursor(client: httpx.Client) -> Params:
    """The cursor of page DEEP_PAGES."""
    cursor: Params = {}
    before = (DEEP_PAGES - 1) * PAGE_LIMIT
    for limit in [BATCH_SIZE] * (before // BATCH_SIZE) + [PAGE_LIMIT] * (before % BATCH_SIZE // PAGE_LIMIT):
        _, page_json = timed_get(client, "/api/conflicts", {**cursor, "limit": str(limit)})
        cursor = {"cursor": page_json["next_cursor"]}
    return cursor


def _count_groups(connection: psycopg.Connection[Any], tiers: list[str]) -> int:
    row = connection.execute(COUNT_SQL, [tiers]).fetchone()
    assert row
    return int(row[0])


@contextmanager
def _decided_groups(store: GroupStore) -> Iterator[None]:
    """The first MAX_DECIDED groups are no conflicts, as a steward has found."""
    with store.connect() as connection:
        # Decisions are never deleted; those of a benchmark are, past the trigger that says so.
        connection.execute("SET session_replication_role = replica")
        connection.execute(DECIDE_SQL, [MAX_DECIDED])
        connection.execute("VACUUM (ANALYZE) decisions")
        try:
            yield
        finally:
            connection.execute("DELETE FROM decisions")
            connection.execute("VACUUM (ANALYZE) decisions")


@contextmanager
def _rejected_memories(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """One member of each of the first MAX_DECIDED groups was retired by a decision."""
    connection.execute("SET session_replication_role = replica")
    decision_id = uuid4()
    connection.execute(REJECT_SQL, [decision_id, MAX_DECIDED])
    connection.execute("VACUUM (ANALYZE) memories")
    try:
        yield
    finally:
        connection.execute(
            "UPDATE memories SET status = 'active', decision_id = NULL WHERE decision_id = %s", [decision_id]
        )
        connection.execute("VACUUM (ANALYZE) memories")


def _measure_writes(*, repeated_every: int = 0) -> tuple[list[float], list[float]]:
    """Batches of memories in turns, in this process, and taken back: a run leaves the store as it was."""
    principal = Principal(name="key:bench", source="bench", scopes=frozenset(Scope), clearance=unrestricted_clearance())
    repeated_fields = _repeated_fields(WRITE_BATCH_SIZE // repeated_every) if repeated_every else []
    timings: tuple[list[float], list[float]] = ([], [])
    for iteration in range(2 * BATCH_COUNT + 2):
        batch = [_make_envelope(f"{uuid4()}", index) for index in range(WRITE_BATCH_SIZE)]
        batch[: len(repeated_fields)] = [
            envelope | fields for envelope, fields in zip(batch, repeated_fields, strict=False)
        ]
        is_update = iteration % 2
        with transaction.atomic():
            start_time = time.perf_counter()
            if is_update:
                write.write_memories(batch, principal=principal)
            else:
                with patch.object(rejected_values, "find_rejecting_decisions", lambda drafts, _: [None] * len(drafts)):
                    write.write_memories(batch, principal=principal)
            milliseconds = (time.perf_counter() - start_time) * 1000
            transaction.set_rollback(True)
        if iteration > 1:
            timings[is_update].append(milliseconds)
    print(f"batch: {median(timings[0]):.0f} and {median(timings[1]):.0f} ms", file=sys.stderr)
    return timings


def _make_envelope(name: str, index: int) -> dict[str, Any]:
    """Every fifth is about something that many others are about."""
    subject_fields = {"subject": f"project:{index * 37 % 50_000:05}", "collection": "plan"} if index % 5 == 0 else {}
    fields = {"subject": f"user:{index:05}", "collection": name, "content": f"It is said that {name} is so."}
    return {"payload_id": name, "timestamp": "2026-01-01T00:00:00Z", "actor_type": "agent", **fields, **subject_fields}


def _repeated_fields(count: int) -> list[dict[str, str]]:
    """The content and classification of some of the rejected memories."""
    with transaction.atomic(), application.cursor() as cursor:
        cursor.execute("SELECT set_config('memoryhub.writer_sources', '*', true)")
        cursor.execute(ASSERTED_SQL, [count])
        names = ("subject", "collection", "content", "namespace", "classification_tier")
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def conflicts_section(results: GroupResults, *, rows: int) -> list[str]:
    """The lines of "Conflicts"."""
    counts_text = ", ".join(f"{group_count:,} for a {name} clearance" for name, group_count in results.groups.items())
    return [
        "## Conflicts",
        "",
        f"{rows:,} memories; open groups: {counts_text}. Pages of {PAGE_LIMIT} over HTTP with keys of two clearances,"
        " and in the same run the naive question of the same rows, past row-level security:"
        " `GROUP BY subject, collection HAVING count(DISTINCT content) > 1`, the newest 50. The groups that are decided"
        " were found to be no conflicts: all their values stay active, and they come before the open ones.",
        "",
        "| question | HTTP p50 / p95 | naive SQL | naive / p50 |",
        "|---|---|---|---|",
        *(_table_line(timing) for timing in results.pages),
        "",
        "Writing with and without the look for what was rejected before:"
        f" batches of {WRITE_BATCH_SIZE:,} in one process, in turns, without COMMIT.",
        "",
        "| of what is written | without p50 / p95 | with p50 / p95 | ratio of p50 |",
        "|---|---|---|---|",
        *(
            f"| {name} | {_format_milliseconds(baseline)} | {_format_milliseconds(measured)}"
            f" | {median(measured) / median(baseline):.2f} |"
            for name, (baseline, measured) in results.writes.items()
        ),
    ]


def _table_line(timing: Timing) -> str:
    naive = f"{median(timing.sql):,.0f} | {median(timing.sql) / median(timing.http):,.0f}" if timing.sql else " |"
    return f"| {timing.name} | {_format_milliseconds(timing.http)} | {naive} |"


def _format_milliseconds(milliseconds: list[float]) -> str:
    return f"{median(milliseconds):.1f} / {p95(milliseconds):.1f}"


NAIVE_SQL: LiteralString = """
SELECT subject, collection, count(DISTINCT content), max("timestamp") AS latest FROM memories
WHERE superseded_at IS NULL AND status = 'active' AND subject <> '' AND classification_tier = ANY (%s)
GROUP BY subject, collection HAVING count(DISTINCT content) > 1
ORDER BY latest DESC LIMIT 50
"""
COUNT_SQL: LiteralString = """
SELECT count(*) FROM (
    SELECT FROM memories
    WHERE superseded_at IS NULL AND status = 'active' AND subject <> '' AND classification_tier = ANY (%s)
    GROUP BY subject, collection HAVING count(DISTINCT content_sha256) > 1
) AS groups
"""
DECIDE_SQL: LiteralString = """
INSERT INTO decisions (
    decision_id, decided_at, outcome, subject, collection, memory_ids, kept_ids, retired_ids, still_active_ids,
    accepted_hashes, validity, evidence,
    reason, principal, rule, tiers, any_labels, common_labels, namespaces
)
SELECT gen_random_uuid(), now(), 'not_a_conflict', subject, collection, array_agg(memory_id), array_agg(memory_id),
       '{}', '{}', array_agg(DISTINCT content_sha256), '{}', '', 'For the benchmark.', 'key:bench', '',
       array_agg(DISTINCT classification_tier), '{}', '{}', array_agg(DISTINCT namespace)
FROM memories WHERE superseded_at IS NULL AND status = 'active' AND collection = 'plan'
GROUP BY subject, collection ORDER BY subject LIMIT %s
"""
REJECT_SQL: LiteralString = """
UPDATE memories SET status = 'retired', decision_id = %s
WHERE id IN (
    SELECT max(id) FROM memories WHERE superseded_at IS NULL AND status = 'active' AND collection = 'plan'
    GROUP BY subject ORDER BY subject LIMIT %s
)
"""
ASSERTED_SQL: LiteralString = """
SELECT subject, collection, content, namespace, classification_tier FROM memories
WHERE superseded_at IS NULL AND status = 'retired' AND decision_id IS NOT NULL LIMIT %s
"""
