"""Cursors that nobody else can use: what signs the place at which a list goes on."""

from django.core.signing import Signer

from memoryhub.firewall.types import Principal


def signer_of(reader: Principal, *asked: object) -> Signer:
    """A signer whose signatures hold for this reader, this clearance and what was asked only.

    `asked` begins with the kind of the list; each part is known by its repr.
    """
    held = reader.clearance
    bound = (
        reader.name,
        held.max_tier,
        sorted(held.blocked_labels),
        sorted(held.required_labels),
        None if held.namespaces is None else sorted(held.namespaces),
        held.sees_quarantined,
        *asked,
    )
    return Signer(salt=f"memoryhub.cursor:{bound!r}", sep=".")
