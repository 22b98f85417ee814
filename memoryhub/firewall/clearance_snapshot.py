"""A snapshot of a clearance, as the audit log stores it."""

from typing import Any

from memoryhub.audit.log import ClearanceSnapshot
from memoryhub.firewall.clearance import Clearance, normalize_labels


def snapshot_clearance(clearance: Clearance) -> ClearanceSnapshot:
    """Return what a holder of `clearance` can see. `firewall.querysets.snapshot_covered_q` filters by snapshots."""
    return ClearanceSnapshot(
        tiers=clearance.visible_tiers(),
        blocked_labels=sorted(normalize_labels(clearance.blocked_labels)),
        required_labels=sorted(normalize_labels(clearance.required_labels)),
        namespaces=None if clearance.namespaces is None else sorted(clearance.namespaces),
    )


def to_snapshot_columns(snapshot: ClearanceSnapshot) -> dict[str, Any]:
    """Return `snapshot` as the columns that `firewall.querysets.snapshot_covered_q` filters by."""
    return {
        "clearance_tiers": list(snapshot.tiers),
        "clearance_blocked_labels": list(snapshot.blocked_labels),
        "clearance_required_labels": list(snapshot.required_labels),
        "clearance_namespaces": None if snapshot.namespaces is None else list(snapshot.namespaces),
    }
