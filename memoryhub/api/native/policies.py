"""Policies in the API: write, dry-run, run step by step, and undo them."""

from typing import ClassVar, TypedDict
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from memoryhub.access_log import read_log
from memoryhub.api import schema as docs
from memoryhub.api.native.curation import CurateView, get_route_name, precondition_required, refusals_as_problems
from memoryhub.api.native.memories import ApiView, mask_for_session
from memoryhub.api.permissions import get_principal
from memoryhub.api.problems import get_request_id, not_found
from memoryhub.api.requests import DryRunRequest, EmptyRequest, PolicyVersionRequest, UndoRequest
from memoryhub.api.responses.policies import (
    DryRunResponse,
    PolicyDetailResponse,
    PolicyListResponse,
    PolicyRunPageResponse,
    PolicyRunUndoResponse,
    build_evaluation,
)
from memoryhub.conflicts.models import Policy, PolicyRun
from memoryhub.conflicts.policies import dry_runs, policies, policy_runs
from memoryhub.conflicts.policies.policies import PolicyInput
from memoryhub.conflicts.policies.policy_runs import PolicyRunDocument
from memoryhub.firewall.principal import Scope
from memoryhub.memories.filter_fields import reject_unknown_params
from memoryhub.memories.pagination import MAX_LIMIT

_STATUS_BY_CODE = {"policy_disabled": 409, "policy_changed": 409, "clearance_differs": 403}


class AuditContext(TypedDict):
    """The fields of an audit entry that identify a request."""

    route: str
    request_id: str


class PolicyBaseView(CurateView):
    # Reading policies needs the scope `curate`, everything else `admin`.
    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.CURATE, "POST": Scope.ADMIN}

    def get_audit_context(self, request: Request) -> AuditContext:
        return {"route": get_route_name(request), "request_id": get_request_id(request)}


class PoliciesView(PolicyBaseView):
    @docs.policies
    def get(self, request: Request) -> Response:
        reject_unknown_params(request.query_params, frozenset())
        current_policies = policies.list_current(get_principal(request))
        return Response(
            PolicyListResponse(policies=mask_for_session(request, list(map(policies.to_json, current_policies))))
        )

    @docs.policy_create
    def post(self, request: Request) -> Response:
        with refusals_as_problems(_STATUS_BY_CODE):
            policy = policies.save_version(
                self.parse_body(request, PolicyInput),
                principal=get_principal(request),
                **self.get_audit_context(request),
            )
        return Response(
            _policy_detail_json(request, policy.policy_id), status=201, headers={"Location": _build_policy_url(policy)}
        )


class PolicyDetailView(PolicyBaseView):
    @docs.policy
    def get(self, request: Request, policy_id: UUID) -> Response:
        reject_unknown_params(request.query_params, frozenset())
        return Response(_policy_detail_json(request, policy_id))

    @docs.policy_version_create
    def post(self, request: Request, policy_id: UUID) -> Response:
        with refusals_as_problems(_STATUS_BY_CODE):
            body = self.parse_body(request, PolicyVersionRequest)
            _get_policy(request, policy_id)
            if not body.version:
                raise precondition_required("Send the version that was read: its number as version.")
            policy_input = PolicyInput.model_validate(body.model_dump(exclude={"version"}))
            policies.save_version(
                policy_input,
                principal=get_principal(request),
                policy_id=policy_id,
                version=body.version,
                **self.get_audit_context(request),
            )
        return Response(_policy_detail_json(request, policy_id), status=201)


class DryRunView(PolicyBaseView):
    scopes: ClassVar[dict[str, Scope]] = {"POST": Scope.CURATE}

    @docs.policy_dry_run
    def post(self, request: Request, policy_id: UUID) -> Response:
        principal = get_principal(request)
        with refusals_as_problems(_STATUS_BY_CODE):
            body = self.parse_body(request, DryRunRequest)
        limit = min(body.limit, MAX_LIMIT)
        page = dry_runs.list_page(_get_policy(request, policy_id), principal=principal, limit=limit, cursor=body.cursor)
        contents = dry_runs.load_contents(
            [group_evaluation.keep for group_evaluation in page.evaluations if group_evaluation.keep], principal
        )
        read_log.log_request_read(request._request, principal=principal, memory_ids=list(contents))
        response = Response(
            DryRunResponse(
                groups=mask_for_session(
                    request, [build_evaluation(group_evaluation, contents) for group_evaluation in page.evaluations]
                ),
                totals=page.totals,
                next_cursor=page.next_cursor,
                has_more=page.next_cursor is not None,
            )
        )
        self.add_clipped_header(response, *(["limit"] if body.limit > limit else []))
        return response


class RunCreateView(PolicyBaseView):
    scopes: ClassVar[dict[str, Scope]] = {"POST": Scope.ADMIN}

    @docs.policy_run_create
    def post(self, request: Request, policy_id: UUID) -> Response:
        principal = get_principal(request)
        with refusals_as_problems(_STATUS_BY_CODE):
            self.parse_body(request, EmptyRequest)
            run = policy_runs.start_run(policy_id, principal=principal, **self.get_audit_context(request))
            run = policy_runs.advance_run(run.run_id, principal=principal, **self.get_audit_context(request))
        return Response(_run_json(request, run), status=201, headers={"Location": f"/api/policy-runs/{run.run_id}"})


class RunsView(ApiView):
    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.CURATE}

    @docs.policy_runs
    def get(self, request: Request) -> Response:
        page = policy_runs.list_page(request.query_params, principal=get_principal(request))
        return Response(
            PolicyRunPageResponse(
                runs=[_run_json(request, run) for run in page.runs],
                next_cursor=page.next_cursor,
                has_more=page.next_cursor is not None,
            )
        )


class RunView(ApiView):
    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.CURATE}

    @docs.policy_run_detail
    def get(self, request: Request, run_id: UUID) -> Response:
        reject_unknown_params(request.query_params, frozenset())
        run = policy_runs.get_run(run_id, get_principal(request))
        if run is None:
            raise not_found()
        return Response(_run_json(request, run))


class RunAdvanceView(PolicyBaseView):
    scopes: ClassVar[dict[str, Scope]] = {"POST": Scope.ADMIN}

    @docs.policy_run_advance
    def post(self, request: Request, run_id: UUID) -> Response:
        with refusals_as_problems(_STATUS_BY_CODE):
            self.parse_body(request, EmptyRequest)
            run = policy_runs.advance_run(run_id, principal=get_principal(request), **self.get_audit_context(request))
        return Response(_run_json(request, run))


class RunUndoView(PolicyBaseView):
    scopes: ClassVar[dict[str, Scope]] = {"POST": Scope.ADMIN}

    @docs.policy_run_undo
    def post(self, request: Request, run_id: UUID) -> Response:
        with refusals_as_problems(_STATUS_BY_CODE):
            body = self.parse_body(request, UndoRequest)
            step = policy_runs.undo_step(
                run_id, principal=get_principal(request), reason=body.reason, **self.get_audit_context(request)
            )
        return Response(
            PolicyRunUndoResponse(
                run=_run_json(request, step.run),
                undone_count=step.undone_count,
                refused_count=step.refused_count,
                is_finished=step.is_finished,
            )
        )


def _get_policy(request: Request, policy_id: UUID) -> Policy:
    policy = policies.get_current(policy_id, get_principal(request))
    if policy is None:
        raise not_found()
    return policy


def _policy_detail_json(request: Request, policy_id: UUID) -> PolicyDetailResponse:
    versions = [policies.to_json(version) for version in policies.list_versions(policy_id, get_principal(request))]
    if not versions:
        raise not_found()
    detail: PolicyDetailResponse = {**versions[0], "versions": versions}
    return mask_for_session(request, [detail])[0]


def _run_json(request: Request, run: PolicyRun) -> PolicyRunDocument:
    return mask_for_session(request, [policy_runs.to_json(run)])[0]


def _build_policy_url(policy: Policy) -> str:
    return f"/api/policies/{policy.policy_id}"
