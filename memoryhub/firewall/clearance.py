"""The clearance, which says what a principal may see, and the principal that holds it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import Protocol

from django.conf import settings
from django.core.exceptions import PermissionDenied

from memoryhub.core.normalization import normalize_text

ACTOR_TYPES = ("user", "agent", "system")
ACTOR_TRUST_RANK = {"user": 3, "system": 2, "agent": 1}
"""How much an actor type is trusted when two memories disagree; the higher rank wins."""


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


class Scope(StrEnum):
    """What a principal may do. What it may see is its clearance."""

    WRITE = "write"
    READ = "read"
    CURATE = "curate"
    """Judge memories: narrow their classification, quarantine them, unmask secrets."""
    DECLASSIFY = "declassify"
    """Widen: make memories visible to more readers."""
    VIEW_AS = "view_as"
    """See the inspector as another user or key, up to one's own clearance."""
    AUDIT = "audit"
    """Read the audit log: the actions and reads of all principals."""
    ADMIN = "admin"


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


class MissingScopeError(PermissionDenied):
    """A principal lacks scopes that an action needs (403). The message is a sentence that names them."""

    def __init__(self, *scopes: Scope) -> None:
        names = " and ".join(f"`{scope}`" for scope in scopes)
        super().__init__(f"This needs the scope {names}, which this caller does not have.")


def is_lower_tier(tier: str, other_tier: str) -> bool:
    """Whether a memory of `tier` may be seen by readers who may not see one of `other_tier`."""
    return _tier_rank(tier) < _tier_rank(other_tier)


def _tier_rank(tier: str) -> int:
    """Return how closed a tier is. No tier counts as the most open one; an unknown tier hides a row from everybody."""
    tier_order = get_tier_order()
    if not tier:
        return 0
    return tier_order.index(tier) if tier in tier_order else len(tier_order)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A user or an API key that acts. `name` is unique over both, e.g. `user:ada` or `key:mh_3f9c…`."""

    name: str
    clearance: Clearance = field(default_factory=Clearance)
    scopes: frozenset[Scope] = frozenset()
    source: str | None = None
    """The source that this principal writes as. With None only an admin can write, who names the source."""
    actor_type: str = "agent"
    actor_id: str = ""
    """The id of the actor that it writes as; empty means any."""
    delegated_actor_types: frozenset[str] = frozenset()
    """Other actor types for which it may write, as a relay does."""
    viewer: str = ""
    """The name of the viewer, if this is the target of view-as.

    The target changes nothing; its reads are the viewer's.
    """
    is_operator: bool = False
    """Whether this is the operator's command line. It may store any classification: its write is not a source's."""

    def __post_init__(self) -> None:
        # Derived from the scopes alone, however the principal was constructed.
        clearance = replace(self.clearance, sees_quarantined=self.has_scope(Scope.CURATE))
        object.__setattr__(self, "clearance", clearance)

    def has_scope(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def require_scopes(self, *scopes: Scope) -> None:
        """Raise MissingScopeError if this principal lacks one of `scopes`."""
        missing_scopes = [scope for scope in scopes if not self.has_scope(scope)]
        if missing_scopes:
            raise MissingScopeError(*missing_scopes)

    def may_write_as(self, source: str) -> bool:
        """Whether it may write under `source`: its own, or any source if it is an admin who sees everything.

        The answer to a write depends on what its source has stored, so an admin who does not see all of that must not
        get it.
        """
        return source == self.source or (
            Scope.ADMIN in self.scopes and self.clearance.is_superset_of(unrestricted_clearance())
        )

    def may_write_for_actor_type(self, *, actor_type: str) -> bool:
        return actor_type == self.actor_type or actor_type in self.delegated_actor_types or self.has_scope(Scope.ADMIN)

    def may_write_as_actor(self, *, actor_id: str) -> bool:
        return self.actor_id in ("", actor_id) or self.has_scope(Scope.ADMIN)
