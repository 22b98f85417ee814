"""The list of memories, and one memory."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.core.exceptions import BadRequest
from django.http import Http404, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from inspector import chart, fields, text
from inspector.access import PageRequest, reader
from inspector.search import Search, address, known
from memoryhub.memories import facets, pages, timeline
from memoryhub.memories.filters import BadQuery, MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.records import WHOLE, Record, records
from memoryhub.ops import reads

SHOWN_AT_FIRST = 4_000
RELATED = 8


@require_safe
@reader
def memories(request: PageRequest) -> HttpResponse:
    try:
        filters = MemoryFilterSet(request.GET, clearance=request.principal.clearance, besides=pages.PARAMETERS)
        page = pages.page(filters, reader=request.principal, parameters=request.GET.dict(), names=WHOLE)
    except BadQuery as error:
        search = Search(request.GET, error.errors)
        return _answer(request, {"search": search, "fields": search.fields({}), "errors": search.errors})
    search = Search(request.GET)
    if search.is_untidy and not request.htmx:
        return HttpResponseRedirect(address(search.params))
    reads.note(request.principal)
    counted = facets.count(filters)
    suggested = {name: [value.value for value in values] for name, values in counted.dimensions.items()}
    return _answer(
        request,
        {
            "search": search,
            "fields": search.fields(suggested),
            "page": page,
            "older_url": search.older(page.next_cursor),
            "total": counted.total,
            "capped": counted.capped,
            "facets": search.facets(counted),
            "chart": chart.draw(timeline.histogram(filters), search),
            "kept": _kept(search.params),
            "origin": request.build_absolute_uri("/").rstrip("/"),
        },
    )


def _answer(request: PageRequest, context: dict[str, Any]) -> HttpResponse:
    """The whole page, or for htmx the part that it swaps: that one with its errors inside, for htmx drops a 400."""
    context = {"section": "memories", **context}
    if not request.htmx or request.htmx.history_restore_request:
        status = HTTPStatus.BAD_REQUEST if context.get("errors") else HTTPStatus.OK
        return render(request, "memories/list.html", context, status=status)
    response = render(request, "memories/list.html#results", context)
    if context["search"].is_untidy:
        response["HX-Push-Url"] = address(context["search"].params)
    return response


@require_safe
@reader
def memory(request: PageRequest, memory_id: UUID) -> HttpResponse:
    if not set(request.GET) <= {"list", "whole"}:
        raise BadRequest("This page knows the parameters list and whole.")
    visible = Memory.objects.visible_to(request.principal.clearance)
    versions = records(visible.history(memory_id)[: fields.MOST_VERSIONS + 1], WHOLE)
    if not versions:
        raise Http404
    reads.note(request.principal)
    found = versions[0]
    listed = known(QueryDict(request.GET.get("list", "")))
    shown = found["content"] if "whole" in request.GET else text.shorten(found["content"], SHOWN_AT_FIRST)
    context = {
        "section": "memories",
        "memory": found,
        "shown_content": shown,
        "is_cut": len(shown) < len(found["content"]),
        "whole_url": "?" + urlencode({"list": listed.urlencode(), "whole": "1"}),
        "versions": fields.compared(versions)[: fields.MOST_VERSIONS],
        "more_versions": len(versions) > fields.MOST_VERSIONS,
        "groups": fields.grouped(found),
        "metadata": fields.pretty(found["metadata"]),
        "propagation": fields.pretty(found["propagation"]),
        "related": _related(request, found),
        "kept": _kept(listed),
        "list_url": address(listed),
        "subject_url": _listing(found, "subject"),
        "collection_url": _listing(found, "subject", "collection"),
        "json_url": reverse("api:memory", args=[memory_id]),
    }
    return render(request, "memories/detail.html", context)


def _related(request: PageRequest, found: Record) -> list[Record]:
    if not found["subject"] and not found["collection"]:
        return []
    about = Memory(**{name: found[name] for name in ("memory_id", "subject", "collection")})
    beside = Memory.objects.visible_to(request.principal.clearance).beside(about)
    return records(beside.newest_first()[:RELATED], WHOLE)


def _kept(params: QueryDict) -> str:
    """The list's state as a query that a memory's page carries, so that it leads back there."""
    return "?" + urlencode({"list": params.urlencode()}) if params else ""


def _listing(found: Record, *names: str) -> str:
    """The list of the memories that share these values."""
    params = QueryDict(mutable=True)
    params.update({name: found[name] for name in names})
    return address(params)
