"""Add the next version of memories. No other module closes a version or inserts one.

A writer opens `write_transaction`, takes its record time (`clock.next_record_time`), reads the current versions and
adds the next ones: whole (`add_versions`) or as copies with some columns changed (`add_changed_copies`).
"""

import json
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import orjson
from django.db import DatabaseError, InterfaceError, connection
from pgvector import Vector
from pgvector.psycopg import register_vector
from psycopg import Connection
from psycopg.types.json import Jsonb

from memoryhub.core.errors import CommitOutcomeUnknownError, is_lost_connection
from memoryhub.firewall import rls
from memoryhub.memories.fields import FIELDS
from memoryhub.memories.writes.identity import NewVersion
from memoryhub.memories.writes.validated_types import Numbers

COLUMN_TYPES = {field.name: field.column_type for field in FIELDS if field.is_inserted}
"""The columns that a writer gives, with their types. The database computes the others."""
_COLUMNS = ", ".join(COLUMN_TYPES)


@contextmanager
def write_transaction(sources: Iterable[str] | None) -> Iterator[None]:
    """Open a transaction that writes as `sources`, or as every source if None.

    Raises CommitOutcomeUnknownError if the connection is lost after COMMIT was sent.
    """
    is_commit_sent = False
    try:
        with rls.as_writer(sources):
            yield
            is_commit_sent = True
    except (DatabaseError, InterfaceError) as error:
        if is_commit_sent and is_lost_connection(error):
            raise CommitOutcomeUnknownError from error
        raise


def add_versions(versions: Sequence[NewVersion]) -> None:
    """Close the versions that `versions` replace, and add these. Run in a `write_transaction`, with a record time."""
    if not versions:
        return
    # COPY is a call of psycopg: its errors are wrapped as Django's, so that callers can classify them as usual.
    with connection.wrap_database_errors, _vector_cursor() as cursor:
        _close_versions(cursor, [version.replaces.id for version in versions if version.replaces])
        # PostgreSQL does not support COPY FROM into a table with row-level security, so the rows pass a staging table.
        cursor.execute(_CREATE_STAGING_SQL)
        cursor.execute("DELETE FROM pg_temp.staged_memories")
        with cursor.copy(_COPY_SQL) as copy:
            copy.set_types(list(COLUMN_TYPES.values()))
            for version in versions:
                copy.write_row(_to_row(version))
        cursor.execute(_INSERT_STAGED_SQL)


def add_changed_copies(changes: Mapping[int, Mapping[str, Any]]) -> None:
    """Close these current versions, and add copies of them, in which the columns have the values of `changes`.

    `changes` maps the id of each version to values that JSON can carry; all of them name the same columns. The value of
    the memory stays, so a copy keeps its position among the values that were asserted, and its fingerprint: the write
    of its source that is sent again is the same write. Run in a `write_transaction`, with a record time.
    """
    if not changes:
        return
    changed_columns = tuple(next(iter(changes.values())))
    rows = [{"id": id_, **values} for id_, values in changes.items()]
    with connection.cursor() as cursor:
        _close_versions(cursor, list(changes))
        cursor.execute(_build_copy_sql(changed_columns), [orjson.dumps(rows).decode()])


def _close_versions(cursor: Any, ids: list[int]) -> None:
    if ids:
        # The trigger replaces now() with the record time.
        cursor.execute("UPDATE memories SET superseded_at = now() WHERE id = ANY (%s)", [ids])


@lru_cache
def _build_copy_sql(changed_columns: tuple[str, ...]) -> str:
    """Return the statement that inserts copies of versions, from a JSON array of their ids and changed columns."""
    changed_types = ", ".join(f"{name} {COLUMN_TYPES[name]}" for name in changed_columns)
    copied_values = {name: f"m.{name}" for name in COLUMN_TYPES} | {
        "version": "m.version + 1",
        "asserted_at": "coalesce(m.asserted_at, m.recorded_at)",
        "asserted_version_id": "coalesce(m.asserted_version_id, m.id)",
        "superseded_at": "NULL::timestamptz",
        **{name: f"changed.{name}" for name in changed_columns},
    }
    return f"""
        INSERT INTO memories ({_COLUMNS}) SELECT {", ".join(copied_values.values())}
        FROM jsonb_to_recordset(%s) AS changed (id bigint, {changed_types}) JOIN memories AS m ON m.id = changed.id
    """  # noqa: S608 - the names of columns are constants


_CREATE_STAGING_SQL = (
    "CREATE TEMP TABLE IF NOT EXISTS staged_memories ("
    + ", ".join(f"{name} {column_type}" for name, column_type in COLUMN_TYPES.items())
    + ") ON COMMIT DELETE ROWS"
)
_COPY_SQL = f"COPY pg_temp.staged_memories ({_COLUMNS}) FROM STDIN (FORMAT BINARY)"
_STAGED_VALUES = ", ".join(
    # A version that ended before this hub knew of it is current at no instant; see triggers.STAMP_RECORD_TIME.
    "CASE WHEN superseded_at IS NOT NULL THEN '-infinity'::timestamptz END" if name == "superseded_at" else name
    for name in COLUMN_TYPES
)
_INSERT_STAGED_SQL = f"INSERT INTO memories ({_COLUMNS}) SELECT {_STAGED_VALUES} FROM pg_temp.staged_memories"  # noqa: S608 - the names of columns are constants


def _vector_cursor() -> Any:
    """Return a cursor of a connection with the vector type registered, once and before the cursor is created."""
    psycopg_connection: Connection[Any] = connection.connection
    if psycopg_connection.adapters.types.get("vector") is None:
        register_vector(psycopg_connection)
    return connection.cursor()


def _to_row(version: NewVersion) -> list[Any]:
    draft, last_sent = version.draft, version.last_sent
    envelope, is_erased = draft.envelope, version.status == "erased"
    column_values: dict[str, Any] = {
        "memory_id": version.memory_id,
        "version": version.version,
        "source": draft.source,
        "masked_content": draft.content_forms.masked_content,
        "value_sha256": b"" if is_erased else draft.content_forms.value_sha256,
        "timestamp": draft.timestamp,
        "actor_type": draft.actor_type,
        "actor_id": draft.actor_id,
        "embedding": None if envelope.embedding is None else to_vector(envelope.embedding),
        "metadata": Jsonb(envelope.metadata, dumps=_dump_json),
        "classification_tier": draft.classification_tier,
        "propagation": None if envelope.propagation is None else Jsonb(envelope.propagation, dumps=_dump_json),
        "normalized_labels": list(draft.normalized_labels),
        "defaulted_fields": list(draft.defaulted_fields),
        "fingerprint": b"" if is_erased else version.sent_draft.fingerprint,
        "status": version.status,
        "decision_id": version.decision_id,
        "is_spelling_rejection": version.is_spelling_rejection,
        "decision_exceeds_source": version.decision_exceeds_source,
        "sent_namespace": last_sent.namespace,
        "sent_tier": last_sent.classification_tier,
        "sent_labels": list(last_sent.sensitivity_labels),
        "exceeds_source_clearance": version.exceeds_source_clearance,
        "asserted_at": version.asserted_at,
        "asserted_version_id": version.asserted_version_id,
        "superseded_at": draft.timestamp if version.is_superseded else None,
    }
    return [column_values[name] if name in column_values else getattr(envelope, name) for name in COLUMN_TYPES]


def to_vector(numbers: Numbers) -> Vector:
    """Convert 32-bit numbers to pgvector's type without a list: the dimension, two zero bytes, big-endian floats."""
    big_endian = numbers[:]
    if sys.byteorder == "little":
        big_endian.byteswap()
    return Vector.from_binary(struct.pack(">HH", len(big_endian), 0) + big_endian.tobytes())


def _dump_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
