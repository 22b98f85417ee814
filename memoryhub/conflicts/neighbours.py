"""The way from one group to the next, for whoever works through them."""

from memoryhub.conflicts import groups, keys
from memoryhub.conflicts.groups import GroupFilterSet
from memoryhub.conflicts.keys import Key
from memoryhub.firewall.cursors import signer_of
from memoryhub.firewall.types import Principal

MOST_PAGES = 5
"""A page of one class may be empty and still go on."""


def following(filters: GroupFilterSet, key: Key | None, *, reader: Principal) -> str | None:
    """The id of the group that `filters` find next after a key, or as the first one; None without one."""
    # One may come from a group of a namespace to those that span all of them, and back.
    place = None if key is None else (*key, "")[: len(filters.columns)]
    cursor = "" if place is None else signer_of(reader, "conflicts", filters.asked).sign(keys.written(place))
    for _ in range(MOST_PAGES):
        page = groups.page(filters, reader=reader, parameters={"limit": "1", "cursor": cursor})
        if page.groups:
            return page.groups[0].id
        if page.next_cursor is None:
            return None
        cursor = page.next_cursor
    return None
