"""View as: the target is stored in the session, and checked again in every request."""

from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from inspector import error_pages
from memoryhub.firewall import view_as
from memoryhub.firewall.principal import Principal
from memoryhub.firewall.principal_lookup import resolve_principal
from memoryhub.firewall.view_as import ViewAsTarget

VIEW_AS_HEADER = "View-As"
"""Header with the view-as target of the page that sends an htmx request. Another tab may have changed it since."""
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# Routes that end view as, change its target, or change only the browser.
_ALLOWED_ROUTES = {
    "inspector:view-as", "inspector:view-as-stop", "inspector:sign-out", "inspector:sign-in", "inspector:theme",
    "admin:logout",
}  # fmt: skip


class ViewAsMiddleware:
    """Set `request.view_as` to the target of view as, or a falsy value, and refuse changes while there is a target."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Loaded lazily, as `request.user` is: not every route needs it.
        request.view_as = SimpleLazyObject(lambda: _load_target(request))  # type: ignore[attr-defined]
        response: HttpResponse = self.get_response(request)
        return response

    def process_view(self, request: HttpRequest, *_: Any) -> HttpResponse | None:
        match = request.resolver_match
        # The API refuses changes itself, and for sessions only (`memoryhub.api.permissions`).
        if match is None or match.view_name in _ALLOWED_ROUTES or match.app_name == "api":
            return None
        is_admin_site = match.app_name == "admin"
        if (is_admin_site or request.method not in _SAFE_METHODS) and (target := get_view_as_target(request)):
            return _build_forbidden_page(request, target, is_admin_site=is_admin_site)
        return None


def get_view_as_target(request: HttpRequest) -> ViewAsTarget | None:
    target = getattr(request, "view_as", None)
    return target if target else None


def get_effective_principal(request: HttpRequest) -> Principal:
    """Return the principal under which `request` is answered."""
    target = get_view_as_target(request)
    return target.principal if target else resolve_principal(request.user)


def get_audit_context(request: HttpRequest) -> dict[str, str]:
    """Return the fields of an audit entry that identify a request."""
    match = request.resolver_match
    return {"request_id": getattr(request, "request_id", ""), "route": match.view_name if match else ""}


def _load_target(request: HttpRequest) -> ViewAsTarget | None:
    if not request.user.is_authenticated or not (name := view_as.current_target_name(request.session)):
        return None
    user_principal = resolve_principal(request.user)
    target = view_as.get_target(name, user_principal)
    if target is None:
        _stop_view_as(request, name, user_principal)
        return None
    return replace(target, principal=replace(target.principal, viewer=user_principal.name))


def _stop_view_as(request: HttpRequest, name: str, user_principal: Principal) -> None:
    """End view as because it is not allowed any more: a scope was removed, or the target now sees more."""
    view_as.stop_view_as(
        request.session, principal=user_principal, reason="not allowed any more", **get_audit_context(request)
    )
    messages.warning(request, f"You may not view as {name} any more. You see as yourself again.")


def _build_forbidden_page(request: HttpRequest, target: ViewAsTarget, *, is_admin_site: bool) -> HttpResponse:
    explanation = "The administration knows your own rights alone." if is_admin_site else "Nothing was changed."
    return error_pages.render_error_page(
        request, 403, "Not while viewing as somebody else", f"{explanation} Stop viewing as {target.name} first."
    )
