"""The one FilterSet that turns a query string into a queryset, for the API and the inspector alike."""

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from datetime import UTC, date, datetime, time
from functools import cache, cached_property
from typing import Any, ClassVar, Self

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import QueryDict

from memoryhub.core.errors import InvalidQueryError
from memoryhub.core.storable_text import unsearchable_reason, unstorable_reason
from memoryhub.firewall.clearance import QUARANTINED, Clearance, get_tier_order
from memoryhub.firewall.principal import ACTOR_TYPES
from memoryhub.memories.models import KINDS, NAME_LENGTH, STATUSES, Memory
from memoryhub.memories.point_in_time import PointInTime
from memoryhub.memories.querysets import ACTIVE, EXPIRED, MemoryQuerySet
from memoryhub.memories.sql.search_conditions import SearchTerms
from memoryhub.memories.writes.envelope import Errors
from memoryhub.memories.writes.validated_types import parse_instant

MAX_SEARCH_LENGTH = 1_000
MAX_REPORTED_PARAMS = 20
"""Maximum number of invalid parameters in one response, which repeats their names."""
REPEATABLE_PARAMS = frozenset({"label"})
FILTER_STATUSES = (*STATUSES, EXPIRED)
"""The statuses that readers see and can filter by. An expired memory is active in its row."""


FORM_PARAM, EMPTY_PARAM = "form", "empty"
"""Extra parameters of a filter form: the mark that it is a form, and the filters that match empty values."""


def normalize_form_query(data: QueryDict) -> QueryDict:
    """Return the parameters of a query string, without FORM_PARAM and EMPTY_PARAM if a form sent it.

    In other query strings an empty value matches empty columns. A form sends all its inputs, so there it does so only
    for the filters in EMPTY_PARAM.
    """
    if FORM_PARAM not in data:
        return data.copy()
    params = QueryDict(mutable=True)
    for name, values in data.lists():
        if name not in (FORM_PARAM, EMPTY_PARAM) and (filled_values := [value for value in values if value]):
            params.setlist(name, filled_values)
    for name in data.getlist(EMPTY_PARAM):
        params.setdefault(name, "")
    return params


def reject_unknown_params(data: QueryDict, allowed_params: frozenset[str]) -> None:
    """Raise InvalidQueryError for parameters that are not in `allowed_params`, or are repeated and not repeatable."""
    errors: Errors = {}
    for name in data:
        if len(errors) >= MAX_REPORTED_PARAMS:
            break
        if name not in allowed_params:
            errors[name[:100]] = ["is not a parameter of this route."]
        elif name not in REPEATABLE_PARAMS and len(data.getlist(name)) > 1:
            errors[name] = ["can be given only once."]
    if errors:
        raise InvalidQueryError(errors)


def _choices(values: Iterable[str]) -> list[tuple[str, str]]:
    return [(value, value) for value in values]


def _validate_storable(value: str) -> None:
    if (reason := unstorable_reason(value)) is not None:
        raise ValidationError(reason)


def text_field_options(max_length: int) -> dict[str, Any]:
    """Return the options of a form field whose text is used exactly as sent."""
    return {
        "max_length": max_length,
        "strip": False,
        "validators": [_validate_storable],
        "error_messages": {"max_length": f"must be at most {max_length} characters long."},
    }


def _validate_visible(value: str) -> None:
    if value and (reason := unsearchable_reason(value)) is not None:
        raise ValidationError(reason)


def search_field_options(max_length: int) -> dict[str, Any]:
    """Return the options of a form field for a search text; one that folds to nothing would match any text."""
    options = text_field_options(max_length)
    return {**options, "validators": [*options["validators"], _validate_visible]}


class TextField(forms.CharField):
    """A text exactly as sent: empty if it was sent empty, None if it was not sent."""

    def to_python(self, value: Any) -> str | None:
        return None if value is None else super().to_python(value)


class ChoiceField(django_filters.fields.ChoiceField):
    """One of several choices. Empty is not one of them, unless `empty_is_a_choice`."""

    def __init__(self, *args: Any, empty_is_a_choice: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self.empty_is_a_choice = empty_is_a_choice

    def to_python(self, value: Any) -> str | None:
        if value is None:
            return None
        if value == "" and not self.empty_is_a_choice:
            raise ValidationError(self.error_messages["invalid_choice"], code="invalid_choice")
        return str(value)


class InstantField(forms.Field):
    """An RFC 3339 instant, or a date, which means midnight UTC; None if it was not sent."""

    def to_python(self, value: Any) -> datetime | None:
        if value is None:
            return None
        try:
            # Python also reads week dates such as 2026-W10-1, which are not supported here.
            is_date = len(value) == 10 and "W" not in value
            return datetime.combine(date.fromisoformat(value), time(), UTC) if is_date else parse_instant(value)
        except ValueError:
            hint = " A + in a URL must be written %2B." if " " in value else ""
            raise ValidationError(
                f"must be an RFC 3339 instant with a zone, such as 2026-03-01T12:30:00Z, or a date.{hint}"
            ) from None


class TextListField(forms.Field):
    """A parameter that may be repeated: the list of its texts, exactly as sent."""

    widget = forms.MultipleHiddenInput

    def to_python(self, value: Any) -> list[str]:
        texts = list(value or [])
        for text in texts:
            _validate_storable(text)
            if len(text) > NAME_LENGTH:
                raise ValidationError(f"must be at most {NAME_LENGTH} characters long.")
        if len(texts) > 20:
            raise ValidationError("can be given at most 20 times.")
        return texts


def parse_params(data: QueryDict, fields: Mapping[str, forms.Field]) -> dict[str, Any]:
    """Return the cleaned value of each parameter, None for one that was not sent.

    Raises InvalidQueryError, also for an empty value of a parameter that is not a text.
    """
    values: dict[str, Any] = {}
    errors: Errors = {}
    for name, field in fields.items():
        try:
            raw_value = data.get(name)
            if raw_value == "" and not isinstance(field, TextField):
                raise ValidationError("must not be empty: leave it out.")
            values[name] = None if raw_value is None else field.clean(raw_value)
        except ValidationError as error:
            errors[name] = list(error.messages)
    if errors:
        raise InvalidQueryError(errors)
    return values


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


class LabelFilter(_Filter):
    field_class = TextListField


class _ExactFilter(_Filter):
    """Match rows whose column equals the value: an empty value matches empty columns, None matches all rows."""

    def filter(self, queryset: QuerySet[Any], value: str | None) -> QuerySet[Any]:
        return queryset if value is None else queryset.filter(**{self.field_name: value})


class TextFilter(_ExactFilter):
    field_class = TextField


class ChoiceFilter(_ExactFilter):
    field_class = ChoiceField


def text_filter(max_length: int = NAME_LENGTH, **options: Any) -> TextFilter:
    return TextFilter(**text_field_options(max_length), **options)


def search_filter(max_length: int = NAME_LENGTH, **options: Any) -> TextFilter:
    """A filter for a search text, applied by `method`. An empty text matches all rows."""
    return TextFilter(**search_field_options(max_length), **options)


def choice_filter(values: Callable[[], Iterable[str]], **options: Any) -> ChoiceFilter:
    return ChoiceFilter(choices=lambda: _choices(values()), **options)


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
        self.visible_versions: MemoryQuerySet = Memory.objects.visible_to(clearance)
        """All versions that the caller may see, before any filter."""
        super().__init__(data, queryset=self.visible_versions)
        reject_unknown_params(data, frozenset(self.base_filters) | frozenset(extra_params))
        if "status" in self.form.fields:
            field: Any = self.form.fields["status"]
            hidden_statuses = set(FILTER_STATUSES) - set(filterable_statuses(clearance))
            field.choices = [choice for choice in field.choices if choice[0] not in hidden_statuses]
        if not self.form.is_valid():
            errors = {name: self._error_messages(name, messages) for name, messages in self.form.errors.items()}
            raise InvalidQueryError(
                errors, "invalid_timestamp" if errors.keys() <= self.instant_params else "invalid_parameter"
            )
        self.values: dict[str, Any] = {
            name: value for name, value in self.form.cleaned_data.items() if self._is_set(name, value)
        }
        """The values of the filters that were sent. An empty text is included if it matches empty columns."""
        self.point_in_time = PointInTime.resolve(
            **{name: self.values.get(name) for name in POINT_IN_TIME_PARAMS}, now=now
        )
        self.queryset = self.point_in_time.current_versions(self.visible_versions)

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

    def _is_set(self, name: str, value: Any) -> bool:
        """Whether a value filters anything. An empty search text does not."""
        return value not in (None, []) and (value != "" or not self.base_filters[name].method)

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

    q = search_filter(MAX_SEARCH_LENGTH, method="defer_to_search", label="text")
    payload_id = text_filter()
    subject = text_filter()
    namespace = text_filter()
    destination = text_filter()
    collection = text_filter()
    source = text_filter()
    actor_type = choice_filter(lambda: ACTOR_TYPES)
    actor_id = text_filter()
    label = LabelFilter(method="filter_unlabeled")
    tier = choice_filter(get_tier_order, field_name="classification_tier", empty_is_a_choice=True)
    model = text_filter()
    role = text_filter()
    kind = choice_filter(lambda: KINDS)
    status = choice_filter(lambda: FILTER_STATUSES, method="filter_status")
    locals()["from"] = InstantFilter(field_name="timestamp", lookup_expr="gte", label="from")
    to = InstantFilter(field_name="timestamp", lookup_expr="lt")

    def __init__(
        self, data: QueryDict, *, clearance: Clearance, extra_params: Iterable[str] = (), now: datetime | None = None
    ) -> None:
        super().__init__(data, clearance=clearance, extra_params=extra_params, now=now)
        if "from" in self.values and "to" in self.values and self.values["from"] >= self.values["to"]:
            raise InvalidQueryError({"to": ["must be later than from."]})

    @property
    def active_filters(self) -> list[tuple[str, str]]:
        """The active filters as pairs of a query string, one pair for each value of a repeatable filter."""
        pairs: list[tuple[str, str]] = []
        for name in self.base_filters:
            if name in self.values:
                pairs += [(name, value) for value in self.data.getlist(name)]
        return pairs

    @property
    def effective_status(self) -> str:
        """The status that the memories must have; `active` without a status filter."""
        return str(self.values.get("status", ACTIVE))

    @property
    def search_terms(self) -> SearchTerms:
        """The text that contents must contain, and the labels that memories must carry."""
        labels = tuple(label for label in self.values.get("label", ()) if label)
        return SearchTerms(text=str(self.values.get("q", "")), labels=labels)

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

    def filter_unlabeled(self, queryset: MemoryQuerySet, _name: str, labels: list[str]) -> MemoryQuerySet:
        """Apply an empty label, which matches memories without labels; `results` applies the other labels."""
        return queryset.filter(normalized_labels=[]) if "" in labels else queryset

    def filter_status(self, queryset: MemoryQuerySet, _name: str, status: str) -> MemoryQuerySet:
        return queryset.with_status(status)
