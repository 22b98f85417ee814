"""Choose a target for view as, and end view as."""

from urllib.parse import urlsplit

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import Http404, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from inspector.auth import InspectorRequest, user_required
from inspector.view_as import get_audit_context
from memoryhub.core.secrets import mask_secrets
from memoryhub.core.storable_text import unstorable_reason
from memoryhub.firewall import view_as as view_as_targets
from memoryhub.firewall.principal import Scope

KIND_TITLES = {"clearance": "Clearances", "user": "Users", "key": "API keys"}
MAX_SEARCH_CHARS = 255


@require_http_methods(["GET", "HEAD", "POST"])
@user_required(Scope.VIEW_AS)
def view_as_page(request: InspectorRequest) -> HttpResponse:
    return _start_view_as(request) if request.method == "POST" else _render_targets(request)


@require_POST
@user_required()
def stop_view_as(request: InspectorRequest) -> HttpResponse:
    if view_as_targets.current_target_name(request.session):
        view_as_targets.stop_view_as(request.session, principal=request.principal, **get_audit_context(request))
        messages.success(request, "You see as yourself again.")
    return HttpResponseRedirect(_get_return_url(request))


def _start_view_as(request: InspectorRequest) -> HttpResponse:
    target = view_as_targets.get_target(request.POST.get("as", ""), request.principal)
    if target is None:
        raise Http404
    view_as_targets.start_view_as(request.session, target, principal=request.principal, **get_audit_context(request))
    return HttpResponseRedirect(reverse("inspector:memory-list"))


def _render_targets(request: InspectorRequest) -> HttpResponse:
    search_terms = request.GET.get("q", "")
    if not set(request.GET) <= {"q"} or len(search_terms) > MAX_SEARCH_CHARS or unstorable_reason(search_terms):
        raise BadRequest("This page knows the parameter q.")
    targets_by_kind = view_as_targets.list_targets(request.principal, search_terms=search_terms)
    if search_terms:
        # Names with secrets are masked, so a search must not find them by their masked part.
        targets_by_kind = {
            kind: [target for target in kind_targets if mask_secrets(target.name) == target.name]
            for kind, kind_targets in targets_by_kind.items()
        }
    groups = [
        {
            "kind": kind,
            "title": KIND_TITLES[kind],
            "targets": targets[: view_as_targets.MAX_TARGETS],
            "has_more": len(targets) > view_as_targets.MAX_TARGETS,
        }
        for kind, targets in targets_by_kind.items()
        if targets
    ]
    return render(request, "view_as/page.html", {"section": "view-as", "search_terms": search_terms, "groups": groups})


def _get_return_url(request: InspectorRequest) -> str:
    """Return the page on which view as was ended, without its cursor, which is only valid for the target."""
    return_url = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(return_url, {request.get_host()}, require_https=request.is_secure()):
        return reverse("inspector:memory-list")
    parts = urlsplit(return_url)
    query = QueryDict(parts.query, mutable=True)
    query.pop("cursor", None)
    return parts._replace(query=query.urlencode()).geturl()
