"""Django's admin with the inspector's sign-in and sign-out pages."""

from functools import update_wrapper
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, URLResolver
from django.views.decorators.http import require_http_methods

from inspector.auth import audit_request
from inspector.views.session import sign_out
from memoryhub.audit.actions import AuditAction
from memoryhub.firewall import audit_events
from memoryhub.firewall.principal_lookup import resolve_principal

# Unused routes: `view_on_site` and `autocomplete` look up objects; sign-in is a page of the inspector.
REMOVED_ROUTES = {"view_on_site", "autocomplete", "login"}


POST_VIEWS = {"changelist_view", "add_view", "change_view", "delete_view", "user_change_password", "password_change"}
POST_ONLY_VIEWS = {"logout", "preview"}


class MemoryhubAdminSite(AdminSite):
    site_header = site_title = "memoryhub"
    index_title = "Administration"

    def get_urls(self) -> list[URLPattern | URLResolver]:
        return [route for route in super().get_urls() if getattr(route, "name", None) not in REMOVED_ROUTES]

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        inner_view = super().admin_view(view, cacheable)

        def guarded_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            # Check permission before any lookup, so that existing and missing objects give the same answer to those who
            # may see neither.
            if not self.has_permission(request):
                raise PermissionDenied
            response: HttpResponse = inner_view(request, *args, **kwargs)
            return response

        return require_http_methods(_get_allowed_methods(view))(update_wrapper(guarded_view, inner_view))

    def logout(self, request: HttpRequest, extra_context: Any = None) -> Any:
        return sign_out(request)

    def password_change(self, request: HttpRequest, extra_context: Any = None) -> Any:
        with audit_events.atomic():
            response: HttpResponse = super().password_change(request, extra_context)
            if isinstance(response, HttpResponseRedirect):
                principal = resolve_principal(request.user)
                details = {"user": request.user.get_username(), "changed_fields": audit_events.PASSWORD_CHANGED}
                audit_request(request, AuditAction.USER_CHANGE, principal=principal, details=details)
        return response


def _get_allowed_methods(view: Any) -> list[str]:
    """Return the HTTP methods that an admin view needs. Django's admin accepts any method."""
    if view.__name__ in POST_ONLY_VIEWS:
        return ["POST"]
    return ["GET", "HEAD", "POST"] if view.__name__ in POST_VIEWS else ["GET", "HEAD"]
