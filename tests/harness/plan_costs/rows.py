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

from memoryhub.config import SUPERUSER
from tests.harness.databases import address

COMMON, RARE, HIDDEN, ABSENT = "common", "rare", "concealed", "nowhere"
PUBLIC = ("public", "")
BEYOND = ("internal", "confidential", "restricted", "top-secret")
CHUNK = 100_000

# One of 400 rows is rare, 0 is the first column; of hidden rows half have what no visible row has.
_PICK: LiteralString = (
    "CASE WHEN abs(hashint4(n + 7919 * {place})) % 400 = 7 THEN '{rare}'"
    " WHEN %(hidden)s AND abs(hashint4(n + 7919 * {place})) % 2 = 0 THEN '{hidden}' ELSE {common} END"
)


def _pick(place: int, *, common: str = f"'{COMMON}'", rare: str = RARE, hidden: str = HIDDEN) -> str:
    return _PICK.format(place=place, rare=rare, hidden=hidden, common=common)


_ROWS = f"""
INSERT INTO memories (
    memory_id, version, payload_id, request_id, source, subject, namespace, destination, collection, content, model,
    role, timestamp, idempotency_key, schema_version, transform_version, actor_type, actor_id, metadata,
    sensitivity_labels, classification_tier, kind, pinned, expires_at, label_keys, defaulted, fingerprint, status,
    decision, sent_namespace, sent_tier, sent_labels, beyond_source, value_sha256,
    is_other_spelling, decided_beyond_source
)
SELECT md5(%(tag)s || n)::uuid, %(version)s,
       CASE WHEN n = 77 THEN %(tag)s || '{RARE}' WHEN n % 100 = 3 THEN %(payload_id)s ELSE %(tag)s || n END, '',
       CASE WHEN n % 100 = 3 THEN %(tag)s || '-' || n ELSE {_pick(1)} END,
       {_pick(2, common=f"CASE n % 10 WHEN 4 THEN '{COMMON}' ELSE 'user:' || n % 300 END")},
       {_pick(3, common=f"CASE n % 3 WHEN 1 THEN '{COMMON}' ELSE 'team-' || n % 20 END")},
       {_pick(4)}, {_pick(5)},
       'Fact ' || n || ' (' || %(version)s || ') of ' || {_pick(6)}, {_pick(7)}, {_pick(8)},
       timestamptz '2024-01-01' + n % %(visible)s * interval '1 minute'
           + CASE WHEN %(hidden)s AND n % 2 = 1 THEN interval '2 years' ELSE interval '0' END,
       '', 1, '', {_pick(9, common="'agent'", rare="user", hidden="system")}, {_pick(10)}, '{{}}', label,
       tiers[1 + n % cardinality(tiers)], {_pick(12, common="'fact'", rare="summary", hidden="checkpoint")}, false,
       CASE WHEN n % %(mortal)s = 1 THEN timestamptz '9999-01-01' END, label, '{{}}', sha256((%(tag)s || n)::bytea),
       status, CASE status WHEN 'retired' THEN md5(n::text)::uuid END, '', 'public', '{{}}', false,
       sha256((%(tag)s || n)::bytea), false, false
FROM generate_series(%(first)s, %(last)s) AS n,
     LATERAL (SELECT %(tiers)s::varchar[] AS tiers, ARRAY[{_pick(11)}]::varchar[] AS label,
                     {_pick(13, common="'active'", rare="retired", hidden="quarantined")} AS status) AS made
WHERE %(version)s = 1 OR n % 10 = 0
"""
_CLOSE = """
UPDATE memories SET superseded_at = now() WHERE payload_id = ANY (
    SELECT %(tag)s || n FROM generate_series(%(first)s, %(last)s) AS n WHERE n % 10 = 0
)
"""
# Groups of visible memories that somebody decided may stand side by side.
_DECISIONS = """
INSERT INTO decisions (
    decision_id, outcome, memory_ids, kept, retired, "left", settled, validity, evidence, reason, principal, rule,
    tiers, some_labels, all_labels, namespaces, subject, collection
)
SELECT md5(subject)::uuid, 'not_a_conflict', array_agg(memory_id), '{}', '{}', '{}', array_agg(DISTINCT content_sha256),
       '{}', '', 'Both are true.', 'user:ada', '', '{"",public}', '{}', '{}', array_agg(DISTINCT namespace), subject,
       collection
FROM memories
WHERE superseded_at IS NULL AND classification_tier IN ('public', '') AND status = 'active' AND collection = 'common'
      AND subject LIKE 'user:1%'
GROUP BY subject, collection
"""


def instant(place: int) -> str:
    """The event time of the visible row that has this place, from 0 on; what lies beyond the last is no row's."""
    return (datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=place)).isoformat().replace("+00:00", "Z")


@contextmanager
def _superuser(database: str) -> Iterator[psycopg.Connection[Any]]:
    # Bound by the client, so that the planner knows every value.
    with psycopg.connect(
        address(database, SUPERUSER), autocommit=True, cursor_factory=psycopg.ClientCursor
    ) as connection:
        connection.execute("SET statement_timeout = 0")
        connection.execute("SET maintenance_work_mem = '512MB'")
        yield connection


def plant_visible(database: str, number: int) -> None:
    with _superuser(database) as connection:
        _plant(connection, "v", number, visible=number, tiers=PUBLIC)
        connection.execute(_DECISIONS)
        connection.execute("VACUUM (ANALYZE)")


def plant_hidden(database: str, number: int, *, visible: int) -> None:
    with _superuser(database) as connection:
        _plant(connection, "h", number, visible=visible, tiers=BEYOND)
        connection.execute("VACUUM (ANALYZE)")


def _plant(connection: psycopg.Connection[Any], tag: str, number: int, *, visible: int, tiers: tuple[str, ...]) -> None:
    is_hidden = tag == "h"
    told: dict[str, Any] = {"tag": tag, "hidden": is_hidden, "visible": visible, "tiers": list(tiers)}
    told |= {"payload_id": HIDDEN if is_hidden else COMMON, "mortal": 2 if is_hidden else 100}
    rows, close = _ROWS.replace("% ", "%% "), _CLOSE.replace("% ", "%% ")
    gin = _drop_gin(connection) if number >= CHUNK else []
    for first in range(1, number + 1, CHUNK):
        part = {"first": first, "last": min(first + CHUNK - 1, number)}
        connection.execute(rows, told | part | {"version": 1})
        connection.execute(close, {"tag": tag, **part})
        connection.execute(rows, told | part | {"version": 2})
    for definition in gin:
        connection.execute(definition)


def _drop_gin(connection: psycopg.Connection[Any]) -> list[Any]:
    """Built once over all rows, an inverted index costs a tenth of what it costs row by row."""
    found = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'memories' AND indexdef LIKE '%USING gin%'"
    ).fetchall()
    for name, _ in found:
        connection.execute(psycopg.sql.SQL("DROP INDEX {}").format(psycopg.sql.Identifier(name)))
    return [definition for _, definition in found]
