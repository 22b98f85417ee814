"""Access control for the inspector's pages: sign-in, scopes and view as."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from uuid import UUID

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.http import urlencode
from django_htmx.http import HttpResponseClientRedirect, HttpResponseClientRefresh
from django_htmx.middleware import HtmxDetails

from inspector import error_pages
from inspector.view_as import VIEW_AS_HEADER, get_effective_principal, get_view_as_target
from memoryhub.audit.actions import AuditAction
from memoryhub.firewall import audit_events, rls
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.firewall.principal_lookup import resolve_principal

Parameters = ParamSpec("Parameters")


class InspectorRequest(HttpRequest):
    """A request as views behind `reader_required` and `user_required` receive it."""

    htmx: HtmxDetails
    principal: Principal
    request_id: str


View = Callable[Concatenate[InspectorRequest, Parameters], HttpResponse]


def reader_required(view: View[Parameters]) -> Callable[Concatenate[InspectorRequest, Parameters], HttpResponse]:
    """Require a signed-in user with the scope `read`, run the view under row security, and forbid caching."""

    @wraps(view)
    def guarded_view(request: InspectorRequest, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> HttpResponse:
        if not request.user.is_authenticated:
            return _redirect_to_sign_in(request)
        request.principal = get_effective_principal(request)
        if request.htmx and _is_stale_page(request):
            return HttpResponseClientRefresh()
        if (view_as_target := get_view_as_target(request)) and view_as_target.refusal:
            return error_pages.render_error_page(
                request, 403, "Nothing at all", f"{view_as_target.name} {view_as_target.refusal}: it gets nothing."
            )
        request.principal.require_scopes(Scope.READ)
        with rls.as_reader(request.principal.clearance):
            response = view(request, *args, **kwargs)
        return _set_private_no_store(response)

    return guarded_view


def user_required(scope: Scope | None = None) -> Callable[[View[Parameters]], View[Parameters]]:
    """Require a signed-in user who has `scope` itself, whatever the target of view as may do."""

    def decorator(view: View[Parameters]) -> View[Parameters]:
        @wraps(view)
        def guarded_view(
            request: InspectorRequest, /, *args: Parameters.args, **kwargs: Parameters.kwargs
        ) -> HttpResponse:
            if not request.user.is_authenticated:
                return _redirect_to_sign_in(request)
            request.principal = resolve_principal(request.user)
            if scope is not None:
                request.principal.require_scopes(scope)
            return _set_private_no_store(view(request, *args, **kwargs))

        return guarded_view

    return decorator


def _set_private_no_store(response: HttpResponse) -> HttpResponse:
    patch_cache_control(response, private=True, no_store=True)
    patch_vary_headers(response, ["HX-Request", "Cookie"])
    return response


def _is_stale_page(request: InspectorRequest) -> bool:
    """Whether the page that sends this htmx request was rendered for another view-as target than the current one."""
    view_as_target = get_view_as_target(request)
    return request.headers.get(VIEW_AS_HEADER, "") != (view_as_target.header_tag if view_as_target else "")


def audit_request(
    request: HttpRequest,
    action: AuditAction,
    *,
    principal: Principal,
    details: Mapping[str, Any] | None = None,
    memory_ids: Sequence[UUID] = (),
) -> None:
    """Record one entry in the audit log for `request`, in the transaction of the action."""
    route = request.resolver_match.view_name if request.resolver_match else ""
    audit_events.record_audit_event(
        action,
        principal=principal,
        details=details,
        memory_ids=memory_ids,
        request_id=getattr(request, "request_id", ""),
        route=route,
    )


def _redirect_to_sign_in(request: InspectorRequest) -> HttpResponse:
    if not request.htmx:
        return redirect_to_login(request.get_full_path())
    # The sign-in page cannot replace a fragment, so the whole browser goes there, and afterwards back to the current
    # page.
    query = urlencode({"next": request.htmx.current_url_abs_path or reverse("inspector:memory-list")})
    return HttpResponseClientRedirect(f"{reverse('inspector:sign-in')}?{query}")
