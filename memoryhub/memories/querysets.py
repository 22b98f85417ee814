"""Querysets of memories. Each chain that answers a caller begins with `visible_to`."""

from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Case, CharField, DateTimeField, F, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Coalesce, Now
from django.db.models.lookups import IsNull

from memoryhub.core.sql import Contains, EqualsAny, LateralColumn, RowComparison, compile_expression, fetch_dicts
from memoryhub.memories.sql.search_conditions import (
    SEARCHED_TEXT,
    MatchesWordIndex,
    SearchTerms,
    tier_labels,
    tier_trigrams,
)
from memoryhub.memories.sql.tiers import (
    ID_INDEX_GUARD,
    LIST_ORDER,
    LOOKUP_INDEX_GUARD,
    TIER_PLACEHOLDER,
    HasTtl,
    NotSupersededAt,
    TieredQuerySet,
)

if TYPE_CHECKING:
    from memoryhub.memories.models import Memory

ACTIVE, EXPIRED = "active", "expired"
"""An active memory whose `expires_at` has passed is expired.

No row stores that, because time passes without a write.
"""
# A version that only changes the classification stores when, and by which row, its value was asserted.
ASSERTED_COLUMNS = {"asserted_at": "recorded_at", "asserted_version_id": "id"}
# The order of the values of a key: by event time, then by the record time at which the value was asserted.
VALUE_ORDER = ("timestamp", "coalesce(asserted_at, recorded_at)", "coalesce(asserted_version_id, id)")


class MemoryQuerySet(TieredQuerySet):
    """Memories. `newest_sql` and `ordered_sql` read them tier by tier."""

    valid_at: datetime | None = None
    """The instant at which the expiry of these versions is judged; None is now."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sample_cache: dict[tuple[SearchTerms, int], list[tuple[datetime, UUID, bool]]] = {}

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
        return self.filter(self._unexpired_q)

    def without_expired(self) -> Self:
        """Return the versions that readers see with the status of their row.

        Retired and quarantined ones do not expire.
        """
        return self.exclude(self._expired_q)

    def active(self) -> Self:
        """Return the active versions that have not expired."""
        return self.unexpired().filter(status=ACTIVE)

    def with_statuses(
        self, included: Sequence[str], excluded: Sequence[str] = (), *, active_may_be_expired: bool = False
    ) -> Self:
        """Return the versions with one of the `included` statuses (any, if it is empty) and none of the `excluded`.

        Statuses are those that readers see. With `active_may_be_expired`, `active` also stands for expired versions.
        """
        queryset = self
        if list(included) == [ACTIVE] and not active_may_be_expired:
            queryset = self.active()
        elif included:
            queryset = self.filter(self._any_status_q(included, active_may_be_expired))
        return queryset.exclude(self._any_status_q(excluded, active_may_be_expired)) if excluded else queryset

    def _any_status_q(self, statuses: Sequence[str], active_may_be_expired: bool) -> Q:
        stored_statuses = [status for status in statuses if status not in (ACTIVE, EXPIRED)]
        conditions = [Q(status__in=stored_statuses)] if stored_statuses else []
        if EXPIRED in statuses:
            conditions.append(self._expired_q)
        if ACTIVE in statuses:
            is_unexpired = Q() if active_may_be_expired else self._unexpired_q
            conditions.append(Q(status=ACTIVE) & is_unexpired)
        return reduce(or_, conditions)

    @property
    def is_expired(self) -> Case:
        """Whether a row has expired, as a column of the query."""
        return Case(When(self._expired_q, then=True), default=False)

    @property
    def _unexpired_q(self) -> Q:
        return Q(expires_at__isnull=True) | Q(expires_at__gt=self._expiry_instant)

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
            raise TypeError("Call visible_to before a query at an earlier instant.")
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
        # The row comparison below implies the bound on timestamp, which is repeated for the index: it holds the event
        # time only.
        same_key_rows = self.filter(
            subject=OuterRef("subject"), collection=OuterRef("collection"), timestamp__gte=OuterRef("timestamp")
        )
        asserted_values = [
            Coalesce(OuterRef(asserted_column), OuterRef(own_column))
            for asserted_column, own_column in ASSERTED_COLUMNS.items()
        ]
        later_values = same_key_rows.filter(RowComparison(VALUE_ORDER, ">", [OuterRef("timestamp"), *asserted_values]))
        return self.exclude(subject="").filter(IsNull(Subquery(later_values.values("id")[:1]), True))

    def with_ttl(self, *, is_active: bool) -> Self:
        """Return the rows that have a time to live, judged now; with `is_active` those whose time has not passed.

        No rollup counts them.

        Read the result by `newest_sql` or `as_id_subquery`.
        """
        return self.with_lookup(HasTtl(Value(TIER_PLACEHOLDER), is_active=is_active))

    def recorded_after(self, instant: datetime) -> Self:
        """Return the versions that the hub recorded after `instant`."""
        return self.filter(LOOKUP_INDEX_GUARD, recorded_at__gt=instant)

    def matching_by_index(self, search_terms: SearchTerms) -> Self:
        """Return the memories that match the search terms, by an index."""
        queryset = self.matching_by_scan(search_terms)
        tier = Value(TIER_PLACEHOLDER)
        if search_terms.words:
            queryset = queryset.with_lookup(MatchesWordIndex([search_terms.words], tier))
        for text in search_terms.indexed_literals:
            row_trigrams = tier_trigrams(SEARCHED_TEXT, F("classification_tier"))
            queryset = queryset.with_lookup(Contains(row_trigrams, tier_trigrams(Value(text), tier)))
        if search_terms.labels:
            labels = Value(search_terms.normalized_labels, ArrayField(CharField()))
            row_labels = tier_labels(F("normalized_labels"), F("classification_tier"))
            queryset = queryset.with_lookup(Contains(row_labels, tier_labels(labels, tier)))
        return queryset

    def matching_by_scan(self, search_terms: SearchTerms) -> Self:
        """Return the memories that match the search terms, by reading one row after the other.

        Literal texts are compared without regard to case, composition and invisible characters, labels in normalized
        form.
        """
        queryset = self.filter(*search_terms.text_conditions(F("id"), F("recorded_at"), SEARCHED_TEXT))
        return (
            queryset.filter(normalized_labels__contains=search_terms.normalized_labels)
            if search_terms.labels
            else queryset
        )

    def with_any_words(self, alternatives: Sequence[Sequence[str]]) -> Self:
        """Return the rows that an index finds by all the words of one of `alternatives`.

        Rows that the index does not have yet are among them, whatever words they have.
        """
        return self.with_lookup(MatchesWordIndex(alternatives, Value(TIER_PLACEHOLDER)))

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
        return self.filter(RowComparison(LIST_ORDER, "<", (timestamp, memory_id)))

    def sample(self, search_terms: SearchTerms, size: int) -> list[tuple[datetime, UUID, bool]]:
        """Return (timestamp, memory_id, is_match) of the newest `size` rows; one query for equal arguments."""
        if (search_terms, size) not in self.sample_cache:
            rows_sql, params = self.newest_sql(
                size, "id", "recorded_at", "normalized_labels", searched_text=SEARCHED_TEXT
            )
            columns = (LateralColumn("newest", name) for name in ("id", "recorded_at", "searched_text"))
            conditions = list(map(compile_expression, search_terms.text_conditions(*columns)))
            # Outside the query of the rows, which might compute its columns before it sorts and limits.
            sample_rows = fetch_dicts(
                _SAMPLE_SQL.format(rows=rows_sql, conditions="".join(f" AND {sql}" for sql, _ in conditions)),
                [
                    search_terms.normalized_labels,
                    *(param for _, condition_params in conditions for param in condition_params),
                    *params,
                ],
            )
            self.sample_cache[search_terms, size] = [
                (row["timestamp"], row["memory_id"], row["is_match"]) for row in sample_rows
            ]
        return self.sample_cache[search_terms, size]

    def _clone(self) -> Self:
        clone = super()._clone()
        clone.valid_at = self.valid_at
        return clone


_SAMPLE_SQL = """
SELECT timestamp, memory_id, normalized_labels @> %s::varchar[]{conditions} AS is_match
FROM ({rows}) AS newest
ORDER BY timestamp DESC, memory_id DESC
"""
