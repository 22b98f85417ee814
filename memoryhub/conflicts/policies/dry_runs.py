"""Dry runs: what a policy would do with the open groups that a principal may see, in batches or page by page."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from memoryhub.conflicts.groups.group_keys import GroupKey, decode_key, encode_key
from memoryhub.conflicts.models import Policy
from memoryhub.conflicts.policies import policy_evaluation, rules
from memoryhub.conflicts.policies.policy_evaluation import BATCH_SIZE, SKIP_REASONS, GroupEvaluation
from memoryhub.firewall import rls
from memoryhub.firewall.cursors import create_cursor_codec
from memoryhub.firewall.principal import Principal
from memoryhub.memories.models import Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationTotals:
    """Number of open groups evaluated, of decisions by rule, and of skipped groups by reason."""

    groups_seen: int = 0
    decided_by_rule: Mapping[str, int] = field(default_factory=dict)
    skipped_by_reason: Mapping[str, int] = field(default_factory=dict)

    @property
    def decided_count(self) -> int:
        return sum(self.decided_by_rule.values())

    @property
    def skipped_count(self) -> int:
        return sum(self.skipped_by_reason.values())

    @property
    def counts(self) -> list[int]:
        """All counts in a fixed order: what a cursor carries on to the next page."""
        return [
            self.groups_seen,
            *(self.decided_by_rule.get(rule, 0) for rule in rules.RULES),
            *(self.skipped_by_reason.get(reason, 0) for reason in SKIP_REASONS),
        ]

    @classmethod
    def from_counts(cls, groups_seen: int, *counts: int) -> "EvaluationTotals":
        decided_by_rule = zip(rules.RULES, counts[: len(rules.RULES)], strict=True)
        skipped_by_reason = zip(SKIP_REASONS, counts[len(rules.RULES) :], strict=True)
        return cls(
            groups_seen=groups_seen,
            decided_by_rule={rule: count for rule, count in decided_by_rule if count},
            skipped_by_reason={reason: count for reason, count in skipped_by_reason if count},
        )

    def plus(self, evaluations: Sequence[GroupEvaluation]) -> "EvaluationTotals":
        decided_by_rule, skipped_by_reason = Counter(self.decided_by_rule), Counter(self.skipped_by_reason)
        decided_by_rule.update(evaluation.rule for evaluation in evaluations if not evaluation.skip_reason)
        skipped_by_reason.update(evaluation.skip_reason for evaluation in evaluations if evaluation.skip_reason)
        return EvaluationTotals(
            groups_seen=self.groups_seen + len(evaluations),
            decided_by_rule=dict(decided_by_rule),
            skipped_by_reason=dict(skipped_by_reason),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPage:
    """A page of open groups; `totals` also count the pages before it."""

    evaluations: list[GroupEvaluation]
    totals: EvaluationTotals
    next_cursor: str | None


def iter_dry_run(
    policy: Policy, *, principal: Principal, after_key: GroupKey | None = None, batch_size: int = BATCH_SIZE
) -> Iterator[list[GroupEvaluation]]:
    """Yield what `policy` would do with all open groups that `principal` may see, in the order of keys, in batches."""
    while True:
        batch = policy_evaluation.evaluate_batch(policy, principal=principal, after_key=after_key, limit=batch_size)
        yield batch.evaluations
        if batch.last_key is None:
            return
        after_key = batch.last_key


def list_page(policy: Policy, *, principal: Principal, limit: int, cursor: str = "") -> EvaluationPage:
    """The next page of evaluations; it may hold fewer than `limit`, or none, and still have a next page.

    Raises InvalidQueryError for a cursor that does not belong to this version of the policy.
    """
    codec = create_cursor_codec(principal, "dry run", policy.policy_id, policy.version)
    after_key, totals = None, EvaluationTotals()
    if cursor:
        encoded_key, *counts = codec.decode(cursor, str, *(int for _ in totals.counts))
        after_key, totals = decode_key(encoded_key), EvaluationTotals.from_counts(*counts)
    batch = policy_evaluation.evaluate_batch(policy, principal=principal, after_key=after_key, limit=limit)
    totals = totals.plus(batch.evaluations)
    next_cursor = None if batch.last_key is None else codec.encode(encode_key(batch.last_key), *totals.counts)
    return EvaluationPage(evaluations=batch.evaluations, totals=totals, next_cursor=next_cursor)


def load_contents(memory_ids: Sequence[UUID], principal: Principal) -> dict[UUID, str]:
    """The contents of those of these memories that `principal` may see, by memory id."""
    with rls.as_reader(principal.clearance):
        memories = Memory.objects.visible_to(principal.clearance).current().with_ids(memory_ids)
        return dict(memories.values_list("memory_id", "content"))
