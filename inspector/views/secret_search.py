"""The search in masked secrets: a form, and the matches with their secrets masked."""

from http import HTTPStatus
from typing import Any

from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from inspector.auth import InspectorRequest, reader_required
from inspector.forms.classify_form import NON_FILTER_FIELDS
from inspector.presenters import memory_fields
from inspector.presenters.memory_search import MemorySearch, build_back_query, build_list_url
from memoryhub.core.errors import InvalidQueryError
from memoryhub.core.storable_text import unsearchable_reason, unstorable_reason
from memoryhub.firewall.principal import Scope
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.secret_search import MAX_TEXT_LENGTH, search_secrets


@require_http_methods(["GET", "HEAD", "POST"])
@reader_required
def secret_search(request: InspectorRequest) -> HttpResponse:
    """Search by a text that is sent by POST, so that it is in no address. The scope is checked before any lookup."""
    request.principal.require_scopes(Scope.CURATE)
    params = _extract_filters(request.POST if request.method == "POST" else request.GET)
    try:
        filters = MemoryFilterSet(params, clearance=request.principal.clearance)
    except InvalidQueryError as error:
        return _render_page(request, {"search": MemorySearch(params, error.errors)}, HTTPStatus.BAD_REQUEST)
    search = MemorySearch(params)
    context = {
        "search": search,
        "filters": filters.active_filters,
        "list_url": build_list_url(search.params),
        "back_query": build_back_query(search.params, search.instant_params),
    }
    if request.method != "POST":
        return _render_page(request, context)
    text = request.POST.get("text", "")
    if len(text) > MAX_TEXT_LENGTH or unsearchable_reason(text) or unstorable_reason(text):
        return _render_page(request, {**context, "is_rejected": True}, HTTPStatus.BAD_REQUEST)
    matches = search_secrets(
        filters, text, principal=request.principal, route="inspector:secret-search", request_id=request.request_id
    )
    return _render_page(
        request, {**context, "matches": matches, "records": list(map(memory_fields.mask_memory, matches.records))}
    )


def _extract_filters(data: QueryDict) -> QueryDict:
    """Return the filters in the form's data, as parameters of an address."""
    params = data.copy()
    for name in ("text", *NON_FILTER_FIELDS):
        params.pop(name, None)
    return params


def _render_page(
    request: InspectorRequest, context: dict[str, Any], status: HTTPStatus = HTTPStatus.OK
) -> HttpResponse:
    return render(
        request,
        "memories/secrets.html",
        {"section": "memories", "max_search_chars": MAX_TEXT_LENGTH, **context},
        status=status,
    )
