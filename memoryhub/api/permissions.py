from collections.abc import Callable
from functools import wraps
from typing import Any

from rest_framework import exceptions, permissions

from memoryhub.firewall import wall
from memoryhub.firewall.principals import principal_of
from memoryhub.firewall.types import Principal

Handler = Callable[..., Any]


def principal(request: Any) -> Principal:
    """Who is asking, looked up once for each request."""
    inner = request._request
    if not hasattr(inner, "principal"):
        # A session that looks as somebody else does so here, too; a key is always itself.
        looking = None if request.auth else getattr(inner, "looking", None)
        inner.principal = looking.principal if looking else principal_of(request.user, request.auth)
    found: Principal = inner.principal
    return found


def walled(handler: Handler) -> Handler:
    """A handler of a view within a transaction in which the database shows what the caller may see."""

    @wraps(handler)
    def inside(view: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        with wall.behind(principal(request).clearance):
            return handler(view, request, *args, **kwargs)

    return inside


class HasScope(permissions.BasePermission):
    """Each view names the scope that each of its methods needs: `scopes = {"GET": Scope.READ}`."""

    def has_permission(self, request: Any, view: Any) -> bool:
        if not request.user.is_authenticated:
            raise exceptions.NotAuthenticated
        method = "GET" if request.method == "HEAD" else request.method
        # DRF asks for permission before it looks for a handler; a method without a scope has none.
        if method not in view.scopes:
            raise exceptions.MethodNotAllowed(method)
        asking = principal(request)
        if asking.viewer and method != "GET":
            return False
        asking.require(view.scopes[method])
        return True
