"""Who is behind a request. Asked anew for every request: a clearance lowered now holds from the next request on."""

from collections.abc import Iterable

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User

from memoryhub.firewall.models import ApiKey, UserClearance
from memoryhub.firewall.types import Clearance, Principal, Scope


def nobody() -> Principal:
    return Principal(name="anonymous")


def principal_of(user: AbstractBaseUser | AnonymousUser, key: ApiKey | None = None) -> Principal:
    """The principal of a key, else of a signed-in user, else nobody, who may do nothing."""
    if key is not None:
        return key.as_principal()
    if not user.is_authenticated or not user.is_active:
        return nobody()
    held = UserClearance.objects.select_related("clearance").filter(user_id=user.pk).first()
    return principal_of_account(user.get_username(), held)


def principal_of_account(username: str, held: UserClearance | None) -> Principal:
    """The principal of an account that is in force."""
    if held is not None:
        return held.as_principal(username)
    return Principal(name=f"user:{username}", scopes=frozenset({Scope.READ}), actor_type="user", actor_id=username)


def account_of(username: str) -> str | None:
    """The principal's name of a user's account, None if there is none."""
    return f"user:{username}" if User.objects.filter(username=username).exists() else None


def clearances_of(names: Iterable[str]) -> dict[str, Clearance]:
    """What the principals of these names may see by now; whoever is not on record is missing."""
    by_kind: dict[str, list[str]] = {"user": [], "key": []}
    for name in names:
        kind, _, own_name = name.partition(":")
        by_kind.setdefault(kind, []).append(own_name)
    people = User.objects.filter(username__in=by_kind["user"]).select_related("held_clearance__clearance")
    found = [principal_of_account(user.get_username(), getattr(user, "held_clearance", None)) for user in people]
    found += [key.as_principal() for key in ApiKey.objects.filter(name__in=by_kind["key"])]
    return {principal.name: principal.clearance for principal in found}
