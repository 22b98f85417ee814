"""The history of a subject: every version that was known, whatever its status is now."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cached_property

from django.http import QueryDict

from memoryhub.core.errors import InvalidQueryError
from memoryhub.core.sql import RowComparison
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.principal import Principal
from memoryhub.memories import pagination
from memoryhub.memories.filter_fields import FilterValues
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.pagination import Keyset, Page
from memoryhub.memories.querysets import MemoryQuerySet
from memoryhub.memories.records import LIST_FIELDS, MemoryRecord, fetch_records
from memoryhub.memories.sql.tiers import NEWEST_FIRST

NO_SUBJECT = FilterValues(included=("",))
VERSION_ORDER = (*NEWEST_FIRST, "-version")


class HistoryFilterSet(MemoryFilterSet):
    """The versions about a subject that were known at the point in time, current or superseded, of any status."""

    cursor_kind = "history"

    def __init__(
        self, data: QueryDict, *, clearance: Clearance, extra_params: Iterable[str] = (), now: datetime | None = None
    ) -> None:
        super().__init__(data, clearance=clearance, extra_params=extra_params, now=now)
        subjects: FilterValues = self.values.get("subject", NO_SUBJECT)
        if subjects == NO_SUBJECT:
            raise InvalidQueryError({"subject": ["is required for a history."]}, "missing_parameter")
        if not subjects.exact_value:
            raise InvalidQueryError({"subject": ["must be one subject, because a history is that of one."]})
        known_versions = self.point_in_time.visible_known_versions(self.visible_versions)
        self.queryset = (
            known_versions.filter(timestamp__lte=self.point_in_time.as_of)
            if self.point_in_time.as_of
            else known_versions
        )

    @cached_property
    def candidates(self) -> MemoryQuerySet:
        versions: MemoryQuerySet = self.qs
        return versions

    @property
    def results(self) -> MemoryQuerySet:
        # The subject already narrows down the rows, so the search terms are matched by scanning all of its versions.
        return self.candidates.matching_by_scan(self.search_terms)


def list_page(
    filters: HistoryFilterSet, *, principal: Principal, params: Mapping[str, str], names: tuple[str, ...] = LIST_FIELDS
) -> Page:
    """The page of versions given by `limit` and `cursor` in `params`, the latest event first."""

    def rows_after(keyset: Keyset | None, limit: int) -> list[MemoryRecord]:
        versions = (
            filters.results.filter(RowComparison(("timestamp", "memory_id", "version"), "<", keyset))
            if keyset
            else filters.results
        )
        return fetch_records(versions.order_by(*VERSION_ORDER)[:limit], names)

    return pagination.paginate(rows_after, filters, principal=principal, params=params)
