"""The ledger's pages: who did and who read what, and what somebody has been told."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from inspector import told
from inspector.access import PageRequest, reader
from inspector.search import NONE, asked, empty
from memoryhub.firewall.types import Scope
from memoryhub.memories.filters import FORM, BadQuery
from memoryhub.memories.text import why_not_storable
from memoryhub.ops import reads, trail, trail_query

LONGEST_NAME = 300
TOLD_SHOWN = 50
OF_A_MEMORY = 20
LABELS = {"principal": "Who", "action": "Did what", "memory": "Memory", "from": "From (UTC)", "to": "Before (UTC)"}
HINTS = {"principal": "user:ada", "memory": "the id of a memory", "from": "2026-10-03", "to": "2026-10-04"}


@require_safe
@reader
def ledger(request: PageRequest) -> HttpResponse:
    _begin(request)
    params = asked(request.GET)
    if FORM in request.GET:
        return HttpResponseRedirect(_address("inspector:ledger", params=params))
    errors: dict[str, list[str]] = {}
    context: dict[str, Any] = {
        "section": "ledger",
        "asked": params,
        "empty": empty(params),
        "is_deep": "cursor" in params,
    }
    try:
        found = trail_query.entries(params, request.principal)
    except BadQuery as error:
        errors = error.errors
    else:
        reads.asked(request, by=request.principal)
        context |= _page(found, params, "inspector:ledger")
    context |= {
        "fields": [_field(name, params, errors) for name in LABELS],
        "errors": [f"{name} {' '.join(said)}" for name, said in errors.items()],
        "is_narrowed": any(name in params for name in trail_query.FILTERS),
        "request_id": params.get("request_id", ""),
        "json_url": _address("api:ledger", params=params),
    }
    status = HTTPStatus.BAD_REQUEST if errors else HTTPStatus.OK
    return render(request, "ledger/list.html", context, status=status)


@require_safe
@reader
def principal(request: PageRequest, name: str) -> HttpResponse:
    """What somebody has been told. Of who is not there it is nothing, as of whose reads may not be seen."""
    _begin(request)
    if len(name) > LONGEST_NAME or why_not_storable(name):
        raise Http404
    params = asked(request.GET)
    try:
        found = trail_query.told_to(name, params, request.principal)
    except BadQuery as error:
        return render(request, "ledger/principal.html", {"name": name, "bad": error.errors}, status=400)
    reads.asked(request, by=request.principal)
    memories = trail.memories_told(name, request.principal)
    context = {
        "section": "ledger",
        "name": name,
        "is_deep": "cursor" in params,
        "memories": memories[:TOLD_SHOWN],
        "number": len(memories),
        "latest": trail.LATEST,
        "all_url": _address("inspector:ledger", params=_asking(principal=name)),
        **_page(found, params, "inspector:ledger-principal", name),
    }
    return render(request, "ledger/principal.html", context)


def of_memory(request: PageRequest, memory_id: UUID) -> dict[str, Any] | None:
    """Who has seen a memory and what was done to it, for a page of those who may read the ledger; else None."""
    if not request.principal.may(Scope.AUDIT):
        return None
    reads.flush()
    seen = trail.who_saw(memory_id, request.principal, limit=OF_A_MEMORY)
    done = trail.done_to(memory_id, request.principal, limit=OF_A_MEMORY)
    return {
        "seen": told.lines(seen.entries) if seen else [],
        "done": told.lines(done.entries) if done else [],
        "all_url": _address("inspector:ledger", params=_asking(memory=str(memory_id))),
    }


def _begin(request: PageRequest) -> None:
    """Who may; and what was read a moment ago stands there, too."""
    request.principal.require(Scope.AUDIT)
    reads.flush()


def _page(found: trail.Trail, params: QueryDict, view: str, *args: str) -> dict[str, Any]:
    newest = params.copy()
    newest.pop("cursor", None)
    older = newest.copy()
    older["cursor"] = found.next_cursor or ""
    return {
        "lines": told.lines(found.entries),
        "older_url": _address(view, *args, params=older) if found.next_cursor else "",
        "newest_url": _address(view, *args, params=newest),
    }


def _field(name: str, params: QueryDict, errors: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "name": name,
        "label": LABELS[name],
        "value": params.get(name, ""),
        "hint": NONE if name in empty(params) else HINTS.get(name, ""),
        "options": [(action, _said(action)) for action in trail_query.ACTIONS] if name == "action" else [],
        "error": " ".join(errors.get(name, [])),
    }


def _said(action: str) -> str:
    deed, _ = told.DEEDS[action]
    return f"{deed} ({action})"


def _asking(**values: str) -> QueryDict:
    params = QueryDict(mutable=True)
    params.update(values)
    return params


def _address(view: str, *args: str, params: QueryDict) -> str:
    query = params.urlencode()
    return reverse(view, args=args) + (f"?{query}" if query else "")
