"""Policies: write, dry-run, run step by step, and undo them."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, TypedDict
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from inspector.auth import InspectorRequest, reader_required
from inspector.forms.policy_form import RULE_TITLES, PolicyForm
from memoryhub.access_log import read_log
from memoryhub.conflicts.groups.group_keys import encode_id
from memoryhub.conflicts.models import Policy, PolicyRun
from memoryhub.conflicts.policies import dry_runs, policies, policy_runs
from memoryhub.conflicts.policies.dry_runs import EvaluationPage
from memoryhub.conflicts.policies.policy_evaluation import SKIP_REASONS, GroupEvaluation
from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall.principal import Scope
from memoryhub.memories.writes.envelope import OperationRejectedError

PAGE_SIZE = 50
COUNT_BATCH_SIZE = 500
"""Number of groups per request that counts the totals of a dry run."""
MAX_RUNS = 10
STATUS_BY_CODE = {"not_found": HTTPStatus.NOT_FOUND, "clearance_differs": HTTPStatus.FORBIDDEN}


class AuditContext(TypedDict):
    route: str
    request_id: str


@require_safe
@reader_required
def policy_list(request: InspectorRequest) -> HttpResponse:
    request.principal.require_scopes(Scope.CURATE)
    page = policy_runs.list_page(QueryDict(f"limit={MAX_RUNS}"), principal=request.principal)
    policy_rows = [_build_policy_row(policy) for policy in policies.list_current(request.principal)]
    return _render_page(request, "list", {"policies": policy_rows, "runs": page.runs})


@require_http_methods(["GET", "HEAD", "POST"])
@reader_required
def create_policy(request: InspectorRequest) -> HttpResponse:
    request.principal.require_scopes(Scope.ADMIN)
    return _save_or_render(request, None)


@require_http_methods(["GET", "HEAD", "POST"])
@reader_required
def policy_detail(request: InspectorRequest, policy_id: UUID) -> HttpResponse:
    request.principal.require_scopes(Scope.CURATE)
    versions = policies.list_versions(policy_id, request.principal)
    if request.method == "POST":
        request.principal.require_scopes(Scope.ADMIN)
    if not versions:
        raise Http404
    return _save_or_render(request, versions[0], versions)


@require_safe
@reader_required
def dry_run_policy(request: InspectorRequest, policy_id: UUID) -> HttpResponse:
    request.principal.require_scopes(Scope.CURATE)
    policy = _get_policy(request, policy_id)
    count_cursor = request.GET.get("count_cursor", "")
    try:
        page = dry_runs.list_page(
            policy,
            principal=request.principal,
            limit=COUNT_BATCH_SIZE if count_cursor else PAGE_SIZE,
            cursor=count_cursor or request.GET.get("cursor", ""),
        )
    except InvalidQueryError:
        # The cursor belongs to an earlier version of the policy.
        return HttpResponseRedirect(reverse("inspector:policy-dry-run", args=[policy_id]))
    context = {"policy": _build_policy_row(policy), **_build_totals_context(page), "next_cursor": page.next_cursor}
    if count_cursor:
        return _render_page(request, "dry-run", context, partial_name="totals" if request.htmx else "")
    contents = dry_runs.load_contents(
        [group_evaluation.keep for group_evaluation in page.evaluations if group_evaluation.keep], request.principal
    )
    read_log.log_request_read(request, principal=request.principal, memory_ids=list(contents))
    groups = [
        _build_evaluation_row(
            group_evaluation, contents.get(group_evaluation.keep, "") if group_evaluation.keep else ""
        )
        for group_evaluation in page.evaluations
    ]
    return _render_page(request, "dry-run", {**context, "groups": groups, "is_later_page": "cursor" in request.GET})


@require_POST
@reader_required
def start_run(request: InspectorRequest, policy_id: UUID) -> HttpResponse:
    request.principal.require_scopes(Scope.ADMIN)
    try:
        run = policy_runs.start_run(policy_id, principal=request.principal, **_get_audit_context(request))
        run = policy_runs.advance_run(run.run_id, principal=request.principal, **_get_audit_context(request))
    except OperationRejectedError as error:
        return _build_refusal_response(request, error, reverse("inspector:policy-detail", args=[policy_id]))
    run_url = _build_run_url(run)
    if not request.htmx:
        return HttpResponseRedirect(run_url)
    response = _render_page(
        request, "run", _build_run_context(request, run, is_advancing=True), partial_name="progress"
    )
    response["HX-Push-Url"] = run_url
    return response


@require_safe
@reader_required
def run_detail(request: InspectorRequest, run_id: UUID) -> HttpResponse:
    request.principal.require_scopes(Scope.CURATE)
    run = policy_runs.get_run(run_id, request.principal)
    if run is None:
        raise Http404
    return _render_page(request, "run", _build_run_context(request, run))


@require_POST
@reader_required
def advance_run(request: InspectorRequest, run_id: UUID) -> HttpResponse:
    request.principal.require_scopes(Scope.ADMIN)
    try:
        run = policy_runs.advance_run(run_id, principal=request.principal, **_get_audit_context(request))
    except OperationRejectedError as error:
        return _build_refusal_response(request, error, reverse("inspector:policy-run-detail", args=[run_id]))
    if request.htmx:
        return _render_page(
            request, "run", _build_run_context(request, run, is_advancing=True), partial_name="progress"
        )
    return HttpResponseRedirect(_build_run_url(run))


@require_POST
@reader_required
def undo_run(request: InspectorRequest, run_id: UUID) -> HttpResponse:
    request.principal.require_scopes(Scope.ADMIN)
    reason = request.POST.get("reason", "")
    try:
        step = policy_runs.undo_step(run_id, principal=request.principal, reason=reason, **_get_audit_context(request))
    except OperationRejectedError as error:
        return _build_refusal_response(request, error, reverse("inspector:policy-run-detail", args=[run_id]))
    context = {
        **_build_run_context(request, step.run),
        "reason": reason,
        "is_undoing": not step.is_finished,
        "step": step,
    }
    if request.htmx:
        return _render_page(request, "run", context, partial_name="undoing")
    if not step.is_finished:
        return _render_page(request, "run", context)
    messages.success(
        request, f"{step.run.decisions_undone:,} decisions of the run are undone. Their groups are open again."
    )
    return HttpResponseRedirect(_build_run_url(step.run))


def _save_or_render(
    request: InspectorRequest, current_policy: Policy | None, versions: Sequence[Policy] = ()
) -> HttpResponse:
    form, status = PolicyForm.from_policy(current_policy), HTTPStatus.OK
    if request.method == "POST":
        form = PolicyForm.from_data(request.POST)
        try:
            saved_policy = _save_policy(request, form, current_policy)
        except OperationRejectedError as error:
            form.errors, status = error.errors, _get_refusal_status(error)
        else:
            messages.success(request, f"Version {saved_policy.version} holds now.")
            return HttpResponseRedirect(reverse("inspector:policy-detail", args=[saved_policy.policy_id]))
    context = {
        "form": form,
        "policy": current_policy and _build_policy_row(current_policy),
        "versions": [_build_policy_row(version) for version in versions],
        "runs": policy_runs.list_for_policy(current_policy.policy_id, request.principal, MAX_RUNS)
        if current_policy
        else [],
        "may_admin": request.principal.has_scope(Scope.ADMIN),
    }
    return _render_page(request, "policy", context, status=status)


def _save_policy(request: InspectorRequest, form: PolicyForm, current_policy: Policy | None) -> Policy:
    policy_input = policies.parse_input(form.values)
    policy_id = current_policy.policy_id if current_policy else None
    return policies.save_version(
        policy_input,
        principal=request.principal,
        policy_id=policy_id,
        version=form.version,
        **_get_audit_context(request),
    )


def _get_policy(request: InspectorRequest, policy_id: UUID) -> Policy:
    policy = policies.get_current(policy_id, request.principal)
    if policy is None:
        raise Http404
    return policy


def _render_page(
    request: InspectorRequest,
    name: str,
    context: dict[str, Any],
    *,
    partial_name: str = "",
    status: HTTPStatus = HTTPStatus.OK,
) -> HttpResponse:
    template = f"policies/{name}.html{'#' if partial_name else ''}{partial_name}"
    return render(request, template, {"section": "conflicts", **context}, status=status)


def _build_refusal_response(request: InspectorRequest, error: OperationRejectedError, return_url: str) -> HttpResponse:
    """Show the refusal on the page of the form. htmx does not swap a 403, so it is redirected there as well."""
    if error.code == "not_found":
        raise Http404
    for field_error in error.errors.items():
        messages.error(request, " ".join([field_error[0].capitalize(), *field_error[1]]).strip())
    response = HttpResponse() if request.htmx else HttpResponseRedirect(return_url)
    if request.htmx:
        response["HX-Redirect"] = return_url
    return response


def _get_refusal_status(error: OperationRejectedError) -> HTTPStatus:
    return HTTPStatus.CONFLICT if error.code == "stale" else STATUS_BY_CODE.get(error.code, HTTPStatus.BAD_REQUEST)


def _build_policy_row(policy: Policy) -> dict[str, Any]:
    return {
        **policies.to_json(policy),
        "titles": [(RULE_TITLES[rule["rule"]], rule.get("sources", [])) for rule in policy.rules],
        "url": reverse("inspector:policy-detail", args=[policy.policy_id]),
        "dry_run_url": reverse("inspector:policy-dry-run", args=[policy.policy_id]),
        "run_url": reverse("inspector:policy-run-create", args=[policy.policy_id]),
    }


def _build_totals_context(page: EvaluationPage) -> dict[str, Any]:
    return {
        "totals": page.totals,
        "by_rule": [(RULE_TITLES[rule], count) for rule, count in sorted(page.totals.decided_by_rule.items())],
        "by_skip_reason": [
            (SKIP_REASONS[skip_reason], count) for skip_reason, count in sorted(page.totals.skipped_by_reason.items())
        ],
    }


def _build_evaluation_row(group_evaluation: GroupEvaluation, content: str) -> dict[str, Any]:
    subject, collection = group_evaluation.key
    return {
        "url": reverse("inspector:conflict-detail", args=[encode_id(*group_evaluation.key)]),
        "subject": subject,
        "collection": collection,
        "conflict_class": group_evaluation.conflict_class,
        "value_count": group_evaluation.value_count,
        "memory_count": group_evaluation.memory_count,
        "value": content,
        "title": RULE_TITLES.get(group_evaluation.rule, ""),
        "explanation": group_evaluation.explanation,
        "skip_reason": SKIP_REASONS.get(group_evaluation.skip_reason, ""),
    }


def _build_run_context(request: InspectorRequest, run: PolicyRun, *, is_advancing: bool = False) -> dict[str, Any]:
    """Return the context of a run's page. `group_total` is known if the dry run has counted the groups."""
    may_advance = policy_runs.can_advance(run, request.principal)
    total_text = request.POST.get("group_total", "")
    group_total = int(total_text) if total_text.isascii() and total_text.isdecimal() and len(total_text) < 12 else 0
    return {
        "run": run,
        "policy": _build_policy_row(run.policy),
        "group_total": max(group_total, run.groups_seen) if group_total or run.finished_at else 0,
        "may_advance": may_advance,
        "is_advancing": is_advancing and may_advance,
        "may_admin": request.principal.has_scope(Scope.ADMIN),
        "not_undone": max(run.decisions_made - run.decisions_undone, 0),
    }


def _build_run_url(run: PolicyRun) -> str:
    return reverse("inspector:policy-run-detail", args=[run.run_id])


def _get_audit_context(request: InspectorRequest) -> AuditContext:
    match = request.resolver_match
    return {"route": match.view_name if match else "", "request_id": request.request_id}
