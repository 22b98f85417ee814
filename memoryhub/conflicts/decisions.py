"""The decisions as a reader may see them: lists, one, those about a key, and all of them for an export."""

import base64
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django import forms
from django.core.signing import BadSignature
from django.db.models import BooleanField, F, Func, Q, Value
from django.http import QueryDict

from memoryhub.conflicts import policies
from memoryhub.conflicts.keys import Key, id_of
from memoryhub.conflicts.models import OUTCOMES, Decision
from memoryhub.conflicts.querysets import DecisionQuerySet
from memoryhub.firewall import wall
from memoryhub.firewall.cursors import signer_of
from memoryhub.firewall.types import Clearance, Principal
from memoryhub.memories import clock
from memoryhub.memories.filters import (
    BadQuery,
    InstantField,
    TextField,
    read_parameters,
    refuse_unknown,
    sought_text_options,
    text_options,
)
from memoryhub.memories.models import NAME_LENGTH, Memory
from memoryhub.memories.pages import MAX_LIMIT, bad_cursor, parse_limit
from memoryhub.memories.querysets import HoldsSecret

PARAMETERS = ("limit", "cursor")
LONGEST = 300
HIDDEN_REASON = "Decided automatically."
"""The reason of a decision for a reader who may not see the policy that made it."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_KEY = struct.Struct(">q16s")
Place = tuple[datetime, UUID]
"""(at, decision_id): the order of every list of them, the newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A decision as it leaves the process; every memory that it names may be seen by its reader."""

    decision_id: UUID
    id: str
    """The group's."""
    at: datetime
    recorded_at: datetime
    """When this hub came to know of it, which no export tells: it is the hub's own."""
    outcome: str
    subject: str
    collection: str
    namespace: str | None
    memory_ids: list[UUID]
    kept: list[UUID]
    retired: list[UUID]
    left: list[UUID]
    merged: UUID | None
    validity: dict[str, Any]
    until: datetime | None
    evidence: str
    reason: str
    principal: str
    policy: UUID | None
    policy_version: int | None
    rule: str
    run: UUID | None
    reverses: UUID | None
    undone_by: UUID | None
    is_in_force: bool

    @property
    def key(self) -> Key:
        key = (self.subject, self.collection)
        return key if self.namespace is None else (*key, self.namespace)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionPage:
    decisions: list[Told]
    next_cursor: str | None

    @property
    def has_more(self) -> bool:
        return self.next_cursor is not None


class BeyondPlace(Func):
    """Whether a decision comes after a place in a list that is newest first."""

    output_field = BooleanField()
    template = "(at, decision_id) < (%(expressions)s)"


def _choice(*values: str) -> forms.Field:
    told = {"invalid_choice": f"must be one of {', '.join(values)}."}
    return forms.ChoiceField(required=False, choices=[(value, value) for value in values], error_messages=told)


def _uuid(what: str) -> forms.Field:
    return forms.UUIDField(required=False, error_messages={"invalid": f"must be the id of a {what}."})


def _text(longest: int) -> forms.Field:
    return TextField(required=False, **text_options(longest))


_FIELDS: dict[str, forms.Field] = {
    "q": TextField(required=False, **sought_text_options(LONGEST)),
    "subject": _text(NAME_LENGTH),
    "collection": _text(NAME_LENGTH),
    "outcome": _choice(*OUTCOMES),
    "principal": _text(LONGEST),
    "policy": _uuid("policy"),
    "run": _uuid("run"),
    "memory_id": _uuid("memory"),
    "in_force": _choice("true", "false"),
    "from": InstantField(required=False),
    "to": InstantField(required=False),
}
FILTERS = tuple(_FIELDS)


def page(data: QueryDict, *, reader: Principal) -> DecisionPage:
    """The page that `data` asks for, the newest first. Raises BadQuery."""
    found = _asked(data, reader.clearance, PARAMETERS)
    limit = parse_limit(data.get("limit", ""))
    signer = signer_of(reader, "decisions", [data.get(name) for name in FILTERS])
    cursor = data.get("cursor", "")
    with wall.behind(reader.clearance):
        rows = _newest(found, _read(signer.unsign, cursor) if cursor else None, limit + 1)
        told = shown_to(rows[:limit], reader.clearance)
    following = signer.sign(_write(told[-1])) if len(rows) > limit else None
    return DecisionPage(decisions=told, next_cursor=following)


def every(data: QueryDict, *, reader: Principal) -> Iterator[Told]:
    """All decisions that the filters in `data` find, the newest first, page by page. Raises BadQuery at once."""
    return _every(_asked(data, reader.clearance), reader.clearance)


def one(decision_id: UUID, *, reader: Principal) -> Told | None:
    """One decision; None if there is none that `reader` may see."""
    with wall.behind(reader.clearance):
        seen = Decision.objects.visible_to(reader.clearance).filter(decision_id=decision_id)
        return next(iter(shown_to(seen.undone_by(), reader.clearance)), None)


def about(keys: Sequence[Key], *, clearance: Clearance) -> dict[Key, list[Told]]:
    """The decisions about the group of each key, the newest first."""
    found: dict[Key, list[Told]] = {key: [] for key in keys}
    if not keys:
        return found
    with wall.behind(clearance):
        wanted = reduce(or_, (_of(key) for key in found))
        seen = Decision.objects.visible_to(clearance).filter(wanted).undone_by().order_by("-at", "-decision_id")
        for told in shown_to(seen, clearance):
            found[told.key].append(told)
    return found


def as_json(told: Told) -> dict[str, Any]:
    """A decision as the API tells it; `id` is the decision's, `conflict_id` the group's."""
    named = asdict(told)
    del named["recorded_at"]
    return {"id": named.pop("decision_id"), "conflict_id": named.pop("id"), **named}


def _asked(data: QueryDict, clearance: Clearance, besides: Sequence[str] = ()) -> DecisionQuerySet:
    refuse_unknown(data, frozenset((*FILTERS, *besides)))
    asked = read_parameters(data, _FIELDS)
    if asked["from"] and asked["to"] and asked["from"] >= asked["to"]:
        raise BadQuery({"to": ["must be later than from."]})
    same = ("subject", "collection", "outcome", "principal", "policy", "run")
    rule = Q(**{name: asked[name] for name in same if asked[name] is not None})
    told = {"at__gte": asked["from"], "at__lt": asked["to"]}
    rule &= Q(**{name: value for name, value in told.items() if value})
    shows_policy = Q(policy__isnull=True) | Q(policy__in=policies.visible_ids(clearance))
    if asked["policy"] or asked["run"]:
        rule &= shows_policy
    if asked["q"]:
        rule &= ~Q(HoldsSecret(F("reason")))
        is_found = asked["q"].casefold() in HIDDEN_REASON.casefold()
        rule &= (shows_policy & Q(reason__icontains=asked["q"])) | (~shows_policy if is_found else Q(pk__in=()))
    if asked["memory_id"]:
        rule &= Q(memory_ids__contains=[asked["memory_id"]]) | Q(merged=asked["memory_id"])
    found: DecisionQuerySet = Decision.objects.visible_to(clearance).filter(rule)
    if asked["in_force"] == "true":
        found = found.in_force()
    if asked["in_force"] == "false":
        found = found.exclude(decision_id__in=found.in_force().values("decision_id"))
    return found


def _of(key: Key) -> Q:
    subject, collection, *namespace = key
    about = Q(subject=subject, collection=collection)
    return about & (Q(namespace=namespace[0]) if namespace else Q(namespace__isnull=True))


def _newest(found: DecisionQuerySet, before: Place | None, number: int) -> list[Decision]:
    rows = found.undone_by().order_by("-at", "-decision_id")
    if before:
        rows = rows.filter(BeyondPlace(*map(Value, before)))
    return list(rows[:number])


def _every(found: DecisionQuerySet, clearance: Clearance) -> Iterator[Told]:
    place: Place | None = None
    while True:
        with wall.behind(clearance):
            told = shown_to(_newest(found, place, MAX_LIMIT), clearance)
        yield from told
        if len(told) < MAX_LIMIT:
            return
        place = (told[-1].at, told[-1].decision_id)


_SAME = (
    "decision_id", "at", "recorded_at", "outcome", "subject", "collection", "namespace", "memory_ids", "kept",
    "retired", "left", "validity", "until", "principal", "reverses",
)  # fmt: skip
_OF_POLICY = ("reason", "policy", "policy_version", "rule", "run")
# The reason of an automatic decision names its policy and quotes the rule.
_HIDDEN_POLICY: dict[str, Any] = {
    "reason": HIDDEN_REASON, "policy": None, "policy_version": None, "rule": "", "run": None,
}  # fmt: skip


def shown_to(rows: Iterable[Decision], clearance: Clearance) -> list[Told]:
    """Decisions that `clearance` may see, with `undone_by`, as it is told of them. Asked behind its wall."""
    held = list(rows)
    made = [row.merged for row in held if row.merged]
    # It is none of those that were decided on, and may have been classified more closely since.
    latest = Memory.objects.visible_to(clearance).with_ids(made).filter(superseded_at__isnull=True)
    seen = set(latest.values_list("memory_id", flat=True)) if made else set()
    of_policies = {row.policy for row in held if row.policy}
    known = set(policies.visible_ids(clearance).filter(policy_id__in=of_policies)) if of_policies else set()
    now = clock.now() if any(row.until for row in held) else None
    return [
        Told(
            **{name: getattr(row, name) for name in _SAME},
            **({name: getattr(row, name) for name in _OF_POLICY} if row.policy in {None, *known} else _HIDDEN_POLICY),
            id=id_of(*row.key),
            merged=row.merged if row.merged in seen else None,
            evidence=bytes(row.evidence).hex(),
            undone_by=(undo := getattr(row, "undo", None)),
            is_in_force=not undo and row.outcome != "undo" and not (row.until and now and row.until <= now),
        )
        for row in held
    ]


def _write(last: Told) -> str:
    key = _KEY.pack((last.at - _EPOCH) // _MICROSECOND, last.decision_id.bytes)
    return base64.urlsafe_b64encode(key).decode()


def _read(unsign: Any, cursor: str) -> Place:
    try:
        micros, decision_id = _KEY.unpack(base64.urlsafe_b64decode(unsign(cursor)))
    except (BadSignature, ValueError, struct.error):
        raise bad_cursor() from None
    return _EPOCH + micros * _MICROSECOND, UUID(bytes=decision_id)
