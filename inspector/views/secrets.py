"""The search in what is masked: a form, and what it finds, with its secrets masked as anywhere."""

from http import HTTPStatus
from typing import Any

from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from inspector import fields
from inspector.access import PageRequest, reader
from inspector.forms import BESIDE
from inspector.search import Search, address, kept
from memoryhub.firewall.types import Scope
from memoryhub.memories.filters import MAX_SOUGHT, BadQuery, MemoryFilterSet
from memoryhub.memories.secret_search import search_secrets
from memoryhub.memories.text import why_not_sought, why_not_storable


@require_http_methods(["GET", "HEAD", "POST"])
@reader
def secrets(request: PageRequest) -> HttpResponse:
    """The text is sent and never stands in an address. Who may not is refused before anything is looked up."""
    request.principal.require(Scope.INSPECT)
    asked = _filters_in(request.POST if request.method == "POST" else request.GET)
    try:
        filters = MemoryFilterSet(asked, clearance=request.principal.clearance)
    except BadQuery as error:
        return _page(request, {"search": Search(asked, error.errors)}, HTTPStatus.BAD_REQUEST)
    search = Search(asked)
    context = {
        "search": search,
        "filters": filters.active,
        "list_url": address(search.params),
        "kept": kept(search.params, search.instants),
    }
    if request.method != "POST":
        return _page(request, context)
    text = request.POST.get("text", "")
    if len(text) > MAX_SOUGHT or why_not_sought(text) or why_not_storable(text):
        return _page(request, {**context, "is_refused": True}, HTTPStatus.BAD_REQUEST)
    found = search_secrets(
        filters, text, by=request.principal, route="inspector:memory-secrets", request_id=request.request_id
    )
    return _page(request, {**context, "found": found, "records": list(map(fields.shown, found.records))})


def _filters_in(data: QueryDict) -> QueryDict:
    """The filters among what is sent, as an address has them."""
    asked = data.copy()
    for name in ("text", *BESIDE):
        asked.pop(name, None)
    return asked


def _page(request: PageRequest, context: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    return render(
        request, "memories/secrets.html", {"section": "memories", "longest": MAX_SOUGHT, **context}, status=status
    )
