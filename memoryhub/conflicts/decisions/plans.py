"""Plans for resolutions, computed from the current members of the groups."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID, uuid4

from memoryhub.conflicts.decisions import claims
from memoryhub.conflicts.decisions.resolution_requests import (
    MAX_RESOLVABLE_MEMBERS,
    Resolution,
    ResolutionRequest,
    refusal_error,
)
from memoryhub.conflicts.groups.group_keys import SCOPE_COLUMNS, GroupKey, compute_evidence
from memoryhub.conflicts.models import Decision
from memoryhub.core.sql import compile_sql, fetch_dicts, match_columns
from memoryhub.firewall import rls
from memoryhub.firewall.clearance import ClassifiedRow, get_tier_order, normalize_labels, widens_visibility
from memoryhub.firewall.models import ClearanceProfile
from memoryhub.firewall.principal import Principal
from memoryhub.memories.models import Memory
from memoryhub.memories.writes.envelope import MemoryDraft, OperationRejectedError, prepare_draft


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMember:
    """A memory of a group, with the fields that a resolution needs."""

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
class ResolutionPlan:
    resolution_request: ResolutionRequest
    decision_id: UUID
    members: list[GroupMember]
    kept_members: list[GroupMember]
    retired_members: list[GroupMember]
    still_active_members: list[GroupMember]
    exceeding_source_members: list[GroupMember]
    """Those of `retired_members` whose source may not see the whole group, judged by the classification that it
    sent."""
    merged_draft: MemoryDraft | None

    @property
    def accepted_hashes(self) -> list[bytes]:
        hashes = {member.content_sha256 for member in (*self.kept_members, *self.still_active_members)}
        return sorted(hashes | ({_content_hash(self.merged_draft.envelope.content)} if self.merged_draft else set()))

    @property
    def other_spelling_ids(self) -> set[int]:
        """Ids of retired members whose value is kept in another spelling: the value itself is not rejected."""
        values = {member.value_sha256 for member in self.kept_members}
        values |= {self.merged_draft.content_forms.value_sha256} if self.merged_draft else set()
        return {member.id for member in self.retired_members if member.value_sha256 in values}


def list_members(key: GroupKey, principal: Principal) -> list[GroupMember]:
    """All active memories of a key that `principal` may see, by memory id; at most MAX_RESOLVABLE_MEMBERS + 1."""
    with rls.as_reader(principal.clearance):
        return _load_members([key], principal)[0]


def plan_resolutions(
    resolution_requests: Sequence[ResolutionRequest], principal: Principal, now: datetime
) -> dict[GroupKey, ResolutionPlan | OperationRejectedError]:
    """The plan for each key, or the refusal of its request. Of several requests for a key the first one counts."""
    clearances = [record.as_clearance() for record in ClearanceProfile.objects.all()]
    widens = _cached_widens(
        cache(lambda before, after: widens_visibility(_Classification(*before), _Classification(*after), clearances))
    )
    claimed_keys = claims.list_blocking_claims(
        [resolution_request.key for resolution_request in resolution_requests], principal=principal
    )
    resolved_evidence = _resolved_evidence(resolution_requests, principal)
    request_by_key = {
        resolution_request.key: resolution_request for resolution_request in reversed(resolution_requests)
    }

    def plan_or_refusal(
        resolution_request: ResolutionRequest, members: list[GroupMember]
    ) -> ResolutionPlan | OperationRejectedError:
        if resolution_request.key in claimed_keys:
            return refusal_error("claimed_by_other")
        if (resolution_request.key, resolution_request.evidence) in resolved_evidence:
            return refusal_error("stale")
        try:
            _check_evidence(resolution_request, members, principal)
            return _build_plan(resolution_request, members, principal, now=now, widens=widens)
        except OperationRejectedError as error:
            return error

    member_lists = _load_members(list(request_by_key), principal)
    return {
        key: plan_or_refusal(resolution_request, members)
        for (key, resolution_request), members in zip(request_by_key.items(), member_lists, strict=True)
    }


@dataclass(frozen=True, slots=True)
class _Classification:
    namespace: str
    classification_tier: str
    sensitivity_labels: Sequence[str]


WideningCheck = Callable[[ClassifiedRow, ClassifiedRow], bool]


def _cached_widens(is_widening: Callable[[Any, Any], bool]) -> WideningCheck:
    """`is_widening`, computed once for each pair of classifications."""

    def key(classification: ClassifiedRow) -> tuple[str, str, tuple[str, ...]]:
        return classification.namespace, classification.classification_tier, tuple(classification.sensitivity_labels)

    return lambda before, after: is_widening(key(before), key(after))


def _check_evidence(
    resolution_request: ResolutionRequest, members: Sequence[GroupMember], principal: Principal
) -> None:
    """Raise OperationRejectedError unless the group exists and is unchanged since it was read."""
    if len(members) > MAX_RESOLVABLE_MEMBERS:
        raise refusal_error("too_large")
    if resolution_request.evidence != compute_evidence((member.memory_id, member.version) for member in members):
        is_known = (
            bool(members) or Decision.objects.visible_to(principal.clearance).for_key(*resolution_request.key).exists()
        )
        raise refusal_error("stale" if is_known else "not_found")
    if len({member.content_sha256 for member in members}) < 2:
        raise refusal_error("not_found")


def _resolved_evidence(
    resolution_requests: Sequence[ResolutionRequest], principal: Principal
) -> set[tuple[GroupKey, str]]:
    """Key and evidence of the decisions in force about these groups.

    A request with the same evidence is stale although no version has changed: `not_a_conflict`, for example, changes
    none.
    """
    in_force = Decision.objects.visible_to(principal.clearance).in_force()
    candidates = in_force.filter(
        subject__in={resolution_request.key[0] for resolution_request in resolution_requests},
        collection__in={resolution_request.key[1] for resolution_request in resolution_requests},
    )
    decisions = candidates.only("subject", "collection", "namespace", "evidence")
    return {(decision.key, bytes(decision.evidence).hex()) for decision in decisions}


def _build_plan(
    resolution_request: ResolutionRequest,
    members: list[GroupMember],
    principal: Principal,
    *,
    now: datetime,
    widens: WideningCheck,
) -> ResolutionPlan:
    resolution, decision_id = resolution_request.resolution, uuid4()
    if resolution.deferred_until and resolution.deferred_until <= now:
        raise OperationRejectedError({"deferred_until": ["must lie in the future."]})
    kept_members = _select_kept(resolution, members)
    merged_draft = (
        _prepare_merged(resolution_request, decision_id, members, principal) if resolution.outcome == "merge" else None
    )
    if merged_draft and any(widens(member, merged_draft) for member in members):
        raise refusal_error("would_widen_visibility")
    kept_ids = {member.memory_id for member in kept_members}
    rejected_members = [member for member in members if member.memory_id not in kept_ids]
    classifications = {_current_classification(member) for member in members}
    still_active_ids = {
        rejected_member.memory_id
        for rejected_member in rejected_members
        if any(widens(classification, rejected_member) for classification in classifications)
    }
    retired_members = [
        rejected_member for rejected_member in rejected_members if rejected_member.memory_id not in still_active_ids
    ]
    return ResolutionPlan(
        resolution_request=resolution_request,
        decision_id=decision_id,
        members=members,
        kept_members=kept_members,
        retired_members=retired_members,
        still_active_members=[
            rejected_member for rejected_member in rejected_members if rejected_member.memory_id in still_active_ids
        ],
        exceeding_source_members=_find_exceeding_source(retired_members, members, widens),
        merged_draft=merged_draft,
    )


def _find_exceeding_source(
    retired_members: Sequence[GroupMember], members: Sequence[GroupMember], widens: WideningCheck
) -> list[GroupMember]:
    """Those of `retired_members` that would have stayed active with the classification that their source sent."""
    sources_by_classification: dict[_Classification, set[str]] = defaultdict(set)
    sent_by_source: dict[str, set[_Classification]] = defaultdict(set)
    for member in members:
        sources_by_classification[_current_classification(member)].add(member.source)
        sent_by_source[member.source].add(_sent_classification(member))

    @cache
    def exceeds_source(source: str, sent_classification: _Classification) -> bool:
        other_classifications = (
            classification for classification, holders in sources_by_classification.items() if holders != {source}
        )
        return any(
            widens(classification, sent_classification)
            for classification in (*other_classifications, *sent_by_source[source])
        )

    return [member for member in retired_members if exceeds_source(member.source, _sent_classification(member))]


def _current_classification(member: GroupMember) -> _Classification:
    return _Classification(member.namespace, member.classification_tier, tuple(member.sensitivity_labels))


def _sent_classification(member: GroupMember) -> _Classification:
    return _Classification(member.sent_namespace, member.sent_tier, tuple(member.sent_labels))


def _select_kept(resolution: Resolution, members: list[GroupMember]) -> list[GroupMember]:
    if resolution.outcome_rule.keeps_all:
        return members
    by_id = {member.memory_id: member for member in members}
    if any(memory_id not in by_id for memory_id in resolution.keep):
        raise OperationRejectedError({"keep": ["names a memory that is not in this conflict."]})
    values = {by_id[memory_id].content_sha256 for memory_id in resolution.keep}
    if resolution.outcome == "keep_one" and len(values) > 1:
        raise OperationRejectedError({"keep": ["names memories with different values: use keep_several."]})
    if resolution.outcome == "keep_several" and len(values) < 2:
        raise OperationRejectedError({"keep": ["names only one value: use keep_one."]})
    return [member for member in members if member.content_sha256 in values]


def _prepare_merged(
    resolution_request: ResolutionRequest, decision_id: UUID, members: Sequence[GroupMember], principal: Principal
) -> MemoryDraft:
    """The merged memory: it has the strictest classification of the members and expires with the first of them."""
    content = resolution_request.resolution.content
    namespaces = {member.namespace for member in members}
    if len(namespaces) > 1:
        raise OperationRejectedError({"content": ["would be in one namespace, but the values are in several."]})
    if _content_hash(content) in {member.content_sha256 for member in members}:
        raise OperationRejectedError({"content": ["is the value of one of the memories: use keep_one."]})
    tiers = get_tier_order()
    labels = {label: None for member in members for label in member.sensitivity_labels}
    expiry_times = [member.expires_at for member in members if member.expires_at]
    envelope: dict[str, Any] = {
        "payload_id": f"merged-{decision_id}",
        "content": content,
        "subject": resolution_request.key[0],
        "collection": resolution_request.key[1],
        "namespace": namespaces.pop(),
        # The merged memory replaces the latest member, so it has that event time.
        "timestamp": max(member.timestamp for member in members).isoformat(),
        "metadata": {"merged_from": ",".join(str(member.memory_id) for member in members[:_MAX_MERGED_FROM])},
        "sensitivity_labels": list({next(iter(normalize_labels([label]))): label for label in labels}.values()),
        "classification_tier": max((member.classification_tier or tiers[0] for member in members), key=tiers.index),
        "kind": "summary",
        **({"expires_at": min(expiry_times).isoformat()} if expiry_times else {}),
    }
    merged_draft = prepare_draft(
        envelope,
        source=principal.source or principal.name,
        actor_type=principal.actor_type,
        actor_id=principal.actor_id,
        now=datetime.now(UTC),
    )
    if not principal.clearance.permits(merged_draft):
        raise refusal_error("above_clearance")
    return merged_draft


def _load_members(requested_keys: Sequence[GroupKey], principal: Principal) -> list[list[GroupMember]]:
    """The members of each key; one query for all keys of the same length."""
    members_by_key: dict[GroupKey, list[GroupMember]] = defaultdict(list)
    for columns in SCOPE_COLUMNS.values():
        same_length_keys = [key for key in requested_keys if len(key) == len(columns)]
        if not same_length_keys:
            continue
        rows = Memory.objects.visible_to(principal.clearance).current().active()
        rows = rows.filter(**match_columns("requested_keys", columns))
        members_sql, params = compile_sql(rows.values(*_MEMBER_FIELDS)[: MAX_RESOLVABLE_MEMBERS + 1])
        column_list, array_placeholders = ", ".join(columns), ", ".join(["%s::varchar[]"] * len(columns))
        key_arrays = [[key[index] for key in same_length_keys] for index in range(len(columns))]
        for row in fetch_dicts(
            _MEMBERS_SQL.format(names=column_list, lists=array_placeholders, part=members_sql), [*key_arrays, *params]
        ):
            key = same_length_keys[row.pop("position") - 1]
            digests = {name: bytes(row[name]) for name in ("content_sha256", "value_sha256")}
            members_by_key[key].append(GroupMember(**{**row, **digests}))
    return [members_by_key[key] for key in requested_keys]


_MEMBER_FIELDS = (
    "id", "memory_id", "version", "source", "namespace", "classification_tier", "sensitivity_labels",
    "sent_namespace", "sent_tier", "sent_labels", "content_sha256", "value_sha256", "timestamp", "expires_at",
)  # fmt: skip
_MEMBERS_SQL = """
SELECT requested_keys.position::integer, member.*
FROM unnest({lists}) WITH ORDINALITY AS requested_keys({names}, position) CROSS JOIN LATERAL ({part}) AS member
ORDER BY requested_keys.position, member.memory_id
"""
_MAX_MERGED_FROM = 100


def _content_hash(content: str) -> bytes:
    return hashlib.sha256(content.encode()).digest()
