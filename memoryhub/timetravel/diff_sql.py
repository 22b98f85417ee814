"""SQL for the memories that differ between two instants, in the order of their changes.

A change has two ends, `b` before and `a` after. One end is read in the order of an index, only as far as needed; the
other end is looked up for each row. Both ends are limited to rows that the caller may see, so a hidden row is never an
end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import DateTimeField, F, Field, Func, Q
from django.db.models.functions import Coalesce
from django.db.models.lookups import GreaterThan

from memoryhub.core.sql import EqualsAny, LateralColumn, RowComparison, compile_sql, fetch_dicts, match_columns
from memoryhub.memories.fields import FIELDS
from memoryhub.memories.querysets import ACTIVE, ASSERTED_COLUMNS, VALUE_ORDER, MemoryQuerySet
from memoryhub.memories.sql.search_conditions import SearchTerms
from memoryhub.memories.sql.tiers import ID_INDEX_GUARD, LOOKUP_INDEX_GUARD, TIER_PLACEHOLDER
from memoryhub.memories.text_search import SAMPLE_SIZE, rare_hits

CHANGE_KINDS = (
    "added", "removed", "changed", "reclassified", "resolved", "retired", "quarantined", "restored", "erased",
)  # fmt: skip
MAX_COUNTED = 20_000
"""Only the newest changes up to this number are counted."""
MAX_TOP_VALUES = 20
INITIAL_ROWS_PER_CHANGE, GROWTH_FACTOR = 2, 8
"""Rows that are read first for each requested change, and the factor by which each further range grows."""

_COMPARED_FIELDS = tuple(field.name for field in FIELDS if field.is_compared and field.name != "content")
_COLUMNS = (
    "id",
    "memory_id",
    "version",
    "recorded_at",
    "asserted_at",
    "asserted_version_id",
    "superseded_at",
    "content_sha256",
    "decision_id",
    *_COMPARED_FIELDS,
)
# Compared as text: jsonb takes 1 and 1.0 for the same number, but a reader sees a difference.
_FIELDS_COMPARED_AS_TEXT = {field.name for field in FIELDS if field.column_type == "jsonb"}

Keyset = tuple[datetime, Any]
"""(change_time, memory_id): the order of every list of changes, the newest first."""


# The time of the last change that is counted.
_COUNT_FLOOR = Func(template="(SELECT change_time FROM count_floor)", output_field=DateTimeField())
_HAS_EARLIER_VERSION = GreaterThan(LateralColumn("after", "version"), 1)
_IS_EITHER_END = EqualsAny(
    F("id"), Func(LateralColumn("after", "id"), LateralColumn("before", "id"), template="ARRAY[%(expressions)s]")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffSide:
    """Versions that may be one end of a change, and the query for the other end."""

    side: str
    """"after" if each version is the row after a change, "before" if it is that before a removal, with none after."""
    row_sets: Sequence[tuple[MemoryQuerySet, str]]
    """Querysets, each with the name of the column that holds the time of the change."""
    other_end: MemoryQuerySet
    superseding: MemoryQuerySet | None = None
    """Later values of the same key: if there is one, the row is no end."""
    is_event_axis: bool = False

    @property
    def future_dated_variants(self) -> Sequence[bool | None]:
        """Future-dated rows have a separate range in the index on event time, so both ranges are read."""
        return (False, True) if self.is_event_axis else (None,)

    def rows_between(
        self, floor: Any, before_keyset: Keyset | None, last_keyset: Keyset | None = None
    ) -> list[MemoryQuerySet]:
        """The rows of a range with their `change_time`: from `floor` or `last_keyset` up to `before_keyset`."""
        querysets = []
        for row_set, time_column in self.row_sets:
            rows = row_set if floor is None else row_set.filter(**{f"{time_column}__gte": floor})
            for keyset, sign, bound in ((before_keyset, "<", "lte"), (last_keyset, ">=", "gte")):
                if keyset:
                    rows = rows.filter(
                        RowComparison((time_column, "memory_id"), sign, keyset),
                        **{f"{time_column}__{bound}": keyset[0]},
                    )
            querysets.append(rows.annotate(change_time=F(time_column)))
        return querysets


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeQuery:
    """The changes between two instants, limited to those with an end in `matching_rows` and of the kind `kind`."""

    sides: Sequence[DiffSide]
    """The first side is read first; the others only as far back as the changes of the first one."""
    tiers: Sequence[str]
    since: datetime
    matching_rows: MemoryQuerySet | None = None
    kind: str = ""

    def list_newest(self, limit: int, before_keyset: Keyset | None = None) -> list[dict[str, Any]]:
        """The newest `limit` changes, or those before a keyset, as dicts: version ids, time, kinds and fields."""
        changes: list[dict[str, Any]] = []
        for side in self._possible_sides:
            floor = changes[-1]["change_time"] if len(changes) == limit else None
            changes = _sort_newest_first([*changes, *self._scan_side(side, limit, before_keyset, floor)])[:limit]
        return changes

    def count_changes(self) -> tuple[bool, dict[str, list[tuple[str, int]]]]:
        """Whether only the newest changes are counted, and the counts: total, by kind, by subject and by source."""
        counts: dict[str, list[tuple[str, int]]] = {"total": [], "kinds": [], "subjects": [], "sources": []}
        if not self._possible_sides:
            return False, counts
        first_side, *other_sides = self._possible_sides
        rows, params = self._newest_rows_sql(first_side, None)
        changes_sql, changes_params = self._changes_sql(first_side, "SELECT * FROM newest", [])
        sql_params = [*params, MAX_COUNTED, self.since, *changes_params]
        parts = [changes_sql]
        for side in other_sides:
            changes_sql, changes_params = self._changes_sql(side, *self._newest_rows_sql(side, _COUNT_FLOOR))
            parts.append(changes_sql)
            sql_params += changes_params
        sql = _COUNTS_SQL.format(rows=rows, changes=" UNION ALL ".join(f"({part})" for part in parts))
        is_capped = False
        for row in fetch_dicts(sql, [*sql_params, MAX_COUNTED, MAX_COUNTED, MAX_TOP_VALUES]):
            counts[row["dimension"]].append((row["value"], int(row["change_count"])))
            is_capped = row["is_capped"]
        return is_capped, counts

    @property
    def _possible_sides(self) -> Sequence[DiffSide]:
        """The sides that can have changes of the requested kind: none for `removed` on the event axis."""
        return [side for side in self.sides if not self.kind or (side.side == "before") == (self.kind == "removed")]

    def _scan_side(
        self, side: DiffSide, limit: int, before_keyset: Keyset | None, floor: datetime | None
    ) -> list[dict[str, Any]]:
        """Read one range after the other, each longer than the one before, until there are `limit` changes."""
        changes: list[dict[str, Any]] = []
        row_count = limit * INITIAL_ROWS_PER_CHANGE
        while len(changes) < limit:
            last_keyset = self._find_range_end(side, row_count, before_keyset, floor)
            sql, sql_params = self._changes_sql(side, *_union_sql(side.rows_between(floor, before_keyset, last_keyset)))
            changes += fetch_dicts(_NEWEST_CHANGES_SQL.format(changes=sql), [*sql_params, limit - len(changes)])
            if last_keyset is None:
                break
            before_keyset, row_count = last_keyset, row_count * GROWTH_FACTOR
        return changes

    def _find_range_end(
        self, side: DiffSide, row_count: int, before_keyset: Keyset | None, floor: datetime | None
    ) -> Keyset | None:
        """The keyset at which a range of `row_count` rows ends; None if there are no more.

        Each tier is read in index order.
        """
        tier_variants = [
            (tier, is_future_dated) for tier in self.tiers for is_future_dated in side.future_dated_variants
        ]
        parts: list[str] = []
        sql_params: list[Any] = []
        for rows in side.rows_between(floor, before_keyset):
            part = rows.filter(classification_tier=LateralColumn("parts", "tier"))
            if side.is_event_axis:
                part = part.filter(is_future_dated=LateralColumn("parts", "is_future_dated"))
            ends = part.order_by("-change_time", "-memory_id").values("change_time", "memory_id")[:row_count]
            sql, params = compile_sql(ends)
            parts.append(_PER_TIER_SQL.format(part=sql))
            sql_params += [
                [tier for tier, _ in tier_variants],
                [is_future_dated for _, is_future_dated in tier_variants],
                *params,
            ]
        end_rows = fetch_dicts(_RANGE_END_SQL.format(parts=" UNION ALL ".join(parts)), [*sql_params, row_count - 1])
        return (end_rows[0]["change_time"], end_rows[0]["memory_id"]) if end_rows else None

    def _newest_rows_sql(self, side: DiffSide, floor: Any) -> tuple[str, list[Any]]:
        """The newest MAX_COUNTED rows, merged over the tiers so that no tier is read beyond what the merge needs."""
        parts: list[str] = []
        sql_params: list[Any] = []
        for rows in side.rows_between(floor, None):
            for is_future_dated in side.future_dated_variants:
                variant_rows = rows if is_future_dated is None else rows.filter(is_future_dated=is_future_dated)
                newest_rows = variant_rows.filter(classification_tier=TIER_PLACEHOLDER).order_by(
                    "-change_time", "-memory_id"
                )[:MAX_COUNTED]
                sql, params = compile_sql(newest_rows.values(*_COLUMNS, "change_time"))
                for tier in self.tiers or [""]:
                    parts.append(f"({sql})")
                    sql_params += [tier if param == TIER_PLACEHOLDER else param for param in params]
        return _NEWEST_ROWS_SQL.format(parts=" UNION ALL ".join(parts), limit=MAX_COUNTED), sql_params

    def _changes_sql(self, side: DiffSide, rows_sql: str, params: Sequence[Any]) -> tuple[str, list[Any]]:
        """The changes one end of which is a row of `rows_sql`."""
        other_end_sql, other_params = self._other_end_sql(side)
        sql_params = [*params, *other_params]
        conditions = ["cardinality(kinds) > 0"]
        if side.side == "before":
            conditions.append("after.id IS NULL")
        if side.superseding is not None:
            superseding_sql, superseding_params = compile_sql(side.superseding.values("id")[:1])
            conditions.append(f"({superseding_sql}) IS NULL")
            sql_params += superseding_params
        if self.matching_rows is not None:
            matching_sql, matching_params = compile_sql(self.matching_rows.filter(_IS_EITHER_END).values("id"))
            conditions.append(f"EXISTS ({matching_sql})")
            sql_params += matching_params
        if self.kind:
            conditions.append("%s = ANY (kinds)")
            sql_params.append(self.kind)
        sql = _CHANGES_SQL.format(
            rows=rows_sql,
            own_side=side.side,
            other_side="before" if side.side == "after" else "after",
            other=other_end_sql,
            fields=_CHANGED_FIELDS_SQL,
            kinds=_EVENT_KINDS_SQL if side.is_event_axis else _VERSION_KINDS_SQL,
            conditions=" AND ".join(conditions),
        )
        return sql, sql_params

    def _other_end_sql(self, side: DiffSide) -> tuple[str, list[Any]]:
        if not side.is_event_axis:
            return compile_sql(side.other_end.values(*_COLUMNS)[:1])
        # The latest row of each tier, by the index, then the latest of these: a key may have had many values.
        ordering = [F("timestamp").desc(), *(Coalesce(*pair).desc() for pair in ASSERTED_COLUMNS.items())]
        latest_rows = side.other_end.filter(classification_tier=LateralColumn("tiers", "tier")).order_by(*ordering)
        sql, params = compile_sql(latest_rows.values(*_COLUMNS)[:1])
        return _LATEST_PER_TIER_SQL.format(part=sql), [list(self.tiers), *params]


def record_time_sides(
    visible_rows: MemoryQuerySet, since: datetime, until: datetime, candidate_condition: Q
) -> list[DiffSide]:
    """Side `after`: current at `until`, not at `since`. Side `before`: current at `since`, not any more at `until`."""
    rows_after, rows_before = (
        visible_rows.known_at(instant).with_valid_at(instant).without_expired() for instant in (until, since)
    )
    superseded_rows = rows_before.filter(candidate_condition, superseded_at__gt=since, superseded_at__lte=until)
    expired_rows = rows_before.filter(candidate_condition, status=ACTIVE, expires_at__gt=since, expires_at__lte=until)
    return [
        DiffSide(
            side="after",
            row_sets=[
                (rows_after.filter(LOOKUP_INDEX_GUARD, candidate_condition, recorded_at__gt=since), "recorded_at")
            ],
            other_end=rows_before.with_id(LateralColumn("after", "memory_id")).filter(_HAS_EARLIER_VERSION),
        ),
        DiffSide(
            side="before",
            row_sets=[
                (superseded_rows, "superseded_at"),
                (expired_rows.filter(superseded_at__isnull=True), "expires_at"),
                # It expired first, and was superseded only after `until`.
                (expired_rows.filter(superseded_at__gt=until), "expires_at"),
            ],
            other_end=rows_after.with_id(LateralColumn("before", "memory_id")),
        ),
    ]


def event_time_sides(known_rows: MemoryQuerySet, since: datetime, until: datetime) -> list[DiffSide]:
    """The values at `until` whose event is later than `since`. A memory without a subject has no rivals."""
    same_key_rows = known_rows.exclude(subject="").filter(**match_columns("after", ("subject", "collection")))
    assertion_columns = [
        Coalesce(*(LateralColumn("after", name) for name in pair), output_field=Field())
        for pair in ASSERTED_COLUMNS.items()
    ]
    is_superseding = RowComparison(VALUE_ORDER, ">", [LateralColumn("after", "change_time"), *assertion_columns])
    return [
        DiffSide(
            side="after",
            row_sets=[(known_rows.filter(timestamp__gt=since, timestamp__lte=until), "timestamp")],
            other_end=same_key_rows.filter(timestamp__lte=since),
            superseding=same_key_rows.filter(
                is_superseding, timestamp__gte=LateralColumn("after", "change_time"), timestamp__lte=until
            ),
            is_event_axis=True,
        )
    ]


def build_candidate_condition(visible_rows: MemoryQuerySet, subject: str, search_terms: SearchTerms) -> Q:
    """Condition for memories with a version about the subject, and with one that matches rare search terms.

    Frequent search terms restrict nothing: looking them up in an index would not narrow down the memories.
    """
    condition = Q()
    if subject:
        condition &= ID_INDEX_GUARD & Q(
            EqualsAny(F("memory_id"), ArraySubquery(visible_rows.filter(subject=subject).values("memory_id")))
        )
    if search_terms.has_lookup and _is_rare(visible_rows, search_terms):
        matching_rows = visible_rows.matching_by_index(search_terms).as_id_subquery()
        condition &= ID_INDEX_GUARD & Q(EqualsAny(F("memory_id"), ArraySubquery(matching_rows.values("memory_id"))))
    return condition


def _is_rare(visible_rows: MemoryQuerySet, search_terms: SearchTerms) -> bool:
    sample = visible_rows.current().sample(search_terms, SAMPLE_SIZE)
    return sum(is_hit for _, _, is_hit in sample) <= rare_hits(search_terms)


def _union_sql(querysets: Sequence[MemoryQuerySet]) -> tuple[str, list[Any]]:
    compiled_queries = [compile_sql(rows.values(*_COLUMNS, "change_time")) for rows in querysets]
    return " UNION ALL ".join(sql for sql, _ in compiled_queries), [
        param for _, params in compiled_queries for param in params
    ]


def _sort_newest_first(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(changes, key=lambda row: (row["change_time"], row["memory_id"]), reverse=True)


_PER_TIER_SQL = """
SELECT part.* FROM unnest(%s::varchar[], %s::boolean[]) AS parts(tier, is_future_dated)
CROSS JOIN LATERAL ({part}) AS part
"""
_LATEST_PER_TIER_SQL = f"""
SELECT part.* FROM unnest(%s::varchar[]) AS tiers(tier) CROSS JOIN LATERAL ({{part}}) AS part
ORDER BY {", ".join(f"{expression} DESC" for expression in VALUE_ORDER)}
LIMIT 1
"""  # noqa: S608 - constants
_RANGE_END_SQL = "SELECT * FROM ({parts}) AS ends ORDER BY change_time DESC, memory_id DESC LIMIT 1 OFFSET %s"
_NEWEST_CHANGES_SQL = "SELECT * FROM ({changes}) AS change ORDER BY change_time DESC, memory_id DESC LIMIT %s"
_NEWEST_ROWS_SQL = "SELECT * FROM ({parts}) AS part ORDER BY change_time DESC, memory_id DESC LIMIT {limit:d}"
_CHANGED_FIELDS_SQL = ", ".join(
    f"CASE WHEN after.{name}{cast} IS DISTINCT FROM before.{name}{cast} THEN '{field}' END"
    for field, name, cast in (
        ("content", "content_sha256", ""),
        *((name, name, "::text" if name in _FIELDS_COMPARED_AS_TEXT else "") for name in _COMPARED_FIELDS),
    )
)
_END_KINDS_SQL = "CASE WHEN before.id IS NULL THEN 'added' END, CASE WHEN after.id IS NULL THEN 'removed' END"
_CLASSIFICATION_FIELDS_SQL = "'classification_tier', 'sensitivity_labels'"
_RECLASSIFIED_SQL = f"CASE WHEN fields && ARRAY[{_CLASSIFICATION_FIELDS_SQL}] THEN 'reclassified' END"
_EVENT_KINDS_SQL = f"{_END_KINDS_SQL}, CASE WHEN after.id <> before.id THEN 'changed' END, {_RECLASSIFIED_SQL}"
_VERSION_KINDS_SQL = f"""
    {_END_KINDS_SQL},
    CASE WHEN NOT fields <@ ARRAY[{_CLASSIFICATION_FIELDS_SQL}, 'status'] THEN 'changed' END,
    {_RECLASSIFIED_SQL},
    CASE WHEN after.decision_id IS DISTINCT FROM before.decision_id AND after.decision_id IS NOT NULL
         THEN 'resolved' END,
    CASE WHEN after.status <> before.status AND after.status = 'retired' THEN 'retired' END,
    CASE WHEN after.status <> before.status AND after.status = 'quarantined' THEN 'quarantined' END,
    CASE WHEN after.status <> before.status AND after.status = 'active' THEN 'restored' END,
    CASE WHEN after.id <> before.id AND after.status = 'erased' AND after.superseded_at IS NULL THEN 'erased' END
"""
# OFFSET 0 keeps PostgreSQL from flattening a subquery: its expressions are computed once, and its lookups run row by
# row.
_CHANGES_SQL = """
SELECT {own_side}.change_time, {own_side}.memory_id,
       CASE WHEN after.id IS NULL THEN before.subject ELSE after.subject END AS subject,
       CASE WHEN after.id IS NULL THEN before.collection ELSE after.collection END AS collection,
       CASE WHEN after.id IS NULL THEN before.source ELSE after.source END AS source,
       kinds, fields, after.id AS after_id, before.id AS before_id
FROM ({rows}) AS {own_side}
LEFT JOIN LATERAL ({other}) AS {other_side} ON true
CROSS JOIN LATERAL (
    SELECT CASE WHEN after.id IS NULL OR before.id IS NULL THEN ARRAY[]::text[]
                ELSE array_remove(ARRAY[{fields}], NULL) END AS fields
    OFFSET 0
) AS changed_fields
CROSS JOIN LATERAL (SELECT array_remove(ARRAY[{kinds}], NULL) AS kinds OFFSET 0) AS change_kinds
WHERE {conditions}
"""
_COUNTS_SQL = """
WITH newest AS MATERIALIZED ({rows}),
count_floor AS MATERIALIZED (
    SELECT CASE WHEN count(*) >= %s THEN min(change_time) ELSE %s END AS change_time FROM newest
),
changes AS MATERIALIZED ({changes}),
grouped AS (
    SELECT CASE GROUPING(subject, source) WHEN 1 THEN 'subjects' WHEN 2 THEN 'sources' ELSE 'total' END AS dimension,
           coalesce(subject, source, '') AS value, count(*) AS change_count
    FROM changes
    GROUP BY GROUPING SETS ((subject), (source), ())
    UNION ALL
    SELECT 'kinds', kind, count(*) FROM changes, unnest(kinds) AS kind GROUP BY kind
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY dimension ORDER BY change_count DESC, value COLLATE "C") AS rank
    FROM grouped
)
SELECT dimension, value, change_count,
       (SELECT count(*) FROM newest) >= %s OR (SELECT count(*) FROM changes) >= %s AS is_capped
FROM ranked
WHERE rank <= %s
ORDER BY dimension, rank
"""
