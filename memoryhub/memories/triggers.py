"""What PostgreSQL itself holds about the memories table, whoever writes to it."""

import pgtrigger

STAMP = pgtrigger.Trigger(
    name="stamp",
    when=pgtrigger.Before,
    operation=pgtrigger.Insert,
    func="""
        NEW.recorded_at := record_instant();
        NEW.superseded_at := CASE WHEN NEW.superseded_at = '-infinity' THEN NEW.recorded_at END;
        RETURN NEW;
    """,
)
"""Record time is the database's: a new row is current from the transaction's own instant on.

A row that says it ended at -infinity was superseded before this hub knew of it (an import of earlier versions): its
interval is empty, so that it is in force at no instant. Any other end is overwritten.
"""

APPEND_ONLY = pgtrigger.Trigger(
    name="append_only",
    when=pgtrigger.Before,
    operation=pgtrigger.Update,
    declare=[("expected", "memories%ROWTYPE")],
    # Generated columns have no value yet in a BEFORE trigger, so they are taken out of the comparison.
    func="""
        expected := OLD;
        expected.content_sha256 := NEW.content_sha256;
        expected.search := NEW.search;
        expected.foretold := NEW.foretold;
        IF OLD.superseded_at IS NULL AND NEW.superseded_at IS NOT NULL THEN
            NEW.superseded_at := record_instant();
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
            expected.content := '';
            expected.masked_content := NULL;
            expected.embedding := NULL;
            expected.metadata := '{}';
            expected.propagation := NULL;
            expected.fingerprint := '';
            IF NEW IS NOT DISTINCT FROM expected THEN
                RETURN NEW;
            END IF;
        END IF;
        RAISE EXCEPTION 'memories are append-only: a version can be closed or erased, nothing else'
            USING ERRCODE = 'integrity_constraint_violation';
    """,
)
"""A version may be closed once, or erased; anything else is a change of history."""

KEEP = pgtrigger.Trigger(
    name="keep",
    when=pgtrigger.Before,
    operation=pgtrigger.Delete | pgtrigger.Truncate,
    level=pgtrigger.Statement,
    func="""
        RAISE EXCEPTION 'memories are append-only: a version is never deleted'
            USING ERRCODE = 'integrity_constraint_violation';
    """,
)


def _tally(table: str, columns: dict[str, str], rows: str) -> str:
    names, values = ", ".join(columns), ", ".join(f"{value} AS {name}" for name, value in columns.items())
    return f"""
        INSERT INTO {table} (key, {names}, count, written)
        SELECT md5(jsonb_build_array({names})::text)::uuid, {names},
               coalesce(sum(delta) FILTER (WHERE superseded_at IS NULL AND expires_at IS NULL), 0), sum(written)
        FROM (SELECT {values}, delta, written, superseded_at, expires_at FROM ({rows}) AS changed) AS v
        GROUP BY {names}
        ON CONFLICT (key) DO UPDATE
            SET count = {table}.count + excluded.count, written = {table}.written + excluded.written;
    """  # noqa: S608 - every part is a constant of this module


_CLASS = {name: name for name in ("namespace", "classification_tier", "label_keys")}
_COUNTS = {name: name for name in (*_CLASS, "source", "actor_type", "collection", "kind", "status")}
_DAYS = {
    **{name: name for name in (*_CLASS, "source", "actor_type", "status")},
    "day": "(timestamp AT TIME ZONE 'UTC')::date",
}


_TOTALS = {name: name for name in ("classification_tier", "label_keys", "status", "dimension", "value")}
_VALUES = """
SELECT changed.*, dimension, value FROM ({rows}) AS changed CROSS JOIN LATERAL (VALUES
    ('total', ''), ('source', source), ('actor_type', actor_type), ('namespace', namespace),
    ('collection', collection), ('day', (timestamp AT TIME ZONE 'UTC')::date::text)
) AS carried(dimension, value)
"""


def _tallies(rows: str) -> str:
    return (
        _tally("memory_counts", _COUNTS, rows)
        + _tally("memory_days", _DAYS, rows)
        + _tally("memory_totals", _TOTALS, _VALUES.format(rows=rows))
        + "RETURN NULL;"
    )


def _rows(**names: str) -> pgtrigger.Referencing:
    return pgtrigger.Referencing(**names)  # type: ignore[no-untyped-call]


# Memories with a time to live are not tallied: no trigger fires when they expire. They are counted when asked for.
COUNT_NEW = pgtrigger.Trigger(
    name="count_new",
    when=pgtrigger.After,
    operation=pgtrigger.Insert,
    level=pgtrigger.Statement,
    referencing=_rows(new="added"),
    func=_tallies("SELECT *, 1 AS delta, 1 AS written FROM added"),
)
COUNT_CLOSED = pgtrigger.Trigger(
    name="count_closed",
    when=pgtrigger.After,
    operation=pgtrigger.Update,
    level=pgtrigger.Statement,
    referencing=_rows(old="before", new="after"),
    func=_tallies("SELECT *, -1 AS delta, 0 AS written FROM before UNION ALL SELECT *, 1, 0 FROM after"),
)
