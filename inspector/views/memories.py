"""The memory list, and the page of one memory."""

from dataclasses import replace
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.core.exceptions import BadRequest
from django.http import Http404, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from inspector import time_context
from inspector.auth import InspectorRequest, audit_request, reader_required
from inspector.forms.classify_form import ClassifyForm
from inspector.presenters import histogram_chart, memory_fields, safe_text
from inspector.presenters.memory_search import MemorySearch, build_back_query, build_list_url, parse_list_params
from inspector.time_context import TimeContext
from inspector.views import decisions
from inspector.views.audit_log import build_memory_audit
from memoryhub.access_log import read_log
from memoryhub.audit.actions import AuditAction
from memoryhub.conflicts.groups import open_groups
from memoryhub.core.errors import InvalidQueryError
from memoryhub.core.secrets import mask_secrets
from memoryhub.firewall.principal import Scope
from memoryhub.memories import facets, histogram, pagination
from memoryhub.memories.filters import MemoryFilterSet, PointInTimeFilterSet, filterable_statuses
from memoryhub.memories.models import Memory
from memoryhub.memories.point_in_time import NOW
from memoryhub.memories.records import DETAIL_FIELDS, MemoryRecord, fetch_records, newest_records

MAX_CONTENT_PREVIEW = 4_000
MAX_RELATED = 8


@require_safe
@reader_required
def memory_list(request: InspectorRequest) -> HttpResponse:
    search = MemorySearch(request.GET)
    try:
        filters = MemoryFilterSet(
            search.params, clearance=request.principal.clearance, extra_params=pagination.PAGE_PARAMS
        )
        page = pagination.list_page(
            filters, principal=request.principal, params=_get_page_params(search), names=DETAIL_FIELDS
        )
    except InvalidQueryError as error:
        search = MemorySearch(request.GET, error.errors)
        blank_fields = search.build_fields({}, filterable_statuses(request.principal.clearance))
        return _render_list(request, {"search": search, "fields": blank_fields, "errors": search.errors})
    if search.is_form_submission and not request.htmx:
        return HttpResponseRedirect(build_list_url(search.params))
    page_time = time_context.get_time_context(request, filters.point_in_time)
    read_log.log_request_read(request, principal=request.principal, memory_ids=_list_memory_ids(page.records))
    disputed_group_ids = open_groups.find_disputed_group_ids(
        page.records, clearance=filters.clearance, point_in_time=filters.point_in_time
    )
    masked_records = [
        {**memory_fields.mask_memory(record), "disputed": disputed_group_ids.get(record["memory_id"])}
        for record in page.records
    ]
    counts = facets.count_facets(filters).without_secrets()
    suggestions = {name: [value.value for value in values] for name, values in counts.dimensions.items()}
    return _render_list(
        request,
        {
            "search": search,
            "fields": search.build_fields(suggestions, filterable_statuses(filters.clearance)),
            "page": replace(page, records=masked_records),
            "older_url": search.next_page_url(page.next_cursor),
            "total": counts.total,
            "is_capped": counts.is_capped,
            "facets": search.build_facets(counts),
            "chart": histogram_chart.build_histogram_chart(
                histogram.build_histogram(_remove_as_of(filters)), search, filters.point_in_time.as_of
            ),
            "back_query": build_back_query(search.params, page_time.instant_params),
            "may_classify": request.principal.has_scope(Scope.CURATE) and not page_time.has_known_at,
            "may_unmask": request.principal.has_scope(Scope.CURATE),
            "may_replay": request.principal.has_scope(Scope.VIEW_AS),
            "origin": request.build_absolute_uri("/").rstrip("/"),
        },
    )


def _get_page_params(search: MemorySearch) -> dict[str, str]:
    return {name: str(search.params.get(name, "")) for name in pagination.PAGE_PARAMS}


def _remove_as_of(filters: MemoryFilterSet) -> MemoryFilterSet:
    """Return the filters without `as_of`: the chart also shows the time after it, where the reader can move on to."""
    if filters.point_in_time.as_of is None:
        return filters
    params = filters.params.copy()
    params.pop("as_of")
    return MemoryFilterSet(params, clearance=filters.clearance, extra_params=pagination.PAGE_PARAMS)


def _render_list(request: InspectorRequest, context: dict[str, Any]) -> HttpResponse:
    """Render the page, or for htmx its partial, then with status 200 even on errors: htmx does not swap a 400."""
    context = {"section": "memories", **context}
    if not request.htmx or request.htmx.history_restore_request:
        status = HTTPStatus.BAD_REQUEST if context.get("errors") else HTTPStatus.OK
        return render(request, "memories/list.html", context, status=status)
    response = render(request, "memories/list.html#results", context)
    if context["search"].is_form_submission:
        response["HX-Push-Url"] = build_list_url(context["search"].params)
    return response


@require_safe
@reader_required
def memory_detail(request: InspectorRequest, memory_id: UUID) -> HttpResponse:
    return _render_memory(request, memory_id, is_unmasked=False)


@require_POST
@reader_required
def unmask_memory(request: InspectorRequest, memory_id: UUID) -> HttpResponse:
    """Show a memory with its secrets, once. The scope is checked before any lookup."""
    request.principal.require_scopes(Scope.CURATE)
    page = _render_memory(request, memory_id, is_unmasked=True)
    # `reader_required` has opened a transaction, so the page is sent only if the audit entry is committed.
    audit_request(request, AuditAction.MEMORY_UNMASK, principal=request.principal, memory_ids=[memory_id])
    return page


def _render_memory(request: InspectorRequest, memory_id: UUID, *, is_unmasked: bool) -> HttpResponse:
    try:
        filters = PointInTimeFilterSet(
            request.GET, clearance=request.principal.clearance, extra_params=("back", "full")
        )
    except InvalidQueryError as error:
        raise BadRequest(str(error)) from error
    page_time = time_context.get_time_context(request, filters.point_in_time)
    list_params = parse_list_params(QueryDict(request.GET.get("back", "")))
    stored_versions = fetch_records(
        filters.point_in_time.versions_of(filters.visible_versions, memory_id)[: memory_fields.MAX_VERSIONS + 1],
        DETAIL_FIELDS,
    )
    if not stored_versions:
        return _render_absent(request, memory_id, list_params, page_time)
    related = _load_related(filters, stored_versions[0])
    read_log.log_request_read(request, principal=request.principal, memory_ids=[memory_id, *_list_memory_ids(related)])
    masked_versions = list(map(memory_fields.mask_memory, stored_versions))
    versions = stored_versions if is_unmasked else masked_versions
    current_version = versions[0]
    is_full = is_unmasked or "full" in request.GET
    content = (
        current_version["content"] if is_full else safe_text.shorten(current_version["content"], MAX_CONTENT_PREVIEW)
    )
    context = {
        "section": "memories",
        "memory": current_version,
        "display_content": content,
        "is_full": is_full,
        "content_length": len(current_version["content"]),
        "is_truncated": len(content) < len(current_version["content"]),
        "full_url": "?" + urlencode({"back": list_params.urlencode(), "full": "1", **page_time.instant_params}),
        "versions": memory_fields.build_version_history(versions)[: memory_fields.MAX_VERSIONS],
        "more_versions": len(versions) > memory_fields.MAX_VERSIONS,
        "groups": memory_fields.group_fields(current_version),
        "metadata": memory_fields.format_json(current_version["metadata"]),
        "propagation": memory_fields.format_json(current_version["propagation"]),
        "related": related,
        "back_query": build_back_query(list_params, page_time.instant_params),
        "is_listed": bool(list_params),
        "list_url": page_time.add_to_url(build_list_url(list_params)),
        "subject_url": page_time.add_to_url(_build_filtered_list_url(stored_versions[0], "subject")),
        "collection_url": page_time.add_to_url(_build_filtered_list_url(stored_versions[0], "subject", "collection")),
        "json_url": page_time.add_to_url(reverse("api:memory-detail", args=[memory_id])),
        "versions_url": page_time.add_to_url(reverse("api:memory-versions", args=[memory_id])),
        "has_secrets": any(version["has_secrets"] for version in masked_versions),
        "is_unmasked": is_unmasked,
        "disputed": open_groups.find_disputed_group_ids(
            stored_versions[:1], clearance=filters.clearance, point_in_time=filters.point_in_time
        ).get(memory_id),
        "decisions": decisions.build_memory_decisions(request, memory_id, filters.point_in_time.known_at),
        "audit": build_memory_audit(request, memory_id),
        "may_unmask": request.principal.has_scope(Scope.CURATE),
        "may_classify": request.principal.has_scope(Scope.CURATE) and not page_time.has_known_at,
        "form": ClassifyForm.for_memory(stored_versions[0], principal=request.principal),
    }
    return render(request, "memories/detail.html", context)


def _render_absent(
    request: InspectorRequest, memory_id: UUID, list_params: QueryDict, page_time: TimeContext
) -> HttpResponse:
    """Render a memory that does not exist at the page's instant, with a link to it if it exists now."""
    if page_time.is_now:
        raise Http404
    is_there_now = NOW.versions_of(Memory.objects.visible_to(request.principal.clearance), memory_id).exists()
    read_log.log_request_read(request, principal=request.principal, memory_ids=[memory_id] if is_there_now else [])
    context = {
        "section": "memories",
        "now_url": reverse("inspector:memory-detail", args=[memory_id]) + build_back_query(list_params)
        if is_there_now
        else "",
        "list_url": page_time.add_to_url(build_list_url(list_params)),
    }
    return render(request, "memories/absent.html", context, status=HTTPStatus.NOT_FOUND)


def _list_memory_ids(memory_records: list[MemoryRecord]) -> list[UUID]:
    return [record["memory_id"] for record in memory_records]


def _load_related(filters: PointInTimeFilterSet, memory_record: MemoryRecord) -> list[MemoryRecord]:
    if not memory_record["subject"] and not memory_record["collection"]:
        return []
    key_memory = Memory(**{name: memory_record[name] for name in ("memory_id", "subject", "collection")})
    related_memories = filters.point_in_time.current_versions(filters.visible_versions).related_to(key_memory)
    return list(map(memory_fields.mask_memory, newest_records(related_memories, MAX_RELATED, DETAIL_FIELDS)))


def _build_filtered_list_url(memory_record: MemoryRecord, *names: str) -> str:
    """Return the list of memories with the same values; values with secrets are left out of the address."""
    params = QueryDict(mutable=True)
    params.update(
        {name: memory_record[name] for name in names if mask_secrets(memory_record[name]) == memory_record[name]}
    )
    return build_list_url(params)
