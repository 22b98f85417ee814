"""What differs between two instants: of record time, in what the hub knew; of event time, in what was believed."""

import base64
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, ClassVar
from uuid import UUID

from django.core.signing import BadSignature, Signer
from django.http import QueryDict

from memoryhub.firewall.cursors import signer_of
from memoryhub.firewall.types import Clearance, Principal
from memoryhub.memories import clock, pages
from memoryhub.memories.facets import FacetValue
from memoryhub.memories.filters import BadQuery, InstantFilter, MemoryFilterSet, choice_filter
from memoryhub.memories.moment import Moment
from memoryhub.memories.querysets import ACTIVE, END_OF_TIME, MemoryQuerySet
from memoryhub.memories.records import Record, for_people, stored
from memoryhub.memories.suspicion import masked
from memoryhub.timetravel import text
from memoryhub.timetravel.changes import KINDS, SHOWN, Changes, Place, among, of_events, of_versions

AXES = ("known", "event")
PARAMETERS = pages.PARAMETERS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_KEY = struct.Struct(">qqq16s")
WORDS_OF_A_PAGE = 16_000
"""Of all texts of a page so many words, at most, are compared one by one."""


class DiffFilterSet(MemoryFilterSet):
    """Between which instants, on which axis; and the filters of the list, which either end of a change may match."""

    listed = "diff"
    instants: ClassVar[frozenset[str]] = frozenset({"since", "until", "known_at"})

    as_of: Any = None
    since = InstantFilter(method="leave_to_moment")
    until = InstantFilter(method="leave_to_moment")
    axis = choice_filter(lambda: AXES, method="leave_to_moment")
    change = choice_filter(lambda: KINDS, method="leave_to_moment")

    def __init__(self, data: QueryDict, *, clearance: Clearance, besides: tuple[str, ...] = PARAMETERS) -> None:
        needed = BadQuery({"since": ["is needed here: the earlier of the two instants."]}, "missing_parameter")
        if data.get("since") == "":
            raise needed
        super().__init__(data, clearance=clearance, besides=besides)
        if "since" not in self.values:
            raise needed
        if self.values.get("until", END_OF_TIME) < self.values["since"]:
            raise BadQuery({"until": ["must not be earlier than since."]})
        if not self.is_of_events and "known_at" in self.values:
            raise BadQuery({"known_at": ["can be given with axis=event alone: here since and until say it."]})

    def filter_status(self, queryset: MemoryQuerySet, name: str, status: str) -> MemoryQuerySet:
        """In what the hub knew, what has expired by the later end was active at the earlier one."""
        if status == ACTIVE and not self.is_of_events:
            return queryset.filter(status=ACTIVE)
        return super().filter_status(queryset, name, status)

    @property
    def is_of_events(self) -> bool:
        return bool(self.values.get("axis") == "event")

    @property
    def narrowed(self) -> dict[str, Any]:
        """The filters that the list has, too."""
        return {name: value for name, value in self.values.items() if name not in _OWN}


_OWN = {"since", "until", "axis", "change", "known_at"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One memory, or of event time one key, as it was before and as it is after: None if it was not, or is no more."""

    memory_id: UUID
    kinds: list[str]
    at: datetime
    before: Record | None
    after: Record | None
    fields: list[str]
    """The names of what differs between both ends."""

    @property
    def end(self) -> Record:
        """What is after; what was before, if there is nothing after."""
        return self.after or self.before or {}

    def for_people(self) -> "Change":
        before, after = (end and for_people(end) for end in (self.before, self.after))
        return replace(self, before=before, after=after)

    def pieces(self, *, most: int = text.MOST_TOKENS) -> list[text.Piece] | None:
        """What was changed in the content, word by word; None if it is the same, or one end is missing."""
        if "content" not in self.fields or not self.before or not self.after:
            return None
        return text.changed(self.before["content"], self.after["content"], most=most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many changes there are, and how many of each kind; of the subjects and sources those that have the most."""

    total: int
    capped: bool
    """Whether more changed than was counted: then every number speaks of the newest changes."""
    kinds: dict[str, int]
    subjects: list[FacetValue]
    sources: list[FacetValue]

    def for_people(self) -> "Counts":
        subjects, sources = (
            [one for one in held if masked(one.value) == one.value] for held in (self.subjects, self.sources)
        )
        return replace(self, subjects=subjects, sources=sources)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A diff, with instants of which the answer stays as it is."""

    filters: DiffFilterSet
    since: datetime
    until: datetime
    known_at: datetime
    """Until when what is told of events was known; of record time that is `until`."""

    @classmethod
    def asked(cls, filters: DiffFilterSet, pinned: tuple[datetime, datetime] | None = None) -> "Question":
        """`pinned` are `until` and `known_at` as they were when the question was first asked."""
        wanted = filters.values.get("until", END_OF_TIME)
        if pinned:
            until, known_at = pinned
        elif filters.is_of_events:
            known_at = filters.moment.known_at or clock.settle()
            until = min(wanted, clock.now())
        else:
            until = known_at = clock.settle(wanted)
        return cls(filters=filters, since=min(filters.values["since"], until), until=until, known_at=known_at)

    @property
    def moment(self) -> Moment:
        """When the later end is looked at, and what lay in the future when it was asked for."""
        held = {"since": self.since, "until": self.until, "known_at": self.known_at}
        clipped = tuple(name for name, instant in held.items() if self.filters.values.get(name, instant) > instant)
        return Moment(known_at=self.known_at, clipped=clipped)

    def newest(self, number: int, before: Place | None = None) -> list[Change]:
        """The newest `number` changes, or those before a place, by (at, memory_id)."""
        found = self._changes.newest(number, before)
        ids = {row[end] for row in found for end in ("before_id", "after_id") if row[end]}
        ends = {end.pop("id"): end for end in stored(self.filters.seen.filter(id__in=ids), (*SHOWN, "id"))}
        return [
            Change(
                memory_id=row["memory_id"],
                kinds=row["kinds"],
                at=row["at"],
                before=ends.get(row["before_id"]),
                after=ends.get(row["after_id"]),
                fields=row["fields"],
            )
            for row in found
        ]

    def every(self) -> Iterator[Change]:
        """All changes, the newest first."""
        place = None
        while page := self.newest(pages.MAX_LIMIT, place):
            yield from page
            place = (page[-1].at, page[-1].memory_id)

    def counts(self) -> Counts:
        capped, counted = self._changes.counted()
        kinds = dict(counted["kinds"])
        return Counts(
            total=sum(number for _, number in counted["total"]),
            capped=capped,
            kinds={kind: kinds[kind] for kind in KINDS if kind in kinds},
            subjects=[FacetValue(*one) for one in counted["subjects"]],
            sources=[FacetValue(*one) for one in counted["sources"]],
        )

    @cached_property
    def _changes(self) -> Changes:
        filters = self.filters
        seen, sought = filters.seen, filters.sought
        matched: MemoryQuerySet | None = None
        if filters.is_of_events:
            known = filters.filter_queryset(seen.known_at(self.known_at).judged_at(self.known_at))
            known = known if "status" in filters.values else known.active()
            sides = of_events(known, self.since, self.until)
            matched = seen.read_for(sought) if sought else None
        else:
            looked_up = among(seen, filters.values.get("subject", ""), sought)
            sides = of_versions(seen, self.since, self.until, looked_up)
            matched = filters.filter_queryset(seen.judged_at(self.until)).read_for(sought) if filters.narrowed else None
        kind = filters.values.get("change", "")
        return Changes(sides=sides, tiers=seen.tiers, since=self.since, matched=matched, kind=kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """A page of a diff, with the counts of all of it."""

    question: Question
    changes: list[Change]
    next_cursor: str | None
    counts: Counts

    @property
    def has_more(self) -> bool:
        return self.next_cursor is not None

    @property
    def memory_ids(self) -> list[UUID]:
        """The memories that the page shows."""
        ends = (end for change in self.changes for end in (change.after, change.before) if end)
        return list(dict.fromkeys(end["memory_id"] for end in ends))

    @property
    def most_words(self) -> int:
        """Of how many words of each change those that differ are told."""
        return min(text.MOST_TOKENS, WORDS_OF_A_PAGE // max(len(self.changes), 1))


def diff(data: QueryDict, *, reader: Principal) -> Diff:
    """The page that `data` asks for: `since`, `until`, `axis`, `change`, the filters, `limit` and `cursor`.

    Without `until` it is now, and stays that on the pages that follow. Raises BadQuery.
    """
    filters = DiffFilterSet(data, clearance=reader.clearance)
    limit = pages.parse_limit(data.get("limit", ""))
    signer = signer_of(reader, filters.listed, sorted(filters.active))
    cursor = data.get("cursor", "")
    pinned, place = _read(cursor, signer) if cursor else (None, None)
    question = Question.asked(filters, pinned)
    found = question.newest(limit + 1, place)
    return Diff(
        question=question,
        changes=found[:limit],
        next_cursor=_write(question, found[limit - 1], signer) if len(found) > limit else None,
        counts=question.counts(),
    )


def as_json(change: Change, *, most_words: int = text.MOST_TOKENS) -> dict[str, Any]:
    """A change as it leaves the process."""
    pieces = change.pieces(most=most_words)
    return {
        "memory_id": change.memory_id,
        "subject": change.end["subject"],
        "collection": change.end["collection"],
        "kinds": change.kinds,
        "at": change.at,
        "before": change.before,
        "after": change.after,
        "text_diff": None if pieces is None else [{"op": _OPS[piece.kind], "text": piece.text} for piece in pieces],
        "fields": change.fields,
    }


_OPS = {"same": "equal", "new": "insert", "gone": "delete"}


def _write(question: Question, last: Change, signer: Signer) -> str:
    instants = ((instant - _EPOCH) // _MICROSECOND for instant in (question.until, question.known_at, last.at))
    return signer.sign(base64.urlsafe_b64encode(_KEY.pack(*instants, last.memory_id.bytes)).decode())


def _read(cursor: str, signer: Signer) -> tuple[tuple[datetime, datetime], Place]:
    try:
        *micros, memory_id = _KEY.unpack(base64.urlsafe_b64decode(signer.unsign(cursor)))
    except (BadSignature, ValueError, struct.error):
        raise pages.bad_cursor() from None
    until, known_at, at = (_EPOCH + number * _MICROSECOND for number in micros)
    return (until, known_at), (at, UUID(bytes=memory_id))
