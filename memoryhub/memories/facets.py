"""Counts per value, of what the caller may see, without a scan of the table.

Filters over the columns of `memory_totals` and `memory_counts` are answered from there, exactly. Any other filter is
counted live: over the newest `LIVE_CAP` matches, or over the matches among the newest `TEXT_CAP` memories where a
common text is sought. An answer that met the cap says so.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from django.db import connection
from django.db.models import F, Sum

from memoryhub.firewall.types import Clearance
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory, MemoryCount, MemoryTotal, Tally
from memoryhub.memories.querysets import ACTIVE, EXPIRED, ClassifiedQuerySet, MemoryQuerySet, compiled, fetched
from memoryhub.memories.substring import Matches, all_matches, newest_matches
from memoryhub.memories.suspicion import masked

Row = TypeVar("Row", bound=Tally)

DIMENSIONS = ("source", "actor_type", "namespace", "collection", "tier", "label")
TOP = 50
LIVE_CAP = 50_000
TEXT_CAP = 20_000
"""Each is compared letter by letter, which takes several times as long as to count it."""

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
# The same for the totals, which know nothing of a namespace.
BROAD = {"tier": "classification_tier", "status": "status"}
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

    def for_people(self) -> "Facets":
        """Without values that are secrets: whoever shows one to choose has to spell it."""
        kept = {
            name: [each for each in values if masked(each.value) == each.value]
            for name, values in self.dimensions.items()
        }
        return replace(self, dimensions=kept)


def count(filters: MemoryFilterSet) -> Facets:
    """Count what `filters` find."""
    asked = question(filters)
    found: dict[str, list[FacetValue]] = {name: [] for name in DIMENSIONS}
    total = 0
    with connection.cursor() as cursor:
        cursor.execute(asked.sql, asked.params)
        for dimension, value, number in cursor.fetchall():
            if dimension == "total":
                total = int(number)
            else:
                found[dimension].append(FacetValue(value, int(number)))
    return Facets(total=total, capped=asked.cut or (asked.live and total >= LIVE_CAP), dimensions=found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The SQL of a count: over a tally, or live over memories, `cut` when only the newest of them are looked at."""

    sql: str
    params: list[Any]
    live: bool = False
    cut: bool = False


def question(filters: MemoryFilterSet) -> Question:
    """How `filters` are counted: by the smallest tally that knows enough of them, else live."""
    if (totals := tally(filters, BROAD, MemoryTotal)) is not None:
        rows, params = _each(filters.candidates.read_for(filters.sought).mortal(filters.wanted_status))
        more, more_params = compiled(totals.exclude(dimension="day"))
        return Question(sql=_sql(rows, totals=more), params=[*params, *more_params, TOP])
    if (tallied := tally(filters, TALLIED, MemoryCount)) is not None:
        rows, params = _each(filters.candidates.read_for(filters.sought).mortal(filters.wanted_status))
        more, more_params = compiled(tallied.values(*_COLUMNS, number=F("count")))
        return Question(sql=_sql(f"({rows}) UNION ALL ({more})"), params=[*params, *more_params, TOP])
    matches = counted_live(filters)
    rows, params = _each(matches.rows)
    return Question(sql=_sql(rows), params=[*params, TOP], live=True, cut=matches.cut)


def _sql(rows: str, *, totals: str = "") -> str:
    if not totals:
        return _GROUPS.format(rows=rows, totals="", of_totals="")
    return _GROUPS.format(rows=rows, totals=_TOTALS.format(rows=totals), of_totals=_OF_TOTALS)


def total(clearance: Clearance) -> int:
    """How many active memories `clearance` may see."""
    mortal = Memory.objects.visible_to(clearance).current().active().mortal(ACTIVE)
    tallied = _overall(clearance).filter(status="active").aggregate(number=Sum("count"))["number"]
    # Not looked up and then joined: how that is done would be a guess, while the table has not been analyzed.
    rows, params = mortal.newest(_ANY_NUMBER)
    (counted,) = fetched(_NUMBER.format(rows=rows), params)
    return int(tallied or 0) + int(counted["number"])


def written(clearance: Clearance) -> int:
    """How many versions that `clearance` may see were ever written."""
    return int(_overall(clearance).aggregate(number=Sum("written"))["number"] or 0)


def _overall(clearance: Clearance) -> ClassifiedQuerySet[Any]:
    if clearance.namespaces is None:
        return ClassifiedQuerySet(MemoryTotal).filter(dimension="total").visible_to(clearance)
    return ClassifiedQuerySet(MemoryCount).visible_to(clearance)


def counted_live(filters: MemoryFilterSet) -> Matches:
    """The memories that `filters` find, or the newest of them where counting all would take too long."""
    sought = filters.sought
    if sought.text:
        return newest_matches(filters.candidates, sought, wanted=LIVE_CAP, scan=TEXT_CAP)
    return Matches(all_matches(filters.candidates, sought) if sought else filters.candidates, cut=False)


def tally(filters: MemoryFilterSet, columns: dict[str, str], model: type[Row]) -> ClassifiedQuerySet[Row] | None:
    """The rows of a tally that `filters` mean, or None if they or the clearance ask for what it does not hold."""
    values = {**filters.values, "status": filters.wanted_status}
    labels = values.pop("label", [])
    bound_to_namespaces = filters.clearance.namespaces is not None
    if not values.keys() <= columns.keys() or (bound_to_namespaces and "namespace" not in columns):
        return None
    # What expires is in no tally: if it alone is asked for, there is nothing but rows to count.
    if filters.wanted_status == EXPIRED:
        return None
    rows: ClassifiedQuerySet[Row] = ClassifiedQuerySet(model).visible_to(filters.clearance).filter(count__gt=0)
    rows = rows.filter(**{columns[name]: _tallied(value) for name, value in values.items()})
    rows = rows.filter(label_keys=[]) if "" in labels else rows
    labels = [label for label in labels if label]
    return rows.labelled(*labels) if labels else rows


def _tallied(value: Any) -> Any:
    """A filter's value as a tally keeps it: of an instant the day."""
    return value.date().isoformat() if isinstance(value, datetime) else value


def _each(live: MemoryQuerySet) -> tuple[str, list[Any]]:
    """(columns…, 1) for each of the newest memories of `live`."""
    rows, params = live.newest(LIVE_CAP, *_COLUMNS)
    return _EACH.format(names=", ".join(_COLUMNS), rows=rows), params


_ANY_NUMBER = 1_000_000_000
_NUMBER = "SELECT count(*) AS number FROM ({rows}) AS mortal"
_EACH = "SELECT {names}, 1 AS number FROM ({rows}) AS newest"
# One pass over the rows for all dimensions; ties are broken by the value, so that equal counts stand in one order.
_GROUPS = """
WITH matched AS MATERIALIZED ({rows}),
{totals}
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
    {of_totals}
),
summed AS (
    SELECT dimension, value, sum(number) AS number FROM grouped WHERE number IS NOT NULL GROUP BY dimension, value
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY dimension ORDER BY number DESC, value COLLATE "C") AS place FROM summed
)
SELECT dimension, value, number FROM ranked WHERE place <= %s ORDER BY dimension, place
"""
_TOTALS = "totals AS MATERIALIZED ({rows}),"
_OF_TOTALS = """
    UNION ALL
    SELECT dimension, value, sum(count) FROM totals GROUP BY dimension, value
    UNION ALL
    SELECT 'tier', classification_tier, sum(count) FROM totals WHERE dimension = 'total' GROUP BY classification_tier
    UNION ALL
    SELECT 'label', label, sum(count) FROM totals, unnest(label_keys) AS label WHERE dimension = 'total' GROUP BY label
"""
