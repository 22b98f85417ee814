"""The parameters of a query string: the form fields that read their values, and the conditions that values become."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import reduce
from operator import or_
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import F, Q
from django.http import QueryDict

from memoryhub.core.errors import InvalidQueryError
from memoryhub.core.storable_text import unsearchable_reason, unstorable_reason
from memoryhub.memories.models import NAME_LENGTH
from memoryhub.memories.sql.search_conditions import HoldsSecret
from memoryhub.memories.writes.envelope import Errors
from memoryhub.memories.writes.validated_types import parse_instant

MAX_REPORTED_PARAMS = 20
"""Maximum number of invalid parameters in one response, which repeats their names."""
MAX_FILTER_VALUES = 20
EXCLUDING_SUFFIX = "!"
"""`source!=a` in a query string is the parameter `source!`: the values that the filter excludes."""
WILDCARD, ESCAPED_WILDCARD = "*", "\\*"

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


def reject_unknown_params(
    data: QueryDict, allowed_params: frozenset[str], repeatable_params: frozenset[str] = frozenset()
) -> None:
    """Raise InvalidQueryError for a parameter that is not in `allowed_params`, or repeated and not repeatable."""
    errors: Errors = {}
    for name in data:
        if len(errors) >= MAX_REPORTED_PARAMS:
            break
        if name not in allowed_params:
            errors[name[:100]] = ["is not a parameter of this route."]
        elif name not in repeatable_params and len(data.getlist(name)) > 1:
            errors[name] = ["can be given only once."]
    if errors:
        raise InvalidQueryError(errors)


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
    """One of several choices. Empty is not one of them."""

    def to_python(self, value: Any) -> str | None:
        if value is None:
            return None
        if value == "":
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


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterValues:
    """The values of a filter: those that it includes (without any: all), and those that it excludes."""

    included: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    @property
    def exact_value(self) -> str | None:
        """The one value that a column must have; None if there is no such value."""
        if len(self.included) != 1 or _is_prefix(self.included[0]):
            return None
        return unescape_wildcard(self.included[0])

    def column_condition(self, column: str) -> Q:
        """Return the condition that a column has one of the included values and none of the excluded ones.

        `*` at the end of a value stands for any text, and `\\*` for an asterisk. An empty value stands for no value.
        """
        condition = _any_of(column, self.included) if self.included else Q()
        return condition & ~_any_of(column, self.excluded) if self.excluded else condition


def escape_wildcard(value: str) -> str:
    """Return what a filter must be sent so that it matches `value` alone."""
    return value.removesuffix(WILDCARD) + ESCAPED_WILDCARD if value.endswith(WILDCARD) else value


def unescape_wildcard(value: str) -> str:
    return value.removesuffix(ESCAPED_WILDCARD) + WILDCARD if value.endswith(ESCAPED_WILDCARD) else value


def _is_prefix(value: str) -> bool:
    return value.endswith(WILDCARD) and not value.endswith(ESCAPED_WILDCARD)


def _any_of(column: str, values: Sequence[str]) -> Q:
    exact_values = [unescape_wildcard(value) for value in values if not _is_prefix(value)]
    conditions = [
        # A caller who could search masked secrets by their beginning could spell them out letter by letter.
        Q(**{f"{column}__startswith": value.removesuffix(WILDCARD)}) & ~Q(HoldsSecret(F(column)))
        for value in values
        if _is_prefix(value)
    ]
    if exact_values:
        conditions.append(Q(**{f"{column}__in": exact_values} if exact_values[1:] else {column: exact_values[0]}))
    return reduce(or_, conditions)


class _FilterValuesInput(forms.Widget):
    """Reads the parameters of a filter: those with its name, and those with its name and EXCLUDING_SUFFIX."""

    def value_from_datadict(self, data: Any, _files: Any, name: str) -> FilterValues:
        excluding_name = name + EXCLUDING_SUFFIX
        return FilterValues(included=tuple(data.getlist(name)), excluded=tuple(data.getlist(excluding_name)))


class FilterValuesField(forms.Field):
    """The values of a filter, exactly as sent; None if none was sent. Duplicates are dropped."""

    widget = _FilterValuesInput

    def __init__(self, *args: Any, max_length: int = NAME_LENGTH, **options: Any) -> None:
        super().__init__(*args, **options)
        self.max_length = max_length

    def to_python(self, value: Any) -> FilterValues | None:
        values = (*value.included, *value.excluded)
        if len(values) > MAX_FILTER_VALUES:
            raise ValidationError(f"can be given at most {MAX_FILTER_VALUES} times.")
        for text in values:
            self.validate_value(text)
        return FilterValues(included=_unique(value.included), excluded=_unique(value.excluded)) if values else None

    def validate_value(self, text: str) -> None:
        _validate_storable(text)
        if len(text) > self.max_length:
            raise ValidationError(f"must be at most {self.max_length} characters long.")


class FilterChoicesField(FilterValuesField):
    """Some of several choices. Empty is not one of them, unless `empty_is_a_choice`."""

    def __init__(
        self, *args: Any, choices: Callable[[], Iterable[str]], empty_is_a_choice: bool = False, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.get_choices = choices
        self.empty_is_a_choice = empty_is_a_choice

    @property
    def choices(self) -> list[str]:
        return list(self.get_choices())

    def validate_value(self, text: str) -> None:
        if text not in self.choices and not (text == "" and self.empty_is_a_choice):
            raise ValidationError(f"must be one of {', '.join(self.choices)}.")


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


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
