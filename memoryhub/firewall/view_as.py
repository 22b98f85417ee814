"""View-as targets: the clearances, API keys and users that see and read no more than the viewer."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from django.utils import timezone

from memoryhub.audit.actions import AuditAction
from memoryhub.firewall import audit_events
from memoryhub.firewall.models import ApiKey, ClearanceProfile
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.firewall.principal_lookup import principal_for_user

KINDS = ("clearance", "user", "key")
MAX_TARGETS = 50
_SESSION_KEY = "view_as"
# Besides the clearance, scopes decide what a principal may read. Viewing as a target must not add to them. A new scope
# counts as one that lets its holder read something, until it is listed here.
_SCOPES_WITHOUT_READING = (Scope.WRITE, Scope.DECLASSIFY, Scope.VIEW_AS)
_READ_SCOPES = tuple(scope for scope in Scope if scope not in _SCOPES_WITHOUT_READING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewAsTarget:
    """A clearance, an API key or a user to view as."""

    kind: str
    principal: Principal
    """The principal whose view is shown; for a clearance, a reader who holds it."""
    refusal: str = ""
    """Why the target gets no response at all, if so: a clause whose subject is the target."""

    @property
    def name(self) -> str:
        return self.principal.name

    @property
    def header_tag(self) -> str:
        """A hash of the name that fits into an HTTP header."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:16]


def list_targets(principal: Principal, *, search_terms: str = "") -> dict[str, list[ViewAsTarget]]:
    """Return the targets whose names contain `search_terms`, by kind; at most MAX_TARGETS + 1 of each.

    One more than MAX_TARGETS means that there are more.
    """
    return {
        kind: list(islice(_iter_eligible_targets(kind, principal, name__icontains=search_terms), MAX_TARGETS + 1))
        for kind in KINDS
    }


def get_target(name: str, principal: Principal) -> ViewAsTarget | None:
    """Return the target of this name; None if it does not exist or `principal` may not view as it."""
    kind, _, own_name = name.partition(":")
    if kind not in KINDS or "\0" in own_name:
        return None
    return next(_iter_eligible_targets(kind, principal, name=own_name), None)


def current_target_name(session: SessionBase) -> str:
    """Return the name of the session's target; empty if there is none."""
    return str(session.get(_SESSION_KEY, ""))


@transaction.atomic
def start_view_as(
    session: SessionBase, target: ViewAsTarget, *, principal: Principal, request_id: str, route: str
) -> None:
    """View as `target` from now on. The session and its audit entry are stored in one transaction."""
    previous_target_name = current_target_name(session)
    details = {"view_as": target.name, **({"previous_target": previous_target_name} if previous_target_name else {})}
    audit_events.record_audit_event(
        AuditAction.VIEW_AS_START, principal=principal, details=details, request_id=request_id, route=route
    )
    session[_SESSION_KEY] = target.name
    session.save()


@transaction.atomic
def stop_view_as(session: SessionBase, *, principal: Principal, request_id: str, route: str, reason: str = "") -> None:
    """Stop viewing as the target, likewise in one transaction; `reason` is given if the viewer did not ask for it."""
    details = {"view_as": current_target_name(session), **({"reason": reason} if reason else {})}
    audit_events.record_audit_event(
        AuditAction.VIEW_AS_STOP, principal=principal, details=details, request_id=request_id, route=route
    )
    del session[_SESSION_KEY]
    session.save()


def _iter_eligible_targets(kind: str, principal: Principal, **name_filters: str) -> Iterator[ViewAsTarget]:
    iter_targets = {"clearance": _iter_clearance_targets, "user": _iter_user_targets, "key": _iter_key_targets}[kind]
    if not principal.has_scope(Scope.VIEW_AS):
        return
    for target in iter_targets(**name_filters):
        if target.name != principal.name and _is_no_wider(target.principal, principal):
            yield replace(target, principal=replace(target.principal, scopes=frozenset())) if target.refusal else target


def _is_no_wider(target_principal: Principal, principal: Principal) -> bool:
    """Whether viewing as `target_principal` shows nothing that `principal` may not see or read."""
    is_read_subset = all(principal.has_scope(scope) for scope in _READ_SCOPES if target_principal.has_scope(scope))
    return is_read_subset and principal.clearance.is_superset_of(target_principal.clearance)


def _iter_clearance_targets(**name_filters: str) -> Iterator[ViewAsTarget]:
    for profile in ClearanceProfile.objects.filter(**name_filters):
        principal = Principal(
            name=f"clearance:{profile.name}", clearance=profile.as_clearance(), scopes=frozenset({Scope.READ})
        )
        yield ViewAsTarget(kind="clearance", principal=principal)


def _iter_user_targets(**name_filters: str) -> Iterator[ViewAsTarget]:
    user_filters = {f"user{name}": value for name, value in name_filters.items()}
    users = User.objects.filter(**user_filters).select_related("access__clearance").order_by("username")
    for user in users:
        principal = principal_for_user(user.get_username(), getattr(user, "access", None))
        yield ViewAsTarget(kind="user", principal=principal, refusal="" if user.is_active else "is disabled")


def _iter_key_targets(**name_filters: str) -> Iterator[ViewAsTarget]:
    for key in ApiKey.objects.filter(**name_filters):
        yield ViewAsTarget(kind="key", principal=key.as_principal(), refusal=_refusal_reason(key))


def _refusal_reason(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "is revoked"
    if key.expiry is not None and key.expiry <= timezone.now():
        return "has expired"
    return "" if key.user.is_active else "belongs to a disabled user"
