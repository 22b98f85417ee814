"""What a policy would do with the open groups that a principal may see. Nothing is changed here.

Groups are evaluated in the order of their keys, some hundreds per query. Of their memories only the columns that the
rules need are read.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from memoryhub.conflicts.comparison_model import current_comparison_model
from memoryhub.conflicts.decisions import claims
from memoryhub.conflicts.detector import compare
from memoryhub.conflicts.groups import class_cache
from memoryhub.conflicts.groups.group_keys import SCOPE_COLUMNS, GroupKey, compute_evidence
from memoryhub.conflicts.groups.open_groups import find_open_keys
from memoryhub.conflicts.models import GroupClassCache, Policy
from memoryhub.conflicts.policies import policies, rules
from memoryhub.conflicts.policies.rules import Assertion, CandidateValue, Rule
from memoryhub.core.sql import RowComparison, compile_sql, fetch_dicts, match_columns
from memoryhub.firewall import rls
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.principal import Principal
from memoryhub.memories import clock
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import MemoryQuerySet

BATCH_SIZE = 500
"""Groups per query."""
COUNT_BATCH_SIZE = 10_000
"""Keys that one query counts."""
SKIP_REASONS = {
    "manual_review": "No rule names one value.",
    "class_not_covered": "The policy does not decide groups of this class.",
    "paraphrase": "The decision might retire another wording of the kept value, or a value that differs by a"
    " sign only: no policy decides about paraphrases yet.",
    "higher_priority_policy": "A more specific policy decides the group.",
    "claimed_by_other": "Another principal is deciding about the group now.",
}
"""Why a group is left undecided."""
_KEY_COLUMNS = SCOPE_COLUMNS["collection"]
_MEMBER_FIELDS = (
    "memory_id", "version", "content_sha256", "value_sha256", "namespace", "source", "actor_type", "actor_id",
    "timestamp",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEvaluation:
    """The result for one group: a value that would be kept, or a key of SKIP_REASONS."""

    key: GroupKey
    evidence: str
    value_count: int
    memory_count: int
    conflict_class: str = ""
    """Empty if the class was not needed."""
    keep: UUID | None = None
    """The newest memory with the value that would be kept."""
    rule: str = ""
    explanation: str = ""
    skip_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationBatch:
    """Consecutive open groups with their results."""

    evaluations: list[GroupEvaluation]
    last_key: GroupKey | None
    """The key after which the next batch starts; None if there is no next batch."""


@dataclass(frozen=True, kw_only=True)
class _OpenGroup:
    key: GroupKey
    members: list[dict[str, Any]]
    """The newest first."""

    @cached_property
    def members_by_content(self) -> dict[bytes, list[dict[str, Any]]]:
        return _group_members("content_sha256", self.members)

    @cached_property
    def members_by_value(self) -> dict[bytes, list[dict[str, Any]]]:
        """The members by value, with all spellings of a value together."""
        return _group_members("value_sha256", self.members)

    @property
    def namespaces(self) -> set[str]:
        return {member["namespace"] for member in self.members}

    def evaluate_rules(self, policy_rules: Sequence[Rule], now: datetime) -> GroupEvaluation:
        """Apply the rules to the values, then to the spellings of the winning value.

        Among the values all spellings of a value count together.
        """
        members_by_hash = self.members_by_value if len(self.members_by_value) > 1 else self.members_by_content
        outcome = rules.apply_rules(_build_candidates(members_by_hash), policy_rules, now=now)
        evaluation = GroupEvaluation(
            key=self.key,
            evidence=compute_evidence((member["memory_id"], member["version"]) for member in self.members),
            value_count=len(self.members_by_content),
            memory_count=len(self.members),
            skip_reason="" if outcome else "manual_review",
        )
        if outcome is None:
            return evaluation
        members_by_text = _group_members("content_sha256", members_by_hash[outcome.winner])
        text_outcome = rules.apply_rules(_build_candidates(members_by_text), policy_rules, now=now)
        newest_member = members_by_text[text_outcome.winner][0] if text_outcome else members_by_hash[outcome.winner][0]
        return replace(evaluation, keep=newest_member["memory_id"], rule=outcome.rule, explanation=outcome.explanation)


def _group_members(field_name: str, members: Iterable[dict[str, Any]]) -> dict[bytes, list[dict[str, Any]]]:
    members_by_hash: dict[bytes, list[dict[str, Any]]] = {}
    for member in members:
        members_by_hash.setdefault(bytes(member[field_name]), []).append(member)
    return members_by_hash


def _build_candidates(members_by_hash: Mapping[bytes, Sequence[dict[str, Any]]]) -> list[CandidateValue]:
    field_names = ("source", "actor_type", "timestamp")
    return [
        CandidateValue(
            content_sha256=value_hash,
            assertions=[Assertion(**{name: member[name] for name in field_names}) for member in members],
        )
        for value_hash, members in members_by_hash.items()
    ]


def evaluate_batch(policy: Policy, *, principal: Principal, after_key: GroupKey | None, limit: int) -> EvaluationBatch:
    """Evaluate those of the next `limit` groups after `after_key` that are open.

    With a language model `limit` is divided by the model's cost, because the transaction waits for its answers.
    """
    limit = max(1, limit // current_comparison_model().cost)
    with rls.as_reader(principal.clearance):
        keys = _load_keys(policy, principal.clearance, after_key, limit)
        open_groups = _load_groups(find_open_keys(keys, clearance=principal.clearance), principal.clearance)
        evaluations = _evaluate_groups(policy, open_groups, principal)
    return EvaluationBatch(evaluations=evaluations, last_key=keys[-1] if len(keys) == limit else None)


def count_keys(policy: Policy, *, principal: Principal) -> int:
    """Number of groups to examine, open or not. Reads the keys of all of them, COUNT_BATCH_SIZE per query."""
    total, after_key = 0, None
    while True:
        with rls.as_reader(principal.clearance):
            keys = _load_keys(policy, principal.clearance, after_key, COUNT_BATCH_SIZE)
        total += len(keys)
        if len(keys) < COUNT_BATCH_SIZE:
            return total
        after_key = keys[-1]


def _evaluate_groups(policy: Policy, groups: Sequence[_OpenGroup], principal: Principal) -> list[GroupEvaluation]:
    now, policy_rules = clock.database_now(), policies.parse_rules(policy)
    evaluations = [group.evaluate_rules(policy_rules, now) for group in groups]
    decidable = {evaluation.key: evaluation for evaluation in evaluations if not evaluation.skip_reason}
    classes = _load_classes(decidable, [group for group in groups if group.key in decidable], principal.clearance)
    higher_priority = policies.list_higher_priority(policy, principal)
    claimed_keys = claims.list_blocking_claims(decidable, principal=principal)
    results = []
    for group, evaluation in zip(groups, evaluations, strict=True):
        conflict_class = classes.get(group.key, "")
        skip_reason = (
            evaluation.skip_reason
            or _find_skip_reason(policy, higher_priority, group, conflict_class)
            or ("claimed_by_other" if group.key in claimed_keys else "")
        )
        results.append(replace(evaluation, conflict_class=conflict_class, skip_reason=skip_reason))
    paraphrased_keys = _find_paraphrased_keys(
        [evaluation for evaluation in results if not evaluation.skip_reason], groups, principal.clearance
    )
    return [
        replace(evaluation, skip_reason="paraphrase") if evaluation.key in paraphrased_keys else evaluation
        for evaluation in results
    ]


def _find_skip_reason(policy: Policy, higher_priority: Iterable[Policy], group: _OpenGroup, conflict_class: str) -> str:
    if conflict_class not in policy.classes:
        return "class_not_covered"
    if conflict_class in policies.MANUAL_CLASSES:
        return conflict_class
    is_decided_elsewhere = any(
        conflict_class in candidate.classes and policies.applies_to(candidate, group.key, group.namespaces)
        for candidate in higher_priority
    )
    return "higher_priority_policy" if is_decided_elsewhere else ""


def _load_classes(
    evaluations: Mapping[GroupKey, GroupEvaluation], groups: Sequence[_OpenGroup], clearance: Clearance
) -> dict[GroupKey, str]:
    """The class of each group, cached or computed from the newest memory of each of its contents."""
    hash_by_key = {group.key: bytes.fromhex(evaluations[group.key].evidence) for group in groups}
    cached_rows = GroupClassCache.objects.filter(
        members_hash__in=hash_by_key.values(), model_version=current_comparison_model().version
    )
    class_by_hash = {
        bytes(members_hash): conflict_class
        for members_hash, conflict_class in cached_rows.values_list("members_hash", "conflict_class")
    }
    unclassified = [group for group in groups if hash_by_key[group.key] not in class_by_hash]
    memory_ids = [members[0]["memory_id"] for group in unclassified for members in group.members_by_content.values()]
    texts = _load_texts(memory_ids, clearance)
    # If a memory was hidden since the group was read, the group has changed: a later run meets it again.
    complete_groups = [
        group
        for group in unclassified
        if all(members[0]["memory_id"] in texts for members in group.members_by_content.values())
    ]
    verdicts = {
        hash_by_key[group.key]: compare.classify_group(_compared_values(group, texts)) for group in complete_groups
    }
    if verdicts:
        class_cache.store_classes(verdicts)
    class_by_hash |= {members_hash: verdict.conflict_class for members_hash, verdict in verdicts.items()}
    return {key: class_by_hash.get(group_hash, "") for key, group_hash in hash_by_key.items()}


def _find_paraphrased_keys(
    evaluations: Sequence[GroupEvaluation], open_groups: Sequence[_OpenGroup], clearance: Clearance
) -> set[GroupKey]:
    """Keys of the groups in which a retired value would be a paraphrase of the kept one.

    The class of a group is that of its most serious pair. In a group of two values it is the class of this pair, so
    only larger groups are compared here.
    """
    groups_by_key = {group.key: group for group in open_groups}
    candidates = [
        (evaluation, groups_by_key[evaluation.key])
        for evaluation in evaluations
        if len(groups_by_key[evaluation.key].members_by_value) > 2
    ]
    texts = _load_texts(
        [members[0]["memory_id"] for _, group in candidates for members in group.members_by_value.values()], clearance
    )
    return {evaluation.key for evaluation, group in candidates if _retires_paraphrase(group, evaluation.keep, texts)}


def _retires_paraphrase(group: _OpenGroup, kept_id: UUID | None, texts: Mapping[UUID, Mapping[str, Any]]) -> bool:
    kept_values: list[compare.ComparedValue] = []
    retired_values: list[compare.ComparedValue] = []
    for newest_member, *older_members in group.members_by_value.values():
        if newest_member["memory_id"] in texts:
            is_kept = any(member["memory_id"] == kept_id for member in (newest_member, *older_members))
            (kept_values if is_kept else retired_values).append(_compared_value(group, newest_member, texts))
    comparison_model = current_comparison_model()
    return any(
        compare.compare(kept_value, retired_value, comparison_model=comparison_model).conflict_class
        in policies.MANUAL_CLASSES
        for kept_value in kept_values
        for retired_value in retired_values
    )


def _load_texts(memory_ids: Sequence[UUID], clearance: Clearance) -> dict[UUID, dict[str, Any]]:
    """Content and embedding of those of these memories that `clearance` may see, by memory id."""
    if not memory_ids:
        return {}
    memories = Memory.objects.visible_to(clearance).with_ids(memory_ids).filter(superseded_at__isnull=True)
    rows = memories.values_list("memory_id", "content", "embedding")
    return {memory_id: {"content": content, "embedding": embedding} for memory_id, content, embedding in rows}


def _compared_values(group: _OpenGroup, texts: Mapping[UUID, Mapping[str, Any]]) -> Iterator[compare.ComparedValue]:
    for newest_member, *_ in group.members_by_content.values():
        yield _compared_value(group, newest_member, texts)


def _compared_value(
    group: _OpenGroup, member: Mapping[str, Any], texts: Mapping[UUID, Mapping[str, Any]]
) -> compare.ComparedValue:
    provenance = {name: member[name] for name in ("timestamp", "actor_type", "actor_id", "source")}
    return compare.ComparedValue(**texts[member["memory_id"]], **provenance, collection=group.key[1])


def _active_rows(clearance: Clearance) -> MemoryQuerySet:
    return Memory.objects.visible_to(clearance).current().active().exclude(subject="")


def _build_keys_sql(policy: Policy, clearance: Clearance, after_key: GroupKey | None) -> tuple[str, list[Any]]:
    """SQL and parameters for the keys of the groups that `policy` covers, in the order of keys."""
    rows = _active_rows(clearance)
    # Like the lists, a policy without a collection does not cover keyless groups.
    collection_filter = {"collection": policy.collection or ""}
    rows = rows.exclude(**collection_filter) if policy.collection is None else rows.filter(**collection_filter)
    if after_key is not None:
        rows = rows.filter(RowComparison(_KEY_COLUMNS, ">", after_key))
    # No index has the namespace beside the key, so it is read only if the policy names one.
    has_namespace = policy.namespace is not None
    sql, params = rows.ordered_sql(
        _KEY_COLUMNS, *_KEY_COLUMNS, "content_sha256", *(["namespace"] if has_namespace else [])
    )
    having_condition = "AND bool_and(namespace = %s)" if has_namespace else ""
    return _KEYS_SQL.format(rows=sql, having=having_condition), [
        *params,
        *([policy.namespace] if has_namespace else []),
    ]


def _load_keys(policy: Policy, clearance: Clearance, after_key: GroupKey | None, limit: int) -> list[GroupKey]:
    sql, params = _build_keys_sql(policy, clearance, after_key)
    return [tuple(row.values()) for row in fetch_dicts(_FIRST_KEYS_SQL.format(keys=sql), [*params, limit])]


def _load_groups(keys: Sequence[GroupKey], clearance: Clearance) -> list[_OpenGroup]:
    """The groups of these keys. Keys with fewer than two contents now are left out."""
    if not keys:
        return []
    rows = _active_rows(clearance).filter(**match_columns("keys", _KEY_COLUMNS))
    members_sql, params = compile_sql(rows.values(*_MEMBER_FIELDS))
    key_arrays = [[key[position] for key in keys] for position in range(len(_KEY_COLUMNS))]
    members_by_position: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in fetch_dicts(_MEMBERS_SQL.format(part=members_sql), [*key_arrays, *params]):
        members_by_position[row.pop("position")].append(row)
    groups = [_OpenGroup(key=key, members=members_by_position[position]) for position, key in enumerate(keys, 1)]
    return [group for group in groups if len(group.members_by_content) > 1]


# The rows come in the order of keys, so PostgreSQL stops at the last group of the batch.
_KEYS_SQL = """
SELECT subject, collection FROM ({rows}) AS keyed GROUP BY subject, collection
HAVING count(DISTINCT content_sha256) > 1 {having}
"""
_FIRST_KEYS_SQL = "{keys} ORDER BY subject, collection LIMIT %s"
_MEMBERS_SQL = """
SELECT keys.position::integer, member.*
FROM unnest(%s::varchar[], %s::varchar[]) WITH ORDINALITY AS keys(subject, collection, position)
CROSS JOIN LATERAL ({part}) AS member
ORDER BY keys.position, member.timestamp DESC, member.memory_id DESC
"""
