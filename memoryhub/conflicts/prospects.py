"""What a policy would do with the open groups that somebody may see. Nothing is changed here.

Groups are looked at in the order of their keys, some hundreds in one question, and of their memories no more is read
than the rules ask for.
"""

import base64
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

import orjson
from django.core.signing import BadSignature, Signer
from django.db.models import BooleanField, Func, Value

from memoryhub.conflicts import claims, detector, kept, method, policies, rules
from memoryhub.conflicts.keys import COLUMNS, Key, evidence_of
from memoryhub.conflicts.listing import OfKey
from memoryhub.conflicts.models import Decision, GroupClass, Policy
from memoryhub.conflicts.rules import Candidate, Rule, Said
from memoryhub.firewall import wall
from memoryhub.firewall.cursors import signer_of
from memoryhub.firewall.types import Clearance, Principal
from memoryhub.memories import clock
from memoryhub.memories.models import Memory
from memoryhub.memories.pages import bad_cursor
from memoryhub.memories.querysets import MemoryQuerySet, compiled, fetched

AT_ONCE = 500
"""Groups that one question is about."""
COUNTED = 10_000
"""Keys that one question counts."""
LEFT = {
    "people": "No rule names one value.",
    "class": "The policy does not decide groups of this class.",
    "paraphrase": "It would retire what may be another wording of the value that is kept, or a value that differs by a"
    " sign: no policy decides about paraphrases for now.",
    "policy": "A policy that is about fewer groups decides it.",
    "claimed": "Somebody is deciding about it just now.",
}
"""Why a group is left as it is."""
_FIELDS = (
    "memory_id", "version", "content_sha256", "value_sha256", "namespace", "source", "actor_type", "actor_id",
    "timestamp",
)  # fmt: skip
_KEYED = COLUMNS[:2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What would become of one group: a value would be kept, or the group would be `left`, a key of LEFT."""

    key: Key
    evidence: str
    value_count: int
    memory_count: int
    klass: str = ""
    """Empty where nobody needed to know."""
    keep: UUID | None = None
    """The newest memory that says what would be kept."""
    rule: str = ""
    words: str = ""
    left: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Some open groups, one after the other, and what would become of each."""

    prospects: list[Prospect]
    last: Key | None
    """The key after which to go on; None, if there is nothing behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """How many open groups were looked at; by which rule they would be decided, or why they would be left."""

    seen: int = 0
    decided: Mapping[str, int] = field(default_factory=dict)
    left: Mapping[str, int] = field(default_factory=dict)

    @property
    def would_decide(self) -> int:
        return sum(self.decided.values())

    @property
    def would_leave(self) -> int:
        return sum(self.left.values())

    def and_also(self, found: Sequence[Prospect]) -> "Totals":
        decided, left = Counter(self.decided), Counter(self.left)
        decided.update(each.rule for each in found if not each.left)
        left.update(each.left for each in found if each.left)
        return Totals(seen=self.seen + len(found), decided=dict(decided), left=dict(left))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProspectPage:
    """Some open groups; the totals are of all up to here."""

    prospects: list[Prospect]
    totals: Totals
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True)
class _Group:
    key: Key
    members: list[dict[str, Any]]
    """The newest first."""

    @cached_property
    def by_value(self) -> dict[bytes, list[dict[str, Any]]]:
        """The members by their contents."""
        return _grouped_by("content_sha256", self.members)

    @cached_property
    def spellings(self) -> dict[bytes, list[dict[str, Any]]]:
        """The members by what they say, whatever the spelling."""
        return _grouped_by("value_sha256", self.members)

    @property
    def namespaces(self) -> set[str]:
        return {member["namespace"] for member in self.members}

    def ruled(self, by_rules: Sequence[Rule], now: datetime) -> Prospect:
        """All spellings of a value speak for it. Of the value that survives the rules choose the spelling."""
        among = self.spellings if len(self.spellings) > 1 else self.by_value
        ruling = rules.decide(_candidates(among), by_rules, now=now)
        met = Prospect(
            key=self.key,
            evidence=evidence_of((member["memory_id"], member["version"]) for member in self.members),
            value_count=len(self.by_value),
            memory_count=len(self.members),
            left="" if ruling else "people",
        )
        if ruling is None:
            return met
        texts = _grouped_by("content_sha256", among[ruling.winner])
        chosen = rules.decide(_candidates(texts), by_rules, now=now)
        newest = texts[chosen.winner][0] if chosen else among[ruling.winner][0]
        return replace(met, keep=newest["memory_id"], rule=ruling.rule, words=ruling.words)


def _grouped_by(name: str, members: Iterable[dict[str, Any]]) -> dict[bytes, list[dict[str, Any]]]:
    found: dict[bytes, list[dict[str, Any]]] = {}
    for member in members:
        found.setdefault(bytes(member[name]), []).append(member)
    return found


def _candidates(among: Mapping[bytes, Sequence[dict[str, Any]]]) -> list[Candidate]:
    told = ("source", "actor_type", "timestamp")
    return [
        Candidate(content_sha256=value, said=[Said(**{name: each[name] for name in told}) for each in by])
        for value, by in among.items()
    ]


def dry_run(
    policy: Policy, *, by: Principal, after: Key | None = None, at_once: int = AT_ONCE
) -> Iterator[list[Prospect]]:
    """All that `policy` would do to open groups that `by` may see, in the order of their keys, so many at once."""
    while True:
        found = look(policy, by=by, after=after, number=at_once)
        yield found.prospects
        if found.last is None:
            return
        after = found.last


def page(policy: Policy, *, reader: Principal, limit: int, cursor: str = "") -> ProspectPage:
    """What `policy` would do to the next groups; a page may hold fewer than its limit, or none, and still go on.

    Raises BadQuery for a cursor that is none of this version of the policy.
    """
    signer = signer_of(reader, "dry run", str(policy.policy_id), policy.version)
    after, totals = _read(cursor, signer) if cursor else (None, Totals())
    found = look(policy, by=reader, after=after, number=limit)
    totals = totals.and_also(found.prospects)
    next_cursor = None if found.last is None else _write(found.last, totals, signer)
    return ProspectPage(prospects=found.prospects, totals=totals, next_cursor=next_cursor)


def look(policy: Policy, *, by: Principal, after: Key | None, number: int) -> Look:
    """What `policy` would do to those of the next `number` groups after a key that are open.

    They are fewer where a language model may be asked about each: a transaction waits for its answers.
    """
    number = max(1, number // method.current().cost)
    with wall.behind(by.clearance):
        found = _keys(policy, by.clearance, after, number)
        still_open = _open(_groups(found, by.clearance), by.clearance)
        prospects = _judged(policy, still_open, by)
    return Look(prospects=prospects, last=found[-1] if len(found) == number else None)


def still_open(of: Iterable[Key], by: Principal) -> set[Key]:
    """Which of these groups are open now."""
    with wall.behind(by.clearance):
        return {group.key for group in _open(_groups(list(of), by.clearance), by.clearance)}


def count(policy: Policy, *, by: Principal) -> int:
    """How many groups there are to look at, open or not. All of them are passed, in as many questions as it takes."""
    number, after = 0, None
    while True:
        with wall.behind(by.clearance):
            found = _keys(policy, by.clearance, after, COUNTED)
        number += len(found)
        if len(found) < COUNTED:
            return number
        after = found[-1]


def contents(memory_ids: Sequence[UUID], by: Principal) -> dict[UUID, str]:
    """What these memories say, as far as `by` may see them."""
    with wall.behind(by.clearance):
        seen = Memory.objects.visible_to(by.clearance).current().with_ids(memory_ids)
        return dict(seen.values_list("memory_id", "content"))


def _judged(policy: Policy, found: Sequence[_Group], by: Principal) -> list[Prospect]:
    now, by_rules = clock.now(), policies.rules_of(policy)
    met = [group.ruled(by_rules, now) for group in found]
    ruled = {each.key: each for each in met if not each.left}
    classes = _classes(ruled, [group for group in found if group.key in ruled], by.clearance)
    others = policies.before(policy, by)
    claimed = claims.in_the_way(ruled, by=by)
    judged = []
    for group, each in zip(found, met, strict=True):
        klass = classes.get(group.key, "")
        why = each.left or _why_left(policy, others, group, klass) or ("claimed" if group.key in claimed else "")
        judged.append(replace(each, klass=klass, left=why))
    reworded = _reworded([each for each in judged if not each.left], found, by.clearance)
    return [replace(each, left="paraphrase") if each.key in reworded else each for each in judged]


def _why_left(policy: Policy, others: Iterable[Policy], group: _Group, klass: str) -> str:
    if klass not in policy.classes:
        return "class"
    if klass in policies.LEFT_TO_PEOPLE:
        return klass
    is_theirs = any(
        klass in other.classes and policies.is_about(other, group.key, group.namespaces) for other in others
    )
    return "policy" if is_theirs else ""


def _classes(met: Mapping[Key, Prospect], found: Sequence[_Group], clearance: Clearance) -> dict[Key, str]:
    """The class of each group: as it was kept, or by the newest memory of each of its values."""
    basis = {group.key: bytes.fromhex(met[group.key].evidence) for group in found}
    known = GroupClass.objects.filter(evidence__in=basis.values(), version=method.current().version)
    classes = {bytes(evidence): klass for evidence, klass in known.values_list("evidence", "klass")}
    unknown = [group for group in found if basis[group.key] not in classes]
    newest = [by[0]["memory_id"] for group in unknown for by in group.by_value.values()]
    said = _said(newest, clearance)
    # What was hidden this moment makes it another group: it is met again.
    whole = [group for group in unknown if all(by[0]["memory_id"] in said for by in group.by_value.values())]
    new = {basis[group.key]: detector.group_verdict(_values(group, said)) for group in whole}
    if new:
        kept.keep(new)
    classes |= {evidence: verdict.klass for evidence, verdict in new.items()}
    return {key: classes.get(each, "") for key, each in basis.items()}


def _reworded(due: Sequence[Prospect], found: Sequence[_Group], clearance: Clearance) -> set[Key]:
    """Of these the groups of which a value would be retired that is a paraphrase of the one that is kept.

    A group is as serious as its most serious pair: where there are two values, that is the pair.
    """
    groups = {group.key: group for group in found}
    several = [(each, groups[each.key]) for each in due if len(groups[each.key].spellings) > 2]
    said = _said([by[0]["memory_id"] for _, group in several for by in group.spellings.values()], clearance)
    return {each.key for each, group in several if _rewords(group, each.keep, said)}


def _rewords(group: _Group, keep: UUID | None, said: Mapping[UUID, Mapping[str, Any]]) -> bool:
    kept_values: list[detector.Value] = []
    others: list[detector.Value] = []
    for newest, *older in group.spellings.values():
        if newest["memory_id"] in said:
            is_kept = any(each["memory_id"] == keep for each in (newest, *older))
            (kept_values if is_kept else others).append(_value(group, newest, said))
    by_method = method.current()
    return any(
        detector.compare(one, other, by=by_method).klass in policies.LEFT_TO_PEOPLE
        for one in kept_values
        for other in others
    )


def _said(memory_ids: Sequence[UUID], clearance: Clearance) -> dict[UUID, dict[str, Any]]:
    """What these memories say, as far as they may be seen."""
    if not memory_ids:
        return {}
    seen = Memory.objects.visible_to(clearance).with_ids(memory_ids).filter(superseded_at__isnull=True)
    rows = seen.values_list("memory_id", "content", "embedding")
    return {memory_id: {"content": content, "embedding": embedding} for memory_id, content, embedding in rows}


def _values(group: _Group, said: Mapping[UUID, Mapping[str, Any]]) -> Iterator[detector.Value]:
    for newest, *_ in group.by_value.values():
        yield _value(group, newest, said)


def _value(group: _Group, member: Mapping[str, Any], said: Mapping[UUID, Mapping[str, Any]]) -> detector.Value:
    named = {name: member[name] for name in ("timestamp", "actor_type", "actor_id", "source")}
    return detector.Value(**said[member["memory_id"]], **named, collection=group.key[1])


class _Beyond(Func):
    """Whether a row's key comes after another."""

    output_field = BooleanField()
    template = "(subject, collection) > (%(expressions)s)"


def _rows(clearance: Clearance) -> MemoryQuerySet:
    return Memory.objects.visible_to(clearance).current().active().exclude(subject="")


def _grouped(policy: Policy, clearance: Clearance, after: Key | None) -> tuple[str, list[Any]]:
    """The SQL, with its parameters, of the keys of groups that `policy` is about, in their order."""
    rows = _rows(clearance)
    # A policy about any collection is about the groups that are listed.
    about = {"collection": policy.collection or ""}
    rows = rows.exclude(**about) if policy.collection is None else rows.filter(**about)
    if after is not None:
        rows = rows.filter(_Beyond(*map(Value, after)))
    # The namespace stands in no index beside the key: it is read where it is asked for.
    narrowed = policy.namespace is not None
    sql, params = rows.in_order(_KEYED, *_KEYED, "content_sha256", *(["namespace"] if narrowed else []))
    within = "AND bool_and(namespace = %s)" if narrowed else ""
    return _GROUPED.format(rows=sql, within=within), [*params, *([policy.namespace] if narrowed else [])]


def _keys(policy: Policy, clearance: Clearance, after: Key | None, number: int) -> list[Key]:
    sql, params = _grouped(policy, clearance, after)
    return [tuple(row.values()) for row in fetched(_FIRST.format(keys=sql), [*params, number])]


def _groups(of: Sequence[Key], clearance: Clearance) -> list[_Group]:
    """The groups of these keys: those that are groups by now."""
    if not of:
        return []
    rows = _rows(clearance).filter(**{name: OfKey(name=name) for name in _KEYED})
    part, params = compiled(rows.values(*_FIELDS))
    asked = [[key[place] for key in of] for place in range(len(_KEYED))]
    members: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in fetched(_MEMBERS.format(part=part), [*asked, *params]):
        members[row.pop("place")].append(row)
    found = [_Group(key=key, members=members[place]) for place, key in enumerate(of, 1)]
    return [group for group in found if len(group.by_value) > 1]


def _open(found: Sequence[_Group], clearance: Clearance) -> list[_Group]:
    settled = _settled([group.key for group in found], clearance)
    return [
        group for group in found if not any(group.by_value.keys() <= values for values in settled.get(group.key, ()))
    ]


def _settled(of: Sequence[Key], clearance: Clearance) -> Mapping[Key, list[set[bytes]]]:
    """The values that may stand side by side, by each decision in force about one of these keys."""
    if not of:
        return {}
    about = (
        Decision.objects.visible_to(clearance)
        .in_force()
        .filter(namespace__isnull=True, subject__in={key[0] for key in of}, collection__in={key[1] for key in of})
    )
    found: dict[Key, list[set[bytes]]] = defaultdict(list)
    for *key, settled in about.values_list(*_KEYED, "settled"):
        found[tuple(key)].append(set(map(bytes, settled)))
    return found


def _write(key: Key, totals: Totals, signer: Signer) -> str:
    place = orjson.dumps([key, totals.seen, totals.decided, totals.left])
    return signer.sign(base64.urlsafe_b64encode(place).decode())


def _read(cursor: str, signer: Signer) -> tuple[Key, Totals]:
    try:
        key, seen, decided, left = orjson.loads(base64.urlsafe_b64decode(signer.unsign(cursor)))
    except (BadSignature, ValueError):
        raise bad_cursor() from None
    return tuple(key), Totals(seen=seen, decided=decided, left=left)


# The rows come in the order of their keys, so that PostgreSQL stops at the last group that is wanted.
_GROUPED = """
SELECT subject, collection FROM ({rows}) AS keyed GROUP BY subject, collection
HAVING count(DISTINCT content_sha256) > 1 {within}
"""
_FIRST = "{keys} ORDER BY subject, collection LIMIT %s"
_MEMBERS = """
SELECT keys.place::integer, member.*
FROM unnest(%s::varchar[], %s::varchar[]) WITH ORDINALITY AS keys(subject, collection, place)
CROSS JOIN LATERAL ({part}) AS member
ORDER BY keys.place, member.timestamp DESC, member.memory_id DESC
"""
