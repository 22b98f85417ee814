"""Conflicts in the API: list groups, show one, claim it and resolve it."""

from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from typing import Any

from django.http import QueryDict
from django.utils.http import parse_etags
from rest_framework.request import Request
from rest_framework.response import Response

from memoryhub.api import schema as docs
from memoryhub.api.native.curation import CurateView, get_route_name, precondition_required, refusals_as_problems
from memoryhub.api.native.decisions import build_created_response, serialize_decision
from memoryhub.api.native.memories import ApiView, mask_for_session
from memoryhub.api.permissions import get_principal, rls_scoped
from memoryhub.api.problems import ProblemError, get_request_id, not_found
from memoryhub.api.renderers import OrjsonRenderer
from memoryhub.api.requests import ClaimRequest, ResolveRequest
from memoryhub.api.responses.conflicts import (
    ConflictDetailResponse,
    ConflictPageResponse,
    ConflictProblemMembers,
    GroupClaimResponse,
    build_conflict,
    iter_pairs,
)
from memoryhub.conflicts.decisions import claims, decision_queries, resolution_requests, resolve
from memoryhub.conflicts.decisions.claims import ClaimedByOtherError, ClaimHolder
from memoryhub.conflicts.decisions.resolve import ResolutionRequest
from memoryhub.conflicts.groups import group_keys, groups
from memoryhub.conflicts.groups.group_keys import GroupKey
from memoryhub.conflicts.groups.groups import GroupFilterSet
from memoryhub.firewall import rls
from memoryhub.firewall.principal import Principal


class ConflictsView(ApiView):
    extra_params = groups.GROUP_PARAMS

    @docs.conflicts
    @rls_scoped
    def get(self, request: Request) -> Response:
        filters = self.parse_filters(GroupFilterSet, request)
        page = groups.list_page(filters, principal=get_principal(request), params=request.query_params)
        self.read_memory_ids = [member["memory_id"] for group in page.groups for member in group.members]
        decisions_by_key = decision_queries.list_for_keys(
            [group.key for group in page.groups if group.decision], clearance=filters.clearance
        )
        conflicts = [build_conflict(group, decisions_by_key.get(group.key, [])) for group in page.groups]
        return Response(
            ConflictPageResponse(
                conflicts=mask_for_session(request, conflicts),
                next_cursor=page.next_cursor,
                has_more=page.next_cursor is not None,
            )
        )


class ConflictView(ApiView):
    @docs.conflict
    @rls_scoped
    def get(self, request: Request, conflict_id: str) -> Response:
        principal = get_principal(request)
        filters = _build_group_filters(request.query_params, principal)
        self.point_in_time = filters.point_in_time
        group = groups.get_group(filters, conflict_id)
        if group is None:
            raise not_found()
        self.read_memory_ids = [member["memory_id"] for member in group.members]
        group_decisions = decision_queries.list_for_keys([group.key], clearance=principal.clearance)[group.key]
        known_at = filters.point_in_time.known_at
        conflict: ConflictDetailResponse = {
            **build_conflict(group, group_decisions),
            "pairs": list(iter_pairs(group)),
            "decisions": [
                decision_queries.to_json(decision)
                for decision in group_decisions
                if not known_at or decision.recorded_at <= known_at
            ],
            "claim": _find_claim(group.key, principal),
        }
        body = mask_for_session(request, [conflict])[0]
        return Response(body, headers={"ETag": _build_group_etag(group.evidence, body)})


class ConflictResolveView(CurateView):
    @docs.conflict_resolve
    def post(self, request: Request, conflict_id: str) -> Response:
        principal, if_match = get_principal(request), request.headers.get("If-Match", "")
        latest_decision = partial(_describe_latest_decision, request, conflict_id)
        blocking_claim = partial(_describe_blocking_claim, request, conflict_id)
        with refusals_as_problems(
            _STATUS_BY_CODE,
            stale_status=412 if if_match else 409,
            stale=latest_decision,
            claimed_by_other=blocking_claim,
        ):
            body, key = self.parse_body(request, ResolveRequest), _decode_key(conflict_id)
            resolution_request = ResolutionRequest(
                key=key, evidence=_get_expected_evidence(body.evidence, if_match, key, principal), resolution=body
            )
            result = resolve.resolve(
                resolution_request,
                principal=principal,
                route=get_route_name(request),
                request_id=get_request_id(request),
            )
        return build_created_response(request, result.decision_id)


class ConflictClaimView(CurateView):
    @docs.conflict_claim
    def post(self, request: Request, conflict_id: str) -> Response:
        principal = get_principal(request)
        with refusals_as_problems({}):
            body = self.parse_body(request, ClaimRequest)
        key = _get_visible_key(conflict_id, principal)
        if body.release:
            claims.release_claims([key], principal=principal)
            return Response(GroupClaimResponse(claim=_find_claim(key, principal)))
        try:
            return Response(GroupClaimResponse(claim=claims.take_claim(key, principal=principal)))
        except ClaimedByOtherError as error:
            members = ConflictProblemMembers(claim=error.holder)
            raise ProblemError(
                409, "claimed_by_other", "Another principal is deciding about this conflict now.", extra=members
            ) from None


_STATUS_BY_CODE = {"above_clearance": 403, "would_widen_visibility": 403, "claimed_by_other": 409, "too_large": 413}


def _decode_key(conflict_id: str) -> GroupKey:
    try:
        return group_keys.decode_id(conflict_id)
    except ValueError:
        raise not_found() from None


def _get_visible_key(conflict_id: str, principal: Principal) -> GroupKey:
    """Return the key of a group that the caller sees. Raises ProblemError (404) if there is none."""
    with rls.as_reader(principal.clearance):
        group = groups.get_group(_build_group_filters(QueryDict(), principal), conflict_id)
    if group is None:
        raise not_found()
    return group.key


def _build_group_filters(data: QueryDict, principal: Principal) -> GroupFilterSet:
    """Return the filters that find a single group, also a keyless one."""
    params = data.copy()
    params["include_keyless"] = "true"
    return GroupFilterSet(params, clearance=principal.clearance)


def _get_expected_evidence(body_evidence: str, if_match: str, key: GroupKey, principal: Principal) -> str:
    """Return the evidence that the caller read: from the body, or the first part of the group's ETag in `if_match`.

    Raises OperationRejectedError (stale) if both are given and differ, ProblemError (428) if neither is given.
    """
    etags = parse_etags(if_match)
    if if_match and etags != ["*"]:
        etag_evidence = {etag.strip('"').partition(".")[0] for etag in etags if not etag.startswith("W/")}
        if body_evidence and body_evidence not in etag_evidence:
            raise resolution_requests.refusal_error("stale")
        current_evidence = group_keys.compute_evidence(
            (member.memory_id, member.version) for member in resolve.list_members(key, principal)
        )
        return body_evidence or (
            current_evidence if current_evidence in etag_evidence else next(iter(etag_evidence), "none")
        )
    if not body_evidence:
        raise precondition_required("Send the evidence of the conflict that was read, or its ETag as If-Match.")
    return body_evidence


def _describe_latest_decision(request: Request, conflict_id: str) -> ConflictProblemMembers:
    """Extra member of a `stale` problem: the last decision about the group, if there is one."""
    key = _decode_key(conflict_id)
    group_decisions = decision_queries.list_for_keys([key], clearance=get_principal(request).clearance)[key]
    return {"decision": serialize_decision(request, group_decisions[0])} if group_decisions else {}


def _describe_blocking_claim(request: Request, conflict_id: str) -> ConflictProblemMembers:
    """Extra member of a `claimed_by_other` problem: the claim of the group, unless it was released in the meantime."""
    claim = _find_claim(_decode_key(conflict_id), get_principal(request))
    return {"claim": claim} if claim else {}


def _find_claim(key: GroupKey, principal: Principal) -> ClaimHolder | None:
    return claims.list_claims([key], principal=principal).get(key)


def _build_group_etag(evidence: str, body: Mapping[str, Any]) -> str:
    """Build an ETag of two parts: the evidence, on which a decision depends, and a hash of the whole body."""
    return f'"{evidence}.{sha256(OrjsonRenderer().render(body)).hexdigest()[:32]}"'
