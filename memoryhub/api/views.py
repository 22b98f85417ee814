"""The JSON door: parse, ask one function, render."""

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from memoryhub.api import documentation as docs
from memoryhub.api.permissions import principal, walled
from memoryhub.api.problems import Problem, not_found, of_fault, request_id_of
from memoryhub.faults import UNAVAILABLE, fault_of
from memoryhub.firewall.types import Principal, Scope
from memoryhub.memories import facets, ingest, pages, records, timeline
from memoryhub.memories.filters import BadQuery, MemoryFilterSet, MomentFilterSet, refuse_unknown
from memoryhub.memories.ingest import OnConflict, Outcome, Receipt
from memoryhub.memories.models import Memory
from memoryhub.memories.moment import NOW, Moment
from memoryhub.ops import reads, schema
from memoryhub.ops.status import status
from memoryhub.version import VERSION

MAX_BATCH = 1_000
Filters = TypeVar("Filters", bound=MomentFilterSet)


class View(APIView):
    # A route of the API; `parameters` are those it takes besides filters. (A docstring would stand in the schema.)
    http_method_names = ["get", "post", "head"]
    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.READ}
    parameters: ClassVar[tuple[str, ...]] = ()
    told: Sequence[UUID] = ()
    """The memories of the answer."""
    reader: Principal | None = None
    """Who was told of them, if it was not the caller as itself."""
    moment = NOW
    """When they are looked at."""

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        if request.method in ("GET", "HEAD") and response.status_code == 200:
            self.note_read(request)
            is_limit_clipped = pages.exceeds_limit(request.query_params.get("limit", ""))
            self.add_clipped_header(response, *self.moment.clipped, *(["limit"] if is_limit_clipped else []))
        return super().finalize_response(request, response, *args, **kwargs)

    def note_read(self, request: Any) -> None:
        """Add this answer to the record of who read what."""
        reads.asked(request._request, by=self.reader or principal(request), memory_ids=self.told)

    @staticmethod
    def add_clipped_header(response: Any, *names: str) -> None:
        """Name the parameters in whose place a smaller value was taken."""
        if names:
            response["Memoryhub-Clipped"] = ", ".join(names)

    def filters(self, request: Request) -> MemoryFilterSet:
        return self.read(MemoryFilterSet, request)

    def read(self, filter_set: type[Filters], request: Request) -> Filters:
        filters = filter_set(request.query_params, clearance=principal(request).clearance, besides=self.parameters)
        self.moment = filters.moment
        return filters


class MemoriesView(View):
    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.READ, "POST": Scope.WRITE}
    parameters: ClassVar[tuple[str, ...]] = pages.PARAMETERS

    @docs.memories_list
    @walled
    def get(self, request: Request) -> Response:
        page = pages.page(self.filters(request), reader=principal(request), parameters=request.query_params)
        self.told = [record["memory_id"] for record in page.records]
        found = shown(request, page.records)
        return Response({"records": found, "next_cursor": page.next_cursor, "has_more": page.has_more})

    @docs.memories_write
    def post(self, request: Request) -> Response:
        given: Any = request.data
        receipts = ingest.write(
            _batch(given) if isinstance(given, list) else [given],
            by=principal(request),
            on_conflict=_on_conflict(request),
            request_id=request_id_of(request._request),
        )
        return _answer_batch(receipts) if isinstance(given, list) else _answer_one(receipts[0])


class MemoryView(View):
    @docs.memory_detail
    @walled
    def get(self, request: Request, memory_id: UUID) -> Response:
        filters = self.read(MomentFilterSet, request)
        found = whole(request, memory_id, filters.moment)
        self.told = [memory_id]
        return Response(found)


class VersionsView(View):
    @docs.memory_versions
    @walled
    def get(self, request: Request, memory_id: UUID) -> Response:
        filters = self.read(MomentFilterSet, request)
        seen = Memory.objects.visible_to(principal(request).clearance)
        found = records.records(filters.moment.history(seen, memory_id), records.WHOLE)
        if not found:
            raise not_found()
        self.told = [memory_id]
        return Response({"versions": shown(request, found)})


class FacetsView(View):
    @docs.facets
    @walled
    def get(self, request: Request) -> Response:
        counted = facets.count(self.filters(request))
        counted = counted if request.auth else counted.for_people()
        return Response({"total": counted.total, "capped": counted.capped, "facets": counted.dimensions})


class HistogramView(View):
    @docs.histogram
    @walled
    def get(self, request: Request) -> Response:
        drawn = timeline.histogram(self.filters(request))
        return Response({"buckets": drawn.buckets, "capped": drawn.capped})


class StatusView(View):
    def note_read(self, request: Any) -> None:
        """Nothing: a monitor that polls the status reads no memory, and would raise the count that it reports."""

    @docs.status
    @walled
    def get(self, request: Request) -> Response:
        refuse_unknown(request.query_params, frozenset(self.parameters))
        return Response(status(principal(request)))


class ReadyView(APIView):
    """Whether the database answers and its schema is the code's. Asked without a key, so it tells nothing else."""

    authentication_classes = ()
    permission_classes = ()

    @docs.ready
    def get(self, request: Request) -> Response:
        try:
            is_behind = bool(schema.pending_migrations())
            is_ahead = bool(schema.unknown_migrations())
        except Exception as error:
            fault = fault_of(error)
            raise of_fault(fault if fault.status == UNAVAILABLE.status else UNAVAILABLE) from error
        if is_ahead:
            raise Problem(
                503,
                "schema_ahead",
                "The database's schema is newer than this code: install the version that made it, or a later one.",
                headers={"Retry-After": "60"},
            )
        if is_behind:
            raise Problem(
                503, "migrations_pending", "The database's schema is not up to date.", headers={"Retry-After": "5"}
            )
        return Response({"status": "ready", "version": VERSION})


@csrf_exempt
def unknown_route(request: HttpRequest, rest: str = "") -> HttpResponse:
    """Whatever is under /api/ and no route: the same answer as for what is hidden."""
    return not_found().response(request)


def whole(request: Request, memory_id: UUID, moment: Moment = NOW) -> records.Record:
    """One memory as this caller is told of it. Raises Problem if there is none that it may see."""
    seen = moment.of(Memory.objects.visible_to(principal(request).clearance))
    found = records.records(seen.with_id(memory_id), records.WHOLE)
    if not found:
        raise not_found()
    return shown(request, found)[0]


def shown(request: Request, found: list[records.Record]) -> list[records.Record]:
    """To a key what was written. A browser's session gets what its pages show: secrets masked, until it asks there."""
    return found if request.auth else list(map(records.for_people, found))


def _on_conflict(request: Request) -> OnConflict:
    refuse_unknown(request.query_params, frozenset({"on_conflict"}))
    wanted = request.query_params.get("on_conflict", OnConflict.REFUSE)
    if wanted not in list(OnConflict):
        raise BadQuery({"on_conflict": [f"must be one of {', '.join(OnConflict)}."]})
    return OnConflict(wanted)


def _batch(items: list[Any]) -> list[Any]:
    if len(items) > MAX_BATCH:
        raise Problem(413, "too_large", f"A batch holds at most {MAX_BATCH:,} envelopes.")
    return items


_STATUS = {Outcome.CREATED: 201, Outcome.DUPLICATE: 200, Outcome.UPDATED: 200}
_REFUSED = {
    "source_mismatch": 403,
    "actor_mismatch": 403,
    "above_clearance": 403,
    "declassification": 403,
    "too_large": 413,
    "payload_id_conflict": 409,
}


def _answer_one(receipt: Receipt) -> Response:
    if receipt.outcome in _STATUS:
        return Response(_told(receipt), status=_STATUS[receipt.outcome])
    raise Problem(_REFUSED.get(receipt.code, 400), receipt.code, "The memory was not stored.", errors=receipt.errors)


def _answer_batch(receipts: list[Receipt]) -> Response:
    outcomes = [receipt.outcome for receipt in receipts]
    numbers = {outcome.value: outcomes.count(outcome) for outcome in Outcome}
    is_refused = receipts != [] and not any(receipt.outcome in _STATUS for receipt in receipts)
    body = {"results": [_told(receipt) for receipt in receipts], **numbers}
    if is_refused:
        raise Problem(422, "nothing_stored", "None of the envelopes was stored: `results` says why.", told=body)
    return Response(body)


def _told(receipt: Receipt) -> dict[str, Any]:
    if receipt.errors is None:
        return {
            "payload_id": receipt.payload_id,
            "memory_id": receipt.memory_id,
            **({"version": receipt.version} if receipt.version else {}),
            "outcome": receipt.outcome,
            **({"status": receipt.status} if receipt.status else {}),
            **({"decision": receipt.decision} if receipt.decision else {}),
            **({"warnings": receipt.warnings} if receipt.warnings else {}),
        }
    return {
        "payload_id": receipt.payload_id,
        "outcome": receipt.outcome,
        "code": receipt.code,
        "errors": receipt.errors,
    }
