"""The decisions about conflicts: who decided what, when and why; each with a way back."""

from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from inspector import fields
from inspector.access import PageRequest, reader
from inspector.deciding import OUTCOMES, UNDO_REASON, roles
from inspector.moment import as_parameter
from inspector.queue import Queue, of_key
from inspector.search import NONE, asked, empty
from memoryhub.conflicts import decide, decisions, groups
from memoryhub.conflicts.choices import REFUSALS
from memoryhub.conflicts.decisions import Told
from memoryhub.firewall.types import Scope
from memoryhub.memories.envelope import Rejected
from memoryhub.memories.filters import FORM, BadQuery
from memoryhub.ops import reads

LAST = "conflicts.decided"
"""Where the session keeps the id of what was decided last in it."""
AT_ONCE = 1_000
OF_A_MEMORY = 5
LABELS = {
    "q": "Reason contains",
    "principal": "Who",
    "in_force": "In force",
    "memory_id": "Memory",
    "from": "From (UTC)",
    "to": "Before (UTC)",
}
HINTS = {"principal": "user:ada", "memory_id": "the id of a memory", "from": "2026-10-03", "to": "2026-10-04"}
SHOWN = ("q", "subject", "collection", "outcome", "principal", "in_force", "from", "to")
OPTIONS = {"outcome": list(OUTCOMES.items()), "in_force": [("true", "yes"), ("false", "no")]}


@require_safe
@reader
def ledger(request: PageRequest) -> HttpResponse:
    params = asked(request.GET)
    if FORM in request.GET:
        return HttpResponseRedirect(_address(params))
    errors: dict[str, list[str]] = {}
    context: dict[str, Any] = {"section": "conflicts", "is_deep": "cursor" in params}
    try:
        found = decisions.page(params, reader=request.principal)
    except BadQuery as error:
        errors = error.errors
    else:
        reads.asked(request, by=request.principal, memory_ids=_memories(found.decisions))
        context |= {
            "lines": [shown(told) for told in found.decisions],
            "older_url": _address(params, cursor=found.next_cursor) if found.next_cursor else "",
            "newest_url": _address(params, cursor=None),
        }
    context |= {
        "fields": [_field(name, params, errors) for name in SHOWN],
        "hidden": [(name, value) for name, value in params.items() if value and name not in (*SHOWN, "cursor")],
        "empty": empty(params),
        "errors": [f"{name} {' '.join(said)}" for name, said in errors.items()],
        "is_narrowed": any(name in params for name in decisions.FILTERS),
        "json_url": _address(params, view="api:decisions"),
    }
    return render(request, "decisions/list.html", context, status=HTTPStatus.BAD_REQUEST if errors else HTTPStatus.OK)


@require_safe
@reader
def decision(request: PageRequest, decision_id: UUID) -> HttpResponse:
    return _page(request, decision_id)


def _page(request: PageRequest, decision_id: UUID, *, errors: Sequence[str] = (), status: int = 200) -> HttpResponse:
    told = decisions.one(decision_id, reader=request.principal)
    if told is None:
        raise Http404
    # What the memories say is told as far as they still belong to the group; of the others the ids.
    found = groups.group(of_key(told.key, {}, request.principal.clearance), told.id)
    known = {memory["memory_id"]: memory for memory in (found.members if found else [])}
    reads.asked(request, by=request.principal, memory_ids=_memories([told]))
    became = roles(told)
    context = {
        "section": "conflicts",
        "line": shown(told),
        "memories": [
            {
                "memory_id": memory_id,
                "role": became.get(memory_id, ""),
                "memory": fields.shown(known[memory_id]) if memory_id in known else None,
                "validity": told.validity.get(str(memory_id), {}),
            }
            for memory_id in told.memory_ids
        ],
        "errors": errors,
        "may_undo": may_judge(request) and told.outcome != "undo" and not told.undone_by,
        "undo_reason": request.POST.get("reason", UNDO_REASON),
        "json_url": reverse("api:decision", args=[decision_id]),
    }
    return render(request, "decisions/page.html", context, status=status)


@require_POST
@reader
def undo(request: PageRequest) -> HttpResponse:
    """Undo one decision, or several that were made together."""
    request.principal.require(Scope.INSPECT)
    ids = _ids(request.POST.getlist("decision"))
    match = request.resolver_match
    try:
        done = decide.undo(
            ids,
            by=request.principal,
            reason=request.POST.get("reason", ""),
            route=match.view_name if match else "",
            request_id=request.request_id,
        )
    except Rejected as refused:
        return _refused(
            request, ids, [f"{name.capitalize()} {' '.join(said)}" for name, said in refused.errors.items()]
        )
    undone = [one for one in done if not one.refusal]
    if len(ids) == 1 and not undone:
        return _refused(request, ids, [REFUSALS[done[0].refusal]])
    request.session.pop(LAST, None)
    restored = sum(len(one.restored) for one in undone)
    memories = f"{restored:,} memor{'y is' if restored == 1 else 'ies are'} in force again."
    left = f" {len(done) - len(undone):,} were left as they are." if len(undone) < len(done) else ""
    messages.success(request, f"Undone. {memories}{left}")
    return HttpResponseRedirect(_back(request))


def _refused(request: PageRequest, ids: Sequence[UUID], errors: Sequence[str]) -> HttpResponse:
    if len(ids) == 1:
        return _page(request, ids[0], errors=errors, status=HTTPStatus.CONFLICT)
    for sentence in errors:
        messages.error(request, sentence)
    return HttpResponseRedirect(_back(request))


def _back(request: PageRequest) -> str:
    back = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    return back if is_ours else reverse("inspector:decisions")


def _ids(given: Sequence[str]) -> list[UUID]:
    try:
        return list(dict.fromkeys(UUID(text) for text in given[:AT_ONCE]))
    except ValueError:
        raise Http404 from None


def may_judge(request: PageRequest) -> bool:
    return request.principal.may(Scope.INSPECT) and not request.principal.viewer


def last(request: PageRequest, queue: Queue) -> dict[str, Any] | None:
    """What was decided last in this session, unless it was undone, with the way back to its group."""
    held = request.session.get(LAST)
    told = decisions.one(UUID(held), reader=request.principal) if held and may_judge(request) else None
    if told is None or told.undone_by:
        return None
    return {**shown(told), "back": queue.of(told.id)}


def of_memory(request: PageRequest, memory_id: UUID, known_at: datetime | None) -> dict[str, Any]:
    """The decisions that a memory took part in, for its page."""
    asked = _asking(memory_id=str(memory_id), limit=str(OF_A_MEMORY))
    if known_at:
        asked["to"] = as_parameter(known_at)
    found = decisions.page(asked, reader=request.principal)
    asked.pop("limit")
    return {"lines": [shown(told) for told in found.decisions], "all_url": _address(asked), "is_cut": found.has_more}


def shown(told: Told) -> dict[str, Any]:
    """A decision as pages tell it."""
    return {
        "told": told,
        "words": OUTCOMES[told.outcome],
        "about": {"subject": told.subject, "collection": told.collection},
        "url": reverse("inspector:decision", args=[told.decision_id]),
        "group_url": reverse("inspector:conflict", args=[told.id]),
        "principal_url": _address(_asking(principal=told.principal)),
        "run_url": _address(_asking(run=str(told.run))) if told.run else "",
        "state": _state(told),
    }


def _state(told: Told) -> str:
    if told.outcome == "undo":
        return ""
    if told.undone_by:
        return "undone"
    return "in force" if told.is_in_force else "deferral over"


def _memories(found: Sequence[Told]) -> list[UUID]:
    return list(dict.fromkeys(memory_id for told in found for memory_id in told.memory_ids))


def _field(name: str, params: QueryDict, errors: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "name": name,
        "label": LABELS.get(name, name.capitalize()),
        "value": params.get(name, ""),
        "hint": NONE if name in empty(params) else HINTS.get(name, ""),
        "options": OPTIONS.get(name, []),
        "error": " ".join(errors.get(name, [])),
    }


def _asking(**values: str) -> QueryDict:
    params = QueryDict(mutable=True)
    params.update(values)
    return params


def _address(params: QueryDict, *, view: str = "inspector:decisions", **changed: str | None) -> str:
    found = params.copy()
    for name, value in changed.items():
        found.setlist(name, [] if value is None else [value])
    query = found.urlencode()
    return reverse(view) + (f"?{query}" if query else "")
