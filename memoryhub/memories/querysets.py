"""Querysets of memories. Each chain that answers a caller begins with `visible_to`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.fields import ArrayField
from django.db import connection, models
from django.db.models import (
    BooleanField,
    Case,
    CharField,
    DateTimeField,
    F,
    Func,
    OuterRef,
    Q,
    Subquery,
    UUIDField,
    Value,
    When,
)
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, Now
from django.db.models.lookups import IsNull

from memoryhub.core.storable_text import fold_text
from memoryhub.firewall.clearance import Clearance, normalize_label
from memoryhub.firewall.querysets import stored_tier_values, visible_rows_q

if TYPE_CHECKING:
    from memoryhub.memories.models import Memory

Row = TypeVar("Row", bound=models.Model)

TRIGRAM_BYTES = 3
# The order of every list. memory_id breaks ties, so that equal instants page the same way twice.
NEWEST_FIRST = ("-timestamp", "-memory_id")
# Placeholders in a query that `_union_sql` replaces with the values of each part. No stored text and no search text
# contains NUL.
TIER_PLACEHOLDER, FUTURE_DATED_PLACEHOLDER, MAX_TIMESTAMP_PLACEHOLDER = "\0", "\0future_dated", "\0max_timestamp"
FUTURE_DATED_AFTER = timedelta(days=1)
"""An event that lies further than this after its record time is future-dated.

Every other event was known at most this long before it happened. So a list as it was known at an instant can begin this
long after that instant, and does not have to skip all later events.
"""
ACTIVE, EXPIRED = "active", "expired"
"""An active memory whose `expires_at` has passed is expired.

No row stores that, because time passes without a write.
"""
MAX_INSTANT = datetime.max.replace(tzinfo=UTC)
# Always true. It is the predicate of the partial lookup indexes, so PostgreSQL considers those indexes only for queries
# that repeat it. Without it the planner may read all current rows through a GIN index, because that is small, and touch
# rows of hidden tiers.
LOOKUP_INDEX_GUARD = Q(schema_version__gte=1)
# The same trick for the indexes that do not begin with the tier: those that keep ids unique, and those of decisions. A
# query without this predicate cannot use them, whatever it filters by, and so reads no row of a tier that it does not
# name. Only queries that look up an id repeat it. It differs from LOOKUP_INDEX_GUARD, because a lookup of a label could
# otherwise go through these indexes and all sources.
ID_INDEX_GUARD = Q(version__gte=1)
# The text of a memory that is compared with other texts. A caller who could search masked secrets could spell them out
# letter by letter. (A CASE, because PostgreSQL does not treat COALESCE as leakproof, and then uses no index under
# row-level security.)
SEARCHED_TEXT = Case(When(masked_content__isnull=True, then=F("content")), default=F("masked_content"))
HOLDS_SECRET = Q(masked_content__isnull=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTerms:
    """Search terms that the order of a list does not help to find: a text that contents contain, labels of memories."""

    text: str = ""
    labels: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.labels)

    @property
    def normalized_labels(self) -> list[str]:
        return sorted(map(normalize_label, self.labels))

    @property
    def has_trigrams(self) -> bool:
        return len(fold_text(self.text).encode()) >= TRIGRAM_BYTES


class HasTrigrams(Func):
    """Whether the searched text of a row of a tier has all trigrams of another text. The index can answer this."""

    output_field = BooleanField()
    template = "memory_tier_trigrams(%(expressions)s)"
    arg_joiner = ", classification_tier) @> memory_tier_trigrams("


class TextAndTier(Func):
    """A text and the tier with which its trigrams are tagged: the arguments of `memory_tier_trigrams`."""

    output_field = CharField()
    template = "%(expressions)s"


class HasTtl(Func):
    """Whether a row of a tier has a time to live, or with `is_active` one that has not passed.

    The ids are an array, whose length no planner knows: so the number of hidden rows does not decide which index is
    chosen for the outer row.
    """

    output_field = BooleanField()
    template = (
        "memories.id = ANY (ARRAY(SELECT id FROM memories AS expiring WHERE superseded_at IS NULL"
        " AND classification_tier = %(expressions)s AND expires_at %(bound)s))"
    )

    def __init__(self, *expressions: Any, is_active: bool) -> None:
        # Expired memories stay in the table: they are not read to count the others.
        super().__init__(*expressions, bound="> statement_timestamp()" if is_active else "IS NOT NULL")


class EqualsAny(Func):
    """Whether a memory is one of those that are looked up.

    The ids are an array, whose length no planner knows: so hidden rows do not influence the plan.
    """

    output_field = BooleanField()
    arg_joiner = " = ANY ("
    template = "%(expressions)s)"


class HasLabels(Func):
    """Whether a row of a tier carries all labels of a list. The index can answer this."""

    output_field = BooleanField()
    template = "memory_tier_labels(normalized_labels, classification_tier) @> memory_tier_labels(%(expressions)s)"


class TextContains(Func):
    """Whether a text contains another, without regard to case, composition and invisible characters."""

    output_field = BooleanField()
    template = "memory_fold(%(expressions)s)"
    arg_joiner = ") LIKE memory_like_pattern("


class HoldsSecret(Func):
    """Whether a short text contains something that would be masked: searches in short texts skip those.

    Only contents have a stored masked form.
    """

    output_field = BooleanField()
    function = "memory_holds_secret"


class LateralColumn(Func):
    """A column of `parts`: a value of the part that a lateral query runs for."""

    output_field = models.Field()
    template = "parts.%(name)s"


class CastParameter(Func):
    """A cast placeholder that `_union_sql` replaces with the value of each part."""

    output_field = models.Field()
    template = "%(expressions)s::%(type)s"


class AfterKeyset(Func):
    """Whether a row's (timestamp, memory_id) comes after a given pair in a list that is newest first."""

    output_field = BooleanField()
    template = "(timestamp, memory_id) < (%(expressions)s)"


# A version that only changes the classification stores when, and by which row, its value was asserted.
ASSERTED_COLUMNS = {"asserted_at": "recorded_at", "asserted_version_id": "id"}


class SupersedesValue(Func):
    """Whether a value of a key comes after another one: by event time, then by record time, then by row id."""

    output_field = BooleanField()
    template = "(timestamp, coalesce(asserted_at, recorded_at), coalesce(asserted_version_id, id)) > (%(expressions)s)"


class NotSupersededAt(Func):
    """Whether a version was not superseded at an instant.

    Written so that no index on superseded_at can serve it. Otherwise the planner's choice of index, instead of the one
    in the order of the list, would depend on how many hidden rows there are, and so would the latency.
    """

    output_field = BooleanField()
    template = "(coalesce(%(expressions)s))"
    arg_joiner = ", 'infinity') > ("


class UpToKeyset(AfterKeyset):
    """Whether a row's (timestamp, memory_id) comes before a given pair in a list that is newest first, or equals it."""

    template = "(timestamp, memory_id) >= (%(expressions)s)"


class ClassifiedQuerySet(models.QuerySet[Row]):
    """Rows with a namespace, a tier and labels."""

    def visible_to(self, clearance: Clearance) -> Self:
        """Return the rows that `clearance` may see. Rows reach a caller only through this method."""
        return self.filter(visible_rows_q(clearance))

    def with_labels(self, *labels: str) -> Self:
        """Return the rows that carry all of `labels`, compared in normalized form."""
        return self.filter(normalized_labels__contains=sorted(map(normalize_label, labels)))


class MemoryQuerySet(ClassifiedQuerySet[Any]):
    """Memories. Lists are read tier by tier, so that the rows of hidden tiers cost a reader no time."""

    tiers: Sequence[str] = ()
    index_lookups: Sequence[Any] = ()
    """Conditions that an index answers in its own order, not in that of the list, for any tier."""
    is_range = False
    clearance: Clearance | None = None
    record_time: datetime | None = None
    """The instant of record time at which these versions were current; None is now."""
    valid_at: datetime | None = None
    """The instant at which the expiry of these versions is judged; None is now."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sample_cache: dict[tuple[SearchTerms, int], list[tuple[datetime, UUID, bool]]] = {}

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
            part_rows = self._part_rows(*(LateralColumn(name=name) for name in _PART_COLUMNS)).order_by(*NEWEST_FIRST)[
                :limit
            ]
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

    def _placeholder_part(self) -> Self:
        return self._part_rows(
            TIER_PLACEHOLDER,
            CastParameter(Value(FUTURE_DATED_PLACEHOLDER), type="boolean"),
            CastParameter(Value(MAX_TIMESTAMP_PLACEHOLDER), type="timestamptz"),
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

    def current(self) -> Self:
        """Return the current version of each memory, whatever its status, expired or not."""
        return self.filter(superseded_at__isnull=True)

    def known_at(self, instant: datetime) -> Self:
        """Return the version of each memory that was current at `instant` of record time, whatever its status.

        Time travel never declassifies: a version is returned if the caller may see it under its own classification, and
        may see the memory under its classification now.
        """
        not_superseded = Q(NotSupersededAt(F("superseded_at"), Value(instant, DateTimeField())))
        return self.recorded_by(instant).filter(not_superseded)

    def with_valid_at(self, instant: datetime | None) -> Self:
        """Return the same rows, with their expiry judged at `instant`; None is now."""
        queryset = self.all()
        queryset.valid_at = instant
        return queryset

    def unexpired(self) -> Self:
        """Return the versions whose time to live has not passed, whatever their status."""
        return self.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=self._expiry_instant))

    def without_expired(self) -> Self:
        """Return the versions that readers see with the status of their row.

        Retired and quarantined ones do not expire.
        """
        return self.exclude(self._expired_q)

    def active(self) -> Self:
        """Return the active versions that have not expired."""
        return self.unexpired().filter(status=ACTIVE)

    def with_status(self, status: str) -> Self:
        """Return the versions with `status` as readers see it."""
        if status == EXPIRED:
            return self.filter(self._expired_q)
        return self.active() if status == ACTIVE else self.filter(status=status)

    @property
    def is_expired(self) -> Case:
        """Whether a row has expired, as a column of the query."""
        return Case(When(self._expired_q, then=True), default=False)

    @property
    def _expired_q(self) -> Q:
        return Q(status=ACTIVE, expires_at__lte=self._expiry_instant)

    @property
    def _expiry_instant(self) -> Any:
        return Now() if self.valid_at is None else Value(self.valid_at, DateTimeField())

    def recorded_by(self, instant: datetime) -> Self:
        """Return all versions that the hub knew at `instant`, of memories that the caller may see as they are now."""
        queryset = self.filter(self._visible_now_q(), recorded_at__lte=instant)
        queryset.record_time = instant
        return queryset

    def _visible_now_q(self) -> Q:
        """The condition that the latest version of a memory may be seen, too.

        A subquery and not a join, whose plan would be a guess.
        """
        if self.clearance is None:
            raise TypeError("An earlier instant is asked about by somebody: visible_to comes first.")
        visible_memories = type(self)(self.model).visible_to(self.clearance)
        current_version_id = (
            visible_memories.with_id(OuterRef("memory_id")).filter(superseded_at__isnull=True).values("id")[:1]
        )
        return Q(superseded_at__isnull=True) | Q(IsNull(Subquery(current_version_id), False))

    def latest_per_key(self) -> Self:
        """Return the latest value of each subject and collection: by event time, then by record time.

        Record time is that at which the value was asserted: a reclassification, or its undo, does not make a value
        newer. Memories without a subject have no key and are left out.
        """
        # `SupersedesValue` implies the bound on timestamp. It is repeated for the index, which holds the event time
        # only.
        same_key_rows = self.filter(
            subject=OuterRef("subject"), collection=OuterRef("collection"), timestamp__gte=OuterRef("timestamp")
        )
        asserted_values = [
            Coalesce(OuterRef(asserted_column), OuterRef(own_column))
            for asserted_column, own_column in ASSERTED_COLUMNS.items()
        ]
        later_values = same_key_rows.filter(SupersedesValue(OuterRef("timestamp"), *asserted_values))
        return self.exclude(subject="").filter(IsNull(Subquery(later_values.values("id")[:1]), True))

    def with_ttl(self, status: str) -> Self:
        """Return the rows of `with_status(status)` that have a time to live, judged now. No rollup counts them.

        Read the result by `newest_sql` or `as_id_subquery`.
        """
        return self._with_lookup(HasTtl(Value(TIER_PLACEHOLDER), is_active=status == ACTIVE))

    def recorded_after(self, instant: datetime) -> Self:
        """Return the versions that the hub recorded after `instant`."""
        return self.filter(LOOKUP_INDEX_GUARD, recorded_at__gt=instant)

    def matching_by_index(self, search_terms: SearchTerms) -> Self:
        """Return the memories that match the search terms, by an index."""
        queryset = self.matching_by_scan(search_terms)
        if search_terms.has_trigrams:
            queryset = queryset._with_lookup(
                HasTrigrams(SEARCHED_TEXT, TextAndTier(Value(search_terms.text), Value(TIER_PLACEHOLDER)))
            )
        if search_terms.labels:
            queryset = queryset._with_lookup(
                HasLabels(Value(search_terms.normalized_labels, ArrayField(CharField())), Value(TIER_PLACEHOLDER))
            )
        return queryset

    def matching_by_scan(self, search_terms: SearchTerms) -> Self:
        """Return the memories that match the search terms, by reading one row after the other.

        Texts are compared without regard to case, composition and invisible characters, labels in normalized form.
        """
        queryset = self.filter(TextContains(SEARCHED_TEXT, Value(search_terms.text))) if search_terms.text else self
        return (
            queryset.filter(normalized_labels__contains=search_terms.normalized_labels)
            if search_terms.labels
            else queryset
        )

    def with_id(self, memory_id: Any) -> Self:
        """Return the versions of one memory."""
        return self.filter(ID_INDEX_GUARD, memory_id=memory_id)

    def with_ids(self, memory_ids: Any) -> Self:
        """Return the versions of several memories, given by ids or by a queryset of ids, each of which is looked up."""
        if isinstance(memory_ids, models.QuerySet):
            return self.filter(ID_INDEX_GUARD, EqualsAny(F("memory_id"), ArraySubquery(memory_ids)))
        return self.filter(ID_INDEX_GUARD, memory_id__in=memory_ids)

    def related_to(self, memory: "Memory") -> Self:
        """Return the other memories with the same subject and collection."""
        return self.filter(subject=memory.subject, collection=memory.collection).exclude(memory_id=memory.memory_id)

    def after_keyset(self, timestamp: datetime, memory_id: UUID) -> Self:
        """Return the rows after (timestamp, memory_id) in a list that is newest first."""
        return self.filter(AfterKeyset(*_keyset_values(timestamp, memory_id)))

    def up_to_keyset(self, timestamp: datetime, memory_id: UUID) -> Self:
        """Return the rows before (timestamp, memory_id) in a list that is newest first, and that row itself.

        The range is read as a whole: if rows were read one by one up to a limit, the planner would guess how far that
        goes.
        """
        queryset = self.filter(UpToKeyset(*_keyset_values(timestamp, memory_id)))
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

    def sample(self, search_terms: SearchTerms, size: int) -> list[tuple[datetime, UUID, bool]]:
        """Return (timestamp, memory_id, is_match) of the newest `size` rows; one query for equal arguments."""
        if (search_terms, size) not in self.sample_cache:
            rows_sql, params = self.newest_sql(size, "normalized_labels", searched_text=SEARCHED_TEXT)
            # Outside the query of the rows, which might compute its columns before it sorts and limits.
            sample_rows = fetch_dicts(
                _SAMPLE_SQL.format(rows=rows_sql),
                [search_terms.normalized_labels, search_terms.text, search_terms.text, *params],
            )
            self.sample_cache[search_terms, size] = [
                (row["timestamp"], row["memory_id"], row["is_match"]) for row in sample_rows
            ]
        return self.sample_cache[search_terms, size]

    def _with_lookup(self, lookup: Any) -> Self:
        """Return the same rows with one more condition that an index answers for each tier."""
        queryset = self.all()
        queryset.index_lookups = (*self.index_lookups, lookup)
        return queryset

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]  # the stubs leave it out
        for name in ("tiers", "clearance", "record_time", "valid_at", "index_lookups", "is_range"):
            setattr(clone, name, getattr(self, name))
        return clone


def compile_sql(queryset: models.QuerySet[Any, Any]) -> tuple[str, list[Any]]:
    # A query that can match nothing, such as one without any tier, is compiled all the same: it returns a count of 0.
    sql, params = queryset.query.get_compiler(connection=connection, elide_empty=False).as_sql()
    return sql, list(params)


def fetch_dicts(sql: str, params: Sequence[Any]) -> list[dict[str, Any]]:
    """Run `sql` and return its rows as dicts by column name."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


_NEWEST_SQL = 'SELECT * FROM ({rows}) AS newest_rows ORDER BY "timestamp" DESC, memory_id DESC LIMIT {number:d}'
_PART_COLUMNS = ("tier", "is_future_dated", "max_timestamp")
_LATERAL_SQL = (
    "SELECT part.* FROM unnest(%s::varchar[], %s::boolean[], %s::timestamptz[])"
    " AS parts(tier, is_future_dated, max_timestamp)"
    " CROSS JOIN LATERAL ({part}) AS part"
)
_SAMPLE_SQL = """
SELECT timestamp, memory_id, normalized_labels @> %s::varchar[]
       AND (%s = '' OR memory_fold(searched_text) LIKE memory_like_pattern(%s)) AS is_match
FROM ({rows}) AS newest
ORDER BY timestamp DESC, memory_id DESC
"""


def _keyset_values(timestamp: datetime, memory_id: UUID) -> tuple[Value, Value]:
    return Value(timestamp, DateTimeField()), Value(memory_id, UUIDField())
