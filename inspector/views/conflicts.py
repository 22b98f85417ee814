"""The conflict queue, and the page of a group: claim it, resolve it, resolve similar ones."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.core.exceptions import BadRequest
from django.http import Http404, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from inspector import time_context
from inspector.auth import InspectorRequest, reader_required
from inspector.forms.resolve_form import UNDO_REASON, ResolveForm
from inspector.presenters import conflict_group
from inspector.presenters.conflict_queue import PAGE_SIZE, ConflictQueue, build_group_filters
from inspector.views.decisions import LAST_DECISION_SESSION_KEY, build_decision_row, get_last_decision, may_curate
from memoryhub.access_log import read_log
from memoryhub.conflicts.decisions import claims, decision_queries, resolve
from memoryhub.conflicts.decisions.claims import ClaimedByOtherError
from memoryhub.conflicts.decisions.resolution_requests import REFUSAL_MESSAGES, Resolution, ResolutionRequest
from memoryhub.conflicts.groups import class_counts, group_keys, groups, similar
from memoryhub.conflicts.groups.group_keys import GroupKey
from memoryhub.conflicts.groups.groups import Group, find_next_group_id
from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall.principal import Scope
from memoryhub.memories.writes.envelope import OperationRejectedError, parse_body

LAST_REASON_SESSION_KEY = "conflicts.last_reason"
CLAIMED_SESSION_KEY = "conflicts.claimed_group"
HEADING_ANCHOR = "#group-title"
KEY_FIELDS = ("subject", "collection")
STATUS_BY_CODE = {
    "above_clearance": HTTPStatus.FORBIDDEN,
    "claimed_by_other": HTTPStatus.CONFLICT,
    "not_found": HTTPStatus.CONFLICT,
    "stale": HTTPStatus.CONFLICT,
    "would_widen_visibility": HTTPStatus.FORBIDDEN,
}


@require_safe
@reader_required
def conflict_list(request: InspectorRequest) -> HttpResponse:
    queue, principal = ConflictQueue(request.GET), request.principal
    params = {"limit": PAGE_SIZE, **queue.param_values}
    try:
        filters = queue.build_filters(principal.clearance)
        page = groups.list_page(filters, principal=principal, params=params)
    except InvalidQueryError as error:
        return _render_list(request, {"queue": ConflictQueue(request.GET, error.errors)})
    if queue.is_form_submission and not request.htmx:
        return HttpResponseRedirect(queue.url)
    time_context.get_time_context(request, filters.point_in_time)
    read_log.log_request_read(
        request,
        principal=principal,
        memory_ids=[memory["memory_id"] for group in page.groups for memory in group.members],
    )
    claims_by_key = claims.list_claims([group.key for group in page.groups], principal=principal)
    rows = [
        {
            **conflict_group.build_queue_row(group),
            "url": queue.group_url(group.id),
            "claim": claims_by_key.get(group.key),
        }
        for group in page.groups
    ]
    open_counts = class_counts.count_by_class(queue.build_filters(principal.clearance, class_=None, status=None))
    decided_counts = class_counts.count_by_class(
        queue.build_filters(principal.clearance, class_=None, status="decided")
    )
    context = {
        "queue": queue,
        "rows": rows,
        "older_url": queue.next_page_url(page.next_cursor),
        "tabs": queue.build_tabs(open_counts),
        "progress": {**queue.build_progress(open_counts, decided_counts), **_build_my_progress(request)},
        "last": get_last_decision(request, queue),
        "undo_reason": UNDO_REASON,
        "own_name": principal.name,
    }
    return _render_list(request, context)


def _render_list(request: InspectorRequest, context: dict[str, Any]) -> HttpResponse:
    """Render the page, or for htmx its partial, then with status 200 even on errors: htmx does not swap a 400."""
    is_full_page = not request.htmx or request.htmx.history_restore_request
    has_errors = bool(context["queue"].errors)
    context = {"section": "conflicts", "tabs": context["queue"].build_tabs(None), **context}
    status = HTTPStatus.BAD_REQUEST if has_errors and is_full_page else HTTPStatus.OK
    return render(
        request, "conflicts/list.html" if is_full_page else "conflicts/list.html#results", context, status=status
    )


def _build_my_progress(request: InspectorRequest) -> dict[str, Any]:
    """Count the reader's own decisions of today that are not undone."""
    today = datetime.now(UTC).date().isoformat()
    params = QueryDict(urlencode({"principal": request.principal.name, "from": today, "limit": "200"}))
    decision_page = decision_queries.list_page(params, principal=request.principal)
    count = sum(decision.outcome != "undo" and not decision.undone_by_id for decision in decision_page.decisions)
    url = f"{reverse('inspector:decision-list')}?{urlencode({'principal': request.principal.name, 'from': today})}"
    return {"my_decisions": count, "has_more": decision_page.has_more, "url": url}


@require_safe
@reader_required
def conflict_detail(request: InspectorRequest, group_id: str) -> HttpResponse:
    return _render_group(request, group_id)


def _render_group(
    request: InspectorRequest,
    group_id: str,
    *,
    form: ResolveForm | None = None,
    rejection: OperationRejectedError | None = None,
) -> HttpResponse:
    key, queue, principal = _decode_key(group_id), ConflictQueue.from_link(request.GET), request.principal
    try:
        filters = build_group_filters(key, time_context.parse_instants(request.GET), principal.clearance)
        page_time = time_context.get_time_context(request, filters.point_in_time)
        group = groups.get_group(filters, group_id)
    except InvalidQueryError as error:
        raise BadRequest(str(error)) from error
    known_at = filters.point_in_time.known_at
    group_decisions = decision_queries.list_for_keys([key], clearance=principal.clearance)[key]
    history = [decision for decision in group_decisions if known_at is None or decision.recorded_at <= known_at]
    if group is None and not history:
        raise Http404
    members = group.members if group else []
    read_log.log_request_read(request, principal=principal, memory_ids=[memory["memory_id"] for memory in members])
    form = form or ResolveForm(QueryDict(), last_reason=str(request.session.get(LAST_REASON_SESSION_KEY, "")))
    form.errors = rejection.errors if rejection else {}
    last_decision = get_last_decision(request, queue)
    may_decide = may_curate(request) and page_time.is_now and group is not None and group.status == "open"
    context = {
        "section": "conflicts",
        "about": dict(zip(group_keys.KEY_COLUMNS, key, strict=False)),
        "id": group_id,
        "queue": queue,
        "group": group,
        "cards": [],
        **(_build_group_context(group, form) if group else {}),
        "form": form,
        "may_decide": may_decide,
        "rejection": rejection,
        "concurrent": _find_concurrent_decision(history, form)
        if rejection and rejection.code != "invalid_value"
        else None,
        "claim": claims.list_claims([key], principal=principal).get(key),
        "own_name": principal.name,
        "decisions": [build_decision_row(decision) for decision in history],
        "newest_decision": history[0].decision_id if history else "",
        "next_url": _add_previous_group(_get_next_group_url(request, queue, key), group_id) if page_time.is_now else "",
        "previous_url": _get_previous_group_url(request, queue, group_id),
        "last": last_decision if last_decision and last_decision["decision"].id != group_id else None,
        "may_undo": may_curate(request) and page_time.is_now,
        "undo_reason": UNDO_REASON,
        "json_url": page_time.add_to_url(reverse("api:conflict-detail", args=[group_id])),
    }
    status = STATUS_BY_CODE.get(rejection.code, HTTPStatus.BAD_REQUEST) if rejection else HTTPStatus.OK
    return render(request, "conflicts/group.html", context, status=status)


def _build_group_context(group: Group, form: ResolveForm) -> dict[str, Any]:
    explanation = conflict_group.build_explanation(group)
    cards = explanation["cards"]
    return {
        **explanation,
        "cards": [(card, form.build_value_fields(card)) for card in cards],
        "merged": form.get_merged_content(cards[0]),
    }


@require_POST
@reader_required
def resolve_conflict(request: InspectorRequest, group_id: str) -> HttpResponse:
    request.principal.require_scopes(Scope.CURATE)
    key, queue = _decode_key(group_id), ConflictQueue.from_link(request.GET)
    form = ResolveForm(request.POST, last_reason=str(request.session.get(LAST_REASON_SESSION_KEY, "")))
    try:
        resolution_request = ResolutionRequest(
            key=key, evidence=form.evidence, resolution=parse_body(form.resolution_data, Resolution)
        )
        result = resolve.resolve(
            resolution_request,
            principal=request.principal,
            route=_get_route_name(request),
            request_id=request.request_id,
        )
    except OperationRejectedError as error:
        return _render_group(request, group_id, form=form, rejection=error)
    request.session[LAST_DECISION_SESSION_KEY] = str(result.decision_id)
    request.session[LAST_REASON_SESSION_KEY] = resolution_request.resolution.reason
    next_url = _get_next_group_url(request, queue, key, wrap_around=True)
    return HttpResponseRedirect(_add_previous_group(next_url, group_id) + HEADING_ANCHOR if next_url else queue.url)


@require_POST
@reader_required
def claim_conflict(request: InspectorRequest, group_id: str) -> HttpResponse:
    """Claim a group, and release the previous claim of this session."""
    request.principal.require_scopes(Scope.CURATE)
    key, queue = _decode_key(group_id), ConflictQueue.from_link(request.GET)
    group = groups.get_group(build_group_filters(key, {}, request.principal.clearance), group_id)
    if group is None:
        raise Http404
    if group.status == "decided":
        return _render_claim(request, group_id, queue, is_decided=True)
    previous_group_id = request.session.get(CLAIMED_SESSION_KEY)
    if previous_group_id and previous_group_id != group_id:
        claims.release_claims([_decode_key(previous_group_id)], principal=request.principal)
    try:
        group_claim = claims.take_claim(key, principal=request.principal)
        request.session[CLAIMED_SESSION_KEY] = group_id
    except ClaimedByOtherError as error:
        group_claim = error.holder
    return _render_claim(request, group_id, queue, claim=group_claim)


def _render_claim(request: InspectorRequest, group_id: str, queue: ConflictQueue, **extra_context: Any) -> HttpResponse:
    if not request.htmx:
        return HttpResponseRedirect(queue.group_url(group_id))
    context = {
        "own_name": request.principal.name,
        "id": group_id,
        "queue": queue,
        "is_claim_fresh": True,
        **extra_context,
    }
    return render(request, "conflicts/group.html#claim", context)


@require_POST
@reader_required
def similar_conflicts(request: InspectorRequest, group_id: str) -> HttpResponse:
    """Preview the same resolution for similar groups; with `apply`, resolve the selected ones."""
    request.principal.require_scopes(Scope.CURATE)
    key, queue = _decode_key(group_id), ConflictQueue.from_link(request.GET)
    form = ResolveForm(request.POST)
    group = groups.get_group(build_group_filters(key, {}, request.principal.clearance), group_id)
    if group is None:
        raise Http404
    try:
        resolution = parse_body(form.resolution_data, Resolution)
        if "apply" in request.POST:
            return _apply_to_similar(request, resolution, queue)
        similar_groups = similar.find_similar(group, resolution, principal=request.principal)
    except OperationRejectedError as error:
        return _render_group(request, group_id, form=form, rejection=error)
    kept_value = group.values[_find_value_index(group, form.choice)] if resolution.outcome == "keep_one" else None
    previewed_groups = [similar.SimilarGroup(group=group, kept_value=kept_value), *similar_groups.groups]
    read_log.log_request_read(
        request,
        principal=request.principal,
        memory_ids=[
            memory["memory_id"] for similar_group in previewed_groups for memory in similar_group.group.members
        ],
    )
    context = {
        "section": "conflicts",
        "id": group_id,
        "queue": queue,
        "form": form,
        "resolution": resolution,
        "about": dict(zip(group_keys.KEY_COLUMNS, key, strict=False)),
        "rows": [
            {**conflict_group.build_similar_row(similar_group), "url": queue.group_url(similar_group.group.id)}
            for similar_group in previewed_groups
        ],
        "similar_count": len(similar_groups.groups),
        "examined": similar_groups.examined_count,
        "is_complete": similar_groups.is_complete,
    }
    return render(request, "conflicts/similar.html", context)


def _find_value_index(group: Group, memory_id: str) -> int:
    return next(
        index
        for index, value in enumerate(group.values)
        if any(str(memory["memory_id"]) == memory_id for memory in value.memories)
    )


def _apply_to_similar(request: InspectorRequest, resolution: Resolution, queue: ConflictQueue) -> HttpResponse:
    data = request.POST
    resolution_requests = [
        ResolutionRequest(
            key=_decode_key(group_id),
            evidence=data.get(f"evidence-{group_id}", ""),
            resolution=similar.adapt_resolution(resolution, _parse_memory_id(data.get(f"keep-{group_id}", ""))),
        )
        for group_id in dict.fromkeys(data.getlist("group"))
    ][: similar.MAX_SIMILAR + 1]
    results = resolve.resolve_many(
        resolution_requests, principal=request.principal, route=_get_route_name(request), request_id=request.request_id
    )
    request.session[LAST_REASON_SESSION_KEY] = resolution.reason
    resolved = [result for result in results if not result.refusal]
    context = {
        "section": "conflicts",
        "queue": queue,
        "next_url": _get_next_group_url(request, queue, None),
        "resolved": [_build_result_row(result, queue) for result in resolved],
        "skipped": [_build_result_row(result, queue) for result in results if result.refusal],
        "decision_ids": [result.decision_id for result in resolved],
        "undo_reason": UNDO_REASON,
    }
    return render(request, "conflicts/applied.html", context)


def _build_result_row(result: resolve.ResolutionResult, queue: ConflictQueue) -> dict[str, Any]:
    return {
        "about": dict(zip(group_keys.KEY_COLUMNS, result.key, strict=False)),
        "url": queue.group_url(group_keys.encode_id(*result.key)),
        "result": result,
        "refusal": REFUSAL_MESSAGES.get(result.refusal, ""),
    }


def _parse_memory_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        return UUID(int=0)


def _find_concurrent_decision(history: list[decision_queries.DecisionRecord], form: ResolveForm) -> dict[str, Any]:
    """Return the decision that was made after the form was rendered, if there is one."""
    newest_id_in_form = form.data.get("newest_decision", "")
    newest_decision = history[0] if history and str(history[0].decision_id) != newest_id_in_form else None
    return {"decision": build_decision_row(newest_decision) if newest_decision else None}


def _get_next_group_url(
    request: InspectorRequest, queue: ConflictQueue, key: GroupKey | None, *, wrap_around: bool = False
) -> str:
    """Return the address of the next open group, or "". With `wrap_around` continue at the start of the queue."""
    # The groups of the queue must have keys of as many columns as `key`, after which it continues.
    scope = {} if key is None else {"scope": "namespace" if len(key) > len(KEY_FIELDS) else None}
    try:
        filters = queue.build_filters(request.principal.clearance, status=None, **scope)
    except InvalidQueryError:
        return ""
    next_group_id = find_next_group_id(filters, key)
    if next_group_id is None and wrap_around:
        next_group_id = find_next_group_id(filters, None)
    return queue.group_url(next_group_id) if next_group_id else ""


def _get_previous_group_url(request: InspectorRequest, queue: ConflictQueue, group_id: str) -> str:
    """Return the address of the group from which the reader came."""
    previous_group_id = request.GET.get("from_group", "")
    try:
        group_keys.decode_id(previous_group_id)
    except ValueError:
        return ""
    return queue.group_url(previous_group_id) if previous_group_id != group_id else ""


def _add_previous_group(url: str, group_id: str) -> str:
    """Add to a group's address the group from which the reader comes."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode({'from_group': group_id})}" if url else ""


def _decode_key(group_id: str) -> GroupKey:
    try:
        return group_keys.decode_id(group_id)
    except ValueError:
        raise Http404 from None


def _get_route_name(request: InspectorRequest) -> str:
    return request.resolver_match.view_name if request.resolver_match else ""
