"""Looking through the inspector as somebody else: kept in the session, judged anew for every request."""

from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from inspector.views import errors
from memoryhub.firewall import view_as
from memoryhub.firewall.principals import principal_of
from memoryhub.firewall.types import Principal
from memoryhub.firewall.view_as import Target

HEADER = "Looks-As"
"""What an htmx request says it was asked as: its page may be older than what another tab chose since."""
_SAFE = ("GET", "HEAD", "OPTIONS")
# They end it, change it, or change nothing but this browser.
_ALLOWED = {
    "inspector:view-as", "inspector:view-as-stop", "inspector:sign-out", "inspector:sign-in", "inspector:theme",
    "admin:logout",
}  # fmt: skip


class LookingAs:
    """`request.looking` is whom the session looks as, or falsy; changes are refused meanwhile, whatever the route."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Asked when it is needed first, as `request.user` is: not every route has to do with people.
        request.looking = SimpleLazyObject(lambda: _looking(request))  # type: ignore[attr-defined]
        response: HttpResponse = self.get_response(request)
        return response

    def process_view(self, request: HttpRequest, *_: Any) -> HttpResponse | None:
        match = request.resolver_match
        # The API says in its own way, and to sessions alone, that nothing is changed (api.permissions).
        if match is None or match.view_name in _ALLOWED or match.app_name == "api":
            return None
        of_the_admin = match.app_name == "admin"
        if (of_the_admin or request.method not in _SAFE) and (looking := looking_as(request)):
            return _refused(request, looking, of_the_admin=of_the_admin)
        return None


def looking_as(request: HttpRequest) -> Target | None:
    found = getattr(request, "looking", None)
    return found if found else None


def principal_for(request: HttpRequest) -> Principal:
    """Whom `request` is answered as."""
    looking = looking_as(request)
    return looking.principal if looking else principal_of(request.user)


def about(request: HttpRequest) -> dict[str, str]:
    """What an entry of the ledger is told of a request."""
    match = request.resolver_match
    return {"request_id": getattr(request, "request_id", ""), "route": match.view_name if match else ""}


def _looking(request: HttpRequest) -> Target | None:
    if not request.user.is_authenticated or not (name := view_as.kept_in(request.session)):
        return None
    person = principal_of(request.user)
    found = view_as.target(name, person)
    if found is None:
        _end(request, name, person)
        return None
    return replace(found, principal=replace(found.principal, viewer=person.name))


def _end(request: HttpRequest, name: str, person: Principal) -> None:
    """What was allowed is so no longer: a right was taken away, or the other one sees more now."""
    view_as.stop(request.session, by=person, why="not allowed any more", **about(request))
    messages.warning(request, f"You may not look as {name} any more. You see as yourself again.")


def _refused(request: HttpRequest, looking: Target, *, of_the_admin: bool) -> HttpResponse:
    why = "The administration knows your own rights alone." if of_the_admin else "Nothing was changed."
    return errors.page(
        request, 403, "Not while you look as somebody else", f"{why} Stop looking as {looking.name} first."
    )
