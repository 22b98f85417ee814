"""The SQL behind groups: which keys have one, what it is decided by, and its newest members.

Groups that are open are found along the index of memories in force, where the contents of a key stand together; those
that are decided along the one of decisions. Both come in the order of keys, so that PostgreSQL stops at the last one
that is wanted.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import comb
from typing import TYPE_CHECKING, Any, Literal, Protocol
from uuid import UUID

from django.db.models import BooleanField, Case, Exists, F, Field, Func, OuterRef, Q, Value, When
from pgvector.django import VectorField

from memoryhub.conflicts import detector, kept, method
from memoryhub.conflicts.detector import Class
from memoryhub.conflicts.keys import Key
from memoryhub.conflicts.querysets import DecisionQuerySet
from memoryhub.memories.querysets import compiled, fetched

if TYPE_CHECKING:
    from memoryhub.conflicts.groups import GroupFilterSet

Status = Literal["open", "decided"]
MOST_LISTED = 20
"""Of a group in a list so many memories are told, of each value the newest first; it says how many there are."""
_FIELDS = (
    "memory_id", "payload_id", "version", "source", "actor_type", "actor_id", "namespace", "content", "timestamp",
    "recorded_at", "classification_tier", "sensitivity_labels", "subject", "collection", "status",
)  # fmt: skip
_STANDING = ("memory_id", "version", "content_sha256", "status")
Sql = tuple[str, list[Any]]


class OfKey(Func):
    """A column of the keys that are asked about."""

    output_field = Field()
    template = "keys.%(name)s"


class AfterKey(Func):
    """Whether a row's key comes after another."""

    output_field = BooleanField()
    template = "(%(columns)s) > (%(expressions)s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """One content, and the memories that say it: the newest first."""

    content: str
    memories: list[dict[str, Any]]

    @property
    def value(self) -> detector.Value:
        told = ("content", "timestamp", "actor_type", "actor_id", "source", "collection", "embedding")
        return detector.Value(**{name: self.memories[0][name] for name in told})


class Keyed(Protocol):
    """A group, however much is known of it."""

    @property
    def key(self) -> Key: ...
    @property
    def status(self) -> Status: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What is known of a group before its members are read."""

    key: Key
    status: Status
    value_count: int
    memory_count: int
    evidence: str
    basis: bytes
    """The hash of all members, those that were retired included: what the class is kept under."""
    decision_id: UUID | None
    klass: Class | None

    @property
    def pairs(self) -> int:
        return comb(min(self.value_count, detector.MOST_VALUES), 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Questions about the groups of keys of these columns that a filter asks for."""

    filters: "GroupFilterSet"
    columns: tuple[str, ...]

    def after(self, key: Key | None, number: int) -> list[Listed]:
        """The first `number` groups after a key, or from the beginning."""
        after = Q() if key is None else Q(AfterKey(*map(Value, key), columns=self._names))
        return self._listed(after, number, self.filters.standing)

    def of(self, key: Key) -> list[Listed]:
        """The group of a key, open or decided, if there is one."""
        return self._listed(Q(**dict(zip(self.columns, key, strict=True))), 1, "all")

    def classified(self, found: Sequence[Listed], *, most: int | None = None) -> list[Listed]:
        """The same with their classes: those that are not known are computed, and kept.

        With `most`, up to where they have so many pairs, but one group at least: known or not, so that nobody can tell
        from where a list ends what others have looked at.
        """
        known = list(found if most is None else found[: _affordable(found, most // method.current().cost)])
        unknown = [each for each in known if each.klass is None]
        if not unknown:
            return known
        supports = self.supports(unknown, MOST_LISTED, embedded=True)
        new = {
            each.basis: detector.group_verdict(support.value for support in values)
            for each, values in zip(unknown, supports, strict=True)
        }
        kept.keep(new)
        return [each if each.klass else replace(each, klass=new[each.basis].klass) for each in known]

    def supports(self, found: Sequence[Keyed], most: int, *, embedded: bool) -> list[list[Support]]:
        """The values of each group, the one that was said last first, with the newest `most` memories in all.

        If they are `embedded`, the first memory of a value comes with its embedding: it speaks for it in comparisons.
        """
        if not found:
            return []
        decided = any(each.status == "decided" for each in found)
        vector = F("embedding") if embedded else Value(None, VectorField())
        part, params = self._members(*_FIELDS, "content_sha256", "value_sha256", retired=decided, vector=vector)
        lists = ", ".join(["%s::varchar[]"] * (len(self.columns) + 1))
        told = ", ".join(f"member.{name}" for name in (*_FIELDS, "content_sha256"))
        sql = _SUPPORTS.format(names=self._names, lists=lists, part=part, told=told)
        wanted = [list(column) for column in zip(*((*each.key, each.status) for each in found), strict=True)]
        members: dict[int, list[dict[str, Any]]] = {}
        for row in fetched(sql, [*wanted, *params, most]):
            members.setdefault(row.pop("place"), []).append(row)
        return [_values(members.get(place, [])) for place in range(1, len(found) + 1)]

    @property
    def _names(self) -> str:
        return ", ".join(self.columns)

    @property
    def _of_key(self) -> dict[str, OfKey]:
        return {name: OfKey(name=name) for name in self.columns}

    @property
    def _decisions(self) -> DecisionQuerySet:
        """Decisions about groups of such keys. One about all namespaces says nothing of a group in one of them."""
        return self.filters.decisions.filter(namespace__isnull="namespace" not in self.columns)

    @property
    def _about(self) -> DecisionQuerySet:
        return self._decisions.filter(**self._of_key)

    @property
    def _told(self) -> Sql:
        """Whether one of the decisions about a key settles all `hashes`, and which one is the newest."""
        settles = Case(When(settled__contains=OfKey(name="hashes"), then=True), default=False)
        about, params = compiled(self._about.values("id", "decision_id", settles=settles))
        return _TOLD.format(about=about), params

    @property
    def _matches(self) -> Any:
        matching = self.filters.matching
        return Case(When(matching, then=True), default=False) if matching else Value(True)

    def _listed(self, of_key: Q, number: int, status: str) -> list[Listed]:
        parts = [self._held(of_key, number, status)] if status != "decided" else []
        parts += [self._decided(of_key, number)] if status != "open" else []
        members, of_members = self._members(*_STANDING, retired=status != "open")
        sql = _LISTED.format(
            columns=self._names, parts=" UNION ".join(f"({part})" for part, _ in parts), members=members
        )
        params = [param for _, params in parts for param in params]
        rows = fetched(sql, [*params, number, *of_members, method.current().version])
        return [Listed(key=tuple(row.pop(name) for name in self.columns), **row) for row in rows]

    def _held(self, of_key: Q, number: int, status: str) -> Sql:
        """Groups of memories in force: those that are open, or all."""
        rows = self.filters.rows.filter(of_key)
        keyed, params = rows.in_order(self.columns, *self.columns, "content_sha256", matches=self._matches)
        told, of_told = self._told
        sql = _HELD.format(columns=self._names, rows=keyed, told=told)
        return sql, [*params, self.filters.min_values, *of_told, status, number]

    def _decided(self, of_key: Q, number: int) -> Sql:
        """Groups that decisions were made on, and that are not open."""
        decided = self._decisions.filter(self.filters.of_keys, of_key).order_by(*self.columns).values(*self.columns)
        about, params = compiled(decided.distinct())
        members, of_members = self._members("content_sha256", "status", retired=True, matches=self._matches)
        told, of_told = self._told
        sql = _DECIDED.format(columns=self._names, about=about, members=members, told=told)
        return sql, [*params, *of_members, *of_told, self.filters.min_values, number]

    def _members(self, *names: str, retired: bool, **computed: Any) -> Sql:
        """The memories of `keys`: those in force and, where the group is decided, those that its decisions retired."""
        in_force, params = compiled(self.filters.rows.filter(**self._of_key).values(*names, **computed))
        if not retired:
            return in_force, params
        retiring = self._about.filter(decision_id=OuterRef("decision"))
        others = self.filters.retired.filter(Exists(retiring), **self._of_key)
        sql, more = compiled(others.values(*names, **computed))
        return _MEMBERS.format(in_force=in_force, retired=sql), [*params, *more]


def _affordable(found: Sequence[Listed], most: int) -> int:
    return max(bisect_right(list(accumulate(each.pairs for each in found)), most), 1)


def _values(members: Iterable[Mapping[str, Any]]) -> list[Support]:
    by_content: dict[bytes, list[dict[str, Any]]] = {}
    for member in members:
        told = {name: member[name] for name in (*_FIELDS, "embedding")}
        by_content.setdefault(bytes(member["content_sha256"]), []).append(told)
    return [Support(content=same[0]["content"], memories=same) for same in by_content.values()]


_TOLD = """
SELECT coalesce(bool_or(settles), false) AS is_settled, (array_agg(decision_id ORDER BY id DESC))[1] AS decision_id
FROM ({about}) AS about
"""
_HELD = """
SELECT {columns}, CASE WHEN is_settled THEN 'decided' ELSE 'open' END AS status, decision_id
FROM (
    SELECT {columns}, array_agg(DISTINCT content_sha256) AS hashes FROM ({rows}) AS keyed
    GROUP BY {columns}
    HAVING count(DISTINCT content_sha256) >= %s AND bool_or(matches)
    ORDER BY {columns}
) AS keys CROSS JOIN LATERAL ({told}) AS told
WHERE NOT is_settled OR %s = 'all'
ORDER BY {columns}
LIMIT %s
"""
# So many of either are enough: what both tell of is the same, and what neither tells comes after all of them.
_DECIDED = """
SELECT {columns}, status, decision_id
FROM (
    SELECT keys.*, found.*
    FROM (SELECT *, 'decided' AS status FROM ({about}) AS about) AS keys
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(DISTINCT content_sha256) FILTER (WHERE status = 'active'), '{{}}') AS hashes,
               count(DISTINCT content_sha256) AS value_count, bool_or(matches) AS matches
        FROM ({members}) AS member
    ) AS found
) AS keys CROSS JOIN LATERAL ({told}) AS told
WHERE value_count >= %s AND matches AND (cardinality(hashes) < 2 OR is_settled)
ORDER BY {columns}
LIMIT %s
"""
_MEMBERS = "({in_force}) UNION ALL (SELECT * FROM ({retired}) AS retired WHERE keys.status = 'decided')"
_LISTED = """
WITH listed AS MATERIALIZED (SELECT * FROM ({parts}) AS parts ORDER BY {columns} LIMIT %s)
SELECT keys.*, told.value_count, told.memory_count, told.basis, told.evidence, kept.klass
FROM listed AS keys
CROSS JOIN LATERAL (
    SELECT count(DISTINCT content_sha256) AS value_count, count(*) AS memory_count,
           sha256(convert_to(string_agg(memory_id || ':' || version, ',' ORDER BY memory_id), 'UTF8')) AS basis,
           encode(sha256(convert_to(coalesce(string_agg(memory_id || ':' || version, ',' ORDER BY memory_id)
               FILTER (WHERE status = 'active'), ''), 'UTF8')), 'hex') AS evidence
    FROM ({members}) AS member
) AS told
LEFT JOIN conflict_classes AS kept ON kept.evidence = told.basis AND kept.version = %s
ORDER BY {columns}
"""
# The first memory of a value speaks for it where values are compared. One of each value comes before other spellings:
# many spellings of one value leave no other value out.
_SUPPORTS = """
SELECT keys.place::integer, {told}, CASE WHEN rank = 1 THEN member.vector::real[] END AS embedding
FROM unnest({lists}) WITH ORDINALITY AS keys({names}, status, place)
CROSS JOIN LATERAL (
    SELECT * FROM (
        SELECT *, row_number() OVER (PARTITION BY content_sha256 ORDER BY "timestamp" DESC, memory_id DESC) AS rank,
               row_number() OVER (PARTITION BY value_sha256 ORDER BY "timestamp" DESC, memory_id DESC) AS spelling
        FROM ({part}) AS said
    ) AS ranked
    ORDER BY spelling > 1, rank, "timestamp" DESC, memory_id DESC
    LIMIT %s
) AS member
ORDER BY keys.place, member.timestamp DESC, member.memory_id DESC
"""
