"""Who is behind a request. Asked anew for every request: a clearance lowered now holds from the next request on."""

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.exceptions import ObjectDoesNotExist

from memoryhub.firewall.models import ApiKey, UserClearance
from memoryhub.firewall.types import Principal, Scope


def principal_of(user: AbstractBaseUser | AnonymousUser, key: ApiKey | None = None) -> Principal:
    """The principal of a key, else of a signed-in user, else nobody, who may do nothing."""
    if key is not None:
        return key.as_principal()
    if not user.is_authenticated or not user.is_active:
        return Principal(name="anonymous")
    try:
        held = UserClearance.objects.select_related("clearance").get(user_id=user.pk)
    except ObjectDoesNotExist:
        return Principal(name=f"user:{user.get_username()}", scopes=frozenset({Scope.READ}), actor_type="user")
    return held.as_principal(user.get_username())
