"""Decisions about conflicts: who decided, what, when and why; and their undo."""

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

from inspector.auth import InspectorRequest, reader_required
from inspector.forms.resolve_form import OUTCOME_LABELS, UNDO_REASON, map_memory_roles
from inspector.presenters import memory_fields
from inspector.presenters.conflict_queue import ConflictQueue, build_group_filters
from inspector.presenters.memory_search import (
    EMPTY_VALUE_LABEL,
    format_error_messages,
    list_params_matching_empty,
    parse_params,
)
from inspector.time_context import format_iso_instant
from memoryhub.access_log import read_log
from memoryhub.conflicts.decisions import decision_queries, resolve
from memoryhub.conflicts.decisions.decision_queries import DecisionRecord
from memoryhub.conflicts.decisions.resolution_requests import REFUSAL_MESSAGES
from memoryhub.conflicts.groups import groups
from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall.principal import Scope
from memoryhub.memories.filter_fields import FORM_PARAM
from memoryhub.memories.writes.envelope import OperationRejectedError

LAST_DECISION_SESSION_KEY = "conflicts.last_decision"
"""Session key for the id of the last decision of this session."""
MAX_UNDO_BATCH = 1_000
MAX_DECISIONS_PER_MEMORY = 5
FIELD_LABELS = {
    "q": "Reason contains",
    "principal": "Who",
    "in_force": "Active",
    "memory_id": "Memory",
    "from": "From (UTC)",
    "to": "Before (UTC)",
}
HINTS = {"principal": "user:ada", "memory_id": "the id of a memory", "from": "2026-10-03", "to": "2026-10-04"}
FILTER_FIELDS = ("q", "subject", "collection", "outcome", "principal", "in_force", "from", "to")
FIELD_OPTIONS = {"outcome": list(OUTCOME_LABELS.items()), "in_force": [("true", "yes"), ("false", "no")]}


@require_safe
@reader_required
def decision_list(request: InspectorRequest) -> HttpResponse:
    params = parse_params(request.GET)
    if FORM_PARAM in request.GET:
        return HttpResponseRedirect(_build_url(params))
    errors: dict[str, list[str]] = {}
    context: dict[str, Any] = {"section": "conflicts", "is_later_page": "cursor" in params}
    try:
        decision_page = decision_queries.list_page(params, principal=request.principal)
    except InvalidQueryError as error:
        errors = error.errors
    else:
        read_log.log_request_read(
            request, principal=request.principal, memory_ids=_list_memory_ids(decision_page.decisions)
        )
        context |= {
            "rows": [build_decision_row(decision) for decision in decision_page.decisions],
            "older_url": _build_url(params, cursor=decision_page.next_cursor) if decision_page.next_cursor else "",
            "newest_url": _build_url(params, cursor=None),
        }
    context |= {
        "fields": [_build_field(name, params, errors) for name in FILTER_FIELDS],
        "hidden": [(name, value) for name, value in params.items() if value and name not in (*FILTER_FIELDS, "cursor")],
        "params_matching_empty": list_params_matching_empty(params),
        "errors": format_error_messages(errors),
        "is_narrowed": any(name in params for name in decision_queries.FILTERS),
        "json_url": _build_url(params, view="api:decision-list"),
    }
    return render(request, "decisions/list.html", context, status=HTTPStatus.BAD_REQUEST if errors else HTTPStatus.OK)


@require_safe
@reader_required
def decision_detail(request: InspectorRequest, decision_id: UUID) -> HttpResponse:
    return _render_decision(request, decision_id)


def _render_decision(
    request: InspectorRequest, decision_id: UUID, *, errors: Sequence[str] = (), status: int = 200
) -> HttpResponse:
    decision = decision_queries.get_decision(decision_id, principal=request.principal)
    if decision is None:
        raise Http404
    # Contents are shown for memories that still belong to the group; for all others only the ids.
    group = groups.get_group(build_group_filters(decision.key, {}, request.principal.clearance), decision.id)
    members_by_id = {memory["memory_id"]: memory for memory in (group.members if group else [])}
    read_log.log_request_read(request, principal=request.principal, memory_ids=_list_memory_ids([decision]))
    roles_by_memory = map_memory_roles(decision)
    context = {
        "section": "conflicts",
        "row": build_decision_row(decision),
        "memories": [
            {
                "memory_id": memory_id,
                "role": roles_by_memory.get(memory_id, ""),
                "memory": memory_fields.mask_memory(members_by_id[memory_id]) if memory_id in members_by_id else None,
                "validity": decision.validity.get(str(memory_id), {}),
            }
            for memory_id in decision.memory_ids
        ],
        "errors": errors,
        "may_undo": may_curate(request) and decision.outcome != "undo" and not decision.undone_by_id,
        "undo_reason": request.POST.get("reason", UNDO_REASON),
        "json_url": reverse("api:decision-detail", args=[decision_id]),
    }
    return render(request, "decisions/page.html", context, status=status)


@require_POST
@reader_required
def undo_decisions(request: InspectorRequest) -> HttpResponse:
    """Undo one decision, or several that were made together."""
    request.principal.require_scopes(Scope.CURATE)
    ids = _parse_ids(request.POST.getlist("decision"))
    match = request.resolver_match
    try:
        results = resolve.undo_decisions(
            ids,
            principal=request.principal,
            reason=request.POST.get("reason", ""),
            route=match.view_name if match else "",
            request_id=request.request_id,
        )
    except OperationRejectedError as error:
        return _build_refusal_response(
            request,
            ids,
            [f"{name.capitalize()} {' '.join(field_messages)}" for name, field_messages in error.errors.items()],
        )
    undone_results = [result for result in results if not result.refusal]
    if len(ids) == 1 and not undone_results:
        return _build_refusal_response(request, ids, [REFUSAL_MESSAGES[results[0].refusal]])
    request.session.pop(LAST_DECISION_SESSION_KEY, None)
    restored_count = sum(len(result.restored_ids) for result in undone_results)
    restored_text = f"{restored_count:,} memor{'y is' if restored_count == 1 else 'ies are'} active again."
    skipped_text = (
        f" {len(results) - len(undone_results):,} were left as they are." if len(undone_results) < len(results) else ""
    )
    messages.success(request, f"Undone. {restored_text}{skipped_text}")
    return HttpResponseRedirect(_get_return_url(request))


def _build_refusal_response(request: InspectorRequest, ids: Sequence[UUID], errors: Sequence[str]) -> HttpResponse:
    if len(ids) == 1:
        return _render_decision(request, ids[0], errors=errors, status=HTTPStatus.CONFLICT)
    for message in errors:
        messages.error(request, message)
    return HttpResponseRedirect(_get_return_url(request))


def _get_return_url(request: InspectorRequest) -> str:
    return_url = request.POST.get("next", "")
    is_own_host = url_has_allowed_host_and_scheme(return_url, {request.get_host()}, require_https=request.is_secure())
    return return_url if is_own_host else reverse("inspector:decision-list")


def _parse_ids(texts: Sequence[str]) -> list[UUID]:
    try:
        return list(dict.fromkeys(UUID(text) for text in texts[:MAX_UNDO_BATCH]))
    except ValueError:
        raise Http404 from None


def may_curate(request: InspectorRequest) -> bool:
    return request.principal.has_scope(Scope.CURATE) and not request.principal.viewer


def get_last_decision(request: InspectorRequest, queue: ConflictQueue) -> dict[str, Any] | None:
    """Return the last decision of this session with the way back to its group; None if it was undone."""
    decision_id = request.session.get(LAST_DECISION_SESSION_KEY)
    decision = (
        decision_queries.get_decision(UUID(decision_id), principal=request.principal)
        if decision_id and may_curate(request)
        else None
    )
    if decision is None or decision.undone_by_id:
        return None
    return {**build_decision_row(decision), "back": queue.group_url(decision.id)}


def build_memory_decisions(request: InspectorRequest, memory_id: UUID, known_at: datetime | None) -> dict[str, Any]:
    """Return the decisions about a memory, for its page."""
    params = _build_params(memory_id=str(memory_id), limit=str(MAX_DECISIONS_PER_MEMORY))
    if known_at:
        params["to"] = format_iso_instant(known_at)
    decision_page = decision_queries.list_page(params, principal=request.principal)
    params.pop("limit")
    return {
        "rows": [build_decision_row(decision) for decision in decision_page.decisions],
        "all_url": _build_url(params),
        "is_truncated": decision_page.has_more,
    }


def build_decision_row(decision: DecisionRecord) -> dict[str, Any]:
    """Return a decision as a row of a page."""
    return {
        "decision": decision,
        "outcome_label": OUTCOME_LABELS[decision.outcome],
        "about": {"subject": decision.subject, "collection": decision.collection},
        "url": reverse("inspector:decision-detail", args=[decision.decision_id]),
        "group_url": reverse("inspector:conflict-detail", args=[decision.id]),
        "principal_url": _build_url(_build_params(principal=decision.principal)),
        "run_url": _build_url(_build_params(run_id=str(decision.run_id))) if decision.run_id else "",
        "state": _get_decision_state(decision),
    }


def _get_decision_state(decision: DecisionRecord) -> str:
    if decision.outcome == "undo":
        return ""
    if decision.undone_by_id:
        return "undone"
    return "active" if decision.is_in_force else "snooze over"


def _list_memory_ids(decision_records: Sequence[DecisionRecord]) -> list[UUID]:
    return list(dict.fromkeys(memory_id for decision in decision_records for memory_id in decision.memory_ids))


def _build_field(name: str, params: QueryDict, errors: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "name": name,
        "label": FIELD_LABELS.get(name, name.capitalize()),
        "value": params.get(name, ""),
        "hint": EMPTY_VALUE_LABEL if name in list_params_matching_empty(params) else HINTS.get(name, ""),
        "options": FIELD_OPTIONS.get(name, []),
        "error": " ".join(errors.get(name, [])),
    }


def _build_params(**values: str) -> QueryDict:
    params = QueryDict(mutable=True)
    params.update(values)
    return params


def _build_url(params: QueryDict, *, view: str = "inspector:decision-list", **changes: str | None) -> str:
    url_params = params.copy()
    for name, value in changes.items():
        url_params.setlist(name, [] if value is None else [value])
    query = url_params.urlencode()
    return reverse(view) + (f"?{query}" if query else "")
