"""Django's admin behind the inspector's own door: one place to sign in and out, one answer for who may not enter."""

from functools import update_wrapper
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, URLResolver
from django.views.decorators.http import require_http_methods

from inspector.access import tell_ledger
from inspector.views.session import sign_out
from memoryhub.firewall import deeds
from memoryhub.firewall.principals import principal_of

# An object of any kind by its number, and values for a field that has none here: doors that nobody needs.
WITHOUT = {"view_on_site", "autocomplete", "login"}


SENDS = {"changelist_view", "add_view", "change_view", "delete_view", "user_change_password", "password_change"}
ONLY_SENDS = {"logout", "preview"}


class Site(AdminSite):
    site_header = site_title = "memoryhub"
    index_title = "Administration"

    def get_urls(self) -> list[URLPattern | URLResolver]:
        return [route for route in super().get_urls() if getattr(route, "name", None) not in WITHOUT]

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        inside = super().admin_view(view, cacheable)

        def door(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            # Before anything is looked up: what is there and what is not is one answer to who may see neither.
            if not self.has_permission(request):
                raise PermissionDenied
            response: HttpResponse = inside(request, *args, **kwargs)
            return response

        return require_http_methods(_methods(view))(update_wrapper(door, inside))

    def logout(self, request: HttpRequest, extra_context: Any = None) -> Any:
        return sign_out(request)

    def password_change(self, request: HttpRequest, extra_context: Any = None) -> Any:
        with deeds.together():
            response: HttpResponse = super().password_change(request, extra_context)
            if isinstance(response, HttpResponseRedirect):
                by = principal_of(request.user)
                details = {"user": request.user.get_username(), "changed": deeds.NEW_PASSWORD}
                tell_ledger(request, "user.change", by=by, details=details)
        return response


def _methods(view: Any) -> list[str]:
    """Django's admin takes whatever it is sent; here a view takes what it has a use for."""
    if view.__name__ in ONLY_SENDS:
        return ["POST"]
    return ["GET", "HEAD", "POST"] if view.__name__ in SENDS else ["GET", "HEAD"]
