"""Guarantee: rows of hidden tiers cost a reader no time, so a latency reveals nothing about them.

A query reads index entries and rows of the tiers that its clearance names, and of no other tier, whatever it filters by
and however many hidden rows there are.

Why the obvious way breaks it. `Memory.objects.visible_to(clearance).order_by("-timestamp")[:20]` returns the right
rows, but PostgreSQL chooses the plan by statistics over all rows. It may walk one index over all tiers and skip the
hidden rows one by one, combine an unselective index with a filter, or change from one plan to another when hidden rows
arrive. Each of these shows as time. So this module, together with the indexes in `models.py`, leaves the planner no
such plan:

- Every index on memories begins with the tier. A list is one query for each visible tier, merged (`newest_sql`,
  `ordered_sql`). A limited list runs them as a lateral join, which is planned once. A range or an index lookup is a
  UNION, in which the planner sees the values of each part.
- The GIN indexes cannot begin with the tier. Their entries are tagged with it (`search_conditions.tier_trigrams` and
  `tier_labels`), so a lookup for one tier meets no entry of another.
- A GIN index is small, and PostgreSQL would read it as a whole. Indexes on ids do not begin with the tier. Both kinds
  are partial, on a predicate that is always true and that only lookups repeat (`LOOKUP_INDEX_GUARD`,
  `ID_INDEX_GUARD`): for any other query they do not exist.
- A set of ids from a subquery is compared as an array (`core.sql.EqualsAny`, `HasTtl`). A planner knows the number of
  rows of a join or of an IN, and chooses by it; it does not know the length of an array.
- A condition that must not choose an index is written so that no index can serve it (`NotSupersededAt`).
- Conditions use functions that are leakproof, or CASE instead of COALESCE: row-level security lets only leakproof
  conditions into an index (`firewall/rls.py`).
- Rare and common search terms need different plans. `text_search.py` chooses by a sample of rows that the caller sees,
  never by statistics.
- Sessions run without sequential scans and parallel workers (`config.Config.to_django_database`), which PostgreSQL
  would choose by the size of the whole table.
- OFFSET 0 and MATERIALIZED in the SQL of other modules keep a subquery as written: PostgreSQL neither flattens it nor
  moves a condition of the outer query into it.

Tests that notice: `tests/harness/test_query_plans.py` compares each read's plan in a table with and without hidden
rows; `tests/harness/test_plan_costs.py` does so for every route and every filter value. The mutants "plans: …" take the
guards away one by one.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID

from django.db import models
from django.db.models import BooleanField, DateTimeField, Func, Q, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast

from memoryhub.core.sql import LateralColumn, RowComparison, compile_sql, fetch_dicts
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.querysets import ClassifiedQuerySet, stored_tier_values

# The order of every list. memory_id breaks ties, so that equal instants page the same way twice.
LIST_ORDER = ("timestamp", "memory_id")
NEWEST_FIRST = ("-timestamp", "-memory_id")
# Placeholders in a query that `_union_sql` replaces with the values of each part. No stored text and no search text
# contains NUL.
TIER_PLACEHOLDER, FUTURE_DATED_PLACEHOLDER, MAX_TIMESTAMP_PLACEHOLDER = "\0", "\0future_dated", "\0max_timestamp"
MAX_INSTANT = datetime.max.replace(tzinfo=UTC)
FUTURE_DATED_AFTER = timedelta(days=1)
"""An event that lies further than this after its record time is future-dated.

Every other event was known at most this long before it happened. So a list as it was known at an instant can begin this
long after that instant, and does not have to skip all later events.
"""
# Always true: the predicate of the partial lookup indexes.
LOOKUP_INDEX_GUARD = Q(schema_version__gte=1)
# Always true: the predicate of the indexes that keep ids unique, and of those of decisions. Only queries that look up
# an id repeat it. It differs from LOOKUP_INDEX_GUARD, because a lookup of a label could otherwise go through these
# indexes and all sources.
ID_INDEX_GUARD = Q(version__gte=1)


class HasTtl(Func):
    """Whether a row of a tier has a time to live, or with `is_active` one that has not passed."""

    output_field = BooleanField()
    template = (
        "memories.id = ANY (ARRAY(SELECT id FROM memories AS expiring WHERE superseded_at IS NULL"
        " AND classification_tier = %(expressions)s AND expires_at %(bound)s))"
    )

    def __init__(self, *expressions: Any, is_active: bool) -> None:
        # Expired memories stay in the table: they are not read to count the others.
        super().__init__(*expressions, bound="> statement_timestamp()" if is_active else "IS NOT NULL")


class NotSupersededAt(Func):
    """Whether a version was not superseded at an instant.

    Written so that no index on superseded_at can serve it. Otherwise the planner's choice of index, instead of the one
    in the order of the list, would depend on how many hidden rows there are, and so would the latency.
    """

    output_field = BooleanField()
    template = "(coalesce(%(expressions)s))"
    arg_joiner = ", 'infinity') > ("


class TieredQuerySet(ClassifiedQuerySet[Any]):
    """Memories that are read tier by tier, so that the rows of hidden tiers cost a reader no time."""

    tiers: Sequence[str] = ()
    index_lookups: Sequence[Any] = ()
    """Conditions that an index answers in its own order, not in that of the list, for any tier."""
    is_range = False
    clearance: Clearance | None = None
    record_time: datetime | None = None
    """The instant of record time at which these versions were current; None is now."""

    def visible_to(self, clearance: Clearance) -> Self:
        queryset = super().visible_to(clearance)
        queryset.tiers, queryset.clearance = stored_tier_values(clearance), clearance
        return queryset

    def newest_sql(self, limit: int, *names: str, **computed: Any) -> tuple[str, list[Any]]:
        """Return SQL and parameters for the newest `limit` rows: `names` of each, and its timestamp and memory_id.

        One query for each tier, merged.
        """
        columns = (*names, *(name for name in ("timestamp", "memory_id") if name not in names))
        if self.index_lookups:
            rows_sql, params = self._merged_sql(self._index_lookup_part().values(*columns, **computed))
        elif self.is_range:
            rows_sql, params = self._merged_sql(self._placeholder_part().values(*columns, **computed))
        else:
            part_rows = self._part_rows(*(LateralColumn("parts", name) for name in _PART_COLUMNS)).order_by(
                *NEWEST_FIRST
            )[:limit]
            rows_sql, params = self._lateral_sql(part_rows.values(*columns, **computed))
        return _NEWEST_SQL.format(rows=rows_sql, number=limit), params

    def as_id_subquery(self) -> Self:
        """Return the same rows, already looked up by an index, to be read in any order."""
        if not self.index_lookups:
            return self
        return self.filter(id__in=RawSQL(*self._merged_sql(self._index_lookup_part().values("id"))))  # noqa: S611 - compiled here

    def ordered_sql(self, order: Sequence[str], *names: str, **computed: Any) -> tuple[str, list[Any]]:
        """Return SQL and parameters for all rows in an order that an index has for each tier: merged, not sorted."""
        tier_rows = self.filter(classification_tier=TIER_PLACEHOLDER).order_by(*order).values(*names, **computed)
        return self._union_sql(tier_rows, [{TIER_PLACEHOLDER: tier} for tier in self.tiers or [""]])

    def unordered_sql(self, *names: str, **computed: Any) -> tuple[str, list[Any]]:
        """Return SQL and parameters for all rows: `names` of each, and the columns `computed`."""
        part = self._index_lookup_part() if self.index_lookups else self._placeholder_part()
        return self._merged_sql(part.values(*names, **computed))

    def _placeholder_part(self) -> Self:
        return self._part_rows(
            TIER_PLACEHOLDER,
            Cast(Value(FUTURE_DATED_PLACEHOLDER), BooleanField()),
            Cast(Value(MAX_TIMESTAMP_PLACEHOLDER), DateTimeField()),
        )

    def _part_rows(self, tier: Any, is_future_dated: Any, max_timestamp: Any) -> Self:
        """Return the rows of a tier; at a record time only those with `is_future_dated`, up to `max_timestamp`."""
        tier_rows = self.filter(classification_tier=tier)
        return (
            tier_rows
            if self.record_time is None
            else tier_rows.filter(is_future_dated=is_future_dated, timestamp__lte=max_timestamp)
        )

    @property
    def _part_values(self) -> list[tuple[str, bool, datetime]]:
        """The values for the columns of `_part_rows`, for each part."""
        tiers = self.tiers or [""]
        if self.record_time is None:
            return [(tier, False, MAX_INSTANT) for tier in tiers]
        bounds = [(False, self.record_time + FUTURE_DATED_AFTER), (True, MAX_INSTANT)]
        return [(tier, *bound) for tier in tiers for bound in bounds]

    def _index_lookup_part(self) -> Self:
        return self._placeholder_part().filter(LOOKUP_INDEX_GUARD, *self.index_lookups)

    def _lateral_sql(self, part: models.QuerySet[Any, Any]) -> tuple[str, list[Any]]:
        """Return SQL that runs `part` for the rows of `parts` one after the other, and is planned once.

        For a limited query, planning it for each part would cost five times as much as running it.
        """
        sql, params = compile_sql(part)
        part_values = self._part_values if self.tiers else []
        return _LATERAL_SQL.format(part=sql), [
            *([part[position] for part in part_values] for position in range(len(_PART_COLUMNS))),
            *params,
        ]

    def _merged_sql(self, part: models.QuerySet[Any, Any]) -> tuple[str, list[Any]]:
        """Return SQL that merges one query for each part, each planned with its own values in the planner's sight."""
        placeholders = (TIER_PLACEHOLDER, FUTURE_DATED_PLACEHOLDER, MAX_TIMESTAMP_PLACEHOLDER)
        return self._union_sql(part, [dict(zip(placeholders, values, strict=True)) for values in self._part_values])

    def _union_sql(
        self, part: models.QuerySet[Any, Any], substitutions: Sequence[Mapping[str, Any]]
    ) -> tuple[str, list[Any]]:
        sql, params = compile_sql(part)
        union_params = [
            substitution.get(param, param) if isinstance(param, str) else param
            for substitution in substitutions
            for param in params
        ]
        return " UNION ALL ".join([f"({sql})"] * len(substitutions)), union_params

    def up_to_keyset(self, timestamp: datetime, memory_id: UUID) -> Self:
        """Return the rows before (timestamp, memory_id) in a list that is newest first, and that row itself.

        The range is read as a whole: if rows were read one by one up to a limit, the planner would guess how far that
        goes.
        """
        queryset = self.filter(RowComparison(LIST_ORDER, ">=", (timestamp, memory_id)))
        queryset.is_range = True
        return queryset

    def newest_range(self, row_count: int) -> Self | None:
        """Return the newest `row_count` rows; None if there are fewer, so that the newest ones are all rows."""
        # Merged instead of lateral: this reads `row_count` rows, not as many of each tier.
        parts_sql, params = self._merged_sql(
            self._placeholder_part().order_by(*NEWEST_FIRST).values("timestamp", "memory_id")
        )
        last_rows = fetch_dicts(f"{_NEWEST_SQL.format(rows=parts_sql, number=1)} OFFSET {row_count - 1:d}", params)
        return self.up_to_keyset(**last_rows[0]) if last_rows else None

    def with_lookup(self, lookup: Any) -> Self:
        """Return the same rows with one more condition that an index answers for each tier."""
        queryset = self.all()
        queryset.index_lookups = (*self.index_lookups, lookup)
        return queryset

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]  # the stubs leave it out
        for name in ("tiers", "clearance", "record_time", "index_lookups", "is_range"):
            setattr(clone, name, getattr(self, name))
        return clone


_NEWEST_SQL = 'SELECT * FROM ({rows}) AS newest_rows ORDER BY "timestamp" DESC, memory_id DESC LIMIT {number:d}'
_PART_COLUMNS = ("tier", "is_future_dated", "max_timestamp")
_LATERAL_SQL = (
    "SELECT part.* FROM unnest(%s::varchar[], %s::boolean[], %s::timestamptz[])"
    " AS parts(tier, is_future_dated, max_timestamp)"
    " CROSS JOIN LATERAL ({part}) AS part"
)
