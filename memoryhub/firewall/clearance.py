"""The clearance, which says what a principal may see, and the rule that compares it with a row."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from django.conf import settings

from memoryhub.core.normalization import normalize_text


class ClassifiedRow(Protocol):
    """A row with the fields by which the firewall decides."""

    @property
    def namespace(self) -> str: ...
    @property
    def classification_tier(self) -> str: ...
    @property
    def sensitivity_labels(self) -> Sequence[str]: ...


class StoredRow(ClassifiedRow, Protocol):
    """A row of the table `memories`, which also has a status."""

    @property
    def status(self) -> str: ...


QUARANTINED = "quarantined"
"""The status of rows that only principals with the scope `curate` may see."""


@lru_cache(maxsize=4096)
def normalize_label(label: str) -> str:
    """Return the form in which labels are compared, so that a spelling that looks the same cannot evade a policy."""
    return normalize_text(label)


def normalize_labels(labels: Iterable[str]) -> frozenset[str]:
    return frozenset(map(normalize_label, labels))


def get_tier_order() -> list[str]:
    """Return the tiers from the most open to the most closed, as the operator configured them."""
    tiers: list[str] = settings.APP_CONFIG.tiers
    return tiers


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearance:
    """What a reader may see. The default sees the most open tier only.

    `namespaces=None` means every namespace; an empty set means none. `sees_quarantined` follows from the scopes of the
    principal, and is part of the clearance because every query for rows takes a clearance.
    """

    max_tier: str = field(default_factory=lambda: get_tier_order()[0])
    blocked_labels: frozenset[str] = frozenset()
    required_labels: frozenset[str] = frozenset()
    namespaces: frozenset[str] | None = None
    sees_quarantined: bool = False

    def visible_tiers(self) -> list[str]:
        """Return the tiers of this clearance. A `max_tier` that is not a configured tier gives none."""
        tier_order = get_tier_order()
        return tier_order[: tier_order.index(self.max_tier) + 1] if self.max_tier in tier_order else []

    def is_superset_of(self, other: "Clearance") -> bool:
        """Whether this clearance sees everything that `other` sees, by tier, labels and namespace."""
        return (
            set(other.visible_tiers()) <= set(self.visible_tiers())
            and normalize_labels(self.blocked_labels) <= normalize_labels(other.blocked_labels)
            and normalize_labels(self.required_labels) <= normalize_labels(other.required_labels)
            and (self.namespaces is None or (other.namespaces is not None and other.namespaces <= self.namespaces))
        )

    def intersection(self, other: "Clearance") -> "Clearance":
        """Return the clearance that sees exactly what both clearances see."""
        lower_clearance = min(self, other, key=lambda clearance: len(clearance.visible_tiers()))
        namespace_sets = [namespaces for namespaces in (self.namespaces, other.namespaces) if namespaces is not None]
        return Clearance(
            max_tier=lower_clearance.max_tier,
            blocked_labels=self.blocked_labels | other.blocked_labels,
            required_labels=self.required_labels | other.required_labels,
            namespaces=frozenset.intersection(*namespace_sets) if namespace_sets else None,
            sees_quarantined=self.sees_quarantined and other.sees_quarantined,
        )

    def shows(self, row: StoredRow) -> bool:
        """Whether `row` may be seen.

        `firewall.querysets.visible_rows_q` is the same rule in SQL; a parity test compares them.
        """
        return self.permits(row) and (self.sees_quarantined or row.status != QUARANTINED)

    def permits(self, row: ClassifiedRow) -> bool:
        """The part of the rule about the classification of a row, whatever its status."""
        if self.namespaces is not None and row.namespace not in self.namespaces:
            return False
        labels = normalize_labels(row.sensitivity_labels)
        if labels & normalize_labels(self.blocked_labels):
            return False
        tiers = self.visible_tiers()
        if row.classification_tier not in tiers and not (row.classification_tier == "" and tiers):
            return False
        return normalize_labels(self.required_labels) <= labels


def unrestricted_clearance() -> Clearance:
    """Return the clearance that sees every row, which is that of the operator's command line."""
    return Clearance(max_tier=get_tier_order()[-1], sees_quarantined=True)


def widens_visibility(before: ClassifiedRow, after: ClassifiedRow, clearances: Iterable[Clearance] = ()) -> bool:
    """Whether the change from `before` to `after` makes a row visible to a clearance that could not see it.

    A lower tier or a removed label widens whatever clearances exist. Other changes, an added label that a clearance
    requires or another namespace, widen only if one of `clearances`, the stored ones, gains the row.
    """
    return (
        is_lower_tier(after.classification_tier, before.classification_tier)
        or not normalize_labels(before.sensitivity_labels) <= normalize_labels(after.sensitivity_labels)
        or any(clearance.permits(after) and not clearance.permits(before) for clearance in clearances)
    )


def is_lower_tier(tier: str, other_tier: str) -> bool:
    """Whether a memory of `tier` may be seen by readers who may not see one of `other_tier`."""
    return _tier_rank(tier) < _tier_rank(other_tier)


def _tier_rank(tier: str) -> int:
    """Return how closed a tier is. No tier counts as the most open one; an unknown tier hides a row from everybody."""
    tier_order = get_tier_order()
    if not tier:
        return 0
    return tier_order.index(tier) if tier in tier_order else len(tier_order)
