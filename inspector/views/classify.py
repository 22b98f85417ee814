"""Classify memories: one on its page, or all matches of a list's filter after a preview."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from inspector.auth import InspectorRequest, reader_required
from inspector.forms.classify_form import FORM_FIELDS, NON_FILTER_FIELDS, ClassifyForm, format_messages
from inspector.presenters import memory_fields
from inspector.presenters.memory_search import MemorySearch, build_back_query, build_list_url, parse_list_params
from inspector.time_context import get_time_context
from memoryhub.access_log import read_log
from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall.principal import Scope
from memoryhub.memories import facets
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.point_in_time import NOW
from memoryhub.memories.records import DETAIL_FIELDS, fetch_records
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import (
    REFUSAL_MESSAGES,
    ClassificationChange,
    ClassificationPlan,
    stale_error,
)
from memoryhub.memories.writes.classify import ClassificationResult
from memoryhub.memories.writes.envelope import OperationRejectedError, parse_body

SAMPLE_SIZE = 5
STATUS_BY_CODE = {
    "above_clearance": HTTPStatus.FORBIDDEN,
    "declassification": HTTPStatus.FORBIDDEN,
    "not_active": HTTPStatus.CONFLICT,
    "stale": HTTPStatus.CONFLICT,
}


@require_POST
@reader_required
def classify_memory(request: InspectorRequest, memory_id: UUID) -> HttpResponse:
    request.principal.require_scopes(Scope.CURATE)
    versions = fetch_records(
        NOW.versions_of(Memory.objects.visible_to(request.principal.clearance), memory_id)[:1], DETAIL_FIELDS
    )
    if not versions:
        raise Http404
    (memory_record,) = versions
    form = ClassifyForm.for_memory(memory_record, principal=request.principal, data=request.POST)
    list_params = parse_list_params(QueryDict(request.GET.get("back", "")))
    back_query = build_back_query(list_params, get_time_context(request).instant_params)
    try:
        if request.POST.get("version") != str(memory_record["version"]):
            raise stale_error()
        change = parse_body(form.change_data, ClassificationChange)
        plan = classify.plan_for_memory(memory_id, change, principal=request.principal)
        result = _apply_plan(request, plan)
    except OperationRejectedError as error:
        return _render_refusal(
            request, form, error, memory=memory_fields.mask_memory(memory_record), back_query=back_query
        )
    _add_result_message(request, result, _describe_change(plan))
    _add_warnings(request, change)
    return HttpResponseRedirect(reverse("inspector:memory-detail", args=[memory_id]) + back_query)


@require_http_methods(["GET", "HEAD", "POST"])
@reader_required
def classify_memories(request: InspectorRequest) -> HttpResponse:
    request.principal.require_scopes(Scope.CURATE)
    data = request.POST if request.method == "POST" else request.GET
    params = _extract_filters(data)
    try:
        filters = MemoryFilterSet(params, clearance=request.principal.clearance)
    except InvalidQueryError as error:
        return _render_page(request, {"search": MemorySearch(params, error.errors)}, HTTPStatus.BAD_REQUEST)
    search, counts = MemorySearch(params), facets.count_facets(filters).without_secrets()
    form = ClassifyForm.for_filter(counts.dimensions["label"], principal=request.principal, data=data)
    plan, status = None, HTTPStatus.OK
    try:
        if form.change_fields or request.method == "POST":
            change = parse_body(form.change_data, ClassificationChange)
            form.warnings = change.warnings
            plan = classify.plan_for_filter(filters, change, principal=request.principal)
        if plan and request.method == "POST":
            plan.check_token(request.POST.get("confirmation_token", ""))
            result = _apply_plan(request, plan)
            _add_result_message(request, result, _describe_changes(plan, result))
            _add_warnings(request, change)
            return HttpResponseRedirect(build_list_url(search.params))
    except OperationRejectedError as rejection:
        form.errors = rejection.errors
        status = _get_refusal_status(rejection)
    context = {
        "search": search,
        "filters": filters.active_filters,
        "total": counts.total,
        "is_capped": counts.is_capped,
        "form": form,
        "list_url": build_list_url(search.params),
    }
    return _render_page(request, context | (_build_plan_context(request, plan) if plan else {}), status)


@require_POST
@reader_required
def undo_classification(request: InspectorRequest) -> HttpResponse:
    request.principal.require_scopes(Scope.CURATE)
    token, return_url = request.POST.get("undo", ""), request.POST.get("next", "")
    is_own_host = url_has_allowed_host_and_scheme(return_url, {request.get_host()}, require_https=request.is_secure())
    return_url = return_url if is_own_host else reverse("inspector:memory-list")
    try:
        result = _apply_plan(request, classify.plan_undo(token.rpartition(" ")[2], principal=request.principal))
    except OperationRejectedError as error:
        form = ClassifyForm(request.POST, principal=request.principal, labels={})
        return _render_refusal(request, form, error, undo=token, back=return_url)
    _add_result_message(request, result, f"{_format_memory_count(result.changed_count)} as before.")
    return HttpResponseRedirect(return_url)


def _extract_filters(data: QueryDict) -> QueryDict:
    """Return the filters in the form's data, as parameters of an address."""
    params = data.copy()
    for name in (*FORM_FIELDS, *NON_FILTER_FIELDS):
        params.pop(name, None)
    return params


def _render_page(request: InspectorRequest, context: dict[str, Any], status: HTTPStatus) -> HttpResponse:
    """Render the page, or for htmx its partial, then with status 200 even on errors: htmx does not swap a 400."""
    context = {"section": "memories", **context}
    if request.method == "GET" and request.htmx and not request.htmx.history_restore_request:
        return render(request, "memories/classify/page.html#preview", context)
    return render(request, "memories/classify/page.html", context, status=status)


def _build_plan_context(request: InspectorRequest, plan: ClassificationPlan) -> dict[str, Any]:
    sample = classify.sample_memories(plan, SAMPLE_SIZE)
    read_log.log_request_read(
        request, principal=request.principal, memory_ids=[record["memory_id"] for record in sample]
    )
    refusals = [(count, REFUSAL_MESSAGES[code]) for code, count in plan.refusal_counts.items()]
    return {"plan": plan, "refusals": refusals, "sample": list(map(memory_fields.mask_memory, sample))}


def _apply_plan(request: InspectorRequest, plan: ClassificationPlan) -> ClassificationResult:
    match = request.resolver_match
    return classify.apply_plan(
        plan,
        reason=request.POST.get("reason", ""),
        route=match.view_name if match else "",
        request_id=request.request_id,
    )


def _render_refusal(
    request: InspectorRequest, form: ClassifyForm, error: OperationRejectedError, **context: Any
) -> HttpResponse:
    form.errors = error.errors
    context = {"section": "memories", "form": form, **context}
    return render(request, "memories/classify/refused.html", context, status=_get_refusal_status(error))


def _get_refusal_status(error: OperationRejectedError) -> HTTPStatus:
    return STATUS_BY_CODE.get(error.code, HTTPStatus.BAD_REQUEST)


def _add_result_message(request: InspectorRequest, result: ClassificationResult, message: str) -> None:
    """Add a success message, with an undo link if the principal may undo the change."""
    may_undo = result.undo_token and (request.principal.has_scope(Scope.DECLASSIFY) or not result.undo_widens)
    undo_tag = f"undo {'widens ' if result.undo_widens else ''}{result.undo_token}" if may_undo else ""
    messages.success(
        request, message if result.changed_count else "Nothing was changed: it is classified so.", undo_tag
    )


def _add_warnings(request: InspectorRequest, change: ClassificationChange) -> None:
    for message in format_messages(change.warnings):
        messages.warning(request, message)


def _describe_change(plan: ClassificationPlan) -> str:
    before, after = plan.planned_changes[0].before, plan.planned_changes[0].after
    parts = []
    if before.classification_tier != after.classification_tier:
        parts.append(f"The memory is {after.classification_tier} now.")
    if before.sensitivity_labels != after.sensitivity_labels:
        parts.append("Its labels are changed.")
    if before.status != after.status:
        parts.append("It is in quarantine." if after.status == "quarantined" else "It is out of quarantine.")
    return " ".join(parts)


def _describe_changes(plan: ClassificationPlan, result: ClassificationResult) -> str:
    skipped = [
        f"{_format_memory_count(count)} left as before: {REFUSAL_MESSAGES[code]}"
        for code, count in plan.refusal_counts.items()
    ]
    return " ".join([f"{_format_memory_count(result.changed_count)} changed.", *skipped])


def _format_memory_count(count: int) -> str:
    return f"{count:,} memor{'y is' if count == 1 else 'ies are'}"
