"""Counts per value, of what the caller may see, without a scan of the table.

Filters over the columns of `memory_counts` are answered from there, exactly. Any other filter is counted live over the
newest `LIVE_CAP` matches, or the matches among the newest `LIVE_CAP` memories where a common text is sought; an answer
that met the cap says so.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import connection
from django.db.models import BigIntegerField, F, QuerySet, Sum, Value
from django.http import QueryDict

from memoryhub.firewall.types import Clearance
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import MemoryCount
from memoryhub.memories.querysets import ClassifiedQuerySet, MemoryQuerySet
from memoryhub.memories.substring import Matches, newest_matches

Tallies = TypeVar("Tallies", bound=ClassifiedQuerySet[Any])
Tallied = ClassifiedQuerySet[MemoryCount]

DIMENSIONS = ("source", "actor_type", "namespace", "collection", "tier", "label")
TOP = 50
LIVE_CAP = 50_000

# Filter → column of the tally. A filter that is not here is counted live.
TALLIED = {
    "source": "source",
    "actor_type": "actor_type",
    "namespace": "namespace",
    "collection": "collection",
    "tier": "classification_tier",
    "kind": "kind",
    "status": "status",
}
_COLUMNS = ("source", "actor_type", "namespace", "collection", "classification_tier", "label_keys")


@dataclass(frozen=True, slots=True)
class FacetValue:
    value: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facets:
    """How many memories match, and how many of them carry each value: the `TOP` most frequent of each dimension."""

    total: int
    capped: bool
    """Whether more memories match than were counted: then every number speaks of the newest."""
    dimensions: dict[str, list[FacetValue]]


def count(filters: MemoryFilterSet) -> Facets:
    """Count what `filters` find."""
    tallied: Tallied | None = tally(filters, TALLIED, ClassifiedQuerySet(MemoryCount))
    live = counted_live(filters) if tallied is None else Matches(filters.found.mortal(), cut=False)
    found: dict[str, list[FacetValue]] = {name: [] for name in DIMENSIONS}
    total = 0
    with connection.cursor() as cursor:
        cursor.execute(*question(live.rows, tallied))
        for dimension, value, number in cursor.fetchall():
            if dimension == "total":
                total = int(number)
            else:
                found[dimension].append(FacetValue(value, int(number)))
    return Facets(total=total, capped=live.cut or (tallied is None and total >= LIVE_CAP), dimensions=found)


def counted_live(filters: MemoryFilterSet) -> Matches:
    """The memories that `filters` find, or the newest of them where counting all would take too long."""
    if not filters.text:
        return Matches(filters.candidates, cut=False)
    return newest_matches(filters.candidates, filters.text, wanted=LIVE_CAP, scan=LIVE_CAP)


def question(live: MemoryQuerySet, tallied: Tallied | None) -> tuple[str, list[Any]]:
    """The SQL of `count` and its parameters."""
    sql, params = _rows(live, tallied)
    return _GROUPS.format(rows=sql), [*params, TOP]


def total(clearance: Clearance) -> int:
    """How many active memories `clearance` may see."""
    return count(MemoryFilterSet(QueryDict(), clearance=clearance)).total


def written(clearance: Clearance) -> int:
    """How many versions that `clearance` may see were ever written."""
    found = ClassifiedQuerySet(MemoryCount).visible_to(clearance).aggregate(number=Sum("written"))
    return int(found["number"] or 0)


def tally(filters: MemoryFilterSet, columns: dict[str, str], tallies: Tallies) -> Tallies | None:
    """The rows of a tally that `filters` mean, or None if they ask for what `columns` do not hold."""
    values = {"status": "active", **filters.values}
    labels = values.pop("label", [])
    if not values.keys() <= columns.keys():
        return None
    wanted = {columns[name]: value for name, value in values.items()}
    return tallies.visible_to(filters.clearance).filter(count__gt=0, **wanted).labelled(*labels)


def _rows(live: MemoryQuerySet, tallied: Tallied | None) -> tuple[str, list[Any]]:
    """One SQL text of (columns…, count) over memories counted one by one and, where there is one, over the tally."""
    one = Value(1, BigIntegerField())
    sql, params = compiled(live.newest_first().values(*_COLUMNS, number=one)[:LIVE_CAP])
    if tallied is None:
        return sql, params
    more, more_params = compiled(tallied.values(*_COLUMNS, number=F("count")))
    return f"({sql}) UNION ALL ({more})", [*params, *more_params]


def compiled(queryset: QuerySet[Any, Any]) -> tuple[str, list[Any]]:
    # A question that can have no answer, such as one without any tier, is asked all the same: it counts nothing.
    sql, params = queryset.query.get_compiler(connection=connection, elide_empty=False).as_sql()
    return sql, list(params)


# One pass over the rows for all dimensions; ties are broken by the value, so that equal counts stand in one order.
_GROUPS = """
WITH matched AS MATERIALIZED ({rows}),
grouped AS (
    SELECT CASE GROUPING(source, actor_type, namespace, collection, classification_tier)
               WHEN 15 THEN 'source' WHEN 23 THEN 'actor_type' WHEN 27 THEN 'namespace'
               WHEN 29 THEN 'collection' WHEN 30 THEN 'tier' ELSE 'total' END AS dimension,
           coalesce(source, actor_type, namespace, collection, classification_tier, '') AS value,
           sum(number) AS number
    FROM matched
    GROUP BY GROUPING SETS ((source), (actor_type), (namespace), (collection), (classification_tier), ())
    UNION ALL
    SELECT 'label', label, sum(number) FROM matched, unnest(label_keys) AS label GROUP BY label
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY dimension ORDER BY number DESC, value COLLATE "C") AS place FROM grouped
)
SELECT dimension, value, number FROM ranked WHERE place <= %s AND number IS NOT NULL ORDER BY dimension, place
"""
