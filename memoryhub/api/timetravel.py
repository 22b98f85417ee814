"""Time travel over the API."""

from dataclasses import replace
from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from memoryhub.api import documentation as docs
from memoryhub.api.permissions import principal, walled
from memoryhub.api.problems import not_found
from memoryhub.api.views import View, shown
from memoryhub.firewall import view_as
from memoryhub.firewall.types import Scope
from memoryhub.memories.filters import MOMENT, BadQuery, refuse_unknown
from memoryhub.timetravel import diff, replay, travel


class TimeTravelView(View):
    parameters = travel.PARAMETERS

    @docs.timetravel
    @walled
    def get(self, request: Request) -> Response:
        found = travel.travel(request.query_params, reader=principal(request))
        self.moment = found.moment
        self.told = [record["memory_id"] for record in found.page.records]
        return Response(
            {
                "records": shown(request, found.page.records),
                "next_cursor": found.page.next_cursor,
                "has_more": found.page.has_more,
                "as_of": found.moment.as_of,
                "known_at": found.moment.known_at,
                "erased": found.erased,
            }
        )


class DiffView(View):
    parameters = diff.PARAMETERS

    @docs.diff
    @walled
    def get(self, request: Request) -> Response:
        found = diff.diff(request.query_params, reader=principal(request))
        self.moment, self.told = found.question.moment, found.memory_ids
        # A browser's session is shown what its pages show: no secrets.
        changes = found.changes if request.auth else [change.for_people() for change in found.changes]
        counts = found.counts if request.auth else found.counts.for_people()
        return Response(
            {
                "since": found.question.since,
                "until": found.question.until,
                "axis": "event" if found.question.filters.is_of_events else "known",
                "changes": [diff.as_json(change, most_words=found.most_words) for change in changes],
                "next_cursor": found.next_cursor,
                "has_more": found.has_more,
                "counts": counts,
            }
        )


class ReplayView(View):
    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.VIEW_AS}

    @docs.replay
    def get(self, request: Request) -> Response:
        given, asking = request.query_params, principal(request)
        refuse_unknown(given, frozenset(replay.ASKED))
        if not given.get("as"):
            raise BadQuery({"as": ["is needed here."]}, "missing_parameter")
        caller = view_as.target(given["as"], asking)
        if caller is None:
            raise not_found()
        self.reader = replace(caller.principal, viewer=asking.viewer or asking.name)
        told = {"as": caller.name, "refusal": caller.refusal, "as_of": None, "known_at": None}
        if not caller.principal.may(Scope.READ):
            told["refusal"] = caller.refusal or "may not read"
            return Response({**told, "then": _NOTHING, "now": _NOTHING, "marks": {}})
        instants = {name: given.get(name, "") for name in MOMENT}
        found = replay.replay(given.get("query", ""), instants=instants, caller=caller.principal)
        self.moment, self.told = found.moment, found.memory_ids
        return Response(
            {
                **told,
                "as_of": found.moment.as_of,
                "known_at": found.moment.known_at,
                "then": {"records": shown(request, found.then.records), "has_more": found.then.has_more},
                "now": {"records": shown(request, found.now.records), "has_more": found.now.has_more},
                "marks": {str(memory_id): mark for memory_id, mark in found.marks.items()},
            }
        )


_NOTHING: dict[str, Any] = {"records": [], "has_more": False}
