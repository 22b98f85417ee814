"""What a clearance reaches, in the words of the ledger."""

from typing import Any

from memoryhub.audit.ledger import Reach
from memoryhub.firewall.types import Clearance, label_keys


def reach_of(clearance: Clearance) -> Reach:
    """What whoever holds `clearance` can see. `firewall.querysets.covered_by` asks who may see as much."""
    return Reach(
        tiers=clearance.tiers(),
        blocked=sorted(label_keys(clearance.blocked_labels)),
        required=sorted(label_keys(clearance.required_labels)),
        namespaces=None if clearance.namespaces is None else sorted(clearance.namespaces),
    )


def reach_columns(reach: Reach) -> dict[str, Any]:
    """The columns of a table that is asked by `firewall.querysets.covered_by`."""
    return {
        "reach_tiers": list(reach.tiers),
        "reach_blocked": list(reach.blocked),
        "reach_required": list(reach.required),
        "reach_namespaces": None if reach.namespaces is None else list(reach.namespaces),
    }
