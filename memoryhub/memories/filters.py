"""The one FilterSet that turns a query string into a queryset, for the API and the inspector alike."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time
from functools import cache, cached_property
from typing import Any, ClassVar

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import QueryDict

from memoryhub.firewall.types import ACTOR_TYPES, QUARANTINED, Clearance, tier_order
from memoryhub.memories.envelope import Errors, parse_instant
from memoryhub.memories.models import KINDS, NAME_LENGTH, STATUSES, Memory
from memoryhub.memories.moment import Moment
from memoryhub.memories.querysets import ACTIVE, EXPIRED, MemoryQuerySet, Sought
from memoryhub.memories.text import why_not_sought, why_not_storable

MAX_SOUGHT = 1_000
MAX_REPORTED = 20
"""Parameters that one answer complains of: it repeats their names."""
REPEATABLE = frozenset({"label"})
FILTER_STATUSES = (*STATUSES, EXPIRED)
"""What a memory is told to be, and can be asked for by: one that has expired is active in its row."""


class BadQuery(ValueError):
    """A query string that cannot be answered: its errors by parameter, each a sentence without its subject."""

    def __init__(self, errors: Errors, code: str = "invalid_parameter") -> None:
        super().__init__("; ".join(f"{name} {'; '.join(said)}" for name, said in errors.items()))
        self.errors = errors
        self.code = code


FORM, EMPTY = "form", "empty"
"""What a form of filters sends besides: that it is a form, and which of its filters ask for empty values."""


def read_form(data: QueryDict) -> QueryDict:
    """What a query string asks for, without FORM and EMPTY.

    Elsewhere an empty value asks for empty. In a form, whose inputs are all sent, it does so where EMPTY names it.
    """
    if FORM not in data:
        return data.copy()
    found = QueryDict(mutable=True)
    for name, values in data.lists():
        if name not in (FORM, EMPTY) and (given := [value for value in values if value]):
            found.setlist(name, given)
    for name in data.getlist(EMPTY):
        found.setdefault(name, "")
    return found


def refuse_unknown(data: QueryDict, known: frozenset[str]) -> None:
    """Raise BadQuery if `data` holds a parameter that is not `known`, or one twice that is not repeatable."""
    errors: Errors = {}
    for name in data:
        if len(errors) >= MAX_REPORTED:
            break
        if name not in known:
            errors[name[:100]] = ["is not a parameter of this route."]
        elif name not in REPEATABLE and len(data.getlist(name)) > 1:
            errors[name] = ["can be given only once."]
    if errors:
        raise BadQuery(errors)


def _choices(values: Iterable[str]) -> list[tuple[str, str]]:
    return [(value, value) for value in values]


def _storable(value: str) -> None:
    if (reason := why_not_storable(value)) is not None:
        raise ValidationError(reason)


def text_options(max_length: int) -> dict[str, Any]:
    """The options of a form's field whose text is taken as it was sent."""
    return {
        "max_length": max_length,
        "strip": False,
        "validators": [_storable],
        "error_messages": {"max_length": f"must be at most {max_length} characters long."},
    }


def _visible(value: str) -> None:
    if value and (reason := why_not_sought(value)) is not None:
        raise ValidationError(reason)


def sought_text_options(max_length: int) -> dict[str, Any]:
    """The options of a form's field whose text is looked for within others: one that folds to nothing is in all."""
    options = text_options(max_length)
    return {**options, "validators": [*options["validators"], _visible]}


class TextField(forms.CharField):
    """A text as it was sent: empty if it was sent empty, None if it was not sent."""

    def to_python(self, value: Any) -> str | None:
        return None if value is None else super().to_python(value)


class ChoiceField(django_filters.fields.ChoiceField):
    """One of several words. The empty text is none of them, unless it is `empty_is_a_choice`."""

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
            # Python also reads week dates such as 2026-W10-1, which nobody means here.
            is_date = len(value) == 10 and "W" not in value
            return datetime.combine(date.fromisoformat(value), time(), UTC) if is_date else parse_instant(value)
        except ValueError:
            hint = " A + in a URL must be written %2B." if " " in value else ""
            raise ValidationError(
                f"must be an RFC 3339 instant with a zone, such as 2026-03-01T12:30:00Z, or a date.{hint}"
            ) from None


class TextsField(forms.Field):
    """A parameter that may be repeated, with each of its texts as it was sent."""

    widget = forms.MultipleHiddenInput

    def to_python(self, value: Any) -> list[str]:
        texts = list(value or [])
        for text in texts:
            _storable(text)
            if len(text) > NAME_LENGTH:
                raise ValidationError(f"must be at most {NAME_LENGTH} characters long.")
        if len(texts) > 20:
            raise ValidationError("can be given at most 20 times.")
        return texts


def read_parameters(data: QueryDict, fields: Mapping[str, forms.Field]) -> dict[str, Any]:
    """The value of each parameter as its field reads it, None for one that was not sent.

    Raises BadQuery: a parameter that is no text cannot be empty.
    """
    values: dict[str, Any] = {}
    errors: Errors = {}
    for name, field in fields.items():
        try:
            given = data.get(name)
            if given == "" and not isinstance(field, TextField):
                raise ValidationError("must not be empty: leave it out.")
            values[name] = None if given is None else field.clean(given)
        except ValidationError as error:
            errors[name] = list(error.messages)
    if errors:
        raise BadQuery(errors)
    return values


class InstantFilter(django_filters.Filter):
    field_class = InstantField


class LabelFilter(django_filters.Filter):
    field_class = TextsField


class _ExactFilter(django_filters.Filter):
    """Rows whose column is what was sent: an empty value asks for empty ones, and no value for all."""

    def filter(self, queryset: QuerySet[Any], value: str | None) -> QuerySet[Any]:
        return queryset if value is None else queryset.filter(**{self.field_name: value})


class TextFilter(_ExactFilter):
    field_class = TextField


class ChoiceFilter(_ExactFilter):
    field_class = ChoiceField


def text_filter(max_length: int = NAME_LENGTH, **options: Any) -> TextFilter:
    return TextFilter(**text_options(max_length), **options)


def sought_text_filter(max_length: int = NAME_LENGTH, **options: Any) -> TextFilter:
    """A text that is looked for within others, by `method`: an empty one is in all of them."""
    return TextFilter(**sought_text_options(max_length), **options)


def choice_filter(values: Callable[[], Iterable[str]], **options: Any) -> ChoiceFilter:
    return ChoiceFilter(choices=lambda: _choices(values()), **options)


def statuses_for(clearance: Clearance) -> tuple[str, ...]:
    """The statuses that may be asked for. To whoever may not see rows in quarantine it is no status."""
    return tuple(status for status in FILTER_STATUSES if status != QUARANTINED or clearance.sees_quarantined)


class MomentFilterSet(django_filters.FilterSet):
    """Memories at a moment: what every route takes that reads them."""

    as_of = InstantFilter(method="leave_to_moment")
    known_at = InstantFilter(method="leave_to_moment")
    instants: ClassVar[frozenset[str]] = frozenset({"as_of", "known_at"})
    """The parameters that say when."""

    class Meta:
        model = Memory
        fields: list[str] = []

    def __init__(
        self, data: QueryDict, *, clearance: Clearance, besides: Iterable[str] = (), now: datetime | None = None
    ) -> None:
        """Read `data`; `besides` names the parameters of the route that are not filters.

        `now` is where the future begins for whoever goes on with what began then; without it, the database's now.

        Raises BadQuery for an unknown or repeated parameter and for a bad value.
        """
        self.clearance = clearance
        self.seen: MemoryQuerySet = Memory.objects.visible_to(clearance)
        """All versions that the caller may see, whatever is asked for."""
        super().__init__(data, queryset=self.seen)
        refuse_unknown(data, frozenset(self.base_filters) | frozenset(besides))
        if "status" in self.form.fields:
            field: Any = self.form.fields["status"]
            withheld = set(FILTER_STATUSES) - set(statuses_for(clearance))
            field.choices = [choice for choice in field.choices if choice[0] not in withheld]
        if not self.form.is_valid():
            errors = {name: self._sentences(name, said) for name, said in self.form.errors.items()}
            raise BadQuery(errors, "invalid_timestamp" if errors.keys() <= self.instants else "invalid_parameter")
        self.values: dict[str, Any] = {
            name: value for name, value in self.form.cleaned_data.items() if self._is_given(name, value)
        }
        """What is asked for. An empty text is in it where it asks for empty columns."""
        self.moment = Moment.asked(**{name: self.values.get(name) for name in MOMENT}, now=now)
        self.queryset = self.moment.of(self.seen)

    def get_form_class(self) -> type[forms.Form]:
        return self._form_class()

    @classmethod
    @cache
    def _form_class(cls) -> type[forms.Form]:
        """The form behind the FilterSet, made once: it is the same for all, and each request would wait for it."""
        fields = {name: made.field for name, made in cls.base_filters.items()}
        return type("MemoryFilterForm", (forms.Form,), fields)

    def _is_given(self, name: str, value: Any) -> bool:
        """Whether a value filters anything: of texts that are looked for within others the empty one does not."""
        return value not in (None, []) and (value != "" or not self.base_filters[name].method)

    def _sentences(self, name: str, said: Iterable[str]) -> list[str]:
        chosen = self.base_filters.get(name)
        if isinstance(chosen, ChoiceFilter):
            return [f"must be one of {', '.join(value for value, _ in self.form.fields[name].choices if value)}."]
        return [str(sentence) for sentence in said]

    def leave_to_moment(self, queryset: MemoryQuerySet, _name: str, _value: datetime) -> MemoryQuerySet:
        return queryset


MOMENT = tuple(MomentFilterSet.base_filters)


class MemoryFilterSet(MomentFilterSet):
    """Which memories: every filter of the list, the facets, the histogram and the export."""

    listed = "memories"
    """What a cursor belongs to, besides the filters."""

    q = sought_text_filter(MAX_SOUGHT, method="leave_to_found", label="text")
    payload_id = text_filter()
    subject = text_filter()
    namespace = text_filter()
    destination = text_filter()
    collection = text_filter()
    source = text_filter()
    actor_type = choice_filter(lambda: ACTOR_TYPES)
    actor_id = text_filter()
    label = LabelFilter(method="filter_unlabelled")
    tier = choice_filter(tier_order, field_name="classification_tier", empty_is_a_choice=True)
    model = text_filter()
    role = text_filter()
    kind = choice_filter(lambda: KINDS)
    status = choice_filter(lambda: FILTER_STATUSES, method="filter_status")
    locals()["from"] = InstantFilter(field_name="timestamp", lookup_expr="gte", label="from")
    to = InstantFilter(field_name="timestamp", lookup_expr="lt")

    def __init__(
        self, data: QueryDict, *, clearance: Clearance, besides: Iterable[str] = (), now: datetime | None = None
    ) -> None:
        super().__init__(data, clearance=clearance, besides=besides, now=now)
        if "from" in self.values and "to" in self.values and self.values["from"] >= self.values["to"]:
            raise BadQuery({"to": ["must be later than from."]})

    @property
    def active(self) -> list[tuple[str, str]]:
        """The filters in force, as they would stand in a query string; a repeatable one stands once for each value."""
        pairs: list[tuple[str, str]] = []
        for name in self.base_filters:
            if name in self.values:
                pairs += [(name, value) for value in self.data.getlist(name)]
        return pairs

    @property
    def wanted_status(self) -> str:
        """The status of the memories asked for: without a filter the active ones."""
        return str(self.values.get("status", ACTIVE))

    @property
    def sought(self) -> Sought:
        """The text that contents must contain and the labels that memories must carry."""
        labels = tuple(label for label in self.values.get("label", ()) if label)
        return Sought(text=str(self.values.get("q", "")), labels=labels)

    @cached_property
    def candidates(self) -> MemoryQuerySet:
        """What all filters but text and labels find, without an order. Without a status filter: the active ones."""
        candidates: MemoryQuerySet = self.qs
        return candidates if "status" in self.values else candidates.active()

    @property
    def found(self) -> MemoryQuerySet:
        """The memories asked for, without an order."""
        return self.candidates.looked_up(self.sought).at_once()

    def leave_to_found(self, queryset: MemoryQuerySet, _name: str, _value: str) -> QuerySet[Memory]:
        return queryset

    def filter_unlabelled(self, queryset: MemoryQuerySet, _name: str, labels: list[str]) -> MemoryQuerySet:
        """An empty label asks for memories without any; the others are left to `found`."""
        return queryset.filter(label_keys=[]) if "" in labels else queryset

    def filter_status(self, queryset: MemoryQuerySet, _name: str, status: str) -> MemoryQuerySet:
        return queryset.with_status(status)
