"""What a clearance reaches, in the words of the ledger."""

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
