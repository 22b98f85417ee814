"""Triggers with which PostgreSQL enforces the rules of the memories table, whatever code writes to it."""

import pgtrigger

from memoryhub.core.append_only import forbid_statements
from memoryhub.memories.fields import FIELDS

STAMP_RECORD_TIME = pgtrigger.Trigger(
    name="stamp_record_time",
    when=pgtrigger.Before,
    operation=pgtrigger.Insert,
    func="""
        NEW.recorded_at := record_time_current();
        NEW.superseded_at := CASE WHEN NEW.superseded_at = '-infinity' THEN NEW.recorded_at END;
        RETURN NEW;
    """,
)
"""The database sets record time: a new row is current from the instant of its transaction on.

A row with `superseded_at` = -infinity was superseded before this hub knew of it (an import of earlier versions): its
interval is empty, so that it is current at no instant. Any other given end is overwritten.
"""

_ERASE_SQL = "\n            ".join(
    f"expected.{field.name} := {field.erased_value};" for field in FIELDS if field.erased_value
)
APPEND_ONLY = pgtrigger.Trigger(
    name="append_only",
    when=pgtrigger.Before,
    operation=pgtrigger.Update,
    declare=[("expected", "memories%ROWTYPE")],
    # Generated columns have no value yet in a BEFORE trigger, so they are left out of the comparison.
    func=f"""
        expected := OLD;
        expected.content_sha256 := NEW.content_sha256;
        expected.is_future_dated := NEW.is_future_dated;
        IF OLD.superseded_at IS NULL AND NEW.superseded_at IS NOT NULL THEN
            NEW.superseded_at := record_time_current();
            expected.superseded_at := NEW.superseded_at;
            IF NEW.superseded_at <= NEW.recorded_at THEN
                RAISE EXCEPTION 'a version that was in force cannot end at the instant at which it began'
                    USING ERRCODE = 'check_violation', CONSTRAINT = 'memories_half_open', TABLE = 'memories';
            END IF;
            IF NEW IS NOT DISTINCT FROM expected THEN
                RETURN NEW;
            END IF;
        END IF;
        IF NEW.status = 'erased' THEN
            NEW.value_sha256 := '';
            expected.value_sha256 := '';
            expected.status := 'erased';
            {_ERASE_SQL}
            IF NEW IS NOT DISTINCT FROM expected THEN
                RETURN NEW;
            END IF;
        END IF;
        RAISE EXCEPTION 'memories are append-only: a version can be closed or erased, nothing else'
            USING ERRCODE = 'integrity_constraint_violation';
    """,
)
"""A version may be closed once, or erased. Any other update would change history and is refused."""

_DELETE_MESSAGE = "memories are append-only: a version is never deleted"
FORBID_DELETE = forbid_statements("forbid_delete", pgtrigger.Delete, _DELETE_MESSAGE)
FORBID_TRUNCATE = forbid_statements("forbid_truncate", pgtrigger.Truncate, _DELETE_MESSAGE)


def _rollup_sql(table: str, columns: dict[str, str], rows: str) -> str:
    names, values = ", ".join(columns), ", ".join(f"{value} AS {name}" for name, value in columns.items())
    return f"""
        INSERT INTO {table} (key, {names}, count, versions_written)
        SELECT md5(jsonb_build_array({names})::text)::uuid, {names},
               coalesce(sum(count_change) FILTER (WHERE superseded_at IS NULL AND expires_at IS NULL), 0),
               sum(versions_written)
        FROM (
            SELECT {values}, count_change, versions_written, superseded_at, expires_at FROM ({rows}) AS changed_rows
        ) AS rollup_values
        GROUP BY {names}
        ON CONFLICT (key) DO UPDATE
            SET count = {table}.count + excluded.count,
                versions_written = {table}.versions_written + excluded.versions_written;
    """  # noqa: S608 - every part is a constant of this module


_CLASSIFICATION_COLUMNS = {name: name for name in ("namespace", "classification_tier", "normalized_labels")}
_MEMORY_COLUMNS = {
    name: name for name in (*_CLASSIFICATION_COLUMNS, "source", "actor_type", "collection", "kind", "status")
}
_DAY_COLUMNS = {
    **{name: name for name in (*_CLASSIFICATION_COLUMNS, "source", "actor_type", "status")},
    "day": "(timestamp AT TIME ZONE 'UTC')::date",
}
_TOTAL_COLUMNS = {name: name for name in ("classification_tier", "normalized_labels", "status", "dimension", "value")}
_DIMENSION_VALUES_SQL = """
SELECT changed_rows.*, dimension, value FROM ({rows}) AS changed_rows CROSS JOIN LATERAL (VALUES
    ('total', ''), ('source', source), ('actor_type', actor_type), ('namespace', namespace),
    ('collection', collection), ('day', (timestamp AT TIME ZONE 'UTC')::date::text)
) AS dimensions(dimension, value)
"""


def _rollups_sql(rows: str) -> str:
    return (
        _rollup_sql("memory_rollups", _MEMORY_COLUMNS, rows)
        + _rollup_sql("memory_day_rollups", _DAY_COLUMNS, rows)
        + _rollup_sql("memory_total_rollups", _TOTAL_COLUMNS, _DIMENSION_VALUES_SQL.format(rows=rows))
        + "RETURN NULL;"
    )


def _transition_tables(**names: str) -> pgtrigger.Referencing:
    return pgtrigger.Referencing(**names)  # type: ignore[no-untyped-call]


# Rollups do not count memories with a time to live, because no trigger fires when they expire. These are counted live.
ROLLUP_INSERTED = pgtrigger.Trigger(
    name="rollup_inserted",
    when=pgtrigger.After,
    operation=pgtrigger.Insert,
    level=pgtrigger.Statement,
    referencing=_transition_tables(new="inserted_rows"),
    func=_rollups_sql("SELECT *, 1 AS count_change, 1 AS versions_written FROM inserted_rows"),
)
ROLLUP_CLOSED = pgtrigger.Trigger(
    name="rollup_closed",
    when=pgtrigger.After,
    operation=pgtrigger.Update,
    level=pgtrigger.Statement,
    referencing=_transition_tables(old="old_rows", new="new_rows"),
    func=_rollups_sql(
        "SELECT *, -1 AS count_change, 0 AS versions_written FROM old_rows UNION ALL SELECT *, 1, 0 FROM new_rows"
    ),
)
