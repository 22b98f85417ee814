"""Time travel, diff and replay in the API."""

from dataclasses import replace
from typing import ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from memoryhub.api import schema as docs
from memoryhub.api.native.memories import ApiView, mask_for_session
from memoryhub.api.permissions import get_principal, rls_scoped
from memoryhub.api.problems import not_found
from memoryhub.api.responses.time_travel import (
    DiffResponse,
    ReplayResponse,
    ReplaySideResponse,
    TimeTravelPageResponse,
)
from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall import view_as
from memoryhub.firewall.principal import Scope
from memoryhub.memories.filter_fields import reject_unknown_params
from memoryhub.memories.filters import POINT_IN_TIME_PARAMS
from memoryhub.timetravel import diff, point_queries, replay


class TimeTravelView(ApiView):
    extra_params = point_queries.TIME_TRAVEL_PARAMS

    @docs.timetravel
    @rls_scoped
    def get(self, request: Request) -> Response:
        time_travel_page = point_queries.query_at(request.query_params, principal=get_principal(request))
        self.point_in_time = time_travel_page.point_in_time
        self.read_memory_ids = [record["memory_id"] for record in time_travel_page.page.records]
        return Response(
            TimeTravelPageResponse(
                records=mask_for_session(request, time_travel_page.page.records),
                next_cursor=time_travel_page.page.next_cursor,
                has_more=time_travel_page.page.has_more,
                as_of=time_travel_page.point_in_time.as_of,
                known_at=time_travel_page.point_in_time.known_at,
                erased_count=time_travel_page.erased_count,
            )
        )


class DiffView(ApiView):
    extra_params = diff.PAGE_PARAMS

    @docs.diff
    @rls_scoped
    def get(self, request: Request) -> Response:
        diff_result = diff.compute_diff(request.query_params, principal=get_principal(request))
        self.point_in_time, self.read_memory_ids = diff_result.query.point_in_time, diff_result.memory_ids
        # For a browser session secrets are masked, as on its pages.
        changes = (
            diff_result.changes if request.auth else [change.with_secrets_masked() for change in diff_result.changes]
        )
        counts = diff_result.counts if request.auth else diff_result.counts.with_secrets_masked()
        return Response(
            DiffResponse(
                since=diff_result.query.since,
                until=diff_result.query.until,
                axis="event" if diff_result.query.filters.is_event_axis else "record",
                changes=[diff.to_json(change, max_words=diff_result.max_words_per_change) for change in changes],
                next_cursor=diff_result.next_cursor,
                has_more=diff_result.has_more,
                counts=counts,
            )
        )


class ReplayView(ApiView):
    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.VIEW_AS}

    @docs.replay
    def get(self, request: Request) -> Response:
        params, principal = request.query_params, get_principal(request)
        reject_unknown_params(params, frozenset(replay.REPLAY_PARAMS))
        if not params.get("as"):
            raise InvalidQueryError({"as": ["is required."]}, "missing_parameter")
        target = view_as.get_target(params["as"], principal)
        if target is None:
            raise not_found()
        self.read_as = replace(target.principal, viewer=principal.viewer or principal.name)
        replay_response: ReplayResponse = {
            "as": target.name, "refusal": target.refusal, "as_of": None, "known_at": None,
            "then": _EMPTY_SIDE, "now": _EMPTY_SIDE, "marks": {},
        }  # fmt: skip
        if not target.principal.has_scope(Scope.READ):
            return Response(replay_response | {"refusal": target.refusal or "may not read"})
        instants = {name: params.get(name, "") for name in POINT_IN_TIME_PARAMS}
        replay_result = replay.replay_query(params.get("query", ""), instants=instants, principal=target.principal)
        self.point_in_time, self.read_memory_ids = replay_result.point_in_time, replay_result.memory_ids
        then, now = (
            ReplaySideResponse(records=mask_for_session(request, page.records), has_more=page.has_more)
            for page in (replay_result.then, replay_result.now)
        )
        replay_response |= {
            "as_of": replay_result.point_in_time.as_of,
            "known_at": replay_result.point_in_time.known_at,
            "then": then,
            "now": now,
            "marks": {str(memory_id): mark for memory_id, mark in replay_result.marks.items()},
        }
        return Response(replay_response)


_EMPTY_SIDE = ReplaySideResponse(records=[], has_more=False)
