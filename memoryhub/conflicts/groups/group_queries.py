"""The SQL behind groups: which keys have a group, its decision, and its newest members.

Open groups are found along the index of active memories, where the contents of a key are adjacent; decided groups along
the index of decisions. Both scans are in the order of keys, so PostgreSQL stops at the last group of the page.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import comb
from typing import TYPE_CHECKING, Any, Literal, Protocol
from uuid import UUID

from django.db.models import Case, Exists, F, OuterRef, Q, Value, When
from pgvector.django import VectorField

from memoryhub.conflicts.comparison_model import current_comparison_model
from memoryhub.conflicts.decisions.querysets import DecisionQuerySet
from memoryhub.conflicts.detector import compare
from memoryhub.conflicts.detector.compare import ConflictClass
from memoryhub.conflicts.groups import class_cache
from memoryhub.conflicts.groups.group_keys import GroupKey
from memoryhub.conflicts.groups.open_groups import SqlWithParams, filter_by_key_columns, open_condition_sql
from memoryhub.core.sql import RowComparison, compile_sql, fetch_dicts, match_columns

if TYPE_CHECKING:
    from memoryhub.conflicts.groups.groups import GroupFilterSet

Status = Literal["open", "decided"]
MAX_LISTED_MEMORIES = 20
"""Memories of a group in a list, the newest of each value first; `memory_count` has their full number."""
_MEMORY_FIELDS = (
    "memory_id", "payload_id", "version", "source", "actor_type", "actor_id", "namespace", "content", "timestamp",
    "recorded_at", "classification_tier", "sensitivity_labels", "subject", "collection", "status",
)  # fmt: skip
_EVIDENCE_FIELDS = ("memory_id", "version", "content_sha256", "status")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueSupport:
    """One content and the memories that assert it, the newest first."""

    content: str
    memories: list[dict[str, Any]]

    @property
    def compared_value(self) -> compare.ComparedValue:
        field_names = ("content", "timestamp", "actor_type", "actor_id", "source", "collection", "embedding")
        return compare.ComparedValue(**{name: self.memories[0][name] for name in field_names})


class KeyedGroup(Protocol):
    """A group or the summary of one."""

    @property
    def key(self) -> GroupKey: ...
    @property
    def status(self) -> Status: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSummary:
    """A group before its members are loaded."""

    key: GroupKey
    status: Status
    value_count: int
    memory_count: int
    evidence: str
    members_hash: bytes
    """Hash over all members including retired ones; the class is cached under it."""
    decision_id: UUID | None
    conflict_class: ConflictClass | None

    @property
    def pair_count(self) -> int:
        return comb(min(self.value_count, compare.MAX_VALUES), 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupQuery:
    """Queries for the groups that match `filters` and have keys of `key_columns`."""

    filters: "GroupFilterSet"
    key_columns: tuple[str, ...]

    def list_after(self, key: GroupKey | None, limit: int) -> list[GroupSummary]:
        """The first `limit` groups after `key`; from the beginning if it is None."""
        key_condition = Q() if key is None else Q(RowComparison(self.key_columns, ">", key))
        return self._list_summaries(key_condition, limit, self.filters.effective_status)

    def list_for_key(self, key: GroupKey) -> list[GroupSummary]:
        """The group of a key, open or decided; an empty list if there is none."""
        return self._list_summaries(Q(**dict(zip(self.key_columns, key, strict=True))), 1, "all")

    def with_classes(self, summaries: Sequence[GroupSummary], *, max_pairs: int | None = None) -> list[GroupSummary]:
        """The summaries with their classes. Missing classes are computed and cached.

        With `max_pairs` the result ends before the summaries exceed so many pairs of values, but has one summary at
        least. Groups with cached classes count like the others: otherwise the end of a list would reveal which groups
        other callers have read.
        """
        candidates = list(
            summaries
            if max_pairs is None
            else summaries[: _count_affordable(summaries, max_pairs // current_comparison_model().cost)]
        )
        unclassified = [summary for summary in candidates if summary.conflict_class is None]
        if not unclassified:
            return candidates
        value_lists = self.load_values(unclassified, MAX_LISTED_MEMORIES, with_embeddings=True)
        verdicts = {
            summary.members_hash: compare.classify_group(support.compared_value for support in values)
            for summary, values in zip(unclassified, value_lists, strict=True)
        }
        class_cache.store_classes(verdicts)
        return [
            summary
            if summary.conflict_class
            else replace(summary, conflict_class=verdicts[summary.members_hash].conflict_class)
            for summary in candidates
        ]

    def load_values(
        self, keyed_groups: Sequence[KeyedGroup], max_memories: int, *, with_embeddings: bool
    ) -> list[list[ValueSupport]]:
        """The values of each group, the latest one first, with its newest `max_memories` memories.

        With `with_embeddings` the first memory of each content has its embedding: it represents the content in
        comparisons.
        """
        if not keyed_groups:
            return []
        has_decided = any(keyed_group.status == "decided" for keyed_group in keyed_groups)
        embedding_column = F("embedding") if with_embeddings else Value(None, VectorField())
        members_sql, params = self._members_sql(
            *_MEMORY_FIELDS, "content_sha256", "value_sha256", include_retired=has_decided, vector=embedding_column
        )
        array_placeholders = ", ".join(["%s::varchar[]"] * (len(self.key_columns) + 1))
        selected_columns = ", ".join(f"member.{name}" for name in (*_MEMORY_FIELDS, "content_sha256"))
        sql = _VALUES_SQL.format(
            names=self._column_list, lists=array_placeholders, part=members_sql, columns=selected_columns
        )
        key_arrays = [
            list(column)
            for column in zip(*((*keyed_group.key, keyed_group.status) for keyed_group in keyed_groups), strict=True)
        ]
        members_by_position: dict[int, list[dict[str, Any]]] = {}
        for row in fetch_dicts(sql, [*key_arrays, *params, max_memories]):
            members_by_position.setdefault(row.pop("position"), []).append(row)
        return [_group_by_value(members_by_position.get(position, [])) for position in range(1, len(keyed_groups) + 1)]

    @property
    def _column_list(self) -> str:
        return ", ".join(self.key_columns)

    @property
    def _key_match(self) -> dict[str, Any]:
        return match_columns("keys", self.key_columns)

    @property
    def _scope_decisions(self) -> DecisionQuerySet:
        return filter_by_key_columns(self.filters.decisions, self.key_columns)

    @property
    def _key_decisions(self) -> DecisionQuerySet:
        return self._scope_decisions.filter(**self._key_match)

    @property
    def _open_condition_sql(self) -> SqlWithParams:
        return open_condition_sql(self.filters.active_members, self.filters.decisions, self.key_columns)

    @property
    def _latest_decision_sql(self) -> SqlWithParams:
        """The id of the newest decision about a key."""
        decisions_sql, params = compile_sql(self._key_decisions.values("id", "decision_id"))
        return _LATEST_DECISION_SQL.format(decisions=decisions_sql), params

    @property
    def _match_flag(self) -> Any:
        condition = self.filters.member_condition
        return Case(When(condition, then=True), default=False) if condition else Value(True)

    def _list_summaries(self, key_condition: Q, limit: int, status: str) -> list[GroupSummary]:
        subqueries = [self._open_groups_sql(key_condition, limit, status)] if status != "decided" else []
        subqueries += [self._decided_groups_sql(key_condition, limit)] if status != "open" else []
        members_sql, members_params = self._members_sql(*_EVIDENCE_FIELDS, include_retired=status != "open")
        sql = _SUMMARIES_SQL.format(
            columns=self._column_list,
            parts=" UNION ".join(f"({subquery})" for subquery, _ in subqueries),
            members=members_sql,
        )
        params = [param for _, params in subqueries for param in params]
        rows = fetch_dicts(sql, [*params, limit, *members_params, current_comparison_model().version])
        return [GroupSummary(key=tuple(row.pop(name) for name in self.key_columns), **row) for row in rows]

    def _open_groups_sql(self, key_condition: Q, limit: int, status: str) -> SqlWithParams:
        """Groups of active memories: the open ones, or all if `status` is "all"."""
        rows = self.filters.active_members.filter(key_condition)
        rows_sql, params = rows.ordered_sql(
            self.key_columns, *self.key_columns, "content_sha256", matches=self._match_flag
        )
        decision_sql, decision_params = self._latest_decision_sql
        open_sql, open_params = self._open_condition_sql
        sql = _OPEN_GROUPS_SQL.format(
            columns=self._column_list, rows=rows_sql, is_open=open_sql, latest_decision=decision_sql
        )
        return sql, [*decision_params, *params, self.filters.min_values, *open_params, status, limit]

    def _decided_groups_sql(self, key_condition: Q, limit: int) -> SqlWithParams:
        """Groups that have a decision and are not open."""
        decided_keys = (
            self._scope_decisions.filter(self.filters.key_condition, key_condition)
            .order_by(*self.key_columns)
            .values(*self.key_columns)
        )
        keys_sql, params = compile_sql(decided_keys.distinct())
        members_sql, members_params = self._members_sql(
            "content_sha256", include_retired=True, matches=self._match_flag
        )
        decision_sql, decision_params = self._latest_decision_sql
        open_sql, open_params = self._open_condition_sql
        sql = _DECIDED_GROUPS_SQL.format(
            columns=self._column_list,
            keys=keys_sql,
            members=members_sql,
            is_open=open_sql,
            latest_decision=decision_sql,
        )
        return sql, [*decision_params, *params, *members_params, self.filters.min_values, *open_params, limit]

    def _members_sql(self, *columns: str, include_retired: bool, **annotations: Any) -> SqlWithParams:
        """The active memories of `keys` and, if the group is decided, those that its decisions retired."""
        active_sql, params = compile_sql(
            self.filters.active_members.filter(**self._key_match).values(*columns, **annotations)
        )
        if not include_retired:
            return active_sql, params
        retiring_decisions = self._key_decisions.filter(decision_id=OuterRef("decision_id"))
        retired_members = self.filters.retired_members.filter(Exists(retiring_decisions), **self._key_match)
        retired_sql, retired_params = compile_sql(retired_members.values(*columns, **annotations))
        return _MEMBERS_SQL.format(in_force=active_sql, retired=retired_sql), [*params, *retired_params]


def _count_affordable(summaries: Sequence[GroupSummary], max_pairs: int) -> int:
    return max(bisect_right(list(accumulate(summary.pair_count for summary in summaries)), max_pairs), 1)


def _group_by_value(members: Iterable[Mapping[str, Any]]) -> list[ValueSupport]:
    by_content: dict[bytes, list[dict[str, Any]]] = {}
    for member in members:
        memory = {name: member[name] for name in (*_MEMORY_FIELDS, "embedding")}
        by_content.setdefault(bytes(member["content_sha256"]), []).append(memory)
    return [ValueSupport(content=memories[0]["content"], memories=memories) for memories in by_content.values()]


_LATEST_DECISION_SQL = "SELECT (array_agg(decision_id ORDER BY id DESC))[1] FROM ({decisions}) AS decisions"
# OFFSET 0 keeps PostgreSQL from evaluating the condition once for each place that names it.
_OPEN_GROUPS_SQL = """
SELECT {columns}, CASE WHEN is_open THEN 'open' ELSE 'decided' END AS status, ({latest_decision}) AS decision_id
FROM (
    SELECT {columns} FROM ({rows}) AS keyed
    GROUP BY {columns}
    HAVING count(DISTINCT content_sha256) >= %s AND bool_or(matches)
    ORDER BY {columns}
) AS keys CROSS JOIN LATERAL (SELECT {is_open} AS is_open OFFSET 0) AS state
WHERE is_open OR %s = 'all'
ORDER BY {columns}
LIMIT %s
"""
# `limit` rows of each of the two subqueries are enough: a group that both return is the same row, and a group that
# neither returns comes after all of them.
_DECIDED_GROUPS_SQL = """
SELECT {columns}, status, ({latest_decision}) AS decision_id
FROM (SELECT *, 'decided' AS status FROM ({keys}) AS decided_keys) AS keys
CROSS JOIN LATERAL (
    SELECT count(DISTINCT content_sha256) AS value_count, bool_or(matches) AS matches FROM ({members}) AS member
) AS group_values
WHERE value_count >= %s AND matches AND NOT ({is_open})
ORDER BY {columns}
LIMIT %s
"""
_MEMBERS_SQL = "({in_force}) UNION ALL (SELECT * FROM ({retired}) AS retired WHERE keys.status = 'decided')"
_SUMMARIES_SQL = """
WITH listed AS MATERIALIZED (SELECT * FROM ({parts}) AS parts ORDER BY {columns} LIMIT %s)
SELECT keys.*, group_values.value_count, group_values.memory_count, group_values.members_hash, group_values.evidence,
       class_cache.conflict_class
FROM listed AS keys
CROSS JOIN LATERAL (
    SELECT count(DISTINCT content_sha256) AS value_count, count(*) AS memory_count,
           sha256(convert_to(string_agg(memory_id || ':' || version, ',' ORDER BY memory_id), 'UTF8')) AS members_hash,
           encode(sha256(convert_to(coalesce(string_agg(memory_id || ':' || version, ',' ORDER BY memory_id)
               FILTER (WHERE status = 'active'), ''), 'UTF8')), 'hex') AS evidence
    FROM ({members}) AS member
) AS group_values
LEFT JOIN conflict_class_cache AS class_cache
    ON class_cache.members_hash = group_values.members_hash AND class_cache.model_version = %s
ORDER BY {columns}
"""
# The newest memory of a content represents it in comparisons, so only this row has the embedding. The newest memory of
# each value sorts before its other spellings, so that many spellings of one value do not crowd out another value.
_VALUES_SQL = """
SELECT keys.position::integer, {columns}, CASE WHEN rank = 1 THEN member.vector::real[] END AS embedding
FROM unnest({lists}) WITH ORDINALITY AS keys({names}, status, position)
CROSS JOIN LATERAL (
    SELECT * FROM (
        SELECT *, row_number() OVER (PARTITION BY content_sha256 ORDER BY "timestamp" DESC, memory_id DESC) AS rank,
               row_number() OVER (PARTITION BY value_sha256 ORDER BY "timestamp" DESC, memory_id DESC) AS spelling
        FROM ({part}) AS members
    ) AS ranked
    ORDER BY spelling > 1, rank, "timestamp" DESC, memory_id DESC
    LIMIT %s
) AS member
ORDER BY keys.position, member.timestamp DESC, member.memory_id DESC
"""
