"""The firewall's rule in SQL, for every table with namespace, classification_tier, normalized_labels and status."""

from typing import Self, TypeVar

from django.db import models
from django.db.models import Q

from memoryhub.firewall.clearance import QUARANTINED, Clearance, normalize_label, normalize_labels

Row = TypeVar("Row", bound=models.Model)


class ClassifiedQuerySet(models.QuerySet[Row]):
    """Rows with a namespace, a tier and labels."""

    def visible_to(self, clearance: Clearance) -> Self:
        """Return the rows that `clearance` may see. Rows reach a caller only through this method."""
        return self.filter(visible_rows_q(clearance))

    def with_labels(self, *labels: str) -> Self:
        """Return the rows that carry all of `labels`, compared in normalized form."""
        return self.filter(normalized_labels__contains=sorted(map(normalize_label, labels)))


def stored_tier_values(clearance: Clearance) -> list[str]:
    """Return the tiers of `clearance` as the column stores them.

    An empty tier counts as the most open one. A clearance without any tier does not see it either.
    """
    tiers = clearance.visible_tiers()
    return ["", *tiers] if tiers else []


def visible_rows_q(clearance: Clearance) -> Q:
    """Return the condition for rows that `clearance` may see: by namespace, labels, tier and quarantine."""
    condition = Q()
    if clearance.namespaces is not None:
        condition &= Q(namespace__in=sorted(clearance.namespaces))
    if clearance.blocked_labels:
        condition &= ~Q(normalized_labels__overlap=sorted(normalize_labels(clearance.blocked_labels)))
    condition &= Q(classification_tier__in=stored_tier_values(clearance))
    if clearance.required_labels:
        condition &= Q(normalized_labels__contains=sorted(normalize_labels(clearance.required_labels)))
    if not clearance.sees_quarantined:
        condition &= ~Q(status=QUARANTINED)
    return condition
