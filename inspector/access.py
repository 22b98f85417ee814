"""Who may open a page, and what becomes of those who may not yet."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.http import urlencode
from django_htmx.http import HttpResponseClientRedirect, HttpResponseClientRefresh
from django_htmx.middleware import HtmxDetails

from inspector.view_as import HEADER, looking_as, principal_for
from inspector.views import errors
from memoryhub.firewall import deeds, wall
from memoryhub.firewall.principals import principal_of
from memoryhub.firewall.types import Principal, Scope

Parameters = ParamSpec("Parameters")


class PageRequest(HttpRequest):
    """A request as a view behind `reader` gets it."""

    htmx: HtmxDetails
    principal: Principal
    request_id: str


View = Callable[Concatenate[PageRequest, Parameters], HttpResponse]


def reader(view: View[Parameters]) -> Callable[Concatenate[PageRequest, Parameters], HttpResponse]:
    """A page for people who are signed in and may read. What they see is nobody else's, and no cache keeps it."""

    @wraps(view)
    def page(request: PageRequest, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> HttpResponse:
        if not request.user.is_authenticated:
            return _to_sign_in(request)
        request.principal = principal_for(request)
        if request.htmx and _is_of_an_older_page(request):
            return HttpResponseClientRefresh()
        if (looking := looking_as(request)) and looking.refusal:
            return errors.page(request, 403, "Nothing at all", f"{looking.name} {looking.refusal}: it gets nothing.")
        request.principal.require(Scope.READ)
        with wall.behind(request.principal.clearance):
            response = view(request, *args, **kwargs)
        return _for_nobody_else(response)

    return page


def person(scope: Scope | None = None) -> Callable[[View[Parameters]], View[Parameters]]:
    """A page for people who are signed in, and may `scope` themselves, whomever they look as."""

    def behind(view: View[Parameters]) -> View[Parameters]:
        @wraps(view)
        def page(request: PageRequest, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> HttpResponse:
            if not request.user.is_authenticated:
                return _to_sign_in(request)
            request.principal = principal_of(request.user)
            if scope is not None and not request.principal.may(scope):
                raise PermissionDenied
            return _for_nobody_else(view(request, *args, **kwargs))

        return page

    return behind


def _for_nobody_else(response: HttpResponse) -> HttpResponse:
    patch_cache_control(response, private=True, no_store=True)
    patch_vary_headers(response, ["HX-Request", "Cookie"])
    return response


def _is_of_an_older_page(request: PageRequest) -> bool:
    """Whether the page that asks for a part of itself was made for another one than the session looks as by now."""
    looking = looking_as(request)
    return request.headers.get(HEADER, "") != (looking.tag if looking else "")


def tell_ledger(request: HttpRequest, action: str, *, by: Principal, details: Mapping[str, Any] | None = None) -> None:
    """One entry in the ledger for what `request` does, in the transaction of the deed."""
    route = request.resolver_match.view_name if request.resolver_match else ""
    deeds.tell(action, by=by, details=details or {}, request_id=getattr(request, "request_id", ""), route=route)


def _to_sign_in(request: PageRequest) -> HttpResponse:
    if not request.htmx:
        return redirect_to_login(request.get_full_path())
    # A fragment cannot hold the sign-in page: the browser goes there, and afterwards back to the page around it.
    query = urlencode({"next": request.htmx.current_url_abs_path or reverse("inspector:memories")})
    return HttpResponseClientRedirect(f"{reverse('inspector:sign-in')}?{query}")
