"""What leaves this room: a clearance, and the principal that holds it."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from django.conf import settings


class Classified(Protocol):
    """Anything that carries what the firewall judges by."""

    @property
    def namespace(self) -> str: ...
    @property
    def classification_tier(self) -> str: ...
    @property
    def sensitivity_labels(self) -> Sequence[str]: ...


class Scope(StrEnum):
    """What a principal may do; what it may see is its clearance."""

    WRITE = "write"
    READ = "read"
    INSPECT = "inspect"
    ADMIN = "admin"


def label_key(label: str) -> str:
    """The form in which labels are compared: NFC, casefolded, so that a twin spelling cannot dodge a policy."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", label).casefold())


def label_keys(labels: Iterable[str]) -> frozenset[str]:
    return frozenset(map(label_key, labels))


def tier_order() -> list[str]:
    """Tiers from the most open to the most closed, as the operator set them."""
    order: list[str] = settings.MEMORYHUB.tiers
    return order


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearance:
    """What a reader may see. The default sees the most open tier only.

    `namespaces` of None means every namespace; an empty set means none.
    """

    max_tier: str = field(default_factory=lambda: tier_order()[0])
    blocked_labels: frozenset[str] = frozenset()
    required_labels: frozenset[str] = frozenset()
    namespaces: frozenset[str] | None = None

    def tiers(self) -> list[str]:
        """The tiers this clearance reaches. A maximum that is not in the order reaches nothing."""
        order = tier_order()
        return order[: order.index(self.max_tier) + 1] if self.max_tier in order else []

    def permits(self, row: Classified) -> bool:
        """The rule in Python. `firewall.querysets.visible` is the same in SQL; a parity test holds them together."""
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
    return Clearance(max_tier=tier_order()[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is asking. `name` is unique over users and keys, e.g. `user:ada` or `key:mh_3f9c…`."""

    name: str
    clearance: Clearance = field(default_factory=Clearance)
    scopes: frozenset[Scope] = frozenset()
    source: str | None = None
    """The source this principal writes as; None cannot write, unless it is an admin, who names the source."""
    actor_type: str = "agent"

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes
