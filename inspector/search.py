"""The memory list's address: what it asks for, told in words, and the addresses one step away from it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property

from django.http import QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from inspector.moment import instants
from memoryhub.firewall.types import label_key
from memoryhub.memories.facets import Facets
from memoryhub.memories.filters import FORM, MOMENT, MemoryFilterSet, read_form
from memoryhub.memories.pages import PARAMETERS
from memoryhub.memories.suspicion import masked

FACETS_FIRST = 8
NEVER_EMPTY = ("q", "subject_contains", "min_values", "unkeyed", *PARAMETERS)
NONE = "none"
"""How an empty value is shown."""
LABELS = {
    "actor_type": "Actor type",
    "actor_id": "Actor",
    "payload_id": "Payload ID",
    "from": "From (UTC)",
    "to": "Before (UTC)",
}
WORDS = {
    "q": "content contains",
    "label": "labelled",
    "actor_id": "actor is",
    "actor_type": "actor type is",
    "payload_id": "payload ID is",
    "from": "from",
    "to": "before",
    "as_of": "as of",
    "known_at": "as known at",
}
# How an input without a value reads: the list shows the active memories unless it is asked for others.
UNSET = {"status": "the active ones"}
HINTS = {"from": "2026-10-03", "to": "2026-10-04"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One active filter: `words` and `shown` read as a sentence, e.g. "source is" and "support-bot"."""

    name: str
    value: str
    words: str
    shown: str
    remove_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One input of the filter form."""

    id: str
    name: str
    label: str
    value: str
    hint: str = ""
    unset: str = "any"
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
class Facet:
    name: str
    title: str
    first: list[FacetLink]
    rest: list[FacetLink]


class Search:
    """What the address of the list says. Knows the words and the neighbours; asks nothing of the database."""

    def __init__(self, data: QueryDict, errors: Mapping[str, list[str]] | None = None) -> None:
        self.params = asked(data)
        self.is_untidy = FORM in data
        """Whether the address is one that a form made."""
        self.errors = errors or {}

    @property
    def q(self) -> str:
        return str(self.params.get("q", ""))

    @property
    def is_deep(self) -> bool:
        """Whether this is a later page of the list."""
        return "cursor" in self.params

    @cached_property
    def chips(self) -> list[Chip]:
        return [
            Chip(
                name=name,
                value=value,
                words=WORDS.get(name, f"{name} is"),
                shown=_shown(name, value),
                remove_url=self.without(name, value),
            )
            for name, values in self.params.lists()
            if name in MemoryFilterSet.base_filters and name not in MOMENT
            for value in values
        ]

    @property
    def instants(self) -> dict[str, str]:
        """The instants at which the list is looked at. They are no filters: every address here keeps them."""
        return instants(self.params)

    @property
    def empty(self) -> list[str]:
        """The filters that ask for empty values."""
        return empty(self.params)

    @property
    def title(self) -> str:
        return f"Memories: {self.words}" if self.chips else "Memories"

    @property
    def words(self) -> str:
        return " and ".join(f"{chip.words} {chip.shown}" for chip in self.chips)

    @property
    def sentences(self) -> list[str]:
        """What is wrong with this address, a sentence for each mistake."""
        return [f"{name} {' '.join(said)}" for name, said in self.errors.items()]

    def fields(self, suggested: Mapping[str, Iterable[str]], statuses: Sequence[str]) -> list[Field]:
        """One input for each filter, filled in as the address says; labels have one more, for the next.

        None for the instants, which are chosen elsewhere.
        """
        fields = []
        for name, chosen in MemoryFilterSet.base_filters.items():
            values = self.params.getlist(name)
            options = tuple(option for option, _ in getattr(chosen.field, "choices", ()) if option)
            options = tuple(statuses) if name == "status" else options
            for number, value in enumerate([*values, ""] if name == "label" else [*values, ""][:1]):
                fields.append(
                    Field(
                        id=f"{name}-{number}",
                        name=name,
                        label=LABELS.get(name, name.capitalize()),
                        value=value,
                        hint=NONE if name in self.empty else HINTS.get(name, ""),
                        unset=UNSET.get(name, "any"),
                        options=options,
                        suggestions=() if options else tuple(suggested.get(name, ())),
                        error=" ".join(self.errors.get(name, ())) if value else "",
                    )
                )
        return [field for field in fields if field.name not in ("q", *MOMENT)]

    def facets(self, counted: Facets) -> list[Facet]:
        """The counted values as links that ask for them, or, where they are asked for, no longer do."""
        found = []
        for name, values in counted.dimensions.items():
            links = [self._facet_link(name, value.value, value.count) for value in values]
            if links and (links[0].value or len(links) > 1):
                title = LABELS.get(name, name.capitalize())
                found.append(Facet(name=name, title=title, first=links[:FACETS_FIRST], rest=links[FACETS_FIRST:]))
        return found

    def _facet_link(self, name: str, value: str, count: int) -> FacetLink:
        same = [held for held in self.params.getlist(name) if held == value or _is_same_label(name, held, value)]
        url = self.without(name, same[0]) if same else self.beside(name, value)
        return FacetLink(value=value, count=count, is_active=bool(same), url=url)

    # Addresses. Each drops the cursor, which belongs to the filters it was given for.

    def within(self, **values: str) -> str:
        """With each of `values` in the place of what the address says now."""
        changed = self._first_page()
        for name, value in values.items():
            changed[name.rstrip("_")] = value
        return address(changed)

    def beside(self, name: str, value: str) -> str:
        """With `value` too, for a filter that may be repeated; else in the place of the one there is."""
        if name != "label":
            return self.within(**{name: value})
        changed = self._first_page()
        changed.appendlist(name, value)
        return address(changed)

    def without(self, name: str, value: str) -> str:
        """Without one value of one filter."""
        changed = self._first_page()
        changed.setlist(name, [held for held in changed.getlist(name) if held != value])
        return address(changed)

    def without_time(self) -> str:
        changed = self._first_page()
        for name in ("from", "to"):
            changed.pop(name, None)
        return address(changed)

    def as_of(self, instant: str) -> str:
        """As of another instant of event time; without one, up to the latest event."""
        changed = self._first_page()
        changed.pop("as_of", None)
        if instant:
            changed["as_of"] = instant
        return address(changed)

    def older(self, cursor: str | None) -> str | None:
        if cursor is None:
            return None
        changed = self.params.copy()
        changed["cursor"] = cursor
        return address(changed)

    @property
    def newest_url(self) -> str:
        return address(self._first_page())

    @property
    def without_last_url(self) -> str:
        return self.chips[-1].remove_url

    @property
    def cleared_url(self) -> str:
        """Without any filter, at the same instants."""
        kept = QueryDict(mutable=True)
        kept.update(self.instants)
        return address(kept)

    @property
    def json_url(self) -> str:
        return "/api/memories" + (f"?{self.params.urlencode()}" if self.params else "")

    @property
    def replay_url(self) -> str:
        query = self._first_page()
        for name in MOMENT:
            query.pop(name, None)
        return f"{reverse('inspector:replay')}?{urlencode({'query': query.urlencode(), **self.instants})}"

    @property
    def classify_url(self) -> str:
        changed = self._first_page()
        changed.pop("limit", None)
        return reverse("inspector:labels") + (f"?{changed.urlencode()}" if changed else "")

    @property
    def secrets_url(self) -> str:
        """The search in what is masked, among the same memories. What was searched for is not taken along."""
        changed = self._first_page()
        for name in ("limit", "q"):
            changed.pop(name, None)
        return reverse("inspector:memory-secrets") + (f"?{changed.urlencode()}" if changed else "")

    def _first_page(self) -> QueryDict:
        changed = self.params.copy()
        changed.pop("cursor", None)
        return changed


def asked(data: QueryDict) -> QueryDict:
    """What an address asks for, a form's or another one, without what asks for nothing if it is empty."""
    found = read_form(data)
    for name in [name for name, values in found.lists() if not values or (name in NEVER_EMPTY and not any(values))]:
        del found[name]
    return found


def empty(params: QueryDict) -> list[str]:
    """The names of what is asked for with an empty value, for a form that keeps them."""
    return [name for name, values in params.lists() if "" in values]


def known(data: QueryDict) -> QueryDict:
    """What of `data` the list knows: an address that came in from outside leads nowhere else.

    Without instants: those of the page that leads there hold.
    """
    kept = asked(data)
    names = {*MemoryFilterSet.base_filters, *PARAMETERS} - {*MOMENT}
    for name in [name for name in kept if name not in names]:
        del kept[name]
    return kept


def address(params: QueryDict) -> str:
    query = params.urlencode()
    return reverse("inspector:memories") + (f"?{query}" if query else "")


def kept(params: QueryDict, instants: Mapping[str, str] | None = None) -> str:
    """The list's state as a query that other pages carry, so that they lead back there; and the instants they show."""
    listed = params.copy()
    for name in MOMENT:
        listed.pop(name, None)
    query = {**({"list": listed.urlencode()} if listed else {}), **(instants or {})}
    return "?" + urlencode(query) if query else ""


def life_of(subject: str) -> str:
    """The address of a subject's page; "" where no address can hold its name."""
    # Secrets do not belong into addresses, browsers take away parts that are dots before they ask, and a route ends
    # with its line.
    is_path = not {".", "..", ""} & set(subject.split("/")) and "\n" not in subject
    is_fit = is_path and masked(subject) == subject
    return reverse("inspector:subject", args=[subject]) if is_fit else ""


def as_parameter(moment: datetime) -> str:
    """An instant as people write it in an address: the date alone if it is midnight UTC."""
    is_midnight = moment.time() == datetime.min.time()
    return moment.date().isoformat() if is_midnight else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _shown(name: str, value: str) -> str:
    if not value:
        return NONE
    if name not in ("from", "to") or len(value) != 10:
        return value
    try:
        day = date.fromisoformat(value)
    except ValueError:
        return value
    return f"{day.day} {day:%b} {day.year}"


def _is_same_label(name: str, one: str, other: str) -> bool:
    return name == "label" and label_key(one) == label_key(other)
