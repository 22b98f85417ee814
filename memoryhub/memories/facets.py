"""Count the memories that the caller may see, in total and per value.

Guarantee: a count takes a bounded time, however large the table is, and counts no hidden row.

Why the obvious way breaks it. `GROUP BY` over the visible rows reads all of them for every page, and PostgreSQL's own
estimates include hidden rows. So triggers keep rollups (`triggers.py`), with one row for each combination of tier,
labels and a few columns, and a caller adds up those that its clearance covers:

- Filters on the columns of `memory_total_rollups` and `memory_rollups` are counted there, exactly.
- No rollup counts a memory with a time to live, because it expires without a write. These are read by an index of their
  own (`MemoryQuerySet.with_ttl`) and added.
- Any other filter is counted live: over the newest `MAX_LIVE_COUNTED` matches, or, for a common search text, over the
  matches among the newest `MAX_TEXT_SCANNED` memories. If a count reached its limit, the result says so.

Tests that notice: `tests/memories/test_facets_and_histogram.py`, and `tests/harness/test_query_plans.py` for the plans.
"""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from django.db import connection
from django.db.models import F, Q, Sum

from memoryhub.core.secrets import mask_secrets
from memoryhub.core.sql import compile_sql, fetch_dicts
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.querysets import ClassifiedQuerySet
from memoryhub.memories.filter_fields import FilterValues
from memoryhub.memories.filters import ACTIVE_ONLY, MemoryFilterSet, label_condition
from memoryhub.memories.models import Memory, MemoryRollup, MemoryTotalRollup, Rollup
from memoryhub.memories.querysets import EXPIRED, MemoryQuerySet
from memoryhub.memories.text_search import Matches, all_matching, newest_matching

RollupT = TypeVar("RollupT", bound=Rollup)

DIMENSIONS = ("source", "actor_type", "namespace", "collection", "tier", "label")
MAX_FACET_VALUES = 50
MAX_LIVE_COUNTED = 50_000
MAX_TEXT_SCANNED = 20_000
"""Each text is compared letter by letter, which takes several times as long as counting a row."""

# Filter → column of the rollup. Any other filter is counted live.
ROLLUP_COLUMNS = {
    "source": "source",
    "actor_type": "actor_type",
    "namespace": "namespace",
    "collection": "collection",
    "tier": "classification_tier",
    "kind": "kind",
    "status": "status",
}
# The same for the total rollup, which has no namespace.
TOTAL_COLUMNS = {"tier": "classification_tier", "status": "status"}
_FACET_COLUMNS = ("source", "actor_type", "namespace", "collection", "classification_tier", "normalized_labels")


@dataclass(frozen=True, slots=True)
class FacetValue:
    value: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facets:
    """The count of matches, in total and for the MAX_FACET_VALUES most frequent values of each dimension."""

    total: int
    is_capped: bool
    """Whether more memories match than were counted. Then every count is about the newest memories."""
    dimensions: dict[str, list[FacetValue]]

    def without_secrets(self) -> "Facets":
        """Return the facets without values that are secrets: a list of choices would have to spell them out."""
        dimensions = {
            name: [facet_value for facet_value in values if not _is_secret(facet_value.value)]
            for name, values in self.dimensions.items()
        }
        return replace(self, dimensions=dimensions)


def _is_secret(value: str) -> bool:
    """Whether a value holds a secret, or a label did before it was normalized to lower case."""
    return any(mask_secrets(text) != text for text in (value, value.upper()))


def count_facets(filters: MemoryFilterSet) -> Facets:
    """Count the memories that match `filters`."""
    count_query = build_count_query(filters)
    dimensions: dict[str, list[FacetValue]] = {name: [] for name in DIMENSIONS}
    total = 0
    with connection.cursor() as cursor:
        cursor.execute(count_query.sql, count_query.params)
        for dimension, value, value_count in cursor.fetchall():
            if dimension == "total":
                total = int(value_count)
            else:
                dimensions[dimension].append(FacetValue(value, int(value_count)))
    return Facets(
        total=total,
        is_capped=count_query.is_truncated or (count_query.is_live and total >= MAX_LIVE_COUNTED),
        dimensions=dimensions,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CountQuery:
    """The SQL of a count over a rollup, or live over memories. `is_truncated`: only the newest of them are counted."""

    sql: str
    params: list[Any]
    is_live: bool = False
    is_truncated: bool = False


def build_count_query(filters: MemoryFilterSet) -> CountQuery:
    """Return the query that counts `filters`: over the smallest rollup with the columns they need, else live."""
    if (totals := rollup_rows(filters, TOTAL_COLUMNS, MemoryTotalRollup)) is not None:
        rows_sql, params = _live_rows_sql(expiring_matches(filters))
        rollup_sql, rollup_params = compile_sql(totals.exclude(dimension="day"))
        return CountQuery(
            sql=_facets_sql(rows_sql, totals=rollup_sql), params=[*params, *rollup_params, MAX_FACET_VALUES]
        )
    if (rollups := rollup_rows(filters, ROLLUP_COLUMNS, MemoryRollup)) is not None:
        rows_sql, params = _live_rows_sql(expiring_matches(filters))
        rollup_sql, rollup_params = compile_sql(rollups.values(*_FACET_COLUMNS, subtotal=F("count")))
        return CountQuery(
            sql=_facets_sql(f"({rows_sql}) UNION ALL ({rollup_sql})"),
            params=[*params, *rollup_params, MAX_FACET_VALUES],
        )
    matches = live_matches(filters)
    rows_sql, params = _live_rows_sql(matches.rows)
    return CountQuery(
        sql=_facets_sql(rows_sql), params=[*params, MAX_FACET_VALUES], is_live=True, is_truncated=matches.is_truncated
    )


def _facets_sql(rows: str, *, totals: str = "") -> str:
    if not totals:
        return _FACETS_SQL.format(rows=rows, totals="", of_totals="")
    return _FACETS_SQL.format(rows=rows, totals=_TOTALS_CTE.format(rows=totals), of_totals=_TOTALS_UNION)


def count_active(clearance: Clearance) -> int:
    """Return the number of active memories that `clearance` may see."""
    expiring_memories = Memory.objects.visible_to(clearance).current().active().with_ttl(is_active=True)
    rollup_count = _overall_rollups(clearance).filter(status="active").aggregate(subtotal=Sum("count"))["subtotal"]
    # Not a lookup followed by a join: while the table has not been analyzed, the planner would guess how to join.
    rows_sql, params = expiring_memories.newest_sql(_NO_LIMIT)
    (count_row,) = fetch_dicts(_COUNT_SQL.format(rows=rows_sql), params)
    return int(rollup_count or 0) + int(count_row["subtotal"])


def count_versions_written(clearance: Clearance) -> int:
    """Return the number of versions ever written that `clearance` may see."""
    return int(_overall_rollups(clearance).aggregate(subtotal=Sum("versions_written"))["subtotal"] or 0)


def _overall_rollups(clearance: Clearance) -> ClassifiedQuerySet[Any]:
    if clearance.namespaces is None:
        return ClassifiedQuerySet(MemoryTotalRollup).filter(dimension="total").visible_to(clearance)
    return ClassifiedQuerySet(MemoryRollup).visible_to(clearance)


def live_matches(filters: MemoryFilterSet) -> Matches:
    """Return the memories that match `filters`, or the newest of them if counting all would take too long."""
    search_terms = filters.search_terms
    if search_terms.has_text:
        return newest_matching(
            filters.candidates, search_terms, target_count=MAX_LIVE_COUNTED, max_scanned=MAX_TEXT_SCANNED
        )
    return Matches(
        all_matching(filters.candidates, search_terms) if search_terms else filters.candidates, is_truncated=False
    )


def expiring_matches(filters: MemoryFilterSet) -> MemoryQuerySet:
    """Return the matches that have a time to live, which no rollup counts."""
    is_active = filters.statuses == ACTIVE_ONLY
    return filters.candidates.matching_by_scan(filters.search_terms).with_ttl(is_active=is_active)


def rollup_rows(
    filters: MemoryFilterSet, columns: dict[str, str], model: type[RollupT]
) -> ClassifiedQuerySet[RollupT] | None:
    """Return the rows of a rollup that match `filters`; None if it lacks a column that they or the clearance need."""
    values = {**filters.values, "status": filters.statuses}
    values.pop("label", None)
    is_namespace_bound = filters.clearance.namespaces is not None
    if not values.keys() <= columns.keys() or (is_namespace_bound and "namespace" not in columns):
        return None
    # Expiring memories are in no rollup, so expired ones can only be counted live.
    if EXPIRED in filters.statuses.included:
        return None
    rows: ClassifiedQuerySet[RollupT] = ClassifiedQuerySet(model).visible_to(filters.clearance).filter(count__gt=0)
    rows = rows.filter(*(_rollup_condition(columns[name], value) for name, value in values.items()))
    rows = rows.filter(label_condition(filters.labels))
    return rows.with_labels(*filters.search_terms.labels) if filters.search_terms.labels else rows


def _rollup_condition(lookup: str, value: Any) -> Q:
    """Return the condition of a filter on a rollup, which stores the day of an instant."""
    if isinstance(value, FilterValues):
        return value.column_condition(lookup)
    return Q(**{lookup: value.date().isoformat()})


def _live_rows_sql(memories: MemoryQuerySet) -> tuple[str, list[Any]]:
    """Return the SQL of (columns…, 1) for each of the newest of `memories`."""
    rows_sql, params = memories.newest_sql(MAX_LIVE_COUNTED, *_FACET_COLUMNS)
    return _LIVE_ROWS_SQL.format(names=", ".join(_FACET_COLUMNS), rows=rows_sql), params


_NO_LIMIT = 1_000_000_000
_COUNT_SQL = "SELECT count(*) AS subtotal FROM ({rows}) AS expiring"
_LIVE_ROWS_SQL = "SELECT {names}, 1 AS subtotal FROM ({rows}) AS newest"
# One pass over the rows for all dimensions. The value breaks ties, so that equal counts always have the same order.
_FACETS_SQL = """
WITH matched AS MATERIALIZED ({rows}),
{totals}
grouped AS (
    SELECT CASE GROUPING(source, actor_type, namespace, collection, classification_tier)
               WHEN 15 THEN 'source' WHEN 23 THEN 'actor_type' WHEN 27 THEN 'namespace'
               WHEN 29 THEN 'collection' WHEN 30 THEN 'tier' ELSE 'total' END AS dimension,
           coalesce(source, actor_type, namespace, collection, classification_tier, '') AS value,
           sum(subtotal) AS subtotal
    FROM matched
    GROUP BY GROUPING SETS ((source), (actor_type), (namespace), (collection), (classification_tier), ())
    UNION ALL
    SELECT 'label', label, sum(subtotal) FROM matched, unnest(normalized_labels) AS label GROUP BY label
    {of_totals}
),
summed AS (
    SELECT dimension, value, sum(subtotal) AS subtotal FROM grouped WHERE subtotal IS NOT NULL GROUP BY dimension, value
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY dimension ORDER BY subtotal DESC, value COLLATE "C") AS rank FROM summed
)
SELECT dimension, value, subtotal FROM ranked WHERE rank <= %s ORDER BY dimension, rank
"""
_TOTALS_CTE = "totals AS MATERIALIZED ({rows}),"
_TOTALS_UNION = """
    UNION ALL
    SELECT dimension, value, sum(count) FROM totals GROUP BY dimension, value
    UNION ALL
    SELECT 'tier', classification_tier, sum(count) FROM totals WHERE dimension = 'total' GROUP BY classification_tier
    UNION ALL
    SELECT 'label', label, sum(count) FROM totals, unnest(normalized_labels) AS label
    WHERE dimension = 'total' GROUP BY label
"""
