"""Visible memories and hidden ones that are like them in all columns that a filter reads.

In each column most rows have a common value and few a rare one. Half of the hidden rows have one that no visible row
has. What one column holds says nothing of another. Hidden rows lie between the visible ones and beyond them, share
their subjects, namespaces, labels and words, and many have a time to live.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg

from memoryhub.config import SUPERUSER_ROLE
from tests.harness.databases import database_dsn

COMMON, RARE, HIDDEN, ABSENT = "common", "rare", "concealed", "nowhere"
VISIBLE_TIERS = ("public", "")
HIDDEN_TIERS = ("internal", "confidential", "restricted", "top-secret")
CHUNK_SIZE = 100_000

# One of 400 rows is rare, 0 is the first column; of hidden rows half have what no visible row has.
_CASE_SQL: LiteralString = (
    "CASE WHEN abs(hashint4(n + 7919 * {divisor})) % 400 = 7 THEN '{rare}'"
    " WHEN %(hidden)s AND abs(hashint4(n + 7919 * {divisor})) % 2 = 0 THEN '{hidden}' ELSE {common} END"
)


def _case_sql(divisor: int, *, common: str = f"'{COMMON}'", rare: str = RARE, hidden: str = HIDDEN) -> str:
    return _CASE_SQL.format(divisor=divisor, rare=rare, hidden=hidden, common=common)


_ROWS_SQL = f"""
INSERT INTO memories (
    memory_id, version, payload_id, request_id, source, subject, namespace, destination, collection, content, model,
    role, timestamp, idempotency_key, schema_version, transform_version, actor_type, actor_id, metadata,
    sensitivity_labels, classification_tier, kind, pinned, expires_at, normalized_labels, defaulted_fields, fingerprint,
    status,
    decision_id, sent_namespace, sent_tier, sent_labels, exceeds_source_clearance, value_sha256,
    is_spelling_rejection, decision_exceeds_source
)
SELECT md5(%(tag)s || n)::uuid, %(version)s,
       CASE WHEN n = 77 THEN %(tag)s || '{RARE}' WHEN n % 100 = 3 THEN %(payload_id)s ELSE %(tag)s || n END, '',
       CASE WHEN n % 100 = 3 THEN %(tag)s || '-' || n ELSE {_case_sql(1)} END,
       {_case_sql(2, common=f"CASE n % 10 WHEN 4 THEN '{COMMON}' ELSE 'user:' || n % 300 END")},
       {_case_sql(3, common=f"CASE n % 3 WHEN 1 THEN '{COMMON}' ELSE 'team-' || n % 20 END")},
       {_case_sql(4)}, {_case_sql(5)},
       'Fact ' || n || ' (' || %(version)s || ') of ' || {_case_sql(6)}, {_case_sql(7)}, {_case_sql(8)},
       timestamptz '2024-01-01' + n % %(visible)s * interval '1 minute'
           + CASE WHEN %(hidden)s AND n % 2 = 1 THEN interval '2 years' ELSE interval '0' END,
       '', 1, '', {_case_sql(9, common="'agent'", rare="user", hidden="system")}, {_case_sql(10)}, '{{}}', label,
       tiers[1 + n % cardinality(tiers)], {_case_sql(12, common="'fact'", rare="summary", hidden="checkpoint")}, false,
       CASE WHEN n % %(expiring_every)s = 1 THEN timestamptz '9999-01-01' END, label, '{{}}',
       sha256((%(tag)s || n)::bytea),
       status, CASE status WHEN 'retired' THEN md5(n::text)::uuid END, '', 'public', '{{}}', false,
       sha256((%(tag)s || n)::bytea), false, false
FROM generate_series(%(first)s, %(last)s) AS n,
     LATERAL (SELECT %(tiers)s::varchar[] AS tiers, ARRAY[{_case_sql(11)}]::varchar[] AS label,
                     {_case_sql(13, common="'active'", rare="retired", hidden="quarantined")} AS status) AS row_values
WHERE %(version)s = 1 OR n % 10 = 0
"""
_CLOSE_SQL = """
UPDATE memories SET superseded_at = now() WHERE payload_id = ANY (
    SELECT %(tag)s || n FROM generate_series(%(first)s, %(last)s) AS n WHERE n % 10 = 0
)
"""
# Groups of visible memories that somebody decided may stand side by side.
_DECISIONS_SQL = """
INSERT INTO decisions (
    decision_id, outcome, memory_ids, kept_ids, retired_ids, still_active_ids, accepted_hashes, validity, evidence,
    reason, principal, rule, tiers, any_labels, common_labels, namespaces, subject, collection
)
SELECT md5(subject)::uuid, 'not_a_conflict', array_agg(memory_id), '{}', '{}', '{}', array_agg(DISTINCT content_sha256),
       '{}', '', 'Both are true.', 'user:ada', '', '{"",public}', '{}', '{}', array_agg(DISTINCT namespace), subject,
       collection
FROM memories
WHERE superseded_at IS NULL AND classification_tier IN ('public', '') AND status = 'active' AND collection = 'common'
      AND subject LIKE 'user:1%'
GROUP BY subject, collection
"""


def instant_sql(step: int) -> str:
    """The event time of the visible row that has this place, from 0 on; what lies beyond the last is no row's."""
    return (datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=step)).isoformat().replace("+00:00", "Z")


@contextmanager
def _superuser(database: str) -> Iterator[psycopg.Connection[Any]]:
    # Bound by the client, so that the planner knows every value.
    with psycopg.connect(
        database_dsn(database, SUPERUSER_ROLE), autocommit=True, cursor_factory=psycopg.ClientCursor
    ) as connection:
        connection.execute("SET statement_timeout = 0")
        connection.execute("SET maintenance_work_mem = '512MB'")
        yield connection


def insert_visible(database: str, count: int) -> None:
    with _superuser(database) as connection:
        _insert_rows(connection, "v", count, visible=count, tiers=VISIBLE_TIERS)
        connection.execute(_DECISIONS_SQL)
        connection.execute("VACUUM (ANALYZE)")


def insert_hidden(database: str, count: int, *, visible: int) -> None:
    with _superuser(database) as connection:
        _insert_rows(connection, "h", count, visible=visible, tiers=HIDDEN_TIERS)
        connection.execute("VACUUM (ANALYZE)")


def _insert_rows(
    connection: psycopg.Connection[Any], tag: str, count: int, *, visible: int, tiers: tuple[str, ...]
) -> None:
    is_hidden = tag == "h"
    sql_params: dict[str, Any] = {"tag": tag, "hidden": is_hidden, "visible": visible, "tiers": list(tiers)}
    sql_params |= {"payload_id": HIDDEN if is_hidden else COMMON, "expiring_every": 2 if is_hidden else 100}
    rows, close = _ROWS_SQL.replace("% ", "%% "), _CLOSE_SQL.replace("% ", "%% ")
    gin = _drop_gin(connection) if count >= CHUNK_SIZE else []
    for first in range(1, count + 1, CHUNK_SIZE):
        part = {"first": first, "last": min(first + CHUNK_SIZE - 1, count)}
        connection.execute(rows, sql_params | part | {"version": 1})
        connection.execute(close, {"tag": tag, **part})
        connection.execute(rows, sql_params | part | {"version": 2})
    for definition in gin:
        connection.execute(definition)


def _drop_gin(connection: psycopg.Connection[Any]) -> list[Any]:
    """Built once over all rows, an inverted index costs a tenth of what it costs row by row."""
    index_rows = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'memories' AND indexdef LIKE '%USING gin%'"
    ).fetchall()
    for name, _ in index_rows:
        connection.execute(psycopg.sql.SQL("DROP INDEX {}").format(psycopg.sql.Identifier(name)))
    return [definition for _, definition in index_rows]
