"""Memories in the API: list, write, read, count; and the status of the hub."""

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from memoryhub.access_log import read_log
from memoryhub.api import schema as docs
from memoryhub.api.permissions import get_principal, rls_scoped
from memoryhub.api.problems import ProblemError, get_request_id, not_found, problem_from_error_info
from memoryhub.api.responses.memories import (
    FacetsResponse,
    MemoryPageResponse,
    MemoryVersionsResponse,
    ReadyResponse,
    WriteBatchResponse,
    WriteReceiptResponse,
    WriteRefusalResponse,
)
from memoryhub.core.errors import UNAVAILABLE, InvalidQueryError, classify_error
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories import facets, histogram, pagination, records
from memoryhub.memories.filter_fields import reject_unknown_params
from memoryhub.memories.filters import MemoryFilterSet, PointInTimeFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.point_in_time import NOW, PointInTime
from memoryhub.memories.writes import write
from memoryhub.memories.writes.identity import OnConflict
from memoryhub.memories.writes.write import WriteOutcome, WriteReceipt
from memoryhub.operations import schema
from memoryhub.operations.status import get_status
from memoryhub.version import VERSION

MAX_BATCH = 1_000
Filters = TypeVar("Filters", bound=PointInTimeFilterSet)
Item = TypeVar("Item")


class ApiView(APIView):
    # Base class of API routes. `extra_params` are query parameters that are not filters. This is a comment because
    # drf-spectacular copies docstrings of views into the OpenAPI document.
    http_method_names = ["get", "post", "head"]
    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.READ}
    extra_params: ClassVar[tuple[str, ...]] = ()
    read_memory_ids: Sequence[UUID] = ()
    """Memories in the response, for the read log."""
    read_as: Principal | None = None
    """The principal to record as reader, if it is not the caller itself."""
    point_in_time = NOW
    """The point in time of the response."""

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        if request.method in ("GET", "HEAD") and response.status_code == 200:
            self.log_read(request)
            is_limit_clipped = pagination.exceeds_limit(request.query_params.get("limit", ""))
            self.add_clipped_header(response, *self.point_in_time.clipped, *(["limit"] if is_limit_clipped else []))
        return super().finalize_response(request, response, *args, **kwargs)

    def log_read(self, request: Any) -> None:
        """Record this response in the read log."""
        read_log.log_request_read(
            request._request, principal=self.read_as or get_principal(request), memory_ids=self.read_memory_ids
        )

    @staticmethod
    def add_clipped_header(response: Any, *names: str) -> None:
        """Name in a header the parameters whose values were too large and were replaced by smaller ones."""
        if names:
            response["Memoryhub-Clipped"] = ", ".join(names)

    def parse_memory_filters(self, request: Request) -> MemoryFilterSet:
        return self.parse_filters(MemoryFilterSet, request)

    def parse_filters(self, filter_set: type[Filters], request: Request) -> Filters:
        filters = filter_set(
            request.query_params, clearance=get_principal(request).clearance, extra_params=self.extra_params
        )
        self.point_in_time = filters.point_in_time
        return filters


class MemoriesView(ApiView):
    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.READ, "POST": Scope.WRITE}
    extra_params: ClassVar[tuple[str, ...]] = pagination.PAGE_PARAMS

    @docs.memories_list
    @rls_scoped
    def get(self, request: Request) -> Response:
        page = pagination.list_page(
            self.parse_memory_filters(request), principal=get_principal(request), params=request.query_params
        )
        self.read_memory_ids = [record["memory_id"] for record in page.records]
        page_records = mask_for_session(request, page.records)
        return Response(MemoryPageResponse(records=page_records, next_cursor=page.next_cursor, has_more=page.has_more))

    @docs.memories_write
    def post(self, request: Request) -> Response:
        payload: Any = request.data
        receipts = write.write_memories(
            _check_batch_size(payload) if isinstance(payload, list) else [payload],
            principal=get_principal(request),
            on_conflict=_parse_on_conflict(request),
            request_id=get_request_id(request._request),
        )
        return _build_batch_response(receipts) if isinstance(payload, list) else _build_receipt_response(receipts[0])


class MemoryView(ApiView):
    @docs.memory_detail
    @rls_scoped
    def get(self, request: Request, memory_id: UUID) -> Response:
        filters = self.parse_filters(PointInTimeFilterSet, request)
        record = get_memory_or_404(request, memory_id, filters.point_in_time)
        self.read_memory_ids = [memory_id]
        return Response(record)


class MemoryVersionsView(ApiView):
    @docs.memory_versions
    @rls_scoped
    def get(self, request: Request, memory_id: UUID) -> Response:
        filters = self.parse_filters(PointInTimeFilterSet, request)
        visible_memories = Memory.objects.visible_to(get_principal(request).clearance)
        versions = records.fetch_records(
            filters.point_in_time.versions_of(visible_memories, memory_id), records.DETAIL_FIELDS
        )
        if not versions:
            raise not_found()
        self.read_memory_ids = [memory_id]
        return Response(MemoryVersionsResponse(versions=mask_for_session(request, versions)))


class FacetsView(ApiView):
    @docs.facets
    @rls_scoped
    def get(self, request: Request) -> Response:
        counts = facets.count_facets(self.parse_memory_filters(request))
        counts = counts if request.auth else counts.without_secrets()
        return Response(FacetsResponse(total=counts.total, is_capped=counts.is_capped, facets=counts.dimensions))


class HistogramView(ApiView):
    @docs.histogram
    @rls_scoped
    def get(self, request: Request) -> Response:
        return Response(histogram.build_histogram(self.parse_memory_filters(request)))


class StatusView(ApiView):
    def log_read(self, request: Any) -> None:
        """Record nothing: the status contains no memories, and polling would raise the read count that it reports."""

    @docs.status
    @rls_scoped
    def get(self, request: Request) -> Response:
        reject_unknown_params(request.query_params, frozenset(self.extra_params))
        return Response(get_status(get_principal(request)))


class ReadyView(APIView):
    """Whether the database answers with the expected schema. Needs no key, so it reveals nothing else."""

    authentication_classes = ()
    permission_classes = ()

    @docs.ready
    def get(self, request: Request) -> Response:
        try:
            has_pending_migrations = bool(schema.list_pending_migrations())
            has_unknown_migrations = bool(schema.list_unknown_migrations())
        except Exception as error:
            error_info = classify_error(error)
            raise problem_from_error_info(
                error_info if error_info.status == UNAVAILABLE.status else UNAVAILABLE
            ) from error
        if has_unknown_migrations:
            raise ProblemError(
                503,
                "schema_ahead",
                "The database's schema is newer than this version of memoryhub: install the version "
                "that created it, or a later one.",
                headers={"Retry-After": "60"},
            )
        if has_pending_migrations:
            raise ProblemError(
                503, "migrations_pending", "The database's schema is not up to date.", headers={"Retry-After": "5"}
            )
        return Response(ReadyResponse(status="ready", version=VERSION))


@csrf_exempt
def unknown_route(request: HttpRequest, rest: str = "") -> HttpResponse:
    """Answer unknown paths under /api/ with the same 404 as hidden memories."""
    return not_found().to_response(request)


def get_memory_or_404(request: Request, memory_id: UUID, point_in_time: PointInTime = NOW) -> records.MemoryRecord:
    """Return one memory, with secrets masked for a session. Raises ProblemError (404) if the caller sees none."""
    visible_memories = point_in_time.current_versions(Memory.objects.visible_to(get_principal(request).clearance))
    matches = records.fetch_records(visible_memories.with_id(memory_id), records.DETAIL_FIELDS)
    if not matches:
        raise not_found()
    return mask_for_session(request, matches)[0]


def mask_for_session(request: Request, items: list[Item]) -> list[Item]:
    """Return `items` unchanged to a key. For a browser session mask the secrets, as its pages do."""
    return items if request.auth else list(map(records.mask_record, items))


def _parse_on_conflict(request: Request) -> OnConflict:
    reject_unknown_params(request.query_params, frozenset({"on_conflict"}))
    mode = request.query_params.get("on_conflict", OnConflict.REFUSE)
    if mode not in list(OnConflict):
        raise InvalidQueryError({"on_conflict": [f"must be one of {', '.join(OnConflict)}."]})
    return OnConflict(mode)


def _check_batch_size(items: list[Any]) -> list[Any]:
    if len(items) > MAX_BATCH:
        raise ProblemError(413, "too_large", f"A batch holds at most {MAX_BATCH:,} envelopes.")
    return items


_STATUS_BY_OUTCOME = {WriteOutcome.CREATED: 201, WriteOutcome.DUPLICATE: 200, WriteOutcome.UPDATED: 200}
_STATUS_BY_REFUSAL_CODE = {
    "source_mismatch": 403,
    "actor_mismatch": 403,
    "above_clearance": 403,
    "declassification": 403,
    "too_large": 413,
    "payload_id_conflict": 409,
}


def _build_receipt_response(receipt: WriteReceipt) -> Response:
    if receipt.outcome in _STATUS_BY_OUTCOME:
        return Response(_receipt_json(receipt), status=_STATUS_BY_OUTCOME[receipt.outcome])
    raise ProblemError(
        _STATUS_BY_REFUSAL_CODE.get(receipt.code, 400),
        receipt.code,
        "The memory was not stored.",
        errors=receipt.errors,
    )


def _build_batch_response(receipts: list[WriteReceipt]) -> Response:
    outcomes = [receipt.outcome for receipt in receipts]
    is_refused = receipts != [] and not any(receipt.outcome in _STATUS_BY_OUTCOME for receipt in receipts)
    body = WriteBatchResponse(
        results=[_receipt_json(receipt) for receipt in receipts],
        created=outcomes.count(WriteOutcome.CREATED),
        duplicate=outcomes.count(WriteOutcome.DUPLICATE),
        updated=outcomes.count(WriteOutcome.UPDATED),
        conflict=outcomes.count(WriteOutcome.CONFLICT),
        rejected=outcomes.count(WriteOutcome.REJECTED),
    )
    if is_refused:
        raise ProblemError(
            422, "nothing_stored", "None of the envelopes was stored: `results` has the reasons.", extra=body
        )
    return Response(body)


def _receipt_json(receipt: WriteReceipt) -> WriteReceiptResponse | WriteRefusalResponse:
    if receipt.memory_id is None or receipt.errors is not None:
        return WriteRefusalResponse(
            payload_id=receipt.payload_id, outcome=receipt.outcome, code=receipt.code, errors=receipt.errors or {}
        )
    response = WriteReceiptResponse(payload_id=receipt.payload_id, memory_id=receipt.memory_id, outcome=receipt.outcome)
    if receipt.version:
        response["version"] = receipt.version
    if receipt.status:
        response["status"] = receipt.status
    if receipt.decision_id:
        response["decision_id"] = receipt.decision_id
    if receipt.warnings:
        response["warnings"] = receipt.warnings
    return response
