"""Navigation from one group to the next."""

from memoryhub.conflicts.groups import groups
from memoryhub.conflicts.groups.group_keys import GroupKey
from memoryhub.conflicts.groups.groups import GroupFilterSet

MAX_PAGES = 5
"""Pages that are read at most: a page with a filter on the class may be empty and still have a next page."""


def find_next_group_id(filters: GroupFilterSet, key: GroupKey | None) -> str | None:
    """The id of the first group that matches `filters` after `key`, or of all if it is None; None if there is none."""
    # `key` may have a namespace while the filters list groups over all namespaces, or the other way round.
    after_key = None if key is None else (*key, "")[: len(filters.key_columns)]
    for _ in range(MAX_PAGES):
        next_groups, after_key = groups.list_after(filters, after_key, 1)
        if next_groups:
            return next_groups[0].id
        if after_key is None:
            return None
    return None
