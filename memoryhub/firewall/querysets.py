"""The firewall's rule in SQL, for every table that carries namespace, classification_tier, label_keys and status.

And for the ledger, whose entries carry what their actor could see.
"""

from django.db.models import Q

from memoryhub.firewall.types import QUARANTINED, Clearance, label_keys


def stored_tiers(clearance: Clearance) -> list[str]:
    """The tiers that `clearance` reaches, as rows carry them.

    An empty tier reads as the most open one; a clearance that reaches no tier does not reach that either.
    """
    tiers = clearance.tiers()
    return ["", *tiers] if tiers else []


def visible(clearance: Clearance) -> Q:
    """Rows that `clearance` may see: by namespace, blocked labels, tier, required labels, and quarantine."""
    rule = Q()
    if clearance.namespaces is not None:
        rule &= Q(namespace__in=sorted(clearance.namespaces))
    if clearance.blocked_labels:
        rule &= ~Q(label_keys__overlap=sorted(label_keys(clearance.blocked_labels)))
    rule &= Q(classification_tier__in=stored_tiers(clearance))
    if clearance.required_labels:
        rule &= Q(label_keys__contains=sorted(label_keys(clearance.required_labels)))
    if not clearance.sees_quarantined:
        rule &= ~Q(status=QUARANTINED)
    return rule


def covered_by(clearance: Clearance, through: str = "") -> Q:
    """Entries of actors who could see no more than `clearance` may: `Clearance.covers` in SQL.

    `through` is the path of a relation, such as `policy__`, to the row that carries what its actor could see.
    """
    rule = {"tiers__contained_by": clearance.tiers()}
    if clearance.blocked_labels:
        rule["blocked__contains"] = sorted(label_keys(clearance.blocked_labels))
    if clearance.required_labels:
        rule["required__contains"] = sorted(label_keys(clearance.required_labels))
    if clearance.namespaces is not None:
        # NULL, which is every namespace, is contained in no list.
        rule["namespaces__contained_by"] = sorted(clearance.namespaces)
    return Q(**{f"{through}reach_{name}": value for name, value in rule.items()})
