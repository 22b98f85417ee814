"""Choosing whom to look as, and looking as oneself again."""

from urllib.parse import urlsplit

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import Http404, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from inspector.access import PageRequest, person
from inspector.view_as import about
from memoryhub.firewall import view_as as offered
from memoryhub.firewall.types import Scope
from memoryhub.memories.suspicion import masked
from memoryhub.memories.text import why_not_storable

TITLES = {"clearance": "Clearances", "user": "Users", "key": "API keys"}
LONGEST_SOUGHT = 255


@require_http_methods(["GET", "HEAD", "POST"])
@person(Scope.VIEW_AS)
def view_as(request: PageRequest) -> HttpResponse:
    return _start(request) if request.method == "POST" else _offer(request)


@require_POST
@person()
def stop(request: PageRequest) -> HttpResponse:
    if offered.kept_in(request.session):
        offered.stop(request.session, by=request.principal, **about(request))
        messages.success(request, "You see as yourself again.")
    return HttpResponseRedirect(_back(request))


def _start(request: PageRequest) -> HttpResponse:
    target = offered.target(request.POST.get("as", ""), request.principal)
    if target is None:
        raise Http404
    offered.start(request.session, target, by=request.principal, **about(request))
    return HttpResponseRedirect(reverse("inspector:memories"))


def _offer(request: PageRequest) -> HttpResponse:
    sought = request.GET.get("q", "")
    if not set(request.GET) <= {"q"} or len(sought) > LONGEST_SOUGHT or why_not_storable(sought):
        raise BadRequest("This page knows the parameter q.")
    found = offered.targets(request.principal, sought=sought)
    if sought:
        # A part of what is masked finds nothing.
        found = {kind: [each for each in of_kind if masked(each.name) == each.name] for kind, of_kind in found.items()}
    groups = [
        {
            "kind": kind,
            "title": TITLES[kind],
            "targets": targets[: offered.MOST_OFFERED],
            "has_more": len(targets) > offered.MOST_OFFERED,
        }
        for kind, targets in found.items()
        if targets
    ]
    return render(request, "view_as/page.html", {"section": "view-as", "sought": sought, "groups": groups})


def _back(request: PageRequest) -> str:
    """Where it was stopped; without a cursor, which is nobody else's."""
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure()):
        return reverse("inspector:memories")
    parts = urlsplit(back)
    query = QueryDict(parts.query, mutable=True)
    query.pop("cursor", None)
    return parts._replace(query=query.urlencode()).geturl()
