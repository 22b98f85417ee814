"""The principal: who acts, with the scopes, which say what it may do, and the clearance, which says what it may see."""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from django.core.exceptions import PermissionDenied

from memoryhub.firewall.clearance import Clearance, unrestricted_clearance

ACTOR_TYPES = ("user", "agent", "system")
ACTOR_TRUST_RANK = {"user": 3, "system": 2, "agent": 1}
"""How much an actor type is trusted when two memories disagree; the higher rank wins."""


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


class MissingScopeError(PermissionDenied):
    """A principal lacks scopes that an action needs (403). The message is a sentence that names them."""

    def __init__(self, *scopes: Scope) -> None:
        names = " and ".join(f"`{scope}`" for scope in scopes)
        super().__init__(f"This needs the scope {names}, which this caller does not have.")


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

    @property
    def is_unrestricted_admin(self) -> bool:
        """Whether the principal is an admin whose clearance shows every memory."""
        return Scope.ADMIN in self.scopes and self.clearance.is_superset_of(unrestricted_clearance())

    def may_write_as(self, source: str) -> bool:
        """Whether it may write under `source`: its own, or any source if it is an admin who sees everything.

        The answer to a write depends on what its source has stored, so an admin who does not see all of that must not
        get it.
        """
        return source == self.source or self.is_unrestricted_admin

    def may_write_for_actor_type(self, *, actor_type: str) -> bool:
        return actor_type == self.actor_type or actor_type in self.delegated_actor_types or self.has_scope(Scope.ADMIN)

    def may_write_as_actor(self, *, actor_id: str) -> bool:
        return self.actor_id in ("", actor_id) or self.has_scope(Scope.ADMIN)
