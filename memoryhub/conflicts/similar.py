"""Groups like one that is being decided, so that the same can be decided of them all at once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.http import QueryDict

from memoryhub.conflicts import groups
from memoryhub.conflicts.choices import Choice
from memoryhub.conflicts.groups import Group, GroupFilterSet, Support
from memoryhub.firewall.types import Principal
from memoryhub.memories.envelope import Rejected

MOST_LOOKED_AT = 1_000
MOST_FOUND = 200
_AT_ONCE = "200"
_MOST_ASKED = 1_000

Sources = frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Like:
    """A group, and the value that would be kept of it; None keeps all of them."""

    group: Group
    kept: Support | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Likes:
    found: list[Like]
    looked_at: int
    is_all: bool
    """Whether there is no more to look at."""


def like(group: Group, choice: Choice, *, by: Principal) -> Likes:
    """The other open groups of the same collection and class, with as many values, from the same sources on each side.

    Raises Rejected for a choice that means something of this group alone.
    """
    kept = _kept(group, choice)
    place = None if kept is None else group.values.index(kept)
    looked, is_all = 0, True
    found: list[Like] = []
    for other in _others(group, by):
        if looked == MOST_LOOKED_AT or len(found) == MOST_FOUND:
            is_all = False
            break
        looked += 1
        if other.id != group.id and (match := _match(other, group, place)):
            found.append(match)
    return Likes(found=found, looked_at=looked, is_all=is_all)


def choice_for(choice: Choice, kept: Any) -> Choice:
    """The same choice about another group, of which the value of the memory `kept` is kept."""
    return choice.model_copy(update={"keep": [kept]}) if choice.outcome == "keep_one" else choice


def _kept(group: Group, choice: Choice) -> Support | None:
    if choice.outcome in ("not_a_conflict", "defer"):
        return None
    if choice.outcome != "keep_one":
        raise Rejected({"": ["Only to keep one value, to find no conflict and to defer mean something elsewhere."]})
    (wanted,) = choice.keep[:1]
    for support in group.values:
        if any(memory["memory_id"] == wanted for memory in support.memories):
            return support
    raise Rejected({"keep": ["names a memory that is not of this conflict."]})


def _others(group: Group, by: Principal) -> Iterator[Group]:
    data = QueryDict(mutable=True)
    least = min(group.value_count, _MOST_ASKED)
    data.update({"collection": group.key[1], "class": group.klass, "min_values": str(least)})
    if len(group.key) > 2:
        data.update({"scope": "namespace", "namespace": group.key[2]})
    filters = GroupFilterSet(data, clearance=by.clearance)
    cursor: str | None = ""
    while cursor is not None:
        page = groups.page(filters, reader=by, parameters={"limit": _AT_ONCE, "cursor": cursor})
        yield from page.groups
        cursor = page.next_cursor


def _match(other: Group, group: Group, place: int | None) -> Like | None:
    alike = other.key[1] == group.key[1] and other.value_count == group.value_count
    if not alike or len(other.values) != len(group.values):
        return None
    if place is None:
        return Like(group=other, kept=None) if _sources(other.values) == _sources(group.values) else None
    sides = _sides(group, place)
    places = [at for at in range(len(other.values)) if _sides(other, at) == sides]
    # Of values from the same sources the one that is as new as the one that is kept.
    chosen = places[0] if len(places) == 1 else place if place in places else None
    return None if chosen is None else Like(group=other, kept=other.values[chosen])


def _sides(group: Group, place: int) -> tuple[Sources, Sources]:
    others = [*group.values[:place], *islice(group.values, place + 1, None)]
    return _sources([group.values[place]]), _sources(others)


def _sources(values: Iterable[Support]) -> Sources:
    return frozenset(memory["source"] for support in values for memory in support.memories)
