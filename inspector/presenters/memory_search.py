"""The query of the memory list: its filters in words, and the addresses of related lists."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property

from django.http import QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from inspector.time_context import parse_instants
from memoryhub.core.secrets import mask_secrets
from memoryhub.firewall.clearance import normalize_label
from memoryhub.memories.facets import Facets
from memoryhub.memories.filter_fields import EXCLUDING_SUFFIX, FORM_PARAM, escape_wildcard, normalize_form_query
from memoryhub.memories.filters import POINT_IN_TIME_PARAMS, MemoryFilterSet
from memoryhub.memories.pagination import PAGE_PARAMS

MAX_FACET_LINKS = 8
PARAMS_DROPPED_IF_EMPTY = ("q", "subject_contains", "min_values", "include_keyless", *PAGE_PARAMS)
EMPTY_VALUE_LABEL = "none"
FIELD_LABELS = {
    "actor_type": "Actor type",
    "actor_id": "Actor",
    "payload_id": "Payload ID",
    "from": "From (UTC)",
    "to": "Before (UTC)",
}
FILTER_PHRASES = {
    "q": "matches",
    "label": "labelled",
    "actor_id": "actor is",
    "actor_type": "actor type is",
    "payload_id": "payload ID is",
    "from": "from",
    "to": "before",
    "as_of": "as of",
    "known_at": "as known at",
}
FILTER_PARAMS = frozenset(MemoryFilterSet.base_filters) | MemoryFilterSet.repeatable_params()
# Label of the empty option: without a status filter the list shows active memories.
EMPTY_OPTION_LABELS = {"status": "the active ones"}
HINTS = {"from": "2026-10-03", "to": "2026-10-04"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveFilter:
    """One active filter: `phrase` and `display_value` read as a sentence, e.g. "source is" and "support-bot"."""

    name: str
    value: str
    phrase: str
    display_value: str
    remove_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterField:
    """One input of the filter form, with its value and error."""

    id: str
    name: str
    label: str
    value: str
    hint: str = ""
    empty_option_label: str = "any"
    options: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FacetLink:
    value: str
    count: int
    is_active: bool
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FacetView:
    name: str
    title: str
    top_links: list[FacetLink]
    more_links: list[FacetLink]


class MemorySearch:
    """The query of the memory list. Makes labels and addresses; does not access the database."""

    def __init__(self, data: QueryDict, errors: Mapping[str, list[str]] | None = None) -> None:
        self.params = parse_params(data)
        self.is_form_submission = FORM_PARAM in data
        """Whether the query string was sent by the filter form."""
        self.errors = errors or {}

    @property
    def q(self) -> str:
        return str(self.params.get("q", ""))

    @property
    def is_later_page(self) -> bool:
        """Whether the list shows a later page than the first."""
        return "cursor" in self.params

    @cached_property
    def active_filters(self) -> list[ActiveFilter]:
        return [
            ActiveFilter(
                name=name,
                value=value,
                phrase=describe_filter(name),
                display_value=_format_filter_value(name, value),
                remove_url=self.url_removing(name, value),
            )
            for name, values in self.params.lists()
            if name in FILTER_PARAMS and name not in POINT_IN_TIME_PARAMS
            for value in values
        ]

    @property
    def instant_params(self) -> dict[str, str]:
        """The instants of the list. They are not filters: every address of this class keeps them."""
        return parse_instants(self.params)

    @property
    def params_matching_empty(self) -> list[str]:
        """Names of the filters for empty values."""
        return list_params_matching_empty(self.params)

    @property
    def title(self) -> str:
        return f"Memories: {self.description}" if self.active_filters else "Memories"

    @property
    def description(self) -> str:
        return " and ".join(
            f"{active_filter.phrase} {active_filter.display_value}" for active_filter in self.active_filters
        )

    @property
    def error_messages(self) -> list[str]:
        return format_error_messages(self.errors)

    def build_fields(self, suggestions: Mapping[str, Iterable[str]], statuses: Sequence[str]) -> list[FilterField]:
        """Return one input for each value of each filter, one for a filter without values, and one more label.

        The instants have no input, because the page chooses them elsewhere.
        """
        return [
            self._build_field(param, index, value, suggestions, statuses)
            for name in MemoryFilterSet.base_filters
            if name not in ("q", *POINT_IN_TIME_PARAMS)
            for param, values in (
                (name, self._list_input_values(name)),
                (name + EXCLUDING_SUFFIX, self.params.getlist(name + EXCLUDING_SUFFIX)),
            )
            for index, value in enumerate(values)
        ]

    def _list_input_values(self, name: str) -> list[str]:
        values: list[str] = self.params.getlist(name)
        return [*values, ""] if name == "label" or not values else values

    def _build_field(
        self, param: str, index: int, value: str, suggestions: Mapping[str, Iterable[str]], statuses: Sequence[str]
    ) -> FilterField:
        name = param.removesuffix(EXCLUDING_SUFFIX)
        options = tuple(
            statuses if name == "status" else getattr(MemoryFilterSet.base_filters[name].field, "choices", ())
        )
        label = FIELD_LABELS.get(name, name.capitalize())
        return FilterField(
            id=f"{name}-{index}" if param == name else f"not-{name}-{index}",
            name=param,
            label=label if param == name else f"{label} is not",
            value=value,
            hint=EMPTY_VALUE_LABEL if param in self.params_matching_empty else HINTS.get(name, ""),
            empty_option_label=EMPTY_OPTION_LABELS.get(name, "any"),
            options=options,
            suggestions=() if options else tuple(suggestions.get(name, ())),
            error=" ".join(self.errors.get(name, ())) if value else "",
        )

    def build_facets(self, counts: Facets) -> list[FacetView]:
        """Return the facet values as links that add a filter, or remove it if it is active."""
        facets = []
        for name, values in counts.dimensions.items():
            links = [self._build_facet_link(name, value.value, value.count) for value in values]
            if links and (links[0].value or len(links) > 1):
                title = FIELD_LABELS.get(name, name.capitalize())
                facets.append(
                    FacetView(
                        name=name, title=title, top_links=links[:MAX_FACET_LINKS], more_links=links[MAX_FACET_LINKS:]
                    )
                )
        return facets

    def _build_facet_link(self, name: str, value: str, count: int) -> FacetLink:
        filter_value = value if name == "label" else escape_wildcard(value)
        selected_values = [
            selected_value
            for selected_value in self.params.getlist(name)
            if selected_value == filter_value or _is_same_label(name, selected_value, value)
        ]
        url = self.url_removing(name, selected_values[0]) if selected_values else self.url_adding(name, filter_value)
        return FacetLink(value=value, count=count, is_active=bool(selected_values), url=url)

    # Addresses. All of them drop the cursor, which is only valid for the same filters.

    def url_replacing(self, **values: str) -> str:
        """Return the address of the list with `values` in place of the current values of these parameters.

        A trailing _ of a name is ignored, so that `from_` can stand for `from`.
        """
        params = self._get_first_page_params()
        for name, value in values.items():
            params[name.rstrip("_")] = value
        return build_list_url(params)

    def url_adding(self, name: str, value: str) -> str:
        """Return the address of the list with one more value for `label`; any other filter is replaced."""
        if name != "label":
            return self.url_replacing(**{name: value})
        params = self._get_first_page_params()
        params.appendlist(name, value)
        return build_list_url(params)

    def url_removing(self, name: str, value: str) -> str:
        """Return the address of the list without one value of a filter."""
        params = self._get_first_page_params()
        params.setlist(name, [other_value for other_value in params.getlist(name) if other_value != value])
        return build_list_url(params)

    @property
    def without_time_url(self) -> str:
        params = self._get_first_page_params()
        for name in ("from", "to"):
            params.pop(name, None)
        return build_list_url(params)

    def as_of_url(self, instant: str) -> str:
        """Return the address of the list as of another instant of event time; "" removes `as_of`."""
        params = self._get_first_page_params()
        params.pop("as_of", None)
        if instant:
            params["as_of"] = instant
        return build_list_url(params)

    def next_page_url(self, cursor: str | None) -> str | None:
        if cursor is None:
            return None
        params = self.params.copy()
        params["cursor"] = cursor
        return build_list_url(params)

    @property
    def newest_url(self) -> str:
        return build_list_url(self._get_first_page_params())

    @property
    def without_last_filter_url(self) -> str:
        return self.active_filters[-1].remove_url

    @property
    def cleared_url(self) -> str:
        """The list without filters, at the same instants."""
        params = QueryDict(mutable=True)
        params.update(self.instant_params)
        return build_list_url(params)

    @property
    def json_url(self) -> str:
        return reverse("api:memory-list") + (f"?{self.params.urlencode()}" if self.params else "")

    @property
    def replay_url(self) -> str:
        params = self._get_first_page_params()
        for name in POINT_IN_TIME_PARAMS:
            params.pop(name, None)
        return f"{reverse('inspector:replay')}?{urlencode({'query': params.urlencode(), **self.instant_params})}"

    @property
    def classify_url(self) -> str:
        params = self._get_first_page_params()
        params.pop("limit", None)
        return reverse("inspector:memories-classify") + (f"?{params.urlencode()}" if params else "")

    @property
    def secrets_url(self) -> str:
        """The search in masked secrets, with the same filters but without the search text."""
        params = self._get_first_page_params()
        for name in ("limit", "q"):
            params.pop(name, None)
        return reverse("inspector:secret-search") + (f"?{params.urlencode()}" if params else "")

    def _get_first_page_params(self) -> QueryDict:
        params = self.params.copy()
        params.pop("cursor", None)
        return params


def parse_params(data: QueryDict) -> QueryDict:
    """Return the parameters of an address or a form, without empty ones that have no meaning."""
    params = normalize_form_query(data)
    for name in [
        name for name, values in params.lists() if not values or (name in PARAMS_DROPPED_IF_EMPTY and not any(values))
    ]:
        del params[name]
    return params


def list_params_matching_empty(params: QueryDict) -> list[str]:
    """Return the names of the filters for empty values, which a form must keep."""
    return [name for name, values in params.lists() if "" in values]


def parse_list_params(data: QueryDict) -> QueryDict:
    """Return only the list's own parameters, because the address may come from outside.

    Instants are dropped: those of the current page apply.
    """
    params = parse_params(data)
    names = {*FILTER_PARAMS, *PAGE_PARAMS} - {*POINT_IN_TIME_PARAMS}
    for name in [name for name in params if name not in names]:
        del params[name]
    return params


def describe_filter(param: str) -> str:
    """Return the words before a value of a filter, such as "source is" or "source is not"."""
    name = param.removesuffix(EXCLUDING_SUFFIX)
    phrase = FILTER_PHRASES.get(name, f"{name} is")
    if param == name:
        return phrase
    return f"not {phrase}" if name == "label" else f"{phrase} not"


def format_error_messages(errors: Mapping[str, list[str]]) -> list[str]:
    """Return one sentence per invalid parameter of a query."""
    return [f"{name} {' '.join(field_messages)}" for name, field_messages in errors.items()]


def build_list_url(params: QueryDict) -> str:
    query = params.urlencode()
    return reverse("inspector:memory-list") + (f"?{query}" if query else "")


def build_back_query(params: QueryDict, instant_params: Mapping[str, str] | None = None) -> str:
    """Return the query string by which other pages lead back to the list, with the instants that they show."""
    list_params = params.copy()
    for name in POINT_IN_TIME_PARAMS:
        list_params.pop(name, None)
    query = {**({"back": list_params.urlencode()} if list_params else {}), **(instant_params or {})}
    return "?" + urlencode(query) if query else ""


def build_subject_url(subject: str) -> str:
    """Return the address of a subject's page; "" if the subject cannot be part of an address."""
    # Secrets must not appear in addresses, browsers remove path segments that are dots, and the route's pattern does
    # not match a line feed.
    is_path = not {".", "..", ""} & set(subject.split("/")) and "\n" not in subject
    is_safe = is_path and mask_secrets(subject) == subject
    return reverse("inspector:subject-detail", args=[subject]) if is_safe else ""


def format_date_or_instant(instant: datetime) -> str:
    """Format an instant for an address; midnight UTC becomes a date."""
    is_midnight = instant.time() == datetime.min.time()
    return instant.date().isoformat() if is_midnight else instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def _format_filter_value(name: str, value: str) -> str:
    if not value:
        return EMPTY_VALUE_LABEL
    if name not in ("from", "to") or len(value) != 10:
        return value
    try:
        day = date.fromisoformat(value)
    except ValueError:
        return value
    return f"{day.day} {day:%b} {day.year}"


def _is_same_label(name: str, label: str, other_label: str) -> bool:
    return name == "label" and normalize_label(label) == normalize_label(other_label)
