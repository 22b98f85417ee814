"""The address of the queue of conflicts: which groups it asks for, and the addresses one step away from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.http import QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from inspector.search import NONE, WORDS, Chip, Field, asked, empty
from inspector.values import CLASS_NAMES, CLASS_WORDS
from memoryhub.conflicts.detector import CLASSES
from memoryhub.conflicts.groups import PARAMETERS, GroupFilterSet
from memoryhub.conflicts.keys import Key
from memoryhub.firewall.types import Clearance
from memoryhub.memories.filters import FORM, MOMENT

EVERY = "all"
LIMIT = "25"
STATUSES = ("open", "decided", EVERY)
FILTERS = ("subject", "subject_contains", "collection", "source", "namespace", "actor_type", "status")
LABELS = {"subject_contains": "Subject contains", "actor_type": "Actor type"}
CHIP_WORDS = {**WORDS, "subject_contains": "subject contains", "scope": "keys are split by"}
UNSET = {"status": "open"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tab:
    name: str
    title: str
    words: str
    count: str
    is_here: bool
    url: str


class Queue:
    """Which groups an address asks for. It opens on contradictions that are open."""

    def __init__(self, data: QueryDict, errors: Mapping[str, list[str]] | None = None) -> None:
        self.params = asked(data)
        self.is_untidy = FORM in data
        self.errors = errors or {}

    @classmethod
    def behind(cls, data: QueryDict) -> "Queue":
        """The queue that the address of another page carries; what it does not know is left out."""
        held = asked(QueryDict(data.get("queue", "")))
        for name in [name for name in held if name not in GroupFilterSet.base_filters or name in MOMENT]:
            del held[name]
        if held.get("class", CLASSES[0]) not in (*CLASSES, EVERY):
            del held["class"]
        return cls(held)

    @property
    def given(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.params.items()}

    @property
    def klass(self) -> str:
        """The class that is shown, or EVERY."""
        return str(self.params.get("class", CLASSES[0]))

    @property
    def status(self) -> str:
        return str(self.params.get("status", "open"))

    @property
    def words(self) -> str:
        return CLASS_WORDS.get(self.klass, "Groups of every class.")

    @property
    def asked(self) -> QueryDict:
        """What is asked of the groups."""
        return _with(self.params, class_=None if self.klass == EVERY else self.klass)

    def filters(self, clearance: Clearance, **changed: str | None) -> GroupFilterSet:
        """With some of what is asked for in another way, None leaves it out; a name may end with _. Raises BadQuery."""
        return GroupFilterSet(_with(self.asked, **changed), clearance=clearance)

    def tabs(self, counts: Mapping[str, str]) -> list[Tab]:
        return [
            Tab(
                name=name,
                title=title,
                words=CLASS_WORDS.get(name, ""),
                count=counts.get(name, ""),
                is_here=name == self.klass,
                url=self.within(class_=name),
            )
            for name, title in (*CLASS_NAMES.items(), (EVERY, "All"))
        ]

    @cached_property
    def chips(self) -> list[Chip]:
        return [
            Chip(
                name=name,
                value=value,
                words=CHIP_WORDS.get(name, f"{name} is"),
                shown=value or NONE,
                remove_url=self.within(**{f"{name}_": None}),
            )
            for name, value in self.given.items()
            if name != "class" and name in (*GroupFilterSet.base_filters, "min_values") and name not in MOMENT
        ]

    @property
    def title(self) -> str:
        return CLASS_NAMES.get(self.klass, "Conflicts")

    @property
    def sentences(self) -> list[str]:
        return [f"{name} {' '.join(said)}" for name, said in self.errors.items()]

    @property
    def fields(self) -> list[Field]:
        return [
            Field(
                id=name,
                name=name,
                label=LABELS.get(name, name.capitalize()),
                value=self.params.get(name, ""),
                hint=NONE if name in self.empty else "any",
                unset=UNSET.get(name, "any"),
                options=_options(name),
                error=" ".join(self.errors.get(name, ())),
            )
            for name in FILTERS
        ]

    @property
    def hidden(self) -> list[tuple[str, str]]:
        """What the form of filters keeps as it is."""
        return [(name, value) for name, value in self.given.items() if value and name not in (*FILTERS, "cursor")]

    @property
    def empty(self) -> list[str]:
        """The filters that ask for empty values."""
        return empty(self.params)

    @property
    def is_deep(self) -> bool:
        return "cursor" in self.params

    # Addresses

    @property
    def url(self) -> str:
        return _address("inspector:conflicts", self._first_page())

    @property
    def cleared_url(self) -> str:
        kept = {name: value for name, value in self.given.items() if name in ("class", *MOMENT)}
        return reverse("inspector:conflicts") + (f"?{urlencode(kept)}" if kept else "")

    @property
    def json_url(self) -> str:
        return _address("api:conflicts", self.asked)

    def within(self, **changed: str | None) -> str:
        """The first page, with some of what it asks for in another way, None without it; a name may end with _."""
        params = _with(self._first_page(), **changed)
        if params.get("class") == CLASSES[0]:
            del params["class"]
        return _address("inspector:conflicts", params)

    def after(self, cursor: str | None) -> str:
        return _address("inspector:conflicts", _with(self.params, cursor=cursor)) if cursor else ""

    @property
    def kept(self) -> str:
        """The queue as a query that the page of a group carries, so that it goes on in the same queue."""
        params = self._first_page()
        instants = {name: params.pop(name)[0] for name in MOMENT if name in params}
        for name in PARAMETERS:
            params.pop(name, None)
        query = {**({"queue": params.urlencode()} if params else {}), **instants}
        return f"?{urlencode(query)}" if query else ""

    def of(self, group_id: str, view: str = "inspector:conflict") -> str:
        return reverse(view, args=[group_id]) + self.kept

    def _first_page(self) -> QueryDict:
        return _with(self.params, cursor=None)


def of_key(key: Key, instants: Mapping[str, str], clearance: Clearance) -> GroupFilterSet:
    """The filters by which one group is found, whether it is open or decided. Raises BadQuery."""
    data = QueryDict(mutable=True)
    data.update({**instants, "status": EVERY, "unkeyed": "true"})
    if len(key) > 2:
        data["scope"] = "namespace"
    return GroupFilterSet(data, clearance=clearance)


def _options(name: str) -> tuple[str, ...]:
    if name == "status":
        return STATUSES[1:]
    field: Any = GroupFilterSet.base_filters[name].field
    return tuple(option for option, _ in getattr(field, "choices", ()) if option)


def _with(params: QueryDict, **changed: str | None) -> QueryDict:
    found = params.copy()
    for name, value in changed.items():
        found.setlist(name.rstrip("_"), [] if value is None else [value])
    return asked(found)


def _address(view: str, params: QueryDict) -> str:
    query = params.urlencode()
    return reverse(view) + (f"?{query}" if query else "")
