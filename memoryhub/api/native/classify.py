"""Classify memories through the API: one memory, or all matches of a filter after a dry run."""

from typing import Any
from uuid import UUID

from django.http import QueryDict
from django.utils.http import parse_etags
from rest_framework.request import Request
from rest_framework.response import Response

from memoryhub.api import schema as docs
from memoryhub.api.native.curation import (
    CurateView,
    compute_etag,
    get_route_name,
    precondition_required,
    refusals_as_problems,
)
from memoryhub.api.native.memories import get_memory_or_404
from memoryhub.api.permissions import get_principal
from memoryhub.api.problems import get_request_id
from memoryhub.api.requests import BulkClassifyRequest, ClassifyRequest
from memoryhub.api.responses.memories import (
    ClassificationPlanResponse,
    ClassificationResponse,
    MemoryClassificationResponse,
)
from memoryhub.core.shapes import select_fields
from memoryhub.firewall import rls
from memoryhub.firewall.principal import Principal
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.records import MemoryRecord
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange, ClassificationPlan, stale_error


class ClassifyView(CurateView):
    def apply_plan(self, request: Request, plan: ClassificationPlan, reason: str) -> None:
        classify.apply_plan(plan, reason=reason, route=get_route_name(request), request_id=get_request_id(request))


class MemoryClassifyView(ClassifyView):
    @docs.memory_classify
    def post(self, request: Request, memory_id: UUID) -> Response:
        principal, if_match = get_principal(request), request.headers.get("If-Match", "")
        with refusals_as_problems(_STATUS_BY_CODE, stale_status=412 if if_match else 409):
            body = self.parse_body(request, ClassifyRequest)
            previous_record = _get_current_record(request, memory_id, principal)
            _check_version(previous_record, if_match, body.version)
            plan = classify.plan_for_memory(memory_id, body, principal=principal)
            if [step.row.version for step in plan.planned_changes] != [previous_record["version"]]:
                raise stale_error()
            self.apply_plan(request, plan, body.reason)
        current_record = _get_current_record(request, memory_id, principal)
        response = select_fields(MemoryClassificationResponse, current_record)
        _add_warnings(response, body)
        return Response(response, headers={"ETag": compute_etag(current_record)})


class BulkClassifyView(ClassifyView):
    @docs.memories_classify
    def post(self, request: Request) -> Response:
        principal = get_principal(request)
        with refusals_as_problems(_STATUS_BY_CODE):
            body = self.parse_body(request, BulkClassifyRequest)
            filters = MemoryFilterSet(filter_to_querydict(body.filter), clearance=principal.clearance)
            plan = classify.plan_for_filter(filters, body, principal=principal)
            response = _build_plan_response(plan)
            _add_warnings(response, body)
            if body.dry_run:
                response["confirmation_token"] = plan.confirmation_token
                return Response(response)
            if not body.confirmation_token:
                raise precondition_required(
                    "Send a dry run first: its response lists the changes, and has the "
                    "confirmation_token that applies them."
                )
            plan.check_token(body.confirmation_token)
            self.apply_plan(request, plan, body.reason)
        return Response(response)


_STATUS_BY_CODE = {"declassification": 403, "above_clearance": 403, "not_active": 409, "too_large": 413}


def _get_current_record(request: Request, memory_id: UUID, principal: Principal) -> MemoryRecord:
    with rls.as_reader(principal.clearance):
        return get_memory_or_404(request, memory_id)


def _check_version(record: MemoryRecord, if_match: str, version: int) -> None:
    if not (if_match or version):
        raise precondition_required("Send the version that was read: its number as version, or its ETag as If-Match.")
    if if_match and not {"*", compute_etag(record)} & set(parse_etags(if_match)):
        raise stale_error()
    if version and version != record["version"]:
        raise stale_error()


def filter_to_querydict(filter_body: dict[str, Any]) -> QueryDict:
    """Convert the `filter` object of a body to the QueryDict that a query string would give."""
    query = QueryDict(mutable=True)
    for name, value in filter_body.items():
        # An empty list becomes one empty value, which matches memories without a value.
        query.setlist(name, (value or [""]) if isinstance(value, list) else [value])
    return query


def _add_warnings(
    response: MemoryClassificationResponse | ClassificationPlanResponse, change: ClassificationChange
) -> None:
    if change.warnings:
        response["warnings"] = change.warnings


def _build_plan_response(plan: ClassificationPlan) -> ClassificationPlanResponse:
    """Return the counts of a plan and its most frequent changes."""
    return ClassificationPlanResponse(
        matched=len(plan.planned_changes),
        changed=len(plan.effective_changes),
        unchanged=plan.unchanged_count,
        widened=plan.widened_count,
        refusals=plan.refusal_counts,
        changes=[
            {
                "count": count,
                "widens": step.widens,
                "before": select_fields(ClassificationResponse, step.before.field_values),
                "after": select_fields(ClassificationResponse, step.after.field_values),
            }
            for count, step in plan.change_groups
        ],
    )
