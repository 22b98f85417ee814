"""Whom somebody may look as: a clearance, an API key or a user that sees and reads no more than they do themselves."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from django.utils import timezone

from memoryhub.firewall import deeds
from memoryhub.firewall.models import ApiKey, ClearanceRecord
from memoryhub.firewall.principals import principal_of_account
from memoryhub.firewall.types import Principal, Scope

KINDS = ("clearance", "user", "key")
MOST_OFFERED = 50
_KEPT_AS = "view_as"
# What one may read is given by these scopes, besides the clearance. Looking as somebody must not add to it.
_READING = (Scope.READ, Scope.INSPECT, Scope.AUDIT, Scope.ADMIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Somebody to look as."""

    kind: str
    principal: Principal
    """What it is answered as; a clearance as a reader who holds it."""
    refusal: str = ""
    """Why it gets nothing at all, if so: a clause whose subject is the target."""

    @property
    def name(self) -> str:
        return self.principal.name

    @property
    def tag(self) -> str:
        """A name for it that fits into a header."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:16]


def targets(viewer: Principal, *, sought: str = "") -> dict[str, list[Target]]:
    """Those whose names hold `sought`, by kind; MOST_OFFERED of each, and one more if there are more."""
    return {kind: list(islice(_offered(kind, viewer, name__icontains=sought), MOST_OFFERED + 1)) for kind in KINDS}


def target(name: str, viewer: Principal) -> Target | None:
    """The one of this name. What the viewer may not look as is answered as what is not there."""
    kind, _, own_name = name.partition(":")
    if kind not in KINDS or "\0" in own_name:
        return None
    return next(_offered(kind, viewer, name=own_name), None)


def kept_in(session: SessionBase) -> str:
    """The name of whom a session looks as; empty for itself."""
    return str(session.get(_KEPT_AS, ""))


@transaction.atomic
def start(session: SessionBase, target: Target, *, by: Principal, request_id: str, route: str) -> None:
    """Look as `target` from now on. The session and the entry that tells of it are one transaction."""
    before = kept_in(session)
    details = {"view_as": target.name, **({"before": before} if before else {})}
    deeds.tell("view_as.start", by=by, details=details, request_id=request_id, route=route)
    session[_KEPT_AS] = target.name
    session.save()


@transaction.atomic
def stop(session: SessionBase, *, by: Principal, request_id: str, route: str, why: str = "") -> None:
    """Look as oneself from now on, likewise; `why`, if it was not the viewer who wanted it."""
    details = {"view_as": kept_in(session), **({"why": why} if why else {})}
    deeds.tell("view_as.stop", by=by, details=details, request_id=request_id, route=route)
    del session[_KEPT_AS]
    session.save()


def _offered(kind: str, viewer: Principal, **named: str) -> Iterator[Target]:
    of_kind = {"clearance": _clearances, "user": _users, "key": _keys}[kind]
    if not viewer.may(Scope.VIEW_AS):
        return
    for each in of_kind(**named):
        if each.name != viewer.name and _is_within(each.principal, viewer):
            yield replace(each, principal=replace(each.principal, scopes=frozenset())) if each.refusal else each


def _is_within(principal: Principal, viewer: Principal) -> bool:
    """Whether looking as `principal` shows nothing that `viewer` may not see or read."""
    reads_no_more = all(viewer.may(scope) for scope in _READING if principal.may(scope))
    return reads_no_more and viewer.clearance.covers(principal.clearance)


def _clearances(**named: str) -> Iterator[Target]:
    for record in ClearanceRecord.objects.filter(**named):
        holder = Principal(
            name=f"clearance:{record.name}", clearance=record.as_clearance(), scopes=frozenset({Scope.READ})
        )
        yield Target(kind="clearance", principal=holder)


def _users(**named: str) -> Iterator[Target]:
    asked = {f"user{name}": value for name, value in named.items()}
    people = User.objects.filter(**asked).select_related("held_clearance__clearance").order_by("username")
    for user in people:
        principal = principal_of_account(user.get_username(), getattr(user, "held_clearance", None))
        yield Target(kind="user", principal=principal, refusal="" if user.is_active else "is disabled")


def _keys(**named: str) -> Iterator[Target]:
    for key in ApiKey.objects.filter(**named):
        yield Target(kind="key", principal=key.as_principal(), refusal=_why_refused(key))


def _why_refused(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "is revoked"
    if key.expiry is not None and key.expiry <= timezone.now():
        return "has expired"
    return "" if key.user.is_active else "belongs to a disabled user"
