"""Number of groups of each conflict class."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from memoryhub.conflicts.detector.compare import CLASSES
from memoryhub.conflicts.groups.group_queries import GroupQuery
from memoryhub.conflicts.groups.groups import MAX_PAIRS_COMPARED, GroupFilterSet

MAX_COUNTED = 1_000
"""Only the first groups up to this number are counted, in the order of keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCounts:
    by_class: Mapping[str, int]
    """The count of every class, the most serious class first."""
    total: int
    is_capped: bool
    """Whether there are more groups than were counted."""


def count_by_class(filters: GroupFilterSet) -> ClassCounts:
    """Count the groups that match `filters` by class; the filter on the class itself is ignored.

    Counts the first MAX_COUNTED groups, or fewer if these have more than MAX_PAIRS_COMPARED pairs of values.
    """
    group_query = GroupQuery(filters=filters, key_columns=filters.key_columns)
    summaries = group_query.list_after(None, MAX_COUNTED + 1)
    classified = group_query.with_classes(summaries[:MAX_COUNTED], max_pairs=MAX_PAIRS_COMPARED)
    class_counts = Counter(summary.conflict_class for summary in classified)
    return ClassCounts(
        by_class={conflict_class: class_counts[conflict_class] for conflict_class in CLASSES},
        total=len(classified),
        is_capped=len(classified) < len(summaries),
    )
