"""Who is behind a request. Asked anew for every request: a clearance lowered now holds from the next request on."""

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.core.exceptions import ObjectDoesNotExist

from memoryhub.firewall.models import ApiKey, UserClearance
from memoryhub.firewall.types import Principal, Scope


def nobody() -> Principal:
    return Principal(name="anonymous")


def principal_of(user: AbstractBaseUser | AnonymousUser, key: ApiKey | None = None) -> Principal:
    """The principal of a key, else of a signed-in user, else nobody, who may do nothing."""
    if key is not None:
        return key.as_principal()
    if not user.is_authenticated or not user.is_active:
        return nobody()
    try:
        held = UserClearance.objects.select_related("clearance").get(user_id=user.pk)
    except ObjectDoesNotExist:
        name = user.get_username()
        return Principal(name=f"user:{name}", scopes=frozenset({Scope.READ}), actor_type="user", actor_id=name)
    return held.as_principal(user.get_username())


def account_of(username: str) -> str | None:
    """The principal's name of a user's account, None if there is none."""
    return f"user:{username}" if User.objects.filter(username=username).exists() else None
