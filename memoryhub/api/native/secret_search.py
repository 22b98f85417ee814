"""Search in masked secrets through the API."""

from rest_framework.request import Request
from rest_framework.response import Response

from memoryhub.api import schema as docs
from memoryhub.api.native.classify import filter_to_querydict
from memoryhub.api.native.curation import CurateView, get_route_name, refusals_as_problems
from memoryhub.api.native.memories import mask_for_session
from memoryhub.api.permissions import get_principal, rls_scoped
from memoryhub.api.problems import get_request_id
from memoryhub.api.requests import SecretSearchRequest
from memoryhub.api.responses.memories import SecretMatchesResponse
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.secret_search import search_secrets


class SecretSearchView(CurateView):
    @docs.secret_search
    @rls_scoped
    def post(self, request: Request) -> Response:
        principal = get_principal(request)
        with refusals_as_problems({}):
            body = self.parse_body(request, SecretSearchRequest)
        filters = MemoryFilterSet(filter_to_querydict(body.filter), clearance=principal.clearance)
        matches = search_secrets(
            filters,
            body.text,
            principal=principal,
            route=get_route_name(request),
            request_id=get_request_id(request._request),
        )
        return Response(
            SecretMatchesResponse(records=mask_for_session(request, matches.records), is_capped=matches.is_capped)
        )
