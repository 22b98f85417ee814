"""Groups of memories about one thing that do not say the same.

A group is the visible memories in force with the same subject and collection and more than one distinct content. Groups
are found in the order of their keys, along an index where the contents of a key stand together: a page reads as far as
it must, and nothing is kept that was computed from memories of which a reader may see only some.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

from django.core.signing import BadSignature
from django.db.models import BooleanField, Case, F, Field, Func, Q, Value, When
from django.http import QueryDict

from memoryhub.conflicts import detector, keys
from memoryhub.conflicts.detector import CLASSES, Class, Verdict
from memoryhub.conflicts.keys import Key, id_of, key_of
from memoryhub.firewall.cursors import signer_of
from memoryhub.firewall.types import ACTOR_TYPES, Clearance, Principal
from memoryhub.memories.filters import BadQuery, InstantFilter, MomentFilterSet, choice_filter, text_filter
from memoryhub.memories.pages import bad_cursor, parse_limit, parse_number
from memoryhub.memories.querysets import NEWEST_FIRST, MemoryQuerySet, Spells, compiled, fetched

PARAMETERS = ("limit", "cursor", "min_values", "unkeyed")
SCOPES = ("collection", "namespace")
MOST_MEMBERS = 200
"""Of a larger group the newest memories are told; it says how many there are."""
MOST_PASSED = 2_000
"""Groups of other classes that are passed over, at most, to fill a page with those of one class."""
_FIELDS = (
    "memory_id", "payload_id", "version", "source", "actor_type", "actor_id", "namespace", "content", "timestamp",
    "recorded_at", "classification_tier", "sensitivity_labels", "subject", "collection",
)  # fmt: skip


class OfKey(Func):
    """A column of the keys that groups are asked for."""

    output_field = Field()
    template = "keys.%(name)s"


class BeyondKey(Func):
    """Whether a row's key comes after another."""

    output_field = BooleanField()
    template = "(%(columns)s) > (%(expressions)s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """One content, and the memories that say it: the newest first."""

    content: str
    memories: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    key: Key
    values: list[Support]
    """The distinct contents, the one that was said last first."""
    value_count: int
    memory_count: int

    @property
    def id(self) -> str:
        return id_of(*self.key)

    @property
    def members(self) -> list[dict[str, Any]]:
        found = [memory for value in self.values for memory in value.memories]
        return sorted(found, key=lambda memory: (memory["timestamp"], memory["memory_id"]), reverse=True)

    @property
    def klass(self) -> Class:
        return detector.group_class(_value(support) for support in self.values)

    @property
    def verdicts(self) -> Iterator[tuple[int, int, Verdict]]:
        """Each pair of the newest values by their places, with its class and what speaks for it."""
        newest = list(enumerate(self.values))[: detector.MOST_VALUES]
        for (one, a), (other, b) in combinations(newest, 2):
            yield one, other, detector.compare(_value(a), _value(b))


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPage:
    groups: list[Group]
    next_cursor: str | None


class GroupFilterSet(MomentFilterSet):
    """Which groups: those that hold a memory that matches. No filter takes a memory out of a group."""

    source = text_filter()
    subject = text_filter()
    subject_contains = text_filter(method="leave_to_rows")
    collection = text_filter()
    namespace = text_filter()
    actor_type = choice_filter(lambda: ACTOR_TYPES)
    locals()["class"] = choice_filter(lambda: CLASSES, method="leave_to_rows")
    scope = choice_filter(lambda: SCOPES, method="leave_to_rows")
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
        return ("subject", "collection", *(("namespace",) if self.values.get("scope") == "namespace" else ()))

    @property
    def asked(self) -> list[tuple[str, Any]]:
        """What a cursor is bound to."""
        pairs = [(name, str(value)) for name, value in self.values.items()]
        return sorted([*pairs, ("min_values", str(self.min_values)), ("unkeyed", str(self.is_unkeyed))])

    @cached_property
    def rows(self) -> MemoryQuerySet:
        """All memories in force that may be members: a filter by what the key is made of selects among them."""
        rows = self.moment.of(self.seen).filter(status="active")
        rows = rows.filter(**{name: self.values[name] for name in self.columns if name in self.values})
        if text := self.values.get("subject_contains"):
            rows = rows.filter(Spells(F("subject"), Value(text)))
        return rows if self.is_unkeyed else rows.exclude(subject="")

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

    Where one class alone is asked for, a page may hold fewer groups than its limit, or none, and still go on.
    """
    limit = parse_limit(parameters.get("limit", ""))
    signer = signer_of(reader, "conflicts", filters.asked)
    after = _read(signer.unsign, parameters["cursor"]) if parameters.get("cursor") else None
    wanted = filters.values.get("class")
    found: list[Group] = []
    key: Key = ()
    for number, each in enumerate(_groups(filters, after, limit + 1)):
        if len(found) == limit or number == MOST_PASSED:
            return GroupPage(groups=found, next_cursor=signer.sign(keys.written(key)))
        if not wanted or each.klass == wanted:
            found.append(each)
        key = each.key
    return GroupPage(groups=found, next_cursor=None)


def group(filters: GroupFilterSet, group_id: str) -> Group | None:
    """One group, or None if there is none that this caller may see."""
    try:
        key = key_of(group_id)
        of_key = dict(zip(filters.columns, key, strict=True))
    except ValueError:
        return None
    return next(_told(filters, _counted(filters, filters.rows.filter(**of_key), 1)), None)


def _groups(filters: GroupFilterSet, after: Key | None, at_once: int) -> Iterator[Group]:
    while True:
        rows = filters.rows if after is None else filters.rows.filter(_beyond(filters, after))
        counted = _counted(filters, rows, at_once)
        yield from _told(filters, counted)
        if len(counted) < at_once:
            return
        after = tuple(counted[-1][name] for name in filters.columns)


def _counted(filters: GroupFilterSet, rows: MemoryQuerySet, number: int) -> list[dict[str, Any]]:
    """The first `number` keys of groups, each with how many values and memories it has."""
    matches = Case(When(filters.matching, then=True), default=False) if filters.matching else Value(True)
    keyed, params = rows.in_order(filters.columns, *filters.columns, "content_sha256", matches=matches)
    columns = ", ".join(filters.columns)
    return fetched(_COUNTED.format(columns=columns, rows=keyed), [*params, filters.min_values, number])


def _told(filters: GroupFilterSet, counted: Sequence[Mapping[str, Any]]) -> Iterator[Group]:
    """The groups of these keys with their newest members."""
    if not counted:
        return
    of_key = filters.rows.filter(**{name: OfKey(name=name) for name in filters.columns})
    part, params = compiled(of_key.order_by(*NEWEST_FIRST).values(*_FIELDS, "content_sha256")[:MOST_MEMBERS])
    names = ", ".join(filters.columns)
    lists = ", ".join(["%s::varchar[]"] * len(filters.columns))
    sql = _MEMBERS.format(names=names, lists=lists, part=part)
    wanted = [[row[name] for row in counted] for name in filters.columns]
    members: dict[int, list[dict[str, Any]]] = {}
    for row in fetched(sql, [*wanted, *params]):
        members.setdefault(row.pop("place"), []).append(row)
    for place, told in enumerate(counted, 1):
        yield Group(
            key=tuple(told[name] for name in filters.columns),
            values=_values(members.get(place, [])),
            value_count=told["value_count"],
            memory_count=told["memory_count"],
        )


def _values(members: Iterable[dict[str, Any]]) -> list[Support]:
    by_content: dict[bytes, list[dict[str, Any]]] = {}
    for member in members:
        by_content.setdefault(bytes(member.pop("content_sha256")), []).append(member)
    return [Support(content=same[0]["content"], memories=same) for same in by_content.values()]


def _value(support: Support) -> detector.Value:
    newest = support.memories[0]
    told = ("content", "timestamp", "actor_type", "actor_id", "source", "collection")
    return detector.Value(**{name: newest[name] for name in told})


def _beyond(filters: GroupFilterSet, key: Key) -> BeyondKey:
    return BeyondKey(*map(Value, key), columns=", ".join(filters.columns))


def _read(unsign: Callable[[str], str], cursor: str) -> Key:
    try:
        return keys.read(unsign(cursor))
    except (BadSignature, ValueError):
        raise bad_cursor() from None


# The rows come in the order of their keys, so that PostgreSQL stops at the last group that is wanted.
_COUNTED = """
SELECT {columns}, count(DISTINCT content_sha256) AS value_count, count(*) AS memory_count
FROM ({rows}) AS keyed
GROUP BY {columns}
HAVING count(DISTINCT content_sha256) >= %s AND bool_or(matches)
ORDER BY {columns}
LIMIT %s
"""
_MEMBERS = """
SELECT keys.place::integer, member.*
FROM unnest({lists}) WITH ORDINALITY AS keys({names}, place) CROSS JOIN LATERAL ({part}) AS member
ORDER BY keys.place, member.timestamp DESC, member.memory_id DESC
"""
