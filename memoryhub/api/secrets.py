"""Finding memories by what is masked in them, over the API."""

from rest_framework.request import Request
from rest_framework.response import Response

from memoryhub.api import documentation as docs
from memoryhub.api.bodies import SecretSearch
from memoryhub.api.judging import JudgingView, refusals, route_of
from memoryhub.api.labels import query_of
from memoryhub.api.permissions import principal, walled
from memoryhub.api.problems import request_id_of
from memoryhub.api.views import shown
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.secret_search import search_secrets


class SecretsView(JudgingView):
    @docs.memory_secrets
    @walled
    def post(self, request: Request) -> Response:
        by = principal(request)
        with refusals({}):
            asked = self.asked(request, SecretSearch)
        filters = MemoryFilterSet(query_of(asked.filter), clearance=by.clearance)
        found = search_secrets(
            filters, asked.text, by=by, route=route_of(request), request_id=request_id_of(request._request)
        )
        return Response({"records": shown(request, found.records), "capped": found.capped})
