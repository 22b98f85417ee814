"""The list of memories, and one memory."""

from dataclasses import replace
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.core.exceptions import BadRequest
from django.http import Http404, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from inspector import chart, fields, moment, text
from inspector.access import PageRequest, reader
from inspector.forms import ClassifyForm
from inspector.moment import Standpoint
from inspector.search import Search, address, kept, known
from inspector.views import decisions
from inspector.views.ledger import of_memory
from memoryhub.audit import ledger
from memoryhub.conflicts import chips
from memoryhub.firewall.reach import reach_of
from memoryhub.firewall.types import Scope
from memoryhub.memories import facets, pages, timeline
from memoryhub.memories.filters import BadQuery, MemoryFilterSet, MomentFilterSet, statuses_for
from memoryhub.memories.models import Memory
from memoryhub.memories.moment import NOW
from memoryhub.memories.records import WHOLE, Record, newest, records
from memoryhub.memories.suspicion import masked
from memoryhub.ops import reads

SHOWN_AT_FIRST = 4_000
RELATED = 8


@require_safe
@reader
def memories(request: PageRequest) -> HttpResponse:
    search = Search(request.GET)
    try:
        filters = MemoryFilterSet(search.params, clearance=request.principal.clearance, besides=pages.PARAMETERS)
        page = pages.page(filters, reader=request.principal, parameters=_parameters(search), names=WHOLE)
    except BadQuery as error:
        search = Search(request.GET, error.errors)
        empty = search.fields({}, statuses_for(request.principal.clearance))
        return _answer(request, {"search": search, "fields": empty, "errors": search.errors})
    if search.is_untidy and not request.htmx:
        return HttpResponseRedirect(address(search.params))
    here = moment.stand(request, filters.moment)
    reads.asked(request, by=request.principal, memory_ids=_ids(page.records))
    disputed = chips.disputed(page.records, clearance=filters.clearance, moment=filters.moment)
    shown = [{**fields.shown(record), "disputed": disputed.get(record["memory_id"])} for record in page.records]
    counted = facets.count(filters).for_people()
    suggested = {name: [value.value for value in values] for name, values in counted.dimensions.items()}
    return _answer(
        request,
        {
            "search": search,
            "fields": search.fields(suggested, statuses_for(filters.clearance)),
            "page": replace(page, records=shown),
            "older_url": search.older(page.next_cursor),
            "total": counted.total,
            "capped": counted.capped,
            "facets": search.facets(counted),
            "chart": chart.draw(timeline.histogram(_beyond(filters)), search, filters.moment.as_of),
            "kept": kept(search.params, here.asked),
            "may_classify": request.principal.may(Scope.INSPECT) and not here.is_known_then,
            "may_reveal": request.principal.may(Scope.INSPECT),
            "may_replay": request.principal.may(Scope.VIEW_AS),
            "origin": request.build_absolute_uri("/").rstrip("/"),
        },
    )


def _parameters(search: Search) -> dict[str, str]:
    return {name: str(search.params.get(name, "")) for name in pages.PARAMETERS}


def _beyond(filters: MemoryFilterSet) -> MemoryFilterSet:
    """The same without an end on event time: whoever slides along it wants to see where it leads."""
    if filters.moment.as_of is None:
        return filters
    asked = filters.data.copy()
    asked.pop("as_of")
    return MemoryFilterSet(asked, clearance=filters.clearance, besides=pages.PARAMETERS)


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
    return _page_of(request, memory_id, is_revealed=False)


@require_POST
@reader
def reveal(request: PageRequest, memory_id: UUID) -> HttpResponse:
    """A memory's page with its secrets to be seen, this once. Who may not is refused before anything is looked up."""
    request.principal.require(Scope.INSPECT)
    page = _page_of(request, memory_id, is_revealed=True)
    # `reader` has opened a transaction: the page leaves when the entry is committed, or not at all.
    ledger.append(
        ledger.Event(
            principal=request.principal.name,
            action="memory.reveal",
            memory_ids=[memory_id],
            route="inspector:memory-reveal",
            reach=reach_of(request.principal.clearance),
            request_id=request.request_id,
        )
    )
    return page


def _page_of(request: PageRequest, memory_id: UUID, *, is_revealed: bool) -> HttpResponse:
    try:
        filters = MomentFilterSet(request.GET, clearance=request.principal.clearance, besides=("list", "whole"))
    except BadQuery as error:
        raise BadRequest(str(error)) from error
    here = moment.stand(request, filters.moment)
    listed = known(QueryDict(request.GET.get("list", "")))
    written = records(filters.moment.history(filters.seen, memory_id)[: fields.MOST_VERSIONS + 1], WHOLE)
    if not written:
        return _not_then(request, memory_id, listed, here)
    related = _related(filters, written[0])
    reads.asked(request, by=request.principal, memory_ids=[memory_id, *_ids(related)])
    shown = list(map(fields.shown, written))
    versions = written if is_revealed else shown
    found = versions[0]
    is_whole = is_revealed or "whole" in request.GET
    content = found["content"] if is_whole else text.shorten(found["content"], SHOWN_AT_FIRST)
    context = {
        "section": "memories",
        "memory": found,
        "shown_content": content,
        "is_whole": is_whole,
        "content_length": len(found["content"]),
        "is_cut": len(content) < len(found["content"]),
        "whole_url": "?" + urlencode({"list": listed.urlencode(), "whole": "1", **here.asked}),
        "versions": fields.compared(versions)[: fields.MOST_VERSIONS],
        "more_versions": len(versions) > fields.MOST_VERSIONS,
        "groups": fields.grouped(found),
        "metadata": fields.pretty(found["metadata"]),
        "propagation": fields.pretty(found["propagation"]),
        "related": related,
        "kept": kept(listed, here.asked),
        "is_listed": bool(listed),
        "list_url": here.keep(address(listed)),
        "subject_url": here.keep(_listing(written[0], "subject")),
        "collection_url": here.keep(_listing(written[0], "subject", "collection")),
        "json_url": here.keep(reverse("api:memory", args=[memory_id])),
        "versions_url": here.keep(reverse("api:memory-versions", args=[memory_id])),
        "has_secrets": any(version["has_secrets"] for version in shown),
        "is_revealed": is_revealed,
        "disputed": chips.disputed(written[:1], clearance=filters.clearance, moment=filters.moment).get(memory_id),
        "decided": decisions.of_memory(request, memory_id, filters.moment.known_at),
        "trail": of_memory(request, memory_id),
        "may_reveal": request.principal.may(Scope.INSPECT),
        "may_classify": request.principal.may(Scope.INSPECT) and not here.is_known_then,
        "form": ClassifyForm.of_memory(written[0], by=request.principal),
    }
    return render(request, "memories/detail.html", context)


def _not_then(request: PageRequest, memory_id: UUID, listed: QueryDict, here: Standpoint) -> HttpResponse:
    """What is not there at an instant, be it that it never was: with a way to it if it is there now."""
    if here.is_now:
        raise Http404
    is_there_now = NOW.history(Memory.objects.visible_to(request.principal.clearance), memory_id).exists()
    reads.asked(request, by=request.principal, memory_ids=[memory_id] if is_there_now else [])
    context = {
        "section": "memories",
        "now_url": reverse("inspector:memory", args=[memory_id]) + kept(listed) if is_there_now else "",
        "list_url": here.keep(address(listed)),
    }
    return render(request, "memories/absent.html", context, status=HTTPStatus.NOT_FOUND)


def _ids(shown: list[Record]) -> list[UUID]:
    return [record["memory_id"] for record in shown]


def _related(filters: MomentFilterSet, found: Record) -> list[Record]:
    if not found["subject"] and not found["collection"]:
        return []
    about = Memory(**{name: found[name] for name in ("memory_id", "subject", "collection")})
    beside = filters.moment.of(filters.seen).beside(about)
    return list(map(fields.shown, newest(beside, RELATED, WHOLE)))


def _listing(found: Record, *names: str) -> str:
    """The list of the memories that share these values, as far as an address may hold them."""
    params = QueryDict(mutable=True)
    params.update({name: found[name] for name in names if masked(found[name]) == found[name]})
    return address(params)
