"""What a choice about a group would do, judged on its memories as they are now."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID, uuid4

from django.db.models import Field, Func

from memoryhub.conflicts import claims, keys
from memoryhub.conflicts.choices import MOST_MEMBERS, Choice, Wish, refused
from memoryhub.conflicts.keys import Key, evidence_of
from memoryhub.conflicts.models import Decision
from memoryhub.firewall import wall
from memoryhub.firewall.models import ClearanceRecord
from memoryhub.firewall.types import Classified, Principal, label_keys, opens, tier_order
from memoryhub.memories.envelope import Draft, Rejected, draft
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import compiled, fetched
from memoryhub.memories.values import value_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A memory of a group, as far as deciding needs it."""

    id: int
    memory_id: UUID
    version: int
    source: str
    namespace: str
    classification_tier: str
    sensitivity_labels: Sequence[str]
    sent_namespace: str
    sent_tier: str
    sent_labels: Sequence[str]
    content_sha256: bytes
    value_sha256: bytes
    timestamp: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    wish: Wish
    decision_id: UUID
    found: list[Member]
    kept: list[Member]
    retired: list[Member]
    left: list[Member]
    beyond_source: list[Member]
    """Those of `retired` whose sources, which know them as they were sent, may not see the whole group."""
    merged: Draft | None

    @property
    def settled(self) -> list[bytes]:
        said = {member.content_sha256 for member in (*self.kept, *self.left)}
        return sorted(said | ({_digest(self.merged.envelope.content)} if self.merged else set()))

    @property
    def other_spellings(self) -> set[int]:
        """The ids of those that are retired though their value is kept, in another spelling: it is not rejected."""
        values = {member.value_sha256 for member in self.kept}
        values |= {value_digest(self.merged.envelope.content)} if self.merged else set()
        return {member.id for member in self.retired if member.value_sha256 in values}


def members(key: Key, by: Principal) -> list[Member]:
    """All active memories of a key that `by` may see, in the order of their ids; at most MOST_MEMBERS and one more."""
    with wall.behind(by.clearance):
        return _members([key], by)[0]


def plans(
    wishes: Sequence[Wish], by: Principal, now: datetime, errors: dict[Key, Rejected]
) -> Iterator[tuple[Key, Plan]]:
    """What is to be done for each key, as far as it can be; the rest becomes `errors`."""
    clearances = [record.as_clearance() for record in ClearanceRecord.objects.all()]
    opening = _opening(cache(lambda before, after: opens(_Shown(*before), _Shown(*after), clearances)))
    claimed = claims.in_the_way([wish.key for wish in wishes], by=by)
    settled = _settled(wishes, by)
    first = {wish.key: wish for wish in reversed(wishes)}
    for wish, found in zip(first.values(), _members(list(first), by), strict=True):
        try:
            if wish.key in claimed:
                raise refused("claimed")
            if (wish.key, wish.evidence) in settled:
                raise refused("stale")
            _check_evidence(wish, found, by)
            yield wish.key, _plan(wish, found, by, now=now, opening=opening)
        except Rejected as reason:
            errors[wish.key] = reason


@dataclass(frozen=True, slots=True)
class _Shown:
    namespace: str
    classification_tier: str
    sensitivity_labels: Sequence[str]


Opening = Callable[[Classified, Classified], bool]


def _opening(told: Callable[[Any, Any], bool]) -> Opening:
    """`opens`, asked once for each pair of classifications."""

    def key(row: Classified) -> tuple[str, str, tuple[str, ...]]:
        return row.namespace, row.classification_tier, tuple(row.sensitivity_labels)

    return lambda before, after: told(key(before), key(after))


def _check_evidence(wish: Wish, found: Sequence[Member], by: Principal) -> None:
    """Raise Rejected unless the group is there, and the one that was read."""
    if len(found) > MOST_MEMBERS:
        raise refused("too_large")
    if wish.evidence != evidence_of((member.memory_id, member.version) for member in found):
        known = bool(found) or Decision.objects.visible_to(by.clearance).of(*wish.key).exists()
        raise refused("stale" if known else "not_found")
    if len({member.content_sha256 for member in found}) < 2:
        raise refused("not_found")


def _settled(wishes: Sequence[Wish], by: Principal) -> set[tuple[Key, str]]:
    """What was decided already on just that evidence, and is in force: it left every version as it was."""
    in_force = Decision.objects.visible_to(by.clearance).in_force()
    about = in_force.filter(
        subject__in={wish.key[0] for wish in wishes}, collection__in={wish.key[1] for wish in wishes}
    )
    told = about.only("subject", "collection", "namespace", "evidence")
    return {(decision.key, bytes(decision.evidence).hex()) for decision in told}


def _plan(wish: Wish, found: list[Member], by: Principal, *, now: datetime, opening: Opening) -> Plan:
    choice, decision_id = wish.choice, uuid4()
    if choice.until and choice.until <= now:
        raise Rejected({"until": ["must lie in the future."]})
    kept = _kept(choice, found)
    merged = _merged(wish, decision_id, found, by) if choice.outcome == "merge" else None
    if merged and any(opening(member, merged) for member in found):
        raise refused("would_open")
    held = {member.memory_id for member in kept}
    losers = [member for member in found if member.memory_id not in held]
    shown = {_shown(member) for member in found}
    left = {loser.memory_id for loser in losers if any(opening(one, loser) for one in shown)}
    retired = [loser for loser in losers if loser.memory_id not in left]
    return Plan(
        wish=wish,
        decision_id=decision_id,
        found=found,
        kept=kept,
        retired=retired,
        left=[loser for loser in losers if loser.memory_id in left],
        beyond_source=_beyond_source(retired, found, opening),
        merged=merged,
    )


def _beyond_source(retired: Sequence[Member], found: Sequence[Member], opening: Opening) -> list[Member]:
    """Those of `retired` that would have been left in force if nobody had reclassified what their source sent."""
    sources: dict[_Shown, set[str]] = defaultdict(set)
    sent: dict[str, set[_Shown]] = defaultdict(set)
    for member in found:
        sources[_shown(member)].add(member.source)
        sent[member.source].add(_sent(member))

    @cache
    def is_beyond(source: str, one: _Shown) -> bool:
        of_others = (shown for shown, holders in sources.items() if holders != {source})
        return any(opening(shown, one) for shown in (*of_others, *sent[source]))

    return [member for member in retired if is_beyond(member.source, _sent(member))]


def _shown(member: Member) -> _Shown:
    return _Shown(member.namespace, member.classification_tier, tuple(member.sensitivity_labels))


def _sent(member: Member) -> _Shown:
    return _Shown(member.sent_namespace, member.sent_tier, tuple(member.sent_labels))


def _kept(choice: Choice, found: list[Member]) -> list[Member]:
    if choice.outcome in ("not_a_conflict", "defer"):
        return found
    by_id = {member.memory_id: member for member in found}
    if any(memory_id not in by_id for memory_id in choice.keep):
        raise Rejected({"keep": ["names a memory that is not of this conflict."]})
    values = {by_id[memory_id].content_sha256 for memory_id in choice.keep}
    if choice.outcome == "keep_one" and len(values) > 1:
        raise Rejected({"keep": ["names memories that say different things: keep_several keeps them."]})
    if choice.outcome == "keep_several" and len(values) < 2:
        raise Rejected({"keep": ["names one value alone: keep_one keeps it."]})
    return [member for member in found if member.content_sha256 in values]


def _merged(wish: Wish, decision_id: UUID, found: Sequence[Member], by: Principal) -> Draft:
    """The memory that is made of all: as closed as all of them together, and gone when the first of them is."""
    content = wish.choice.content
    namespaces = {member.namespace for member in found}
    if len(namespaces) > 1:
        raise Rejected({"content": ["would stand in one namespace, and the values stand in several."]})
    if _digest(content) in {member.content_sha256 for member in found}:
        raise Rejected({"content": ["is what one of the memories says: keep_one keeps it."]})
    order = tier_order()
    labels = {label: None for member in found for label in member.sensitivity_labels}
    ends = [member.expires_at for member in found if member.expires_at]
    envelope: dict[str, Any] = {
        "payload_id": f"merged-{decision_id}",
        "content": content,
        "subject": wish.key[0],
        "collection": wish.key[1],
        "namespace": namespaces.pop(),
        # What was said last is what it replaces.
        "timestamp": max(member.timestamp for member in found).isoformat(),
        "metadata": {"merged_from": ",".join(str(member.memory_id) for member in found[:_MOST_NAMED])},
        "sensitivity_labels": list({next(iter(label_keys([label]))): label for label in labels}.values()),
        "classification_tier": max((member.classification_tier or order[0] for member in found), key=order.index),
        "kind": "summary",
        **({"expires_at": min(ends).isoformat()} if ends else {}),
    }
    made = draft(
        envelope, source=by.source or by.name, actor_type=by.actor_type, actor_id=by.actor_id, now=datetime.now(UTC)
    )
    if not by.clearance.permits(made):
        raise refused("above_clearance")
    return made


def _members(of: Sequence[Key], by: Principal) -> list[list[Member]]:
    """The members of each key, in one question for all that are alike."""
    found: dict[Key, list[Member]] = defaultdict(list)
    for columns in (keys.COLUMNS[:2], keys.COLUMNS):
        alike = [key for key in of if len(key) == len(columns)]
        if not alike:
            continue
        rows = Memory.objects.visible_to(by.clearance).current().active()
        rows = rows.filter(**{name: _Wanted(name=name) for name in columns})
        part, params = compiled(rows.values(*_FIELDS)[: MOST_MEMBERS + 1])
        names, lists = ", ".join(columns), ", ".join(["%s::varchar[]"] * len(columns))
        asked = [[key[place] for key in alike] for place in range(len(columns))]
        for row in fetched(_MEMBERS.format(names=names, lists=lists, part=part), [*asked, *params]):
            key = alike[row.pop("place") - 1]
            digests = {name: bytes(row[name]) for name in ("content_sha256", "value_sha256")}
            found[key].append(Member(**{**row, **digests}))
    return [found[key] for key in of]


class _Wanted(Func):
    """A column of the keys that are asked about."""

    output_field: Any = Field()
    template = "wanted.%(name)s"


_FIELDS = (
    "id", "memory_id", "version", "source", "namespace", "classification_tier", "sensitivity_labels",
    "sent_namespace", "sent_tier", "sent_labels", "content_sha256", "value_sha256", "timestamp", "expires_at",
)  # fmt: skip
_MEMBERS = """
SELECT wanted.place::integer, member.*
FROM unnest({lists}) WITH ORDINALITY AS wanted({names}, place) CROSS JOIN LATERAL ({part}) AS member
ORDER BY wanted.place, member.memory_id
"""
_MOST_NAMED = 100


def _digest(content: str) -> bytes:
    return hashlib.sha256(content.encode()).digest()
