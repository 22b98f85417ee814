"""The snapshot of a clearance, and the rule which clearances see a row that holds a snapshot."""

from django.db.models import Q

from memoryhub.audit.clearance_snapshot import ClearanceSnapshot
from memoryhub.firewall.clearance import Clearance, normalize_labels


def snapshot_clearance(clearance: Clearance) -> ClearanceSnapshot:
    """Return what a holder of `clearance` can see."""
    return ClearanceSnapshot(
        tiers=clearance.visible_tiers(),
        blocked_labels=sorted(normalize_labels(clearance.blocked_labels)),
        required_labels=sorted(normalize_labels(clearance.required_labels)),
        namespaces=None if clearance.namespaces is None else sorted(clearance.namespaces),
    )


def snapshot_covered_q(clearance: Clearance, relation_prefix: str = "") -> Q:
    """Return the condition for rows whose actor could see no more than `clearance`: `Clearance.is_superset_of` in SQL.

    `relation_prefix` is the path of a relation to the row with the clearance snapshot, such as `policy__`.
    """
    snapshot = snapshot_clearance(clearance)
    conditions = {"tiers__contained_by": snapshot.tiers}
    if snapshot.blocked_labels:
        conditions["blocked_labels__contains"] = snapshot.blocked_labels
    if snapshot.required_labels:
        conditions["required_labels__contains"] = snapshot.required_labels
    if snapshot.namespaces is not None:
        # NULL, which means every namespace, is contained in no list.
        conditions["namespaces__contained_by"] = snapshot.namespaces
    return Q(**{f"{relation_prefix}clearance_{name}": value for name, value in conditions.items()})
