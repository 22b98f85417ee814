"""Replaying a question: what somebody would have received at an instant, beside what they receive now."""

from dataclasses import replace
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from inspector import fields, moment
from inspector.access import PageRequest, person
from inspector.moment import Clause, Standpoint
from memoryhub.firewall import view_as
from memoryhub.firewall.types import Scope
from memoryhub.firewall.view_as import Target
from memoryhub.memories.filters import MOMENT, BadQuery, refuse_unknown
from memoryhub.memories.records import WHOLE
from memoryhub.ops import reads
from memoryhub.timetravel.replay import ASKED, Mark, Pair, Replay
from memoryhub.timetravel.replay import replay as answer

WORDS = {
    Mark.ONLY_THEN: "only then",
    Mark.ONLY_NOW: "only now",
    Mark.CHANGED: "changed",
    Mark.SAME: "same",
}


@require_safe
@person(Scope.VIEW_AS)
def replay(request: PageRequest) -> HttpResponse:
    given = {name: request.GET.get(name, "").strip() for name in ASKED}
    context: dict[str, Any] = {"section": "replay", "given": given, "offered": _offered(request)}
    if not any(given[name] for name in ("as", "query")) and not request.GET.keys() - set(ASKED):
        return _page(request, context)
    try:
        refuse_unknown(request.GET, frozenset(ASKED))
        caller = _caller(request, given["as"])
        instants = {name: given[name] for name in MOMENT}
        found = None if caller.refusal or not caller.principal.may(Scope.READ) else _answered(request, caller, instants)
    except BadQuery as error:
        context["errors"] = [f"{_name(name)} {' '.join(said)}" for name, said in error.errors.items()]
        return _page(request, context, HTTPStatus.BAD_REQUEST)
    context |= {"caller": caller, "refusal": "" if found else caller.refusal or "may not read"}
    return _page(request, context | (_shown(found, given) if found else {}))


def _page(request: PageRequest, context: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    return render(request, "replay/page.html", context, status=status)


def _caller(request: PageRequest, name: str) -> Target:
    if not name:
        raise BadQuery({"as": ["must be chosen."]})
    found = view_as.target(name, request.principal)
    if found is None:
        raise BadQuery({"as": ["is nobody as whom you may look: names are written as key:agent or user:ada."]})
    return found


def _answered(request: PageRequest, caller: Target, instants: dict[str, str]) -> Replay:
    found = answer(request.GET.get("query", ""), instants=instants, caller=caller.principal, names=WHOLE)
    # It is the person who reads, as whoever they look as.
    by = replace(caller.principal, viewer=request.principal.name)
    reads.asked(request, by=by, memory_ids=found.memory_ids)
    return found


def _shown(found: Replay, given: dict[str, str]) -> dict[str, Any]:
    pairs = found.pairs
    numbers = {mark: len({_id(pair) for pair in pairs if pair.mark == mark}) for mark in Mark}
    instants = {name: given[name] for name in MOMENT if given[name]}
    asked = instants or moment.instants_of(found.moment)
    return {
        "pairs": [_pair(pair) for pair in pairs],
        "numbers": [(mark.value, WORDS[mark], numbers[mark]) for mark in Mark],
        "has_more_then": found.then.has_more,
        "has_more_now": found.now.has_more,
        "clauses": _clauses(found),
        "clipped": found.moment.clipped,
        "then_kept": "?" + urlencode(asked),
        "json_url": f"{reverse('api:replay')}?{urlencode({name: value for name, value in given.items() if value})}",
    }


def _clauses(found: Replay) -> list[Clause]:
    return Standpoint(asked={}, moment=found.moment).clauses


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "then": fields.shown(pair.then) if pair.then else None,
        "now": fields.shown(pair.now) if pair.now else None,
        "mark": pair.mark.value,
        "words": WORDS[pair.mark],
    }


def _id(pair: Pair) -> Any:
    return (pair.then or pair.now or {})["memory_id"]


def _offered(request: PageRequest) -> list[str]:
    """Names to choose from; more are found by writing them."""
    found = view_as.targets(request.principal)
    return [target.name for kind in found.values() for target in kind]


def _name(parameter: str) -> str:
    return {"as": "The caller", "query": "The question"}.get(parameter, parameter)
