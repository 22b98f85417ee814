"""Resolve the principal of a request. It is read for each request: a lowered clearance applies from the next one on."""

from collections.abc import Iterable

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User

from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.models import ApiKey, UserAccess
from memoryhub.firewall.principal import Principal, Scope


def anonymous_principal() -> Principal:
    return Principal(name="anonymous")


def resolve_principal(user: AbstractBaseUser | AnonymousUser, key: ApiKey | None = None) -> Principal:
    """Return the principal of `key`, else of a signed-in user, else the anonymous one, which may do nothing."""
    if key is not None:
        return key.as_principal()
    if not user.is_authenticated or not user.is_active:
        return anonymous_principal()
    access = UserAccess.objects.select_related("clearance").filter(user_id=user.pk).first()
    return principal_for_user(user.get_username(), access)


def principal_for_user(username: str, access: UserAccess | None) -> Principal:
    """Return the principal of an active account."""
    if access is not None:
        return access.as_principal(username)
    return Principal(name=f"user:{username}", scopes=frozenset({Scope.READ}), actor_type="user", actor_id=username)


def find_user_principal_name(username: str) -> str | None:
    """Return the principal name of a user's account; None if there is no such account."""
    return f"user:{username}" if User.objects.filter(username=username).exists() else None


def get_current_clearances(names: Iterable[str]) -> dict[str, Clearance]:
    """Return what the principals of these names may see now; unknown names are missing."""
    names_by_kind: dict[str, list[str]] = {"user": [], "key": []}
    for name in names:
        kind, _, own_name = name.partition(":")
        names_by_kind.setdefault(kind, []).append(own_name)
    users = User.objects.filter(username__in=names_by_kind["user"]).select_related("access__clearance")
    principals = [principal_for_user(user.get_username(), getattr(user, "access", None)) for user in users]
    principals += [key.as_principal() for key in ApiKey.objects.filter(name__in=names_by_kind["key"])]
    return {principal.name: principal.clearance for principal in principals}
