"""Replay: the result of a query for another principal, at a past point in time and now."""

from dataclasses import replace
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from inspector import time_context
from inspector.auth import InspectorRequest, user_required
from inspector.presenters import memory_fields
from inspector.time_context import TimeClause, TimeContext
from memoryhub.access_log import read_log
from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall import view_as
from memoryhub.firewall.principal import Scope
from memoryhub.firewall.view_as import ViewAsTarget
from memoryhub.memories.filter_fields import reject_unknown_params
from memoryhub.memories.filters import POINT_IN_TIME_PARAMS
from memoryhub.memories.records import DETAIL_FIELDS
from memoryhub.timetravel.replay import REPLAY_PARAMS, ChangeMark, RecordPair, Replay
from memoryhub.timetravel.replay import replay_query as run_replay

MARK_LABELS = {
    ChangeMark.ONLY_THEN: "only then",
    ChangeMark.ONLY_NOW: "only now",
    ChangeMark.CHANGED: "changed",
    ChangeMark.SAME: "same",
}


@require_safe
@user_required(Scope.VIEW_AS)
def replay_page(request: InspectorRequest) -> HttpResponse:
    params = {name: request.GET.get(name, "").strip() for name in REPLAY_PARAMS}
    context: dict[str, Any] = {"section": "replay", "params": params, "target_names": _list_target_names(request)}
    if not any(params[name] for name in ("as", "query")) and not request.GET.keys() - set(REPLAY_PARAMS):
        return _render_page(request, context)
    try:
        reject_unknown_params(request.GET, frozenset(REPLAY_PARAMS))
        target = _get_target(request, params["as"])
        instants = {name: params[name] for name in POINT_IN_TIME_PARAMS}
        replay_result = (
            None
            if target.refusal or not target.principal.has_scope(Scope.READ)
            else _run_logged_replay(request, target, instants)
        )
    except InvalidQueryError as error:
        context["errors"] = [
            f"{_get_parameter_label(name)} {' '.join(field_messages)}" for name, field_messages in error.errors.items()
        ]
        return _render_page(request, context, HTTPStatus.BAD_REQUEST)
    context |= {"target": target, "refusal": "" if replay_result else target.refusal or "may not read"}
    return _render_page(request, context | (_build_result_context(replay_result, params) if replay_result else {}))


def _render_page(
    request: InspectorRequest, context: dict[str, Any], status: HTTPStatus = HTTPStatus.OK
) -> HttpResponse:
    return render(request, "replay/page.html", context, status=status)


def _get_target(request: InspectorRequest, name: str) -> ViewAsTarget:
    if not name:
        raise InvalidQueryError({"as": ["must be chosen."]})
    target = view_as.get_target(name, request.principal)
    if target is None:
        raise InvalidQueryError({"as": ["is nobody you may view as: names are written as key:agent or user:ada."]})
    return target


def _run_logged_replay(request: InspectorRequest, target: ViewAsTarget, instants: dict[str, str]) -> Replay:
    replay_result = run_replay(
        request.GET.get("query", ""), instants=instants, principal=target.principal, names=DETAIL_FIELDS
    )
    # The read log records the signed-in user as viewer, and the target as principal.
    principal = replace(target.principal, viewer=request.principal.name)
    read_log.log_request_read(request, principal=principal, memory_ids=replay_result.memory_ids)
    return replay_result


def _build_result_context(replay_result: Replay, params: dict[str, str]) -> dict[str, Any]:
    pairs = replay_result.pairs
    counts = {mark: len({_get_memory_id(pair) for pair in pairs if pair.mark == mark}) for mark in ChangeMark}
    instants = {name: params[name] for name in POINT_IN_TIME_PARAMS if params[name]}
    effective_instants = instants or time_context.format_instant_params(replay_result.point_in_time)
    return {
        "pairs": [_build_pair_row(pair) for pair in pairs],
        "mark_counts": [(mark.value, MARK_LABELS[mark], counts[mark]) for mark in ChangeMark],
        "has_more_then": replay_result.then.has_more,
        "has_more_now": replay_result.now.has_more,
        "clauses": _build_clauses(replay_result),
        "clipped": replay_result.point_in_time.clipped,
        "then_query": "?" + urlencode(effective_instants),
        "json_url": f"{reverse('api:replay')}?{urlencode({name: value for name, value in params.items() if value})}",
    }


def _build_clauses(replay_result: Replay) -> list[TimeClause]:
    return TimeContext(instant_params={}, point_in_time=replay_result.point_in_time).clauses


def _build_pair_row(pair: RecordPair) -> dict[str, Any]:
    return {
        "then": memory_fields.mask_memory(pair.then) if pair.then else None,
        "now": memory_fields.mask_memory(pair.now) if pair.now else None,
        "mark": pair.mark.value,
        "label": MARK_LABELS[pair.mark],
    }


def _get_memory_id(pair: RecordPair) -> Any:
    return (pair.then or pair.now or {})["memory_id"]


def _list_target_names(request: InspectorRequest) -> list[str]:
    """Return suggestions for the target; the list is not complete."""
    targets_by_kind = view_as.list_targets(request.principal)
    return [target.name for kind_targets in targets_by_kind.values() for target in kind_targets]


def _get_parameter_label(parameter: str) -> str:
    return {"as": "The caller", "query": "The question"}.get(parameter, parameter)
