from typing import Any

from rest_framework import exceptions, permissions

from memoryhub.firewall.principals import principal_of
from memoryhub.firewall.types import Principal


def principal(request: Any) -> Principal:
    """Who is asking, looked up once for each request."""
    inner = request._request
    if not hasattr(inner, "principal"):
        inner.principal = principal_of(request.user, request.auth)
    found: Principal = inner.principal
    return found


class HasScope(permissions.BasePermission):
    """Each view names the scope that each of its methods needs: `scopes = {"GET": Scope.READ}`."""

    def has_permission(self, request: Any, view: Any) -> bool:
        if not request.user.is_authenticated:
            raise exceptions.NotAuthenticated
        method = "GET" if request.method == "HEAD" else request.method
        # A method without a scope has no handler either; DRF answers 405 before it comes to this.
        return method in view.scopes and principal(request).may(view.scopes[method])
