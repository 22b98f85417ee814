"""Navigation from one group to the next."""

from memoryhub.conflicts.groups import group_keys, groups
from memoryhub.conflicts.groups.group_keys import GroupKey
from memoryhub.conflicts.groups.groups import GroupFilterSet
from memoryhub.firewall.clearance import Principal
from memoryhub.firewall.cursors import create_cursor_signer

MAX_PAGES = 5
"""Pages that are read at most: a page with a filter on the class may be empty and still have a next page."""


def find_next_group_id(filters: GroupFilterSet, key: GroupKey | None, *, principal: Principal) -> str | None:
    """The id of the first group that matches `filters` after `key`, or of all if it is None; None if there is none."""
    # `key` may have a namespace while the filters list groups over all namespaces, or the other way round.
    start_key = None if key is None else (*key, "")[: len(filters.key_columns)]
    cursor = (
        ""
        if start_key is None
        else create_cursor_signer(principal, "conflicts", filters.cursor_binding).sign(group_keys.encode_key(start_key))
    )
    for _ in range(MAX_PAGES):
        page = groups.list_page(filters, principal=principal, params={"limit": "1", "cursor": cursor})
        if page.groups:
            return page.groups[0].id
        if page.next_cursor is None:
            return None
        cursor = page.next_cursor
    return None
