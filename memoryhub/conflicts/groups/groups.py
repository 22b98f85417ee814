"""Groups of active memories under one key that assert different values.

A group is the visible active memories with the same subject and collection, if they have more than one distinct
content. Groups are read in the order of their keys, along an index where the contents of a key are adjacent, so a page
reads only as far as it must. Nothing is stored that was computed from memories of which a reader may see only some.

A group is open until a decision in force accepts all contents of its members; each read computes this anew. A key whose
losing memories were retired has one value left and is no conflict any more: it is listed as decided.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

from django.db.models import F, Q, Value
from django.http import QueryDict

from memoryhub.conflicts.decisions.querysets import DecisionQuerySet
from memoryhub.conflicts.detector import compare
from memoryhub.conflicts.detector.compare import CLASSES, ConflictClass, PairVerdict
from memoryhub.conflicts.groups import group_keys
from memoryhub.conflicts.groups.group_keys import (
    KEY_COLUMNS,
    REQUIRED_KEY_COLUMNS,
    SCOPE_COLUMNS,
    GroupKey,
    decode_id,
    encode_id,
)
from memoryhub.conflicts.groups.group_queries import MAX_LISTED_MEMORIES, GroupQuery, GroupSummary, Status, ValueSupport
from memoryhub.conflicts.models import Decision
from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.cursors import create_cursor_codec
from memoryhub.firewall.principal import ACTOR_TYPES, Principal
from memoryhub.memories.filters import InstantFilter, PointInTimeFilterSet, choice_filter, search_filter, text_filter
from memoryhub.memories.pagination import parse_limit, parse_positive_int
from memoryhub.memories.querysets import MemoryQuerySet
from memoryhub.memories.sql.search_conditions import HoldsSecret, TextContains

__all__ = [
    "GROUP_PARAMS",
    "MAX_LISTED_MEMORIES",
    "SCOPES",
    "STATUSES",
    "Group",
    "GroupFilterSet",
    "GroupPage",
    "ValueSupport",
    "find_next_group_id",
    "get_group",
    "list_after",
    "list_page",
]  # fmt: skip

GROUP_PARAMS = ("limit", "cursor", "min_values", "include_keyless")
SCOPES = tuple(SCOPE_COLUMNS)
STATUSES = ("open", "decided", "all")
MAX_MEMBERS = 200
"""Memories of a single group, the newest of each value first; `memory_count` has their full number."""
MAX_SKIPPED = 2_000
"""Groups of other classes that are skipped, at most, to fill a page with groups of one class."""
MAX_PAIRS_COMPARED = 5_000
"""Pairs of values, over all groups, that are classified in one call."""
BATCH_SIZE = 200
MAX_PAGES_TO_NEXT = 5
"""Pages that are read at most to find the next group: with a filter on the class a page may be empty and still have a
next page."""
MAX_PAIRS_PER_PAGE = 13_200
"""Pairs of values in the groups of a page: as many as the largest page can have. With a language model the number is
divided by the model's cost, and a page may end before its limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    key: GroupKey
    values: list[ValueSupport]
    """The distinct contents, the latest one first."""
    value_count: int
    memory_count: int
    evidence: str
    """`group_keys.compute_evidence` of all active members: the state that a decision is made on."""
    status: Status
    """The members of a decided group include the memories that its decisions retired."""
    conflict_class: ConflictClass
    decision: Decision | None
    """The newest decision in force about this key. If the group is open, the decision does not cover all of its
    values."""

    @property
    def id(self) -> str:
        return encode_id(*self.key)

    @property
    def has_more_values(self) -> bool:
        """Whether the group has more values than `values` lists."""
        return self.value_count > len(self.values)

    @property
    def has_more_memories(self) -> bool:
        """Whether the group has more members than `members` lists."""
        return self.memory_count > len(self.members)

    @property
    def is_reopened(self) -> bool:
        return self.status == "open" and self.decision is not None

    @property
    def members(self) -> list[dict[str, Any]]:
        memories = [memory for value in self.values for memory in value.memories]
        return sorted(memories, key=lambda memory: (memory["timestamp"], memory["memory_id"]), reverse=True)

    @property
    def pair_verdicts(self) -> Iterator[tuple[int, int, PairVerdict]]:
        """Each pair of the newest values: both indexes in `values`, and the verdict.

        Groups of a list have no embeddings, so their verdicts lack the feature `cosine`.
        """
        newest_values = list(enumerate(self.values))[: compare.MAX_VALUES]
        for (left_index, left), (right_index, right) in combinations(newest_values, 2):
            yield left_index, right_index, compare.compare(left.compared_value, right.compared_value)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPage:
    groups: list[Group]
    next_cursor: str | None


class GroupFilterSet(PointInTimeFilterSet):
    """Filters for groups: a group matches if one of its members does. No filter removes a member from a group."""

    source = text_filter()
    subject = text_filter()
    subject_contains = search_filter(method="defer_to_group_query")
    collection = text_filter()
    namespace = text_filter()
    actor_type = choice_filter(lambda: ACTOR_TYPES)
    locals()["class"] = choice_filter(lambda: CLASSES, method="defer_to_group_query")
    scope = choice_filter(lambda: SCOPES, method="defer_to_group_query")
    status = choice_filter(lambda: STATUSES, method="defer_to_group_query")
    locals()["from"] = InstantFilter(field_name="timestamp", lookup_expr="gte")
    to = InstantFilter(field_name="timestamp", lookup_expr="lt")

    def __init__(self, data: QueryDict, *, clearance: Clearance, extra_params: Iterable[str] = ()) -> None:
        super().__init__(data, clearance=clearance, extra_params=(*GROUP_PARAMS, *extra_params))
        self.min_values = max(parse_positive_int("min_values", data.get("min_values", ""), default=2, maximum=1_000), 2)
        if data.get("include_keyless", "") not in ("", "true", "false"):
            raise InvalidQueryError({"include_keyless": ["must be true or false."]})
        self.includes_keyless = data.get("include_keyless") == "true"

    def defer_to_group_query(self, queryset: MemoryQuerySet, _name: str, _value: str) -> MemoryQuerySet:
        return queryset

    @property
    def key_columns(self) -> tuple[str, ...]:
        return SCOPE_COLUMNS[self.values.get("scope", "collection")]

    @property
    def effective_status(self) -> str:
        return str(self.values.get("status", "open"))

    @property
    def cursor_binding(self) -> list[tuple[str, Any]]:
        """The parameters that a cursor is valid for."""
        bound_values = self.values | {
            "min_values": self.min_values,
            "status": self.effective_status,
            "include_keyless": self.includes_keyless,
        }
        return sorted((name, str(value)) for name, value in bound_values.items())

    @cached_property
    def active_members(self) -> MemoryQuerySet:
        """All active memories that may be members. Of the filters only those on the key apply."""
        return self.point_in_time.active_versions(self.visible_versions).filter(self.key_condition)

    @cached_property
    def retired_members(self) -> MemoryQuerySet:
        """Memories with a matching key that decisions retired."""
        key_versions = self.point_in_time.current_versions(self.visible_versions).unexpired().filter(self.key_condition)
        return key_versions.filter(status="retired", decision_id__isnull=False)

    @cached_property
    def decisions(self) -> DecisionQuerySet:
        """All decisions in force that the caller may see."""
        decisions: DecisionQuerySet = Decision.objects.visible_to(self.clearance)
        return decisions.in_force(self.point_in_time.known_at)

    @property
    def key_condition(self) -> Q:
        """The condition on the key, in column names that memories and decisions share."""
        condition = Q(**{name: self.values[name] for name in self.key_columns if name in self.values})
        if text := self.values.get("subject_contains"):
            condition &= Q(TextContains(F("subject"), Value(text))) & ~Q(HoldsSecret(F("subject")))
        for name in () if self.includes_keyless else REQUIRED_KEY_COLUMNS:
            # A request for the empty value selects keyless memories explicitly.
            condition &= Q() if name in self.values else ~Q(**{name: ""})
        return condition

    @property
    def member_condition(self) -> Q:
        """The condition that one member of a group, at least, must meet."""
        column_names = {"source": "source", "actor_type": "actor_type", "namespace": "namespace"}
        condition = Q(**{column_names[name]: self.values[name] for name in column_names if name in self.values})
        if "from" in self.values:
            condition &= Q(timestamp__gte=self.values["from"])
        return condition & Q(timestamp__lt=self.values["to"]) if "to" in self.values else condition


def list_page(filters: GroupFilterSet, *, principal: Principal, params: Mapping[str, str]) -> GroupPage:
    """The page of groups given by `limit` and `cursor`, in the order of their keys. Raises InvalidQueryError.

    With a filter on the class a page may hold fewer groups than its limit, or none, and still have a next page. With a
    language model it may hold fewer, too.
    """
    limit = parse_limit(params.get("limit", ""))
    codec = create_cursor_codec(principal, "conflicts", filters.cursor_binding)
    # A key with a secret is encrypted in the cursor, as it is in the id of its group.
    after_key = group_keys.decode_key(*codec.decode(params["cursor"], str)) if params.get("cursor") else None
    page_groups, last_key = list_after(filters, after_key, limit)
    next_cursor = None if last_key is None else codec.encode(group_keys.encode_key(last_key))
    return GroupPage(groups=page_groups, next_cursor=next_cursor)


def list_after(filters: GroupFilterSet, after_key: GroupKey | None, limit: int) -> tuple[list[Group], GroupKey | None]:
    """The groups of a page, and the key after which the next page starts; None if there is no next page."""
    group_query = GroupQuery(filters=filters, key_columns=filters.key_columns)
    conflict_class = filters.values.get("class")
    summaries, last_key = (
        _next_of_class(group_query, conflict_class, after_key, limit)
        if conflict_class
        else _next_summaries(group_query, after_key, limit)
    )
    return _load_groups(group_query, summaries, MAX_LISTED_MEMORIES, with_embeddings=False), last_key


def get_group(filters: GroupFilterSet, group_id: str) -> Group | None:
    """The group of an id, open or decided; None if this caller sees no such group. The id alone determines the key."""
    try:
        key = decode_id(group_id)
    except ValueError:
        return None
    group_query = GroupQuery(filters=filters, key_columns=KEY_COLUMNS[: len(key)])
    return next(
        iter(
            _load_groups(
                group_query, group_query.with_classes(group_query.list_for_key(key)), MAX_MEMBERS, with_embeddings=True
            )
        ),
        None,
    )


def find_next_group_id(filters: GroupFilterSet, key: GroupKey | None) -> str | None:
    """The id of the first group that matches `filters` after `key`, or of all if it is None; None if there is none."""
    # `key` may have a namespace while the filters list groups over all namespaces, or the other way round.
    after_key = None if key is None else (*key, "")[: len(filters.key_columns)]
    for _ in range(MAX_PAGES_TO_NEXT):
        next_groups, after_key = list_after(filters, after_key, 1)
        if next_groups:
            return next_groups[0].id
        if after_key is None:
            return None
    return None


def _next_summaries(
    group_query: GroupQuery, after_key: GroupKey | None, limit: int
) -> tuple[list[GroupSummary], GroupKey | None]:
    """The next groups with their classes, and the key of the last one if more groups follow."""
    summaries = group_query.list_after(after_key, limit + 1)
    classified = group_query.with_classes(summaries[:limit], max_pairs=MAX_PAIRS_PER_PAGE)
    return classified, classified[-1].key if len(classified) < len(summaries) else None


def _next_of_class(
    group_query: GroupQuery, conflict_class: ConflictClass, after_key: GroupKey | None, limit: int
) -> tuple[list[GroupSummary], GroupKey | None]:
    """The next groups of a class, and the key of the last group that was examined if more follow."""
    matches: list[GroupSummary] = []
    for _ in range(MAX_SKIPPED // BATCH_SIZE):
        summaries = group_query.list_after(after_key, BATCH_SIZE)
        classified = group_query.with_classes(summaries, max_pairs=MAX_PAIRS_COMPARED)
        for summary in classified:
            if len(matches) == limit:
                return matches, after_key
            matches += [summary] if summary.conflict_class == conflict_class else []
            after_key = summary.key
        if len(summaries) < BATCH_SIZE and len(classified) == len(summaries):
            return matches, None
        if len(classified) < len(summaries):
            break
    return matches, after_key


def _load_groups(
    group_query: GroupQuery, summaries: Sequence[GroupSummary], max_memories: int, *, with_embeddings: bool
) -> list[Group]:
    """The groups of classified summaries, with at most `max_memories` members each."""
    decision_ids = [summary.decision_id for summary in summaries if summary.decision_id]
    rows = group_query.filters.decisions.filter(decision_id__in=decision_ids) if decision_ids else ()
    decisions = {decision.decision_id: decision for decision in rows}
    return [
        Group(
            key=summary.key,
            values=values,
            value_count=summary.value_count,
            memory_count=summary.memory_count,
            evidence=summary.evidence,
            status=summary.status,
            conflict_class=summary.conflict_class or "duplicate",
            decision=decisions.get(summary.decision_id),
        )
        for summary, values in zip(
            summaries, group_query.load_values(summaries, max_memories, with_embeddings=with_embeddings), strict=True
        )
    ]
