"""The decisions about conflicts over the API: listed, exported, undone."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import orjson
from django.http import StreamingHttpResponse
from django.utils.http import parse_etags
from rest_framework.request import Request
from rest_framework.response import Response

from memoryhub.api import documentation as docs
from memoryhub.api.bodies import Undoing
from memoryhub.api.judging import JudgingView, etag_of, refusals, route_of
from memoryhub.api.permissions import principal, walled
from memoryhub.api.problems import not_found, request_id_of
from memoryhub.api.views import View, shown
from memoryhub.conflicts import choices, decide, decisions
from memoryhub.conflicts.decisions import Told
from memoryhub.memories.filters import refuse_unknown


class DecisionsView(View):
    @docs.decisions
    @walled
    def get(self, request: Request) -> Response:
        page = decisions.page(request.query_params, reader=principal(request))
        self.told = sorted({memory_id for found in page.decisions for memory_id in found.memory_ids})
        return Response(
            {
                "decisions": [told(request, found) for found in page.decisions],
                "next_cursor": page.next_cursor,
                "has_more": page.has_more,
            }
        )


class ExportView(View):
    @docs.decisions_export
    def get(self, request: Request) -> StreamingHttpResponse:
        # A page at a time, each behind the wall: an export may take long, and holds no transaction open meanwhile.
        found = decisions.every(request.query_params, reader=principal(request))
        return StreamingHttpResponse(_lines(request, found), content_type="application/x-ndjson")


class DecisionView(View):
    @docs.decision
    @walled
    def get(self, request: Request, decision_id: UUID) -> Response:
        refuse_unknown(request.query_params, frozenset())
        found = _one(request, decision_id)
        self.told = found.memory_ids
        return Response(told(request, found))


class UndoOfOne(JudgingView):
    @docs.decision_undo
    def post(self, request: Request, decision_id: UUID) -> Response:
        tag = request.headers.get("If-Match", "")
        changed = 412 if tag else 409
        with refusals({"already_undone": changed, "is_undo": 409}, stale_status=changed):
            asked = self.asked(request, Undoing)
            before = told(request, _one(request, decision_id))
            if tag and not {"*", etag_of(before)} & set(parse_etags(tag)):
                # Of a decision nothing changes but that it is undone, or that a deferral has run out.
                raise choices.refused("already_undone" if before["undone_by"] else "stale")
            (undone,) = _undo(request, [decision_id], asked.reason)
            if undone.refusal:
                raise choices.refused(undone.refusal)
        return created(request, undone.decision_id)


def told(request: Request, found: Told) -> dict[str, Any]:
    """A decision as this caller is told of it."""
    return shown(request, [decisions.as_json(found)])[0]


def created(request: Request, decision_id: UUID | None) -> Response:
    """The answer that a decision was made."""
    made = told(request, _one(request, decision_id))
    return Response(made, status=201, headers={"ETag": etag_of(made), "Location": f"/api/decisions/{decision_id}"})


def _one(request: Request, decision_id: UUID | None) -> Told:
    found = decision_id and decisions.one(decision_id, reader=principal(request))
    if not found:
        raise not_found()
    return found


def _undo(request: Request, due: list[UUID], reason: str) -> list[choices.Undone]:
    route, request_id = route_of(request), request_id_of(request)
    return decide.undo(due, by=principal(request), reason=reason, route=route, request_id=request_id)


def _lines(request: Request, found: Iterator[Told]) -> Iterator[bytes]:
    for each in found:
        yield orjson.dumps(told(request, each), option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)
