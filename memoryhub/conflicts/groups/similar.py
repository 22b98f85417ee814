"""Open groups similar to one that is being resolved, so that all of them can be resolved alike."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.http import QueryDict

from memoryhub.conflicts.decisions.resolution_requests import Resolution
from memoryhub.conflicts.groups import groups
from memoryhub.conflicts.groups.groups import Group, GroupFilterSet, ValueSupport
from memoryhub.firewall.principal import Principal
from memoryhub.memories.writes.envelope import OperationRejectedError

MAX_EXAMINED = 1_000
MAX_SIMILAR = 200
_PAGE_LIMIT = "200"
_MAX_MIN_VALUES = 1_000

Sources = frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarGroup:
    """A group and the value to keep in it; None keeps all values."""

    group: Group
    kept_value: ValueSupport | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarGroups:
    groups: list[SimilarGroup]
    examined_count: int
    is_complete: bool
    """Whether all candidates were examined."""


def find_similar(group: Group, resolution: Resolution, *, principal: Principal) -> SimilarGroups:
    """The other open groups of the same collection and class, with as many values, from the same sources on each side.

    Raises OperationRejectedError for an outcome that applies to this group alone, such as `merge`.
    """
    kept_value = _find_kept_value(group, resolution)
    kept_index = None if kept_value is None else group.values.index(kept_value)
    examined_count, is_complete = 0, True
    similar_groups: list[SimilarGroup] = []
    for candidate in _iter_candidates(group, principal):
        if examined_count == MAX_EXAMINED or len(similar_groups) == MAX_SIMILAR:
            is_complete = False
            break
        examined_count += 1
        if candidate.id != group.id and (match := _match_group(candidate, group, kept_index)):
            similar_groups.append(match)
    return SimilarGroups(groups=similar_groups, examined_count=examined_count, is_complete=is_complete)


def adapt_resolution(resolution: Resolution, kept_id: Any) -> Resolution:
    """The same resolution for another group, in which the value of the memory `kept_id` is kept."""
    return resolution.model_copy(update={"keep": [kept_id]}) if resolution.outcome == "keep_one" else resolution


def _find_kept_value(group: Group, resolution: Resolution) -> ValueSupport | None:
    if resolution.outcome_rule.keeps_all:
        return None
    if resolution.outcome != "keep_one":
        raise OperationRejectedError(
            {"": ["Only keep_one, not_a_conflict and defer can be applied to other conflicts."]}
        )
    (kept_id,) = resolution.keep[:1]
    for support in group.values:
        if any(memory["memory_id"] == kept_id for memory in support.memories):
            return support
    raise OperationRejectedError({"keep": ["names a memory that is not in this conflict."]})


def _iter_candidates(group: Group, principal: Principal) -> Iterator[Group]:
    params = QueryDict(mutable=True)
    min_values = min(group.value_count, _MAX_MIN_VALUES)
    params.update({"collection": group.key[1], "class": group.conflict_class, "min_values": str(min_values)})
    if len(group.key) > 2:
        params.update({"scope": "namespace", "namespace": group.key[2]})
    filters = GroupFilterSet(params, clearance=principal.clearance)
    cursor: str | None = ""
    while cursor is not None:
        page = groups.list_page(filters, principal=principal, params={"limit": _PAGE_LIMIT, "cursor": cursor})
        yield from page.groups
        cursor = page.next_cursor


def _match_group(candidate: Group, group: Group, kept_index: int | None) -> SimilarGroup | None:
    has_same_shape = candidate.key[1] == group.key[1] and candidate.value_count == group.value_count
    if not has_same_shape or len(candidate.values) != len(group.values):
        return None
    if kept_index is None:
        return (
            SimilarGroup(group=candidate, kept_value=None)
            if _collect_sources(candidate.values) == _collect_sources(group.values)
            else None
        )
    sources_by_side = _sources_by_side(group, kept_index)
    indexes = [index for index in range(len(candidate.values)) if _sources_by_side(candidate, index) == sources_by_side]
    # If several values are from the same sources, take the one at the same index, which is as new as the kept one.
    match_index = indexes[0] if len(indexes) == 1 else kept_index if kept_index in indexes else None
    return None if match_index is None else SimilarGroup(group=candidate, kept_value=candidate.values[match_index])


def _sources_by_side(group: Group, kept_index: int) -> tuple[Sources, Sources]:
    other_values = [*group.values[:kept_index], *islice(group.values, kept_index + 1, None)]
    return _collect_sources([group.values[kept_index]]), _collect_sources(other_values)


def _collect_sources(values: Iterable[ValueSupport]) -> Sources:
    return frozenset(memory["source"] for support in values for memory in support.memories)
