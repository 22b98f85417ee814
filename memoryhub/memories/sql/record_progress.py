"""SQL for what follows the writes at a distance: the versions after an instant of record time that are committed.

The instant of the record clock is that of the latest committed write, and instants and commits have one order. So every
version up to that instant is visible, and none will be added before it. Rows are read through the index of each tier.
"""

_TIERS_SQL = "(SELECT DISTINCT classification_tier AS tier FROM memory_total_rollups) AS tiers"


def next_instant_sql(column: str, index_guard: str) -> str:
    """Return SQL of the instant up to which the next batch reaches, in a row with the column `instant`.

    `column` is `recorded_at` or `superseded_at`, and `index_guard` the predicate of its index. Parameters: the instant
    up to which all is done, and the limit of the batch three times. Versions of one instant are in one batch. The
    instant is that of the clock if fewer are left, and null if nothing was ever written.
    """
    return f"""
SELECT CASE WHEN count(*) < %s THEN (SELECT instant FROM record_clock WHERE id = 1) ELSE max(instant) END AS instant
FROM (
    SELECT new_rows.instant FROM {_TIERS_SQL} CROSS JOIN LATERAL (
        SELECT {column} AS instant FROM memories
        WHERE {index_guard} AND classification_tier = tiers.tier
          AND {column} > %s AND {column} <= (SELECT instant FROM record_clock WHERE id = 1)
        ORDER BY {column} LIMIT %s
    ) AS new_rows
    ORDER BY new_rows.instant LIMIT %s
) AS batch
"""  # noqa: S608 - constants


def versions_between_sql(column: str, index_guard: str, columns: str) -> str:
    """Return SQL of the versions between two instants, which are its parameters: the first exclusive."""
    return f"""
SELECT {columns} FROM {_TIERS_SQL} CROSS JOIN LATERAL (
    SELECT * FROM memories
    WHERE {index_guard} AND classification_tier = tiers.tier AND {column} > %s AND {column} <= %s
    OFFSET 0
) AS version
"""  # noqa: S608 - constants
