"""Which memories differ between two instants, asked of the database in the order of their changes.

A change has two ends, `b` before and `a` after. One of them is found in the order of an index, up to as many as are
wanted; the other is looked up for each. Both are what the caller may see, so hidden rows are no end of anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import BooleanField, DateTimeField, F, Field, Func, Q, UUIDField, Value
from django.db.models.functions import Coalesce

from memoryhub.memories.querysets import (
    ACTIVE,
    ANY_TIER,
    BY_ID,
    LOOKED_UP,
    SAID,
    Among,
    MemoryQuerySet,
    OfPart,
    Sought,
    Supersedes,
    compiled,
    fetched,
)
from memoryhub.memories.records import ENVELOPE, RECORD
from memoryhub.memories.substring import RARE_LABELS, RARE_TEXT, SAMPLE

KINDS = ("added", "gone", "changed", "relabelled", "resolved", "retired", "quarantined", "restored", "erased")
CAP = 20_000
"""The newest changes that are counted."""
TOP = 20
STEP, GROWTH = 2, 8
"""How many rows are looked at first for each change that is wanted, and how many times as many after that."""

LABELS = ("classification_tier", "sensitivity_labels")
# The last tells where values came from, which is none of them.
_BESIDES = ("kind", "pinned", "expires_at", "propagation", "defaulted")
SHOWN = (*RECORD, *_BESIDES)
"""What is shown of either end. A difference in it is a change, but for what a version has of its own."""
_COMPARED = (*(name for name in ENVELOPE if name != "content"), "status", *_BESIDES[:-1])
_COLUMNS = (
    "id",
    "memory_id",
    "version",
    "recorded_at",
    "said_at",
    "said_id",
    "superseded_at",
    "content_sha256",
    "decision",
    *_COMPARED,
)
# As texts: jsonb takes 1 and 1.0 for the same number, and who reads them does not.
_AS_TEXT = {"metadata", "propagation"}

Place = tuple[datetime, Any]
"""(at, memory_id) of a change: the order of every list of them, the newest first."""


class Of(Func):
    """A column of the end that was found already."""

    output_field: Any = Field()
    template = "%(end)s.%(name)s"


class HasEarlier(Func):
    """Whether there can be a version before the one after."""

    output_field = BooleanField()
    template = "a.version > 1"


class IsEnd(Func):
    """Whether a row is one of the two ends."""

    output_field = BooleanField()
    template = "%(expressions)s = ANY (ARRAY[a.id, b.id])"


class Lies(Func):
    """Whether a row lies beyond a place in a list of changes ("<"), or is up to it (">=")."""

    output_field = BooleanField()
    template = "(%(at)s, memory_id) %(sign)s (%(expressions)s)"


class Floor(Func):
    """Where counting ends: at the last change of as many as are counted."""

    output_field = DateTimeField()
    template = "(SELECT at FROM floor)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Versions that may be one end, and where the other end of each is."""

    end: str
    """"a" if they are what was after, "b" if they were before and nothing came after."""
    ways: Sequence[tuple[MemoryQuerySet, str]]
    """Rows, and the column that says when their change was."""
    other: MemoryQuerySet
    rivals: MemoryQuerySet | None = None
    """What must not be there: a later value of the same key."""
    is_of_events: bool = False

    @property
    def forks(self) -> Sequence[bool | None]:
        """What was foretold stands in a stretch of the index of its own."""
        return (False, True) if self.is_of_events else (None,)

    def between(self, floor: Any, before: Place | None, last: Place | None = None) -> list[MemoryQuerySet]:
        """The rows of a stretch, each with its `at`: from `floor` or `last` to the one before `before`."""
        found = []
        for way, at in self.ways:
            rows = way if floor is None else way.filter(**{f"{at}__gte": floor})
            for place, sign, bound in ((before, "<", "lte"), (last, ">=", "gte")):
                if place:
                    ends = Value(place[0], DateTimeField()), Value(place[1], UUIDField())
                    rows = rows.filter(Lies(*ends, at=at, sign=sign), **{f"{at}__{bound}": place[0]})
            found.append(rows.annotate(at=F(at)))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What differs between two instants, as far as `matched` finds either end, and `kind` is one of its kinds."""

    sides: Sequence[Side]
    """The first is walked first: the others only as far back as what it has."""
    tiers: Sequence[str]
    since: datetime
    matched: MemoryQuerySet | None = None
    kind: str = ""

    def newest(self, number: int, before: Place | None = None) -> list[dict[str, Any]]:
        """The newest `number` changes, or those before a place: which versions, when, of what kinds, in what fields."""
        found: list[dict[str, Any]] = []
        for side in self._possible:
            floor = found[-1]["at"] if len(found) == number else None
            found = _newest_first([*found, *self._walk(side, number, before, floor)])[:number]
        return found

    def counted(self) -> tuple[bool, dict[str, list[tuple[str, int]]]]:
        """Whether only the newest are counted; and how many changes there are, of each kind, subject and source."""
        first, *others = self._possible
        rows, params = self._capped(first, None)
        ends, ends_params = self._told(first, "SELECT * FROM newest", [])
        asked = [*params, CAP, self.since, *ends_params]
        parts = [ends]
        for side in others:
            ends, ends_params = self._told(side, *self._capped(side, Floor()))
            parts.append(ends)
            asked += ends_params
        sql = _COUNTS.format(rows=rows, changes=" UNION ALL ".join(f"({part})" for part in parts))
        counts: dict[str, list[tuple[str, int]]] = {"total": [], "kinds": [], "subjects": [], "sources": []}
        is_capped = False
        for row in fetched(sql, [*asked, CAP, CAP, TOP]):
            counts[row["dimension"]].append((row["value"], int(row["number"])))
            is_capped = row["capped"]
        return is_capped, counts

    @property
    def _possible(self) -> Sequence[Side]:
        """The sides on which a change can be of the kind that is asked for."""
        return [side for side in self.sides if not self.kind or (side.end == "b") == (self.kind == "gone")]

    def _walk(self, side: Side, number: int, before: Place | None, floor: datetime | None) -> list[dict[str, Any]]:
        """Stretch after stretch, each longer than the one before, until there are as many as are wanted."""
        found: list[dict[str, Any]] = []
        step = number * STEP
        while len(found) < number:
            last = self._last_of(side, step, before, floor)
            sql, asked = self._told(side, *_together(side.between(floor, before, last)))
            found += fetched(_PAGE.format(changes=sql), [*asked, number - len(found)])
            if last is None:
                break
            before, step = last, step * GROWTH
        return found

    def _last_of(self, side: Side, step: int, before: Place | None, floor: datetime | None) -> Place | None:
        """Where a stretch of `step` rows ends; None if there are no more than that. Each tier is read in its order."""
        turns = [(tier, fork) for tier in self.tiers for fork in side.forks]
        parts: list[str] = []
        asked: list[Any] = []
        for rows in side.between(floor, before):
            part = rows.filter(classification_tier=OfPart(name="tier")).order_by("-at", "-memory_id")
            part = part.filter(foretold=OfPart(name="foretold")) if side.is_of_events else part
            sql, params = compiled(part.values("at", "memory_id")[:step])
            parts.append(_IN_TURN.format(part=sql))
            asked += [[tier for tier, _ in turns], [fork for _, fork in turns], *params]
        found = fetched(_LAST.format(parts=" UNION ALL ".join(parts)), [*asked, step - 1])
        return (found[0]["at"], found[0]["memory_id"]) if found else None

    def _capped(self, side: Side, floor: Any) -> tuple[str, list[Any]]:
        """The newest rows, as many as are counted: merged, so that not as many are read of each tier."""
        parts: list[str] = []
        asked: list[Any] = []
        for rows in side.between(floor, None):
            for fork in side.forks:
                stretch = rows if fork is None else rows.filter(foretold=fork)
                newest = stretch.filter(classification_tier=ANY_TIER).order_by("-at", "-memory_id")[:CAP]
                sql, params = compiled(newest.values(*_COLUMNS, "at"))
                for tier in self.tiers or [""]:
                    parts.append(f"({sql})")
                    asked += [tier if param == ANY_TIER else param for param in params]
        return _MERGED.format(parts=" UNION ALL ".join(parts), number=CAP), asked

    def _told(self, side: Side, rows: str, params: Sequence[Any]) -> tuple[str, list[Any]]:
        """The changes that begin or end with `rows`."""
        other, other_params = self._other(side)
        asked = [*params, *other_params]
        conditions = ["cardinality(kinds) > 0"]
        if side.end == "b":
            conditions.append("a.id IS NULL")
        if side.rivals is not None:
            rivals, rivals_params = compiled(side.rivals.values("id")[:1])
            conditions.append(f"({rivals}) IS NULL")
            asked += rivals_params
        if self.matched is not None:
            matched, matched_params = compiled(self.matched.filter(IsEnd(F("id"))).values("id"))
            conditions.append(f"EXISTS ({matched})")
            asked += matched_params
        if self.kind:
            conditions.append("%s = ANY (kinds)")
            asked.append(self.kind)
        sql = _TOLD.format(
            rows=rows,
            found=side.end,
            looked_up="b" if side.end == "a" else "a",
            other=other,
            fields=_FIELDS,
            kinds=_OF_EVENTS if side.is_of_events else _OF_VERSIONS,
            conditions=" AND ".join(conditions),
        )
        return sql, asked

    def _other(self, side: Side) -> tuple[str, list[Any]]:
        if not side.is_of_events:
            return compiled(side.other.values(*_COLUMNS)[:1])
        # The latest of each tier, and of these the latest: a key may have had many values.
        order = [F("timestamp").desc(), *(Coalesce(*pair).desc() for pair in SAID.items())]
        part = side.other.filter(classification_tier=Of(end="kin", name="tier")).order_by(*order)
        sql, params = compiled(part.values(*_COLUMNS)[:1])
        return _LATEST.format(part=sql), [list(self.tiers), *params]


def of_versions(seen: MemoryQuerySet, since: datetime, until: datetime, among: Q) -> list[Side]:
    """What is in force at `until` and was not at `since`, and what was in force at `since` and is so no more."""
    after, before = (seen.known_at(instant).judged_at(instant).without_expired() for instant in (until, since))
    ended = before.filter(among, superseded_at__gt=since, superseded_at__lte=until)
    expired = before.filter(among, status=ACTIVE, expires_at__gt=since, expires_at__lte=until)
    return [
        Side(
            end="a",
            ways=[(after.filter(LOOKED_UP, among, recorded_at__gt=since), "recorded_at")],
            other=before.with_id(Of(end="a", name="memory_id")).filter(HasEarlier()),
        ),
        Side(
            end="b",
            ways=[
                (ended, "superseded_at"),
                (expired.filter(superseded_at__isnull=True), "expires_at"),
                # It outlived its time, and was replaced afterwards.
                (expired.filter(superseded_at__gt=until), "expires_at"),
            ],
            other=after.with_id(Of(end="b", name="memory_id")),
        ),
    ]


def of_events(known: MemoryQuerySet, since: datetime, until: datetime) -> list[Side]:
    """What is believed at `until` of what happened after `since`. What is said of no subject has no rival."""
    same_key = known.exclude(subject="").filter(**{name: Of(end="a", name=name) for name in ("subject", "collection")})
    told = [Coalesce(*(Of(end="a", name=name) for name in pair), output_field=Field()) for pair in SAID.items()]
    later = Supersedes(Of(end="a", name="at"), *told)
    return [
        Side(
            end="a",
            ways=[(known.filter(timestamp__gt=since, timestamp__lte=until), "timestamp")],
            other=same_key.filter(timestamp__lte=since),
            rivals=same_key.filter(later, timestamp__gte=Of(end="a", name="at"), timestamp__lte=until),
            is_of_events=True,
        )
    ]


def among(seen: MemoryQuerySet, subject: str, sought: Sought) -> Q:
    """The memories of which a version has what few have; all, where what is asked for is no narrow way to them."""
    found = Q()
    if subject:
        found &= BY_ID & Q(Among(F("memory_id"), ArraySubquery(seen.filter(subject=subject).values("memory_id"))))
    if sought and (sought.has_grams or not sought.text) and _is_rare(seen, sought):
        looked_up = seen.looked_up(sought).at_once()
        found &= BY_ID & Q(Among(F("memory_id"), ArraySubquery(looked_up.values("memory_id"))))
    return found


def _is_rare(seen: MemoryQuerySet, sought: Sought) -> bool:
    sample = seen.current().sampled(sought, SAMPLE)
    return sum(hit for _, _, hit in sample) <= (RARE_TEXT if sought.text else RARE_LABELS)


def _together(ways: Sequence[MemoryQuerySet]) -> tuple[str, list[Any]]:
    asked = [compiled(rows.values(*_COLUMNS, "at")) for rows in ways]
    return " UNION ALL ".join(sql for sql, _ in asked), [param for _, params in asked for param in params]


def _newest_first(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda row: (row["at"], row["memory_id"]), reverse=True)


_IN_TURN = """
SELECT part.* FROM unnest(%s::varchar[], %s::boolean[]) AS parts(tier, foretold) CROSS JOIN LATERAL ({part}) AS part
"""
_LATEST = """
SELECT part.* FROM unnest(%s::varchar[]) AS kin(tier) CROSS JOIN LATERAL ({part}) AS part
ORDER BY timestamp DESC, coalesce(said_at, recorded_at) DESC, coalesce(said_id, id) DESC
LIMIT 1
"""
_LAST = "SELECT * FROM ({parts}) AS found ORDER BY at DESC, memory_id DESC LIMIT 1 OFFSET %s"
_PAGE = "SELECT * FROM ({changes}) AS change ORDER BY at DESC, memory_id DESC LIMIT %s"
_MERGED = "SELECT * FROM ({parts}) AS part ORDER BY at DESC, memory_id DESC LIMIT {number:d}"
_FIELDS = ", ".join(
    f"CASE WHEN a.{name}{cast} IS DISTINCT FROM b.{name}{cast} THEN '{field}' END"
    for field, name, cast in (
        ("content", "content_sha256", ""),
        *((name, name, "::text" if name in _AS_TEXT else "") for name in _COMPARED),
    )
)
_ENDS = "CASE WHEN b.id IS NULL THEN 'added' END, CASE WHEN a.id IS NULL THEN 'gone' END"
_LABELLED = "CASE WHEN fields && ARRAY['classification_tier', 'sensitivity_labels'] THEN 'relabelled' END"
_OF_EVENTS = f"{_ENDS}, CASE WHEN a.id <> b.id THEN 'changed' END, {_LABELLED}"
_OF_VERSIONS = f"""
    {_ENDS},
    CASE WHEN NOT fields <@ ARRAY['classification_tier', 'sensitivity_labels', 'status'] THEN 'changed' END,
    {_LABELLED},
    CASE WHEN a.decision IS DISTINCT FROM b.decision AND a.decision IS NOT NULL THEN 'resolved' END,
    CASE WHEN a.status <> b.status AND a.status = 'retired' THEN 'retired' END,
    CASE WHEN a.status <> b.status AND a.status = 'quarantined' THEN 'quarantined' END,
    CASE WHEN a.status <> b.status AND a.status = 'active' THEN 'restored' END,
    CASE WHEN a.id <> b.id AND a.status = 'erased' AND a.superseded_at IS NULL THEN 'erased' END
"""
# Each OFFSET 0 keeps a subquery one: what it computes is computed once, and what it looks up is looked up row by row.
_TOLD = """
SELECT {found}.at, {found}.memory_id,
       CASE WHEN a.id IS NULL THEN b.subject ELSE a.subject END AS subject,
       CASE WHEN a.id IS NULL THEN b.collection ELSE a.collection END AS collection,
       CASE WHEN a.id IS NULL THEN b.source ELSE a.source END AS source,
       kinds, fields, a.id AS after_id, b.id AS before_id
FROM ({rows}) AS {found}
LEFT JOIN LATERAL ({other}) AS {looked_up} ON true
CROSS JOIN LATERAL (
    SELECT CASE WHEN a.id IS NULL OR b.id IS NULL THEN ARRAY[]::text[] ELSE array_remove(ARRAY[{fields}], NULL) END
           AS fields
    OFFSET 0
) AS told
CROSS JOIN LATERAL (SELECT array_remove(ARRAY[{kinds}], NULL) AS kinds OFFSET 0) AS named
WHERE {conditions}
"""
_COUNTS = """
WITH newest AS MATERIALIZED ({rows}),
floor AS MATERIALIZED (SELECT CASE WHEN count(*) >= %s THEN min(at) ELSE %s END AS at FROM newest),
changes AS MATERIALIZED ({changes}),
grouped AS (
    SELECT CASE GROUPING(subject, source) WHEN 1 THEN 'subjects' WHEN 2 THEN 'sources' ELSE 'total' END AS dimension,
           coalesce(subject, source, '') AS value, count(*) AS number
    FROM changes
    GROUP BY GROUPING SETS ((subject), (source), ())
    UNION ALL
    SELECT 'kinds', kind, count(*) FROM changes, unnest(kinds) AS kind GROUP BY kind
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY dimension ORDER BY number DESC, value COLLATE "C") AS place FROM grouped
)
SELECT dimension, value, number,
       (SELECT count(*) FROM newest) >= %s OR (SELECT count(*) FROM changes) >= %s AS capped
FROM ranked
WHERE place <= %s
ORDER BY dimension, place
"""
