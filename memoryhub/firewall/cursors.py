"""Sign the cursors of lists, so that nobody but the caller who received a cursor can use it."""

from django.core.signing import Signer

from memoryhub.firewall.clearance import Principal


def create_cursor_signer(principal: Principal, *query_parts: object) -> Signer:
    """Return a signer whose signatures are valid for this principal, this clearance and this query only.

    `query_parts` begins with the kind of the list; each part is identified by its repr.
    """
    clearance = principal.clearance
    bound_values = (
        principal.name,
        clearance.max_tier,
        sorted(clearance.blocked_labels),
        sorted(clearance.required_labels),
        None if clearance.namespaces is None else sorted(clearance.namespaces),
        clearance.sees_quarantined,
        *query_parts,
    )
    return Signer(salt=f"memoryhub.cursor:{bound_values!r}", sep=".")
