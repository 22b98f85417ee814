"""The one FilterSet that turns a query string into a queryset, for the API and the inspector alike."""

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import replace
from datetime import datetime
from functools import cache, cached_property
from typing import Any, ClassVar, Self

import django_filters
from django import forms
from django.db.models import Q, QuerySet
from django.http import QueryDict

from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall.clearance import QUARANTINED, Clearance, get_tier_order, normalize_label
from memoryhub.firewall.principal import ACTOR_TYPES
from memoryhub.memories.filter_fields import (
    EXCLUDING_SUFFIX,
    ChoiceField,
    FilterChoicesField,
    FilterValues,
    FilterValuesField,
    InstantField,
    TextField,
    reject_unknown_params,
    search_field_options,
    text_field_options,
)
from memoryhub.memories.models import KINDS, NAME_LENGTH, STATUSES, Memory
from memoryhub.memories.point_in_time import PointInTime
from memoryhub.memories.query_params import NO_QUERY, AcceptedParams, build_search_terms, read_query, with_named_params
from memoryhub.memories.querysets import ACTIVE, EXPIRED, MemoryQuerySet
from memoryhub.memories.sql.search_conditions import SearchTerms

MAX_SEARCH_LENGTH = 16_000
FILTER_STATUSES = (*STATUSES, EXPIRED)
"""The statuses that readers see and can filter by. An expired memory is active in its row."""


class _Filter(django_filters.Filter):
    """A filter that is cheap to copy: a FilterSet deep-copies its filters for every request.

    A full deep copy of the options and validators, which never change, took a quarter of the time of a short answer.
    """

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        copied_filter = copy(self)
        # Bind the method again, because django-filter binds it to the filter that it was set on.
        copied_filter.method = self.method
        return copied_filter


class InstantFilter(_Filter):
    field_class = InstantField


class _ExactFilter(_Filter):
    """Match rows whose column equals the value: an empty value matches empty columns, None matches all rows."""

    def filter(self, queryset: QuerySet[Any], value: str | None) -> QuerySet[Any]:
        return queryset if value is None else queryset.filter(**{self.field_name: value})


class TextFilter(_ExactFilter):
    field_class = TextField


class ChoiceFilter(_ExactFilter):
    field_class = ChoiceField


class ValuesFilter(_Filter):
    """Match rows by the values of a column: `name` may be repeated, `name!` excludes, and a last `*` is a wildcard."""

    field_class: type[FilterValuesField] = FilterValuesField

    def filter(self, queryset: QuerySet[Any], value: FilterValues | None) -> QuerySet[Any]:
        return queryset if value is None else queryset.filter(value.column_condition(self.field_name))


class ChoicesFilter(ValuesFilter):
    """Match rows by the values of a column that has few of them."""

    field_class = FilterChoicesField


class LabelFilter(ValuesFilter):
    """Match memories that carry all of the included labels and none of the excluded ones."""


def values_filter(max_length: int = NAME_LENGTH, **options: Any) -> ValuesFilter:
    return ValuesFilter(max_length=max_length, **options)


def text_filter(max_length: int = NAME_LENGTH, **options: Any) -> TextFilter:
    return TextFilter(**text_field_options(max_length), **options)


def search_filter(max_length: int = NAME_LENGTH, **options: Any) -> TextFilter:
    """A filter for a search text, applied by `method`. An empty text matches all rows."""
    return TextFilter(**search_field_options(max_length), **options)


def choice_filter(values: Callable[[], Iterable[str]], **options: Any) -> ChoiceFilter:
    return ChoiceFilter(choices=lambda: [(value, value) for value in values()], **options)


ACTIVE_ONLY = FilterValues(included=(ACTIVE,))


def filterable_statuses(clearance: Clearance) -> tuple[str, ...]:
    """Return the statuses that may be filtered by: `quarantined` only if `clearance` sees quarantined rows."""
    return tuple(status for status in FILTER_STATUSES if status != QUARANTINED or clearance.sees_quarantined)


class PointInTimeFilterSet(django_filters.FilterSet):
    """The filters of every route that reads memories: the point in time."""

    as_of = InstantFilter(method="defer_to_point_in_time")
    known_at = InstantFilter(method="defer_to_point_in_time")
    instant_params: ClassVar[frozenset[str]] = frozenset({"as_of", "known_at"})
    """The parameters that are instants."""

    class Meta:
        model = Memory
        fields: list[str] = []

    def __init__(
        self, data: QueryDict, *, clearance: Clearance, extra_params: Iterable[str] = (), now: datetime | None = None
    ) -> None:
        """Read `data`; `extra_params` names the parameters of the route that are not filters.

        `now` is the instant at which the future begins, for a caller that continues an earlier query; by default it is
        the database's now.

        Raises InvalidQueryError for an unknown or repeated parameter and for a bad value.
        """
        self.clearance = clearance
        self.params = data
        """The parameters as they were sent."""
        self.visible_versions: MemoryQuerySet = Memory.objects.visible_to(clearance)
        """All versions that the caller may see, before any filter."""
        reject_unknown_params(
            data,
            frozenset(self.base_filters) | self.repeatable_params() | frozenset(extra_params),
            self.repeatable_params(),
        )
        super().__init__(self.expand_params(data), queryset=self.visible_versions)
        if isinstance(status_field := self.form.fields.get("status"), FilterChoicesField):
            status_field.get_choices = lambda: filterable_statuses(clearance)
        if not self.form.is_valid():
            errors = {name: self._error_messages(name, messages) for name, messages in self.form.errors.items()}
            raise InvalidQueryError(
                errors, "invalid_timestamp" if errors.keys() <= self.instant_params else "invalid_parameter"
            )
        self.values: dict[str, Any] = {
            name: value for name, value in self.form.cleaned_data.items() if self._is_set(name, value)
        }
        """The values of the filters that were sent."""
        self.point_in_time = PointInTime.resolve(
            **{name: self.values.get(name) for name in POINT_IN_TIME_PARAMS}, now=now
        )
        self.queryset = self.point_in_time.current_versions(self.visible_versions)

    def expand_params(self, data: QueryDict) -> QueryDict:
        """Return the parameters with those that stand inside of others."""
        return data

    def at_record_time(self, instant: datetime) -> Self:
        """Return the same filters, at `instant` of record time unless they have one."""
        filters = copy(self)
        if self.point_in_time.known_at is None:
            # What was computed of the rows as they are now.
            for name in ("_qs", "candidates"):
                filters.__dict__.pop(name, None)
            filters.point_in_time = replace(self.point_in_time, known_at=instant)
            filters.queryset = filters.point_in_time.current_versions(self.visible_versions)
        return filters

    def get_form_class(self) -> type[forms.Form]:
        return self._form_class()

    @classmethod
    @cache
    def _form_class(cls) -> type[forms.Form]:
        """Return the form class of the FilterSet.

        It is built once, because it is the same for every request and slow to build.
        """
        fields = {name: base_filter.field for name, base_filter in cls.base_filters.items()}
        return type("MemoryFilterForm", (forms.Form,), fields)

    @classmethod
    @cache
    def repeatable_params(cls) -> frozenset[str]:
        """The parameters that may be repeated: of each ValuesFilter the including and the excluding one."""
        names = [name for name, base_filter in cls.base_filters.items() if isinstance(base_filter, ValuesFilter)]
        return frozenset([*names, *(name + EXCLUDING_SUFFIX for name in names)])

    def _is_set(self, name: str, value: Any) -> bool:
        """Whether a value filters anything. An empty search text does not."""
        return value is not None and (value != "" or not self.base_filters[name].method)

    def _error_messages(self, name: str, messages: Iterable[str]) -> list[str]:
        base_filter = self.base_filters.get(name)
        if isinstance(base_filter, ChoiceFilter):
            return [f"must be one of {', '.join(value for value, _ in self.form.fields[name].choices if value)}."]
        return [str(message) for message in messages]

    def defer_to_point_in_time(self, queryset: MemoryQuerySet, _name: str, _value: datetime) -> MemoryQuerySet:
        return queryset


POINT_IN_TIME_PARAMS = tuple(PointInTimeFilterSet.base_filters)


class MemoryFilterSet(PointInTimeFilterSet):
    """The filters of the list, the facets, the histogram and the export."""

    cursor_kind = "memories"
    """The kind of list to which a cursor is bound, in addition to the filters."""

    query = NO_QUERY
    """How the text of `q` was read."""

    q = search_filter(MAX_SEARCH_LENGTH, method="defer_to_search", label="text")
    payload_id = values_filter()
    subject = values_filter()
    namespace = values_filter()
    destination = values_filter()
    collection = values_filter()
    source = values_filter()
    actor_type = ChoicesFilter(choices=lambda: ACTOR_TYPES)
    actor_id = values_filter()
    label = LabelFilter(method="filter_labels")
    tier = ChoicesFilter(choices=get_tier_order, field_name="classification_tier", empty_is_a_choice=True)
    model = values_filter()
    role = values_filter()
    kind = ChoicesFilter(choices=lambda: KINDS)
    status = ChoicesFilter(choices=lambda: FILTER_STATUSES, method="filter_status")
    locals()["from"] = InstantFilter(field_name="timestamp", lookup_expr="gte", label="from")
    to = InstantFilter(field_name="timestamp", lookup_expr="lt")

    def __init__(
        self, data: QueryDict, *, clearance: Clearance, extra_params: Iterable[str] = (), now: datetime | None = None
    ) -> None:
        super().__init__(data, clearance=clearance, extra_params=extra_params, now=now)
        is_empty_period = "from" in self.values and "to" in self.values and self.values["from"] >= self.values["to"]
        if is_empty_period and {"from", "to"} <= self.params.keys():
            raise InvalidQueryError({"to": ["must be later than from."]})

    def expand_params(self, data: QueryDict) -> QueryDict:
        """Read the text of `q`, and return the parameters with those that it names, such as `subject:ada`.

        A parameter that the text names is as good as one that was sent; one that can be given once is kept as sent.
        """
        text = data.get("q", "")
        if not text or len(text) > MAX_SEARCH_LENGTH:
            return data
        names = (self.base_filters.keys() & MemoryFilterSet.base_filters.keys()) - {"q"}
        fields = {name: self.base_filters[name].field for name in names}
        accepted_params = AcceptedParams(fields, data, statuses=filterable_statuses(self.clearance))
        self.query = read_query(text, accepts=accepted_params.accepts)
        return with_named_params(data, self.query)

    @property
    def active_filters(self) -> list[tuple[str, str]]:
        """The active filters as pairs of a query string, one pair for each value of a repeatable filter."""
        return [
            (param, value)
            for name in self.base_filters
            if name in self.values
            for param in (name, name + EXCLUDING_SUFFIX)
            for value in self.params.getlist(param)
        ]

    @property
    def statuses(self) -> FilterValues:
        """The statuses of the memories; `active` without a status filter."""
        statuses: FilterValues = self.values.get("status", ACTIVE_ONLY)
        return statuses

    @property
    def labels(self) -> FilterValues:
        """The labels that memories must carry, and those that they must not carry."""
        labels: FilterValues = self.values.get("label", FilterValues())
        return labels

    @property
    def search_terms(self) -> SearchTerms:
        """The text that contents must contain, and the labels that memories must carry."""
        labels = tuple(label for label in self.labels.included if label)
        return build_search_terms(self.query.terms, labels)

    @cached_property
    def candidates(self) -> MemoryQuerySet:
        """The memories that match all filters but text and labels, unordered.

        Without a status filter: the active ones.
        """
        candidates: MemoryQuerySet = self.qs
        return candidates if "status" in self.values else candidates.active()

    @property
    def results(self) -> MemoryQuerySet:
        """The memories that match all filters, unordered."""
        return self.candidates.matching_by_index(self.search_terms).as_id_subquery()

    def defer_to_search(self, queryset: MemoryQuerySet, _name: str, _value: str) -> QuerySet[Memory]:
        return queryset

    def filter_labels(self, queryset: MemoryQuerySet, _name: str, labels: FilterValues) -> MemoryQuerySet:
        """Apply all of the filter but the included labels, which `results` applies."""
        return queryset.filter(label_condition(labels))

    def filter_status(self, queryset: MemoryQuerySet, _name: str, statuses: FilterValues) -> MemoryQuerySet:
        return queryset.with_statuses(statuses.included, statuses.excluded)


def label_condition(labels: FilterValues) -> Q:
    """Return the condition that rows carry none of the excluded labels, and no label if an empty one is included.

    An empty label is that of rows without labels.
    """
    condition = Q(normalized_labels=[]) if "" in labels.included else Q()
    if excluded_labels := [normalize_label(label) for label in labels.excluded if label]:
        condition &= ~Q(normalized_labels__overlap=sorted(excluded_labels))
    return condition & ~Q(normalized_labels=[]) if "" in labels.excluded else condition
