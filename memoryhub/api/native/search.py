"""Search through the API, and the memories that are similar to one."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import ClassVar
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from memoryhub.api import search_schema as docs
from memoryhub.api.native.classify import filter_to_querydict
from memoryhub.api.native.curation import refusals_as_problems
from memoryhub.api.native.memories import ApiView, get_memory_or_404, mask_for_session
from memoryhub.api.permissions import get_principal, rls_scoped
from memoryhub.api.requests import SearchRequest
from memoryhub.api.responses.search import (
    MeaningResponse,
    SearchResponse,
    SearchResultResponse,
    SimilarResponse,
    SimilarResultResponse,
)
from memoryhub.core.shapes import select_fields
from memoryhub.firewall.principal import Scope
from memoryhub.memories.filter_fields import reject_unknown_params
from memoryhub.memories.filters import MemoryFilterSet, PointInTimeFilterSet
from memoryhub.memories.pagination import MAX_LIMIT, PAGE_PARAMS
from memoryhub.memories.query_language import describe_query
from memoryhub.memories.writes.envelope import parse_body
from memoryhub.search.embedding_index import parse_embedding
from memoryhub.search.options import OPTION_PARAMS, SearchOptions, parse_options
from memoryhub.search.results import SearchResult, build_results
from memoryhub.search.search import Meaning, search_page
from memoryhub.search.similar import find_similar


class SearchView(ApiView):
    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.READ, "POST": Scope.READ}
    extra_params: ClassVar[tuple[str, ...]] = (*PAGE_PARAMS, *OPTION_PARAMS)

    @docs.search
    @rls_scoped
    def get(self, request: Request) -> Response:
        filters = self.parse_memory_filters(request)
        return self.search(request, filters, parse_options(request.query_params), request.query_params)

    @docs.search_with_body
    @rls_scoped
    def post(self, request: Request) -> Response:
        reject_unknown_params(request.query_params, frozenset())
        with refusals_as_problems({}):
            body = parse_body(request.data, SearchRequest)
        filters = MemoryFilterSet(filter_to_querydict(body.filter), clearance=get_principal(request).clearance)
        self.point_in_time = filters.point_in_time
        options = parse_options(body.option_params)
        if body.embedding is not None:
            options = replace(options, embedding=parse_embedding(body.embedding))
        page_params = {"limit": str(min(body.limit, MAX_LIMIT)), "cursor": body.cursor}
        response = self.search(request, filters, options, page_params)
        self.log_read(request)
        self.add_clipped_header(response, *self.point_in_time.clipped, *(["limit"] if body.limit > MAX_LIMIT else []))
        return response

    def search(
        self, request: Request, filters: MemoryFilterSet, options: SearchOptions, page_params: Mapping[str, str]
    ) -> Response:
        page = search_page(filters, options, principal=get_principal(request), params=page_params)
        results = build_results(page)
        self.read_memory_ids = [result.memory["memory_id"] for result in results]
        response = SearchResponse(
            results=_results_json(request, results),
            reading=describe_query(filters.query),
            meaning=_meaning_json(page.meaning),
            next_cursor=page.next_cursor,
            has_more=page.next_cursor is not None,
        )
        if options.explain:
            response["stages"] = [
                {
                    "name": report.name,
                    "candidates": report.candidates,
                    "is_complete": report.is_complete,
                    "milliseconds": round(report.milliseconds, 3),
                }
                for report in page.stages
            ]
        return Response(response)


class SimilarView(ApiView):
    @docs.similar
    @rls_scoped
    def get(self, request: Request, memory_id: UUID) -> Response:
        filters = self.parse_filters(PointInTimeFilterSet, request)
        get_memory_or_404(request, memory_id, filters.point_in_time)
        similar = find_similar(filters, memory_id)
        self.read_memory_ids = [memory_id, *(item.memory["memory_id"] for item in similar.memories)]
        results = [SimilarResultResponse(memory=item.memory, similarity=item.similarity) for item in similar.memories]
        return Response(
            SimilarResponse(results=mask_for_session(request, results), meaning=_meaning_json(similar.meaning))
        )


def _results_json(request: Request, results: list[SearchResult]) -> list[SearchResultResponse]:
    return [
        SearchResultResponse(
            memory=memory,
            score=result.score,
            ranks=result.ranks,
            scores=result.scores,
            matched_words=result.reason.matched_words,
            has_all_words=result.reason.has_all_words,
        )
        for memory, result in zip(mask_for_session(request, [r.memory for r in results]), results, strict=True)
    ]


def _meaning_json(meaning: Meaning) -> MeaningResponse:
    return select_fields(MeaningResponse, asdict(meaning))
