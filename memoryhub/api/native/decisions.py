"""Decisions about conflicts in the API: list, export and undo them."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import orjson
from django.http import StreamingHttpResponse
from django.utils.http import parse_etags
from rest_framework.request import Request
from rest_framework.response import Response

from memoryhub.api import schema as docs
from memoryhub.api.native.curation import CurateView, compute_etag, get_route_name, refusals_as_problems
from memoryhub.api.native.memories import ApiView, mask_for_session
from memoryhub.api.permissions import get_principal, rls_scoped
from memoryhub.api.problems import get_request_id, not_found
from memoryhub.api.requests import UndoRequest
from memoryhub.api.responses.conflicts import DecisionPageResponse
from memoryhub.conflicts.decisions import decision_queries, resolution_requests, resolve
from memoryhub.conflicts.decisions.decision_queries import DecisionRecord
from memoryhub.memories.filter_fields import reject_unknown_params


class DecisionsView(ApiView):
    @docs.decisions
    @rls_scoped
    def get(self, request: Request) -> Response:
        page = decision_queries.list_page(request.query_params, principal=get_principal(request))
        self.read_memory_ids = sorted({memory_id for decision in page.decisions for memory_id in decision.memory_ids})
        return Response(
            DecisionPageResponse(
                decisions=[serialize_decision(request, decision) for decision in page.decisions],
                next_cursor=page.next_cursor,
                has_more=page.has_more,
            )
        )


class DecisionExportView(ApiView):
    @docs.decisions_export
    def get(self, request: Request) -> StreamingHttpResponse:
        # Each page is read in a transaction of its own under row security: an export may take long and must not keep a
        # transaction open.
        exported_decisions = decision_queries.iter_decisions(request.query_params, principal=get_principal(request))
        return StreamingHttpResponse(_iter_json_lines(request, exported_decisions), content_type="application/x-ndjson")


class DecisionView(ApiView):
    @docs.decision
    @rls_scoped
    def get(self, request: Request, decision_id: UUID) -> Response:
        reject_unknown_params(request.query_params, frozenset())
        decision = _get_decision(request, decision_id)
        self.read_memory_ids = decision.memory_ids
        return Response(serialize_decision(request, decision))


class DecisionUndoView(CurateView):
    @docs.decision_undo
    def post(self, request: Request, decision_id: UUID) -> Response:
        if_match = request.headers.get("If-Match", "")
        stale_status = 412 if if_match else 409
        with refusals_as_problems({"already_undone": stale_status, "cannot_undo_undo": 409}, stale_status=stale_status):
            body = self.parse_body(request, UndoRequest)
            decision_json = serialize_decision(request, _get_decision(request, decision_id))
            if if_match and not {"*", compute_etag(decision_json)} & set(parse_etags(if_match)):
                # A decision changes only if it is undone, or if its deferral ends.
                raise resolution_requests.refusal_error("already_undone" if decision_json["undone_by_id"] else "stale")
            (result,) = _undo_decisions(request, [decision_id], body.reason)
            if result.refusal:
                raise resolution_requests.refusal_error(result.refusal)
        return build_created_response(request, result.decision_id)


def serialize_decision(request: Request, decision: DecisionRecord) -> dict[str, Any]:
    """Serialize a decision; secrets are masked for a session."""
    return mask_for_session(request, [decision_queries.to_json(decision)])[0]


def build_created_response(request: Request, decision_id: UUID | None) -> Response:
    """Return status 201 with the decision, its ETag and its Location."""
    decision_json = serialize_decision(request, _get_decision(request, decision_id))
    return Response(
        decision_json,
        status=201,
        headers={"ETag": compute_etag(decision_json), "Location": f"/api/decisions/{decision_id}"},
    )


def _get_decision(request: Request, decision_id: UUID | None) -> DecisionRecord:
    decision = decision_id and decision_queries.get_decision(decision_id, principal=get_principal(request))
    if not decision:
        raise not_found()
    return decision


def _undo_decisions(request: Request, decision_ids: list[UUID], reason: str) -> list[resolution_requests.UndoResult]:
    route, request_id = get_route_name(request), get_request_id(request)
    return resolve.undo_decisions(
        decision_ids, principal=get_principal(request), reason=reason, route=route, request_id=request_id
    )


def _iter_json_lines(request: Request, exported_decisions: Iterator[DecisionRecord]) -> Iterator[bytes]:
    for decision in exported_decisions:
        yield orjson.dumps(serialize_decision(request, decision), option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)
