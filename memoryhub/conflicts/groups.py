"""Groups of memories about one thing that do not say the same.

A group is the visible memories in force with the same subject and collection and more than one distinct content. Groups
are found in the order of their keys, along an index where the contents of a key stand together: a page reads as far as
it must, and nothing is kept that was computed from memories of which a reader may see only some.

A group is open until a decision in force settles all that its members say; whether one does is found out as it is read.
A key whose losers were retired holds one value and is no group any more: it is told of what was decided.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

from django.core.signing import BadSignature
from django.db.models import F, Q, Value
from django.http import QueryDict

from memoryhub.conflicts import detector, keys
from memoryhub.conflicts.detector import CLASSES, Class, Verdict
from memoryhub.conflicts.keys import COLUMNS, KEYED_BY, Key, id_of, key_of
from memoryhub.conflicts.listing import MOST_LISTED, Listed, Listing, Status, Support
from memoryhub.conflicts.models import Decision
from memoryhub.conflicts.querysets import DecisionQuerySet
from memoryhub.firewall.cursors import signer_of
from memoryhub.firewall.types import ACTOR_TYPES, Clearance, Principal
from memoryhub.memories.filters import (
    BadQuery,
    InstantFilter,
    MomentFilterSet,
    choice_filter,
    sought_text_filter,
    text_filter,
)
from memoryhub.memories.pages import bad_cursor, parse_limit, parse_number
from memoryhub.memories.querysets import HoldsSecret, MemoryQuerySet, Spells

__all__ = [
    "MOST_LISTED", "PARAMETERS", "SCOPES", "STATUSES", "Group", "GroupFilterSet", "GroupPage", "Support", "group",
    "page",
]  # fmt: skip

PARAMETERS = ("limit", "cursor", "min_values", "unkeyed")
SCOPES = ("collection", "namespace")
STATUSES = ("open", "decided", "all")
MOST_MEMBERS = 200
"""Of a larger group so many memories are told, of each value the newest first; it says how many there are."""
MOST_PASSED = 2_000
"""Groups of other classes that are passed over, at most, to fill a page with those of one class."""
MOST_COMPARED = 5_000
"""Pairs of values that groups have, together, that are told by their classes at once."""
AT_ONCE = 200
MOST_ON_A_PAGE = 13_200
"""Pairs that the groups of a page have, together: as many as those of the largest page can have. Where a language model
may be asked about each of them it is fewer, and a page may end before its limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    key: Key
    values: list[Support]
    """The distinct contents, the one that was said last first."""
    value_count: int
    memory_count: int
    evidence: str
    """`keys.evidence_of` all members in force: what a decision is made on."""
    status: Status
    """Of a group that is decided, what its decisions retired is among the members."""
    klass: Class
    decision: Decision | None
    """The newest in force about this key. If the group is open, it has not seen all that is said by now."""

    @property
    def id(self) -> str:
        return id_of(*self.key)

    @property
    def has_more_values(self) -> bool:
        """Whether it has more values than are told."""
        return self.value_count > len(self.values)

    @property
    def has_more_memories(self) -> bool:
        """Whether it has more members than are told."""
        return self.memory_count > len(self.members)

    @property
    def is_reopened(self) -> bool:
        return self.status == "open" and self.decision is not None

    @property
    def members(self) -> list[dict[str, Any]]:
        found = [memory for value in self.values for memory in value.memories]
        return sorted(found, key=lambda memory: (memory["timestamp"], memory["memory_id"]), reverse=True)

    @property
    def verdicts(self) -> Iterator[tuple[int, int, Verdict]]:
        """Each pair of the newest values by their places, with its class and what speaks for it.

        A group of a list tells nothing of embeddings, and neither do these then.
        """
        newest = list(enumerate(self.values))[: detector.MOST_VALUES]
        for (one, a), (other, b) in combinations(newest, 2):
            yield one, other, detector.compare(a.value, b.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPage:
    groups: list[Group]
    next_cursor: str | None


class GroupFilterSet(MomentFilterSet):
    """Which groups: those that hold a memory that matches. No filter takes a memory out of a group."""

    source = text_filter()
    subject = text_filter()
    subject_contains = sought_text_filter(method="leave_to_rows")
    collection = text_filter()
    namespace = text_filter()
    actor_type = choice_filter(lambda: ACTOR_TYPES)
    locals()["class"] = choice_filter(lambda: CLASSES, method="leave_to_rows")
    scope = choice_filter(lambda: SCOPES, method="leave_to_rows")
    status = choice_filter(lambda: STATUSES, method="leave_to_rows")
    locals()["from"] = InstantFilter(field_name="timestamp", lookup_expr="gte")
    to = InstantFilter(field_name="timestamp", lookup_expr="lt")

    def __init__(self, data: QueryDict, *, clearance: Clearance, besides: Iterable[str] = ()) -> None:
        super().__init__(data, clearance=clearance, besides=(*PARAMETERS, *besides))
        self.min_values = max(parse_number("min_values", data.get("min_values", ""), default=2, most=1_000), 2)
        if data.get("unkeyed", "") not in ("", "true", "false"):
            raise BadQuery({"unkeyed": ["must be true or false."]})
        self.is_unkeyed = data.get("unkeyed") == "true"

    def leave_to_rows(self, queryset: MemoryQuerySet, _name: str, _value: str) -> MemoryQuerySet:
        return queryset

    @property
    def columns(self) -> tuple[str, ...]:
        return COLUMNS if self.values.get("scope") == "namespace" else COLUMNS[:2]

    @property
    def standing(self) -> str:
        return str(self.values.get("status", "open"))

    @property
    def asked(self) -> list[tuple[str, Any]]:
        """What a cursor is bound to."""
        told = self.values | {"min_values": self.min_values, "status": self.standing, "unkeyed": self.is_unkeyed}
        return sorted((name, str(value)) for name, value in told.items())

    @cached_property
    def rows(self) -> MemoryQuerySet:
        """All memories in force that may be members: a filter by what the key is made of selects among them."""
        return self.moment.active(self.seen).filter(self.of_keys)

    @cached_property
    def retired(self) -> MemoryQuerySet:
        """What was taken out of force by decisions about such keys."""
        of_keys = self.moment.of(self.seen).unexpired().filter(self.of_keys)
        return of_keys.filter(status="retired", decision__isnull=False)

    @cached_property
    def decisions(self) -> DecisionQuerySet:
        """All decisions in force that the caller may see."""
        decisions: DecisionQuerySet = Decision.objects.visible_to(self.clearance)
        return decisions.in_force(self.moment.known_at)

    @property
    def of_keys(self) -> Q:
        """Which keys, in words that fit memories and decisions."""
        found = Q(**{name: self.values[name] for name in self.columns if name in self.values})
        if text := self.values.get("subject_contains"):
            found &= Q(Spells(F("subject"), Value(text))) & ~Q(HoldsSecret(F("subject")))
        for name in () if self.is_unkeyed else KEYED_BY:
            # Who asks for the empty one means it.
            found &= Q() if name in self.values else ~Q(**{name: ""})
        return found

    @property
    def matching(self) -> Q:
        """Of which members one is enough."""
        told = {"source": "source", "actor_type": "actor_type", "namespace": "namespace"}
        found = Q(**{told[name]: self.values[name] for name in told if name in self.values})
        if "from" in self.values:
            found &= Q(timestamp__gte=self.values["from"])
        return found & Q(timestamp__lt=self.values["to"]) if "to" in self.values else found


def page(filters: GroupFilterSet, *, reader: Principal, parameters: Mapping[str, str]) -> GroupPage:
    """The page of groups that `limit` and `cursor` ask for, in the order of their keys. Raises BadQuery.

    Where one class alone is asked for, a page may hold fewer groups than its limit, or none, and still go on. Where a
    language model may be asked it may hold fewer, too.
    """
    limit = parse_limit(parameters.get("limit", ""))
    signer = signer_of(reader, "conflicts", filters.asked)
    after = _read(signer.unsign, parameters["cursor"]) if parameters.get("cursor") else None
    listing = Listing(filters=filters, columns=filters.columns)
    wanted = filters.values.get("class")
    found, last = _of_class(listing, wanted, after, limit) if wanted else _next(listing, after, limit)
    next_cursor = None if last is None else signer.sign(keys.written(last))
    return GroupPage(groups=_told(listing, found, MOST_LISTED, embedded=False), next_cursor=next_cursor)


def group(filters: GroupFilterSet, group_id: str) -> Group | None:
    """One group, open or decided, or None if there is none that this caller may see. The id alone says of which key."""
    try:
        key = key_of(group_id)
    except ValueError:
        return None
    listing = Listing(filters=filters, columns=COLUMNS[: len(key)])
    return next(iter(_told(listing, listing.classified(listing.of(key)), MOST_MEMBERS, embedded=True)), None)


def _next(listing: Listing, after: Key | None, limit: int) -> tuple[list[Listed], Key | None]:
    """The next groups, or the first of them, and the key of the last one if others follow."""
    found = listing.after(after, limit + 1)
    known = listing.classified(found[:limit], most=MOST_ON_A_PAGE)
    return known, known[-1].key if len(known) < len(found) else None


def _of_class(listing: Listing, wanted: Class, after: Key | None, limit: int) -> tuple[list[Listed], Key | None]:
    """The next groups of a class, and the key of the last one that was looked at if others follow."""
    chosen: list[Listed] = []
    for _ in range(MOST_PASSED // AT_ONCE):
        found = listing.after(after, AT_ONCE)
        known = listing.classified(found, most=MOST_COMPARED)
        for each in known:
            if len(chosen) == limit:
                return chosen, after
            chosen += [each] if each.klass == wanted else []
            after = each.key
        if len(found) < AT_ONCE and len(known) == len(found):
            return chosen, None
        if len(known) < len(found):
            break
    return chosen, after


def _told(listing: Listing, found: Sequence[Listed], most: int, *, embedded: bool) -> list[Group]:
    """The groups with so many of their members each; all of them have a class."""
    named = [each.decision_id for each in found if each.decision_id]
    seen = listing.filters.decisions.filter(decision_id__in=named) if named else ()
    decisions = {decision.decision_id: decision for decision in seen}
    return [
        Group(
            key=each.key,
            values=values,
            value_count=each.value_count,
            memory_count=each.memory_count,
            evidence=each.evidence,
            status=each.status,
            klass=each.klass or "duplicate",
            decision=decisions.get(each.decision_id),
        )
        for each, values in zip(found, listing.supports(found, most, embedded=embedded), strict=True)
    ]


def _read(unsign: Callable[[str], str], cursor: str) -> Key:
    try:
        return keys.read(unsign(cursor))
    except (BadSignature, ValueError):
        raise bad_cursor() from None
