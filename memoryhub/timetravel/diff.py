"""Differences between two instants: of record time, in what the hub knew; of event time, in the values of keys."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from django.http import QueryDict
from pydantic import Field
from typing_extensions import TypedDict

from memoryhub.core.errors import InvalidQueryError
from memoryhub.core.secrets import mask_secrets
from memoryhub.core.shapes import one_value_of
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.cursors import create_cursor_codec
from memoryhub.firewall.principal import Principal
from memoryhub.memories import clock, pagination
from memoryhub.memories.facets import FacetValue
from memoryhub.memories.filter_fields import FilterValues
from memoryhub.memories.filters import InstantFilter, MemoryFilterSet, choice_filter
from memoryhub.memories.point_in_time import PointInTime
from memoryhub.memories.querysets import MemoryQuerySet
from memoryhub.memories.records import (
    DISPLAYED_FIELDS,
    DisplayedRecord,
    MemoryRecord,
    fetch_stored_records,
    mask_record,
)
from memoryhub.memories.sql.tiers import MAX_INSTANT
from memoryhub.timetravel import text_diff
from memoryhub.timetravel.diff_sql import (
    CHANGE_KINDS,
    ChangeQuery,
    Keyset,
    build_candidate_condition,
    event_time_sides,
    record_time_sides,
)

AXES = ("record", "event")
PAGE_PARAMS = pagination.PAGE_PARAMS
MAX_WORDS_PER_PAGE = 16_000
"""Words of all texts of a page that are compared one by one, at most."""


class DiffFilterSet(MemoryFilterSet):
    """The two instants and the axis of a diff, and the filters of the list, which either end of a change may match."""

    cursor_kind = "diff"
    instant_params: ClassVar[frozenset[str]] = frozenset({"since", "until", "known_at"})

    as_of: Any = None
    since = InstantFilter(method="defer_to_point_in_time")
    until = InstantFilter(method="defer_to_point_in_time")
    axis = choice_filter(lambda: AXES, method="defer_to_point_in_time")
    change = choice_filter(lambda: CHANGE_KINDS, method="defer_to_point_in_time")

    def __init__(self, data: QueryDict, *, clearance: Clearance, extra_params: tuple[str, ...] = PAGE_PARAMS) -> None:
        missing_since_error = InvalidQueryError(
            {"since": ["is required: the earlier of the two instants."]}, "missing_parameter"
        )
        if data.get("since") == "":
            raise missing_since_error
        super().__init__(data, clearance=clearance, extra_params=extra_params)
        if "since" not in self.values:
            raise missing_since_error
        if self.values.get("until", MAX_INSTANT) < self.values["since"]:
            raise InvalidQueryError({"until": ["must not be earlier than since."]})
        if not self.is_event_axis and "known_at" in self.values:
            raise InvalidQueryError(
                {
                    "known_at": [
                        "is only allowed with axis=event: on the record axis since and until are instants of "
                        "record time."
                    ]
                }
            )

    def filter_status(self, queryset: MemoryQuerySet, _name: str, statuses: FilterValues) -> MemoryQuerySet:
        """On the record axis `active` is the stored status: an expired memory was active at the earlier instant."""
        return queryset.with_statuses(
            statuses.included, statuses.excluded, active_may_be_expired=not self.is_event_axis
        )

    @property
    def exact_subject(self) -> str:
        """The one subject that the filter names, which narrows the candidates; empty if it names none or several."""
        subjects: FilterValues = self.values.get("subject", FilterValues())
        return subjects.exact_value or ""

    @property
    def is_event_axis(self) -> bool:
        return bool(self.values.get("axis") == "event")

    @property
    def list_filters(self) -> dict[str, Any]:
        """The values of the filters that the memory list has, too."""
        return {name: value for name, value in self.values.items() if name not in _OWN_PARAMETERS}


_OWN_PARAMETERS = {"since", "until", "axis", "change", "known_at"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One memory, or on the event axis one key, before and after. `before` or `after` is None if there was none."""

    memory_id: UUID
    kinds: list[str]
    changed_at: datetime
    before: MemoryRecord | None
    after: MemoryRecord | None
    fields: list[str]
    """The names of the fields that differ between both ends."""

    @property
    def latest_end(self) -> MemoryRecord:
        """`after`, or `before` if there is no `after`."""
        return self.after or self.before or {}

    def with_secrets_masked(self) -> "Change":
        before, after = (end and mask_record(end) for end in (self.before, self.after))
        return replace(self, before=before, after=after)

    def content_segments(self, *, max_tokens: int = text_diff.MAX_TOKENS) -> list[text_diff.DiffSegment] | None:
        """The word diff of the content; None if the content is the same or one end is missing."""
        if "content" not in self.fields or not self.before or not self.after:
            return None
        return text_diff.diff_words(self.before["content"], self.after["content"], max_tokens=max_tokens)


class TextSegment(TypedDict):
    """A part of a text that is in both versions, or in one of them."""

    op: Literal["equal", "insert", "delete"]
    text: str


class ChangeDocument(TypedDict):
    """One memory before and after a change; on the event axis, one subject and collection."""

    memory_id: UUID
    subject: str
    collection: str
    kinds: list[Annotated[str, one_value_of(CHANGE_KINDS)]]
    changed_at: Annotated[
        datetime, Field(description="Record time of the change; on the event axis, event time of the value.")
    ]
    before: DisplayedRecord | None
    after: DisplayedRecord | None
    text_diff: Annotated[list[TextSegment] | None, Field(description="Null if the content is the same.")]
    fields: Annotated[list[str], Field(description="The fields that differ.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffCounts:
    """The number of changes, in total and by kind, and the subjects and sources that have the most changes."""

    total: int
    is_capped: bool
    """Whether there are more changes than were counted; all numbers are then of the newest changes."""
    kinds: dict[str, int]
    subjects: list[FacetValue]
    sources: list[FacetValue]

    def with_secrets_masked(self) -> "DiffCounts":
        subjects, sources = (
            [facet for facet in facets if mask_secrets(facet.value) == facet.value]
            for facets in (self.subjects, self.sources)
        )
        return replace(self, subjects=subjects, sources=sources)


@dataclass(frozen=True, kw_only=True)
class DiffQuery:
    """A diff between fixed instants, so that the answer does not change."""

    filters: DiffFilterSet
    since: datetime
    until: datetime
    known_at: datetime
    """The record time up to which events are known; on the record axis it equals `until`."""

    @classmethod
    def resolve(cls, filters: DiffFilterSet, pinned_instants: tuple[datetime, datetime] | None = None) -> "DiffQuery":
        """The query of `filters`. `pinned_instants` are `until` and `known_at` of the first page."""
        requested_until = filters.values.get("until", MAX_INSTANT)
        if pinned_instants:
            until, known_at = pinned_instants
        elif filters.is_event_axis:
            known_at = filters.point_in_time.known_at or clock.stable_record_time()
            until = min(requested_until, clock.database_now())
        else:
            until = known_at = clock.stable_record_time(requested_until)
        return cls(filters=filters, since=min(filters.values["since"], until), until=until, known_at=known_at)

    @property
    def point_in_time(self) -> PointInTime:
        """The point in time of the later end; `clipped` names the instants that lay in the future."""
        effective_instants = {"since": self.since, "until": self.until, "known_at": self.known_at}
        clipped = tuple(
            name for name, instant in effective_instants.items() if self.filters.values.get(name, instant) > instant
        )
        return PointInTime(known_at=self.known_at, clipped=clipped)

    def list_newest(self, limit: int, before_keyset: Keyset | None = None) -> list[Change]:
        """The newest `limit` changes, or those before a keyset, by (changed_at, memory_id) descending."""
        rows = self._change_query.list_newest(limit, before_keyset)
        version_ids = {row[end] for row in rows for end in ("before_id", "after_id") if row[end]}
        ends = {
            end.pop("id"): end
            for end in fetch_stored_records(
                self.filters.visible_versions.filter(id__in=version_ids), (*DISPLAYED_FIELDS, "id")
            )
        }
        return [
            Change(
                memory_id=row["memory_id"],
                kinds=row["kinds"],
                changed_at=row["change_time"],
                before=ends.get(row["before_id"]),
                after=ends.get(row["after_id"]),
                fields=row["fields"],
            )
            for row in rows
        ]

    def iter_all(self) -> Iterator[Change]:
        """All changes, the newest first."""
        keyset = None
        while changes := self.list_newest(pagination.MAX_LIMIT, keyset):
            yield from changes
            keyset = (changes[-1].changed_at, changes[-1].memory_id)

    def count_changes(self) -> DiffCounts:
        is_capped, counts_by_dimension = self._change_query.count_changes()
        kinds = dict(counts_by_dimension["kinds"])
        return DiffCounts(
            total=sum(count for _, count in counts_by_dimension["total"]),
            is_capped=is_capped,
            kinds={kind: kinds[kind] for kind in CHANGE_KINDS if kind in kinds},
            subjects=[FacetValue(*value_count) for value_count in counts_by_dimension["subjects"]],
            sources=[FacetValue(*value_count) for value_count in counts_by_dimension["sources"]],
        )

    @cached_property
    def _change_query(self) -> ChangeQuery:
        filters = self.filters
        visible_rows, search_terms = filters.visible_versions, filters.search_terms
        matching_rows: MemoryQuerySet | None = None
        if filters.is_event_axis:
            known_rows = filters.filter_queryset(visible_rows.known_at(self.known_at).with_valid_at(self.known_at))
            known_rows = known_rows if "status" in filters.values else known_rows.active()
            sides = event_time_sides(known_rows, self.since, self.until)
            matching_rows = visible_rows.matching_by_scan(search_terms) if search_terms else None
        else:
            candidate_condition = build_candidate_condition(visible_rows, filters.exact_subject, search_terms)
            sides = record_time_sides(visible_rows, self.since, self.until, candidate_condition)
            matching_rows = (
                filters.filter_queryset(visible_rows.with_valid_at(self.until)).matching_by_scan(search_terms)
                if filters.list_filters
                else None
            )
        kind = filters.values.get("change", "")
        return ChangeQuery(
            sides=sides, tiers=visible_rows.tiers, since=self.since, matching_rows=matching_rows, kind=kind
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """A page of a diff, with the counts of the whole diff."""

    query: DiffQuery
    changes: list[Change]
    next_cursor: str | None
    counts: DiffCounts

    @property
    def has_more(self) -> bool:
        return self.next_cursor is not None

    @property
    def memory_ids(self) -> list[UUID]:
        """Ids of the memories on the page."""
        ends = (end for change in self.changes for end in (change.after, change.before) if end)
        return list(dict.fromkeys(end["memory_id"] for end in ends))

    @property
    def max_words_per_change(self) -> int:
        """Words of each change that are compared one by one, at most."""
        return min(text_diff.MAX_TOKENS, MAX_WORDS_PER_PAGE // max(len(self.changes), 1))


def compute_diff(params: QueryDict, *, principal: Principal) -> Diff:
    """The page of changes given by `params`: `since`, `until`, `axis`, `change`, the filters, `limit` and `cursor`.

    `until` defaults to now, and the pages that follow keep that instant. Raises InvalidQueryError.
    """
    filters = DiffFilterSet(params, clearance=principal.clearance)
    limit = pagination.parse_limit(params.get("limit", ""))
    codec = create_cursor_codec(principal, filters.cursor_kind, sorted(filters.active_filters))
    pinned_instants, keyset = None, None
    if cursor := params.get("cursor", ""):
        until, known_at, *keyset_values = codec.decode(cursor, datetime, datetime, datetime, UUID)
        pinned_instants, keyset = (until, known_at), tuple(keyset_values)
    query = DiffQuery.resolve(filters, pinned_instants)
    changes = query.list_newest(limit + 1, keyset)
    next_cursor = None
    if len(changes) > limit:
        last_change = changes[limit - 1]
        next_cursor = codec.encode(query.until, query.known_at, last_change.changed_at, last_change.memory_id)
    return Diff(query=query, changes=changes[:limit], next_cursor=next_cursor, counts=query.count_changes())


def to_json(change: Change, *, max_words: int = text_diff.MAX_TOKENS) -> ChangeDocument:
    """The API document of a change; of its texts at most `max_words` are compared word by word."""
    segments = change.content_segments(max_tokens=max_words)
    return {
        "memory_id": change.memory_id,
        "subject": change.latest_end["subject"],
        "collection": change.latest_end["collection"],
        "kinds": change.kinds,
        "changed_at": change.changed_at,
        "before": change.before,
        "after": change.after,
        "text_diff": None
        if segments is None
        else [{"op": _OPS[segment.kind], "text": segment.text} for segment in segments],
        "fields": change.fields,
    }


_OPS: dict[str, Literal["equal", "insert", "delete"]] = {"equal": "equal", "inserted": "insert", "deleted": "delete"}
