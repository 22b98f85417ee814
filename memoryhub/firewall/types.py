"""What leaves this room: a clearance, and the principal that holds it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import Protocol

from django.conf import settings
from django.core.exceptions import PermissionDenied

from memoryhub.core.text import comparison_key

ACTOR_TYPES = ("user", "agent", "system")
TRUST = {"user": 3, "system": 2, "agent": 1}
"""Whom to believe, where two say otherwise."""


class Classified(Protocol):
    """Anything that carries what the firewall judges by."""

    @property
    def namespace(self) -> str: ...
    @property
    def classification_tier(self) -> str: ...
    @property
    def sensitivity_labels(self) -> Sequence[str]: ...


class Stored(Classified, Protocol):
    """A row of memories."""

    @property
    def status(self) -> str: ...


QUARANTINED = "quarantined"
"""The status of rows that those alone may see who judge memories."""


class Scope(StrEnum):
    """What a principal may do; what it may see is its clearance."""

    WRITE = "write"
    READ = "read"
    INSPECT = "inspect"
    """Judge memories: classify them more closely, quarantine them, reveal what is masked."""
    DECLASSIFY = "declassify"
    """Open memories to more readers than they had."""
    VIEW_AS = "view_as"
    """Look through the inspector as somebody else sees it, up to one's own clearance."""
    AUDIT = "audit"
    """Read the ledger: who did and who read what."""
    ADMIN = "admin"


@lru_cache(maxsize=4096)
def label_key(label: str) -> str:
    """The form in which labels are compared, so that a twin spelling cannot evade a policy."""
    return comparison_key(label)


def label_keys(labels: Iterable[str]) -> frozenset[str]:
    return frozenset(map(label_key, labels))


def tier_order() -> list[str]:
    """Tiers from the most open to the most closed, as the operator set them."""
    order: list[str] = settings.MEMORYHUB.tiers
    return order


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearance:
    """What a reader may see. The default sees the most open tier only.

    `namespaces` of None means every namespace; an empty set means none. Whether rows in quarantine are seen comes from
    the scopes of the principal that holds it, and belongs here because whatever asks for rows asks by a clearance.
    """

    max_tier: str = field(default_factory=lambda: tier_order()[0])
    blocked_labels: frozenset[str] = frozenset()
    required_labels: frozenset[str] = frozenset()
    namespaces: frozenset[str] | None = None
    sees_quarantined: bool = False

    def tiers(self) -> list[str]:
        """The tiers this clearance reaches. A maximum that is not in the order reaches nothing."""
        order = tier_order()
        return order[: order.index(self.max_tier) + 1] if self.max_tier in order else []

    def covers(self, other: "Clearance") -> bool:
        """Whether everything that `other` may see is seen by this clearance, too: by tier, labels and namespace."""
        return (
            set(other.tiers()) <= set(self.tiers())
            and label_keys(self.blocked_labels) <= label_keys(other.blocked_labels)
            and label_keys(self.required_labels) <= label_keys(other.required_labels)
            and (self.namespaces is None or (other.namespaces is not None and other.namespaces <= self.namespaces))
        )

    def meet(self, other: "Clearance") -> "Clearance":
        """A clearance for what both see, and nothing else."""
        lower = min(self, other, key=lambda clearance: len(clearance.tiers()))
        every = [names for names in (self.namespaces, other.namespaces) if names is not None]
        return Clearance(
            max_tier=lower.max_tier,
            blocked_labels=self.blocked_labels | other.blocked_labels,
            required_labels=self.required_labels | other.required_labels,
            namespaces=frozenset.intersection(*every) if every else None,
            sees_quarantined=self.sees_quarantined and other.sees_quarantined,
        )

    def shows(self, row: Stored) -> bool:
        """The rule in Python. `firewall.querysets.visible` is the same in SQL; a parity test holds them together."""
        return self.permits(row) and (self.sees_quarantined or row.status != QUARANTINED)

    def permits(self, row: Classified) -> bool:
        """The part of the rule that judges how a row is classified, whatever its status."""
        if self.namespaces is not None and row.namespace not in self.namespaces:
            return False
        labels = label_keys(row.sensitivity_labels)
        if labels & label_keys(self.blocked_labels):
            return False
        tiers = self.tiers()
        if row.classification_tier not in tiers and not (row.classification_tier == "" and tiers):
            return False
        return label_keys(self.required_labels) <= labels


def everything() -> Clearance:
    """The clearance of the operator's own command line."""
    return Clearance(max_tier=tier_order()[-1], sees_quarantined=True)


def opens(before: Classified, after: Classified, clearances: Iterable[Clearance] = ()) -> bool:
    """Whether `after` may be seen by somebody who may not see `before`.

    A lower tier or a label less opens, whoever there is by now. What opens besides, a label that somebody needs or
    another namespace, is asked of `clearances`, those on record.
    """
    return (
        is_lower_tier(after.classification_tier, before.classification_tier)
        or not label_keys(before.sensitivity_labels) <= label_keys(after.sensitivity_labels)
        or any(held.permits(after) and not held.permits(before) for held in clearances)
    )


class MissingScopeError(PermissionDenied):
    """A principal lacks scopes that an action needs (403). Its text is a sentence that names them."""

    def __init__(self, *scopes: Scope) -> None:
        names = " and ".join(f"`{scope}`" for scope in scopes)
        super().__init__(f"This needs the scope {names}, which this caller does not have.")


def is_lower_tier(tier: str, than: str) -> bool:
    """Whether a memory of `tier` may be seen by readers who may not see one of the tier `than`."""
    return _closedness(tier) < _closedness(than)


def _closedness(tier: str) -> int:
    """How closed a tier is. Without one a row is as open as can be, and one that is not in the order hides it."""
    order = tier_order()
    if not tier:
        return 0
    return order.index(tier) if tier in order else len(order)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is asking. `name` is unique over users and keys, e.g. `user:ada` or `key:mh_3f9c…`."""

    name: str
    clearance: Clearance = field(default_factory=Clearance)
    scopes: frozenset[Scope] = frozenset()
    source: str | None = None
    """The source this principal writes as; None cannot write, unless it is an admin, who names the source."""
    actor_type: str = "agent"
    actor_id: str = ""
    """The actor it writes as; empty may name any."""
    vouches_for: frozenset[str] = frozenset()
    """Actor types besides its own for which it may pass memories on, as a relay does."""
    viewer: str = ""
    """Who looks as this principal, if it is not itself. Such a one changes nothing, and it is the viewer who reads."""
    is_operator: bool = False
    """Whether it is the operator's own command line. What it stores is not a source's write: it may have any
    classification."""

    def __post_init__(self) -> None:
        # By the scopes alone, however the principal was put together.
        judged = replace(self.clearance, sees_quarantined=self.may(Scope.INSPECT))
        object.__setattr__(self, "clearance", judged)

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def require(self, *scopes: Scope) -> None:
        """Raise MissingScopeError if this principal lacks one of `scopes`."""
        missing = [scope for scope in scopes if not self.may(scope)]
        if missing:
            raise MissingScopeError(*missing)

    def may_write_as(self, source: str) -> bool:
        """Whether it may write under a source: its own, or any if it is an admin who sees everything.

        The answer to a write depends on what its source has stored. An admin who does not see all of that must not ask.
        """
        return source == self.source or (Scope.ADMIN in self.scopes and self.clearance.covers(everything()))

    def may_speak_for(self, *, actor_type: str) -> bool:
        return actor_type == self.actor_type or actor_type in self.vouches_for or self.may(Scope.ADMIN)

    def may_speak_as(self, *, actor_id: str) -> bool:
        return self.actor_id in ("", actor_id) or self.may(Scope.ADMIN)
