"""Bind the cursors of lists, so that nobody but the caller who received a cursor can use it."""

from memoryhub.core.cursors import CursorCodec
from memoryhub.firewall.principal import Principal


def create_cursor_codec(principal: Principal, *query_parts: object) -> CursorCodec:
    """Return a codec whose cursors are valid for this principal, this clearance and this query only.

    `query_parts` begins with the kind of the list; each part is identified by its repr.
    """
    clearance = principal.clearance
    return CursorCodec(
        (
            principal.name,
            clearance.max_tier,
            sorted(clearance.blocked_labels),
            sorted(clearance.required_labels),
            None if clearance.namespaces is None else sorted(clearance.namespaces),
            clearance.sees_quarantined,
            *query_parts,
        )
    )
