from collections.abc import Callable
from functools import wraps
from typing import Any

from rest_framework import exceptions, permissions

from memoryhub.firewall import rls
from memoryhub.firewall.principal import Principal
from memoryhub.firewall.principal_lookup import resolve_principal

Handler = Callable[..., Any]


def get_principal(request: Any) -> Principal:
    """Return the principal of a request; it is resolved once per request."""
    django_request = request._request
    if not hasattr(django_request, "principal"):
        # View as also applies to a session's API requests. A key always acts as itself.
        view_as_target = None if request.auth else getattr(django_request, "view_as", None)
        django_request.principal = (
            view_as_target.principal if view_as_target else resolve_principal(request.user, request.auth)
        )
    current_principal: Principal = django_request.principal
    return current_principal


def rls_scoped(handler: Handler) -> Handler:
    """Decorate a view method: run it in a transaction under row security with the caller's clearance."""

    @wraps(handler)
    def scoped_handler(view: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        with rls.as_reader(get_principal(request).clearance):
            return handler(view, request, *args, **kwargs)

    return scoped_handler


class HasScope(permissions.BasePermission):
    """Check the scope that a view requires for each method: `scopes = {"GET": Scope.READ}`."""

    def has_permission(self, request: Any, view: Any) -> bool:
        if not request.user.is_authenticated:
            raise exceptions.NotAuthenticated
        method = "GET" if request.method == "HEAD" else request.method
        # DRF checks permissions before it looks for a handler, so methods that the view does not support arrive here.
        if method not in view.scopes:
            raise exceptions.MethodNotAllowed(method)
        principal = get_principal(request)
        if principal.viewer and method != "GET":
            return False
        principal.require_scopes(view.scopes[method])
        return True
