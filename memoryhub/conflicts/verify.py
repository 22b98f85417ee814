"""Do the lists of conflicts say what is so? All of it found anew, in plain words, and compared."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count
from django.http import QueryDict

from memoryhub.conflicts import detector, groups, method
from memoryhub.conflicts.detector import Class
from memoryhub.conflicts.groups import Group, GroupFilterSet
from memoryhub.conflicts.keys import COLUMNS, KEYED_BY, Key, evidence_of
from memoryhub.conflicts.listing import MOST_LISTED, Listing
from memoryhub.conflicts.models import Decision
from memoryhub.firewall import wall
from memoryhub.firewall.types import Clearance, Principal, everything
from memoryhub.memories import clock
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import MemoryQuerySet

SCOPES = {"collection": COLUMNS[:2], "namespace": COLUMNS}
_PAGE = "200"
Standing = tuple[str, str]
"""Whether a group is open or decided, and its evidence."""


@dataclass(slots=True, kw_only=True)
class Report:
    open: int = 0
    decided: int = 0
    decisions: int = 0
    retired: int = 0
    """Memories that decisions took out of force."""
    findings: list[str] = field(default_factory=list)
    """What is wrong, a sentence each."""


def verify(clearances: Iterable[Clearance], *, progress: Callable[[str, int], None] = lambda _, __: None) -> Report:
    """Compare what each of these readers is told of conflicts with what it may see.

    `progress` is told what is looked at and how many of it there were so far. Others may write meanwhile: a group that
    changed since it was first looked at is left out.
    """
    report = Report()
    for clearance in clearances:
        with wall.behind(clearance):
            reader = _Reader(clearance)
            for scope in SCOPES:
                reader.compare(scope, report, progress)
            reader.check(report, progress)
    return report


class _Reader:
    """What one reader may see, read without the help of an index or of what was kept."""

    def __init__(self, clearance: Clearance) -> None:
        self.clearance = clearance
        self.now = clock.now()

    @property
    def seen(self) -> MemoryQuerySet:
        return Memory.objects.visible_to(self.clearance)

    @cached_property
    def decisions(self) -> dict[UUID, Decision]:
        found = Decision.objects.visible_to(self.clearance).iterator()
        return {decision.decision_id: decision for decision in found}

    @cached_property
    def undone(self) -> set[UUID | None]:
        return {decision.reverses for decision in self.decisions.values()}

    @cached_property
    def in_force(self) -> dict[Key, list[Decision]]:
        found: dict[Key, list[Decision]] = defaultdict(list)
        for id_, decision in self.decisions.items():
            if decision.outcome != "undo" and id_ not in self.undone and not _is_over(decision, self.now):
                found[decision.key].append(decision)
        return found

    @cached_property
    def rejected(self) -> dict[UUID, dict[UUID, bytes]]:
        """What each decision retired, in all versions: the memory and its value, whatever its spelling."""
        found: dict[UUID, dict[UUID, bytes]] = defaultdict(dict)
        versions = self.seen.filter(status="retired", decision__isnull=False)
        for id_, memory_id, value in versions.values_list("decision", "memory_id", "value_sha256").iterator():
            found[id_][memory_id] = bytes(value)
        return found

    def compare(self, scope: str, report: Report, progress: Callable[[str, int], None]) -> None:
        """What the pages say, with what is so."""
        expected = self.standing(SCOPES[scope])
        told: dict[Key, Standing] = {}
        for group, klass in self.pages(scope):
            if group.key in told:
                report.findings.append(f"{_spelt(group.key)} is listed twice.")
            told[group.key] = (group.status, group.evidence)
            if group.klass != klass:
                report.findings.append(f"{_spelt(group.key)} was kept as {group.klass}, and is {klass}.")
            progress(f"groups by {scope}", len(told))
        wrong = [key for key in {**expected, **told} if expected.get(key) != told.get(key)]
        again = _Reader(self.clearance).standing(SCOPES[scope]) if wrong else {}
        report.findings += [
            f"{_spelt(key)} is {_words(expected.get(key))}, and told as {_words(told.get(key))}."
            for key in wrong
            if again.get(key) == expected.get(key)
        ]
        report.open += sum(status == "open" for status, _ in told.values())
        report.decided += sum(status == "decided" for status, _ in told.values())

    def pages(self, scope: str) -> Iterator[tuple[Group, Class]]:
        """What is listed, page by page, each with its class computed anew."""
        reader = Principal(name="system:verify", clearance=self.clearance)
        cursor = ""
        while True:
            filters = GroupFilterSet(QueryDict(f"status=all&scope={scope}"), clearance=self.clearance)
            page = groups.page(filters, reader=reader, parameters={"limit": _PAGE, "cursor": cursor})
            listing = Listing(filters=filters, columns=filters.columns)
            supports = listing.supports(page.groups, MOST_LISTED, embedded=True)
            for group, values in zip(page.groups, supports, strict=True):
                verdict = detector.group_verdict(support.value for support in values)
                # Where the language model was needed and did not answer, nothing is known of what it would have said.
                yield group, verdict.klass if verdict.version == method.current().version else group.klass
            if page.next_cursor is None:
                return
            cursor = page.next_cursor

    def standing(self, columns: Sequence[str]) -> dict[Key, Standing]:
        """Each group of these keys, with how it stands."""
        found: dict[Key, Standing] = {}
        for key, values, members in self.disagreeing(columns):
            settled = any(values <= _settled(decision) for decision in self.in_force.get(key, ()))
            found[key] = ("decided" if settled else "open", evidence_of(members))
        for key, decisions in self.in_force.items():
            is_listed = len(key) == len(columns) and all(key[: len(KEYED_BY)])
            if is_listed and key not in found and (standing := self.settled(key, decisions)):
                found[key] = standing
        return found

    def disagreeing(self, columns: Sequence[str]) -> Iterator[tuple[Key, set[bytes], list[tuple[UUID, int]]]]:
        """GROUP BY the key HAVING count(DISTINCT content) > 1: with the values and the members of each."""
        rows = self.seen.current().active().exclude(subject="").exclude(collection="").order_by()
        grouped = rows.values_list(*columns).annotate(
            said=Count("content", distinct=True),
            values_=ArrayAgg("content_sha256", distinct=True),
            members=ArrayAgg("memory_id", order_by="id"),
            versions=ArrayAgg("version", order_by="id"),
        )
        for *key, _, values, members, versions in grouped.filter(said__gt=1).iterator():
            yield tuple(key), set(map(bytes, values)), list(zip(members, versions, strict=True))

    def settled(self, key: Key, decisions: Sequence[Decision]) -> Standing | None:
        """How a key stands that holds one value at most, and was decided."""
        of_key = self.seen.current().unexpired().filter(**dict(zip(COLUMNS, key, strict=False)))
        ids = [decision.decision_id for decision in decisions]
        active = list(of_key.filter(status="active").values_list("memory_id", "version", "content_sha256"))
        retired = of_key.filter(status="retired", decision__in=ids).values_list("content_sha256", flat=True)
        values = {bytes(value) for *_, value in active} | set(map(bytes, retired))
        members = [(memory_id, version) for memory_id, version, _ in active]
        return ("decided", evidence_of(members)) if len(values) > 1 else None

    def check(self, report: Report, progress: Callable[[str, int], None]) -> None:
        """Decisions, with the memories that they took out of force."""
        for number, decision in enumerate(self.decisions.values(), 1):
            lost = set(decision.retired) - self.rejected.get(decision.decision_id, {}).keys()
            report.findings += [f"Memory {one} was never retired by {decision.decision_id}." for one in sorted(lost)]
            progress("decisions", number)
        held = self.seen.filter(superseded_at__isnull=True, status="retired", decision__isnull=False)
        number = 0
        for number, row in enumerate(held.values_list("memory_id", "decision", "value_sha256").iterator(), 1):
            if wrong := self.why_not_retired(*row):
                report.findings.append(f"Memory {row[0]} is retired by {row[1]}, {wrong}.")
            progress("retired memories", number)
        report.decisions += len(self.decisions)
        report.retired += number

    def why_not_retired(self, memory_id: UUID, by: UUID, value: Any) -> str:
        decision = self.decisions.get(by)
        if decision is None:
            # Of the memories that were decided on some may be hidden from this reader by now.
            return "which is no decision" if self.clearance.covers(everything()) else ""
        if decision.outcome == "undo":
            made = {self.decisions[one].merged for one in [decision.reverses] if one in self.decisions}
            return "" if memory_id in made else "an undo of what did not make it"
        if by in self.undone:
            return "which was undone"
        rejected = self.rejected.get(by, {})
        values = {rejected[one] for one in decision.retired if one in rejected}
        return "" if memory_id in decision.retired or bytes(value) in values else "which rejected nothing like it"


def _is_over(decision: Decision, now: datetime) -> bool:
    return decision.until is not None and decision.until <= now


def _settled(decision: Decision) -> set[bytes]:
    return set(map(bytes, decision.settled))


def _spelt(key: Key) -> str:
    return " / ".join(repr(part) for part in key)


def _words(standing: Standing | None) -> str:
    return "no group" if standing is None else f"{standing[0]} on {standing[1][:12]}"
