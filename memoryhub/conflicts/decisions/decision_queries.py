"""Queries for decisions as a reader may see them: pages, one by its id, those about keys, and all for an export."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Annotated, Any, cast
from uuid import UUID

from django import forms
from django.db.models import F, Q
from django.http import QueryDict
from pydantic import Field, TypeAdapter

from memoryhub.conflicts.decisions.outcomes import OUTCOMES
from memoryhub.conflicts.decisions.querysets import DecisionQuerySet
from memoryhub.conflicts.decisions.resolution_requests import ValidityPeriod
from memoryhub.conflicts.groups.group_keys import GroupKey, encode_id
from memoryhub.conflicts.models import Decision
from memoryhub.conflicts.policies import policies
from memoryhub.core.errors import InvalidQueryError
from memoryhub.core.shapes import DocumentedAs, one_value_of
from memoryhub.core.sql import RowComparison
from memoryhub.firewall import rls
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.cursors import create_cursor_codec
from memoryhub.firewall.principal import Principal
from memoryhub.memories import clock
from memoryhub.memories.filter_fields import (
    InstantField,
    TextField,
    parse_params,
    reject_unknown_params,
    search_field_options,
    text_field_options,
)
from memoryhub.memories.models import NAME_LENGTH, Memory
from memoryhub.memories.pagination import MAX_LIMIT, parse_limit
from memoryhub.memories.sql.search_conditions import HoldsSecret

PAGE_PARAMS = ("limit", "cursor")
MAX_TEXT_LENGTH = 300
HIDDEN_REASON = "Decided automatically."
"""The reason shown to a reader who may not see the policy that made the decision."""
Keyset = tuple[datetime, UUID]
"""(decided_at, decision_id): the order of every list of decisions, the newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """A decision about a group, for a reader that may see every memory that the decision names."""

    # In JSON `id` is the id of the decision, and the group's is `conflict_id`.
    decision_id: Annotated[UUID, Field(serialization_alias="id")]
    id: Annotated[str, Field(serialization_alias="conflict_id")]
    """The id of the group."""
    decided_at: datetime
    """Record time: that of the versions that the decision added."""
    recorded_at: Annotated[datetime, Field(exclude=True)]
    """When this hub stored the decision. It is not exported, because it belongs to this hub."""
    outcome: Annotated[str, one_value_of(OUTCOMES)]
    subject: str
    collection: str
    namespace: str | None
    """Null if the group spans all namespaces."""
    memory_ids: list[UUID]
    """All memories that the decision was about."""
    kept_ids: list[UUID]
    retired_ids: list[UUID]
    still_active_ids: list[UUID]
    """Memories that were not kept and are still active: some of their readers do not see the whole group."""
    merged_id: UUID | None
    """The memory that was made of the retired ones."""
    validity: dict[str, Annotated[dict[str, Any], DocumentedAs(ValidityPeriod)]]
    """The event time during which a kept value holds, by memory."""
    deferred_until: datetime | None
    """When a snoozed group is open again."""
    evidence: str
    """SHA-256 of the versions that the decision was about."""
    reason: str
    principal: str
    """The principal that decided."""
    policy_id: UUID | None
    """The policy that decided, if it was no person."""
    policy_version: int | None
    rule: str
    """The rule of the policy that decided."""
    run_id: UUID | None
    undoes_id: UUID | None
    """The decision that this one undoes."""
    undone_by_id: UUID | None
    """The decision that undid this one."""
    is_in_force: bool

    @property
    def key(self) -> GroupKey:
        key = (self.subject, self.collection)
        return key if self.namespace is None else (*key, self.namespace)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionPage:
    decisions: list[DecisionRecord]
    next_cursor: str | None

    @property
    def has_more(self) -> bool:
        return self.next_cursor is not None


def _choice_field(*values: str) -> forms.Field:
    error_messages = {"invalid_choice": f"must be one of {', '.join(values)}."}
    return forms.ChoiceField(
        required=False, choices=[(value, value) for value in values], error_messages=error_messages
    )


def _uuid_field(noun: str) -> forms.Field:
    return forms.UUIDField(required=False, error_messages={"invalid": f"must be the id of a {noun}."})


def _text_field(max_length: int) -> forms.Field:
    return TextField(required=False, **text_field_options(max_length))


_FILTER_FIELDS: dict[str, forms.Field] = {
    "q": TextField(required=False, **search_field_options(MAX_TEXT_LENGTH)),
    "subject": _text_field(NAME_LENGTH),
    "collection": _text_field(NAME_LENGTH),
    "outcome": _choice_field(*OUTCOMES),
    "principal": _text_field(MAX_TEXT_LENGTH),
    "policy_id": _uuid_field("policy"),
    "run_id": _uuid_field("run"),
    "memory_id": _uuid_field("memory"),
    "in_force": _choice_field("true", "false"),
    "from": InstantField(required=False),
    "to": InstantField(required=False),
}
FILTERS = tuple(_FILTER_FIELDS)


def list_page(params: QueryDict, *, principal: Principal) -> DecisionPage:
    """The page of decisions given by `params`, the newest first. Raises InvalidQueryError."""
    decisions = _filter_decisions(params, principal.clearance, PAGE_PARAMS)
    limit = parse_limit(params.get("limit", ""))
    codec = create_cursor_codec(principal, "decisions", [params.get(name) for name in FILTERS])
    cursor = params.get("cursor", "")
    keyset: Any = codec.decode(cursor, datetime, UUID) if cursor else None
    with rls.as_reader(principal.clearance):
        rows = _newest_rows(decisions, keyset, limit + 1)
        records = to_records(rows[:limit], principal.clearance)
    next_cursor = codec.encode(records[-1].decided_at, records[-1].decision_id) if len(rows) > limit else None
    return DecisionPage(decisions=records, next_cursor=next_cursor)


def iter_decisions(params: QueryDict, *, principal: Principal) -> Iterator[DecisionRecord]:
    """All decisions that match the filters in `params`, the newest first. Raises InvalidQueryError at the call."""
    return _iter_pages(_filter_decisions(params, principal.clearance), principal.clearance)


def get_decision(decision_id: UUID, *, principal: Principal) -> DecisionRecord | None:
    """The decision with this id; None if `principal` sees none."""
    with rls.as_reader(principal.clearance):
        decisions = Decision.objects.visible_to(principal.clearance).filter(decision_id=decision_id)
        return next(iter(to_records(decisions.with_undo(), principal.clearance)), None)


def list_for_keys(keys: Sequence[GroupKey], *, clearance: Clearance) -> dict[GroupKey, list[DecisionRecord]]:
    """The decisions about the group of each key, the newest first; an empty list for a key without any."""
    records_by_key: dict[GroupKey, list[DecisionRecord]] = {key: [] for key in keys}
    if not keys:
        return records_by_key
    with rls.as_reader(clearance):
        condition = reduce(or_, (_key_condition(key) for key in records_by_key))
        decisions = (
            Decision.objects.visible_to(clearance).filter(condition).with_undo().order_by("-decided_at", "-decision_id")
        )
        for record in to_records(decisions, clearance):
            records_by_key[record.key].append(record)
    return records_by_key


def to_json(record: DecisionRecord) -> dict[str, Any]:
    """The API document of a decision."""
    # Without warnings, because the periods in `validity` are JSON documents, whose instants are texts.
    return cast("dict[str, Any]", _RECORD_ADAPTER.dump_python(record, by_alias=True, warnings=False))


_RECORD_ADAPTER = TypeAdapter(DecisionRecord)


def _filter_decisions(params: QueryDict, clearance: Clearance, extra_params: Sequence[str] = ()) -> DecisionQuerySet:
    reject_unknown_params(params, frozenset((*FILTERS, *extra_params)))
    values = parse_params(params, _FILTER_FIELDS)
    if values["from"] and values["to"] and values["from"] >= values["to"]:
        raise InvalidQueryError({"to": ["must be later than from."]})
    exact_fields = ("subject", "collection", "outcome", "principal", "policy_id", "run_id")
    condition = Q(**{name: values[name] for name in exact_fields if values[name] is not None})
    bounds = {"decided_at__gte": values["from"], "decided_at__lt": values["to"]}
    condition &= Q(**{name: value for name, value in bounds.items() if value})
    policy_is_visible = Q(policy_id__isnull=True) | Q(policy_id__in=policies.visible_policy_ids(clearance))
    if values["policy_id"] or values["run_id"]:
        condition &= policy_is_visible
    if values["q"]:
        condition &= ~Q(HoldsSecret(F("reason")))
        matches_hidden_reason = values["q"].casefold() in HIDDEN_REASON.casefold()
        condition &= (policy_is_visible & Q(reason__icontains=values["q"])) | (
            ~policy_is_visible if matches_hidden_reason else Q(pk__in=())
        )
    if values["memory_id"]:
        condition &= Q(memory_ids__contains=[values["memory_id"]]) | Q(merged_id=values["memory_id"])
    decisions: DecisionQuerySet = Decision.objects.visible_to(clearance).filter(condition)
    if values["in_force"] == "true":
        decisions = decisions.in_force()
    if values["in_force"] == "false":
        decisions = decisions.exclude(decision_id__in=decisions.in_force().values("decision_id"))
    return decisions


def _key_condition(key: GroupKey) -> Q:
    subject, collection, *namespace = key
    condition = Q(subject=subject, collection=collection)
    return condition & (Q(namespace=namespace[0]) if namespace else Q(namespace__isnull=True))


def _newest_rows(decisions: DecisionQuerySet, keyset: Keyset | None, limit: int) -> list[Decision]:
    rows = decisions.with_undo().order_by("-decided_at", "-decision_id")
    if keyset:
        rows = rows.filter(RowComparison(("decided_at", "decision_id"), "<", keyset))
    return list(rows[:limit])


def _iter_pages(decisions: DecisionQuerySet, clearance: Clearance) -> Iterator[DecisionRecord]:
    keyset: Keyset | None = None
    while True:
        with rls.as_reader(clearance):
            records = to_records(_newest_rows(decisions, keyset, MAX_LIMIT), clearance)
        yield from records
        if len(records) < MAX_LIMIT:
            return
        keyset = (records[-1].decided_at, records[-1].decision_id)


_COPIED_FIELDS = (
    "decision_id", "decided_at", "recorded_at", "outcome", "subject", "collection", "namespace", "memory_ids",
    "kept_ids", "retired_ids", "still_active_ids", "validity", "deferred_until", "principal", "undoes_id",
)  # fmt: skip
_POLICY_FIELDS = ("reason", "policy_id", "policy_version", "rule", "run_id")
# For readers who may not see the policy. The reason is replaced because it names the policy and quotes the rule.
_HIDDEN_POLICY: dict[str, Any] = {
    "reason": HIDDEN_REASON, "policy_id": None, "policy_version": None, "rule": "", "run_id": None,
}  # fmt: skip


def to_records(rows: Iterable[Decision], clearance: Clearance) -> list[DecisionRecord]:
    """Records of decisions that `clearance` may see, from rows of `with_undo()`. Call it inside `rls.as_reader`."""
    decisions = list(rows)
    merged_ids = [row.merged_id for row in decisions if row.merged_id]
    # The merged memory is not a member of the decision, and may have been classified more strictly since.
    latest_versions = Memory.objects.visible_to(clearance).with_ids(merged_ids).filter(superseded_at__isnull=True)
    visible_merged_ids = set(latest_versions.values_list("memory_id", flat=True)) if merged_ids else set()
    policy_ids = {row.policy_id for row in decisions if row.policy_id}
    visible_policy_ids = (
        set(policies.visible_policy_ids(clearance).filter(policy_id__in=policy_ids)) if policy_ids else set()
    )
    now = clock.database_now() if any(row.deferred_until for row in decisions) else None
    return [
        DecisionRecord(
            **{name: getattr(row, name) for name in _COPIED_FIELDS},
            **(
                {name: getattr(row, name) for name in _POLICY_FIELDS}
                if row.policy_id in {None, *visible_policy_ids}
                else _HIDDEN_POLICY
            ),
            id=encode_id(*row.key),
            merged_id=row.merged_id if row.merged_id in visible_merged_ids else None,
            evidence=bytes(row.evidence).hex(),
            undone_by_id=(undone_by_id := getattr(row, "undone_by_id", None)),
            is_in_force=not undone_by_id
            and row.outcome != "undo"
            and not (row.deferred_until and now and row.deferred_until <= now),
        )
        for row in decisions
    ]
