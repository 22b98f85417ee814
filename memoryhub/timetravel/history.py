"""The history of a subject: every version that was known of it, whatever became of it."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cached_property

from django.db.models import BooleanField, DateTimeField, Func, IntegerField, UUIDField, Value
from django.http import QueryDict

from memoryhub.firewall.types import Clearance, Principal
from memoryhub.memories import pages
from memoryhub.memories.filters import BadQuery, MemoryFilterSet
from memoryhub.memories.pages import Page, Place
from memoryhub.memories.querysets import NEWEST_FIRST, MemoryQuerySet
from memoryhub.memories.records import RECORD, Record, records

ORDER = (*NEWEST_FIRST, "-version")


class BeyondVersion(Func):
    """Whether a version comes after a given place in a history."""

    output_field = BooleanField()
    template = "(timestamp, memory_id, version) < (%(expressions)s)"


class HistoryFilterSet(MemoryFilterSet):
    """The versions of events about a subject that were known at the moment, in force or not, of any status."""

    listed = "history"

    def __init__(
        self, data: QueryDict, *, clearance: Clearance, besides: Iterable[str] = (), now: datetime | None = None
    ) -> None:
        super().__init__(data, clearance=clearance, besides=besides, now=now)
        if not self.values.get("subject"):
            raise BadQuery({"subject": ["is needed for a history."]}, "missing_parameter")
        known = self.moment.visible_history(self.seen)
        self.queryset = known.filter(timestamp__lte=self.moment.as_of) if self.moment.as_of else known

    @cached_property
    def candidates(self) -> MemoryQuerySet:
        found: MemoryQuerySet = self.qs
        return found

    @property
    def found(self) -> MemoryQuerySet:
        # The subject leads to them: what is sought is looked for in all of its versions.
        return self.candidates.read_for(self.sought)


def page(
    filters: HistoryFilterSet, *, reader: Principal, parameters: Mapping[str, str], names: tuple[str, ...] = RECORD
) -> Page:
    """The page of versions, the latest event first, that `limit` and `cursor` in `parameters` ask for."""

    def rows_after(place: Place | None, wanted: int) -> list[Record]:
        found = filters.found.filter(_beyond(place)) if place else filters.found
        return records(found.order_by(*ORDER)[:wanted], names)

    return pages.paged(rows_after, filters, reader=reader, parameters=parameters)


def _beyond(place: Place) -> BeyondVersion:
    return BeyondVersion(
        Value(place.timestamp, DateTimeField()),
        Value(place.memory_id, UUIDField()),
        Value(place.version, IntegerField()),
    )
