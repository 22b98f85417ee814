"""Pages of the audit log: its entries, and the memories that a principal has read."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from inspector.auth import InspectorRequest, reader_required
from inspector.presenters import audit
from inspector.presenters.memory_search import (
    EMPTY_VALUE_LABEL,
    format_error_messages,
    list_params_matching_empty,
    parse_params,
)
from memoryhub.access_log import audit_filters, audit_queries, read_log
from memoryhub.audit.actions import AuditAction
from memoryhub.core.errors import InvalidQueryError
from memoryhub.core.storable_text import unstorable_reason
from memoryhub.firewall.principal import Scope
from memoryhub.memories.filter_fields import FORM_PARAM

MAX_NAME_CHARS = 300
MAX_MEMORIES_SHOWN = 50
MAX_ENTRIES_PER_MEMORY = 20
FIELD_LABELS = {
    "principal": "Who",
    "action": "Did what",
    "memory": "Memory",
    "from": "From (UTC)",
    "to": "Before (UTC)",
}
HINTS = {"principal": "user:ada", "memory": "the id of a memory", "from": "2026-10-03", "to": "2026-10-04"}


@require_safe
@reader_required
def audit_log(request: InspectorRequest) -> HttpResponse:
    _require_audit_and_flush(request)
    params = parse_params(request.GET)
    if FORM_PARAM in request.GET:
        return HttpResponseRedirect(_build_url("inspector:audit-log", params=params))
    errors: dict[str, list[str]] = {}
    context: dict[str, Any] = {
        "section": "audit",
        "params": params,
        "params_matching_empty": list_params_matching_empty(params),
        "is_later_page": "cursor" in params,
    }
    try:
        audit_page = audit_filters.query_entries(params, request.principal)
    except InvalidQueryError as error:
        errors = error.errors
    else:
        read_log.log_request_read(request, principal=request.principal)
        context |= _build_page_context(audit_page, params, "inspector:audit-log")
    context |= {
        "fields": [_build_field(name, params, errors) for name in FIELD_LABELS],
        "errors": format_error_messages(errors),
        "is_narrowed": any(name in params for name in audit_filters.FILTER_PARAMS),
        "request_id": params.get("request_id", ""),
        "json_url": _build_url("api:audit-log", params=params),
    }
    status = HTTPStatus.BAD_REQUEST if errors else HTTPStatus.OK
    return render(request, "audit/list.html", context, status=status)


@require_safe
@reader_required
def principal_reads(request: InspectorRequest, name: str) -> HttpResponse:
    """Show the memories that a principal has read: none if no principal has this name, or if its reads are hidden."""
    _require_audit_and_flush(request)
    if len(name) > MAX_NAME_CHARS or unstorable_reason(name):
        raise Http404
    params = parse_params(request.GET)
    try:
        audit_page = audit_filters.query_principal_reads(name, params, request.principal)
    except InvalidQueryError as error:
        return render(request, "audit/principal.html", {"name": name, "field_errors": error.errors}, status=400)
    read_log.log_request_read(request, principal=request.principal)
    memories = audit_queries.list_exposed_memories(name, request.principal)
    context = {
        "section": "audit",
        "name": name,
        "is_later_page": "cursor" in params,
        "memories": memories[:MAX_MEMORIES_SHOWN],
        "memory_count": len(memories),
        "max_reads": audit_queries.MAX_READS_EXAMINED,
        "all_url": _build_url("inspector:audit-log", params=_build_params(principal=name)),
        **_build_page_context(audit_page, params, "inspector:audit-principal", name),
    }
    return render(request, "audit/principal.html", context)


def build_memory_audit(request: InspectorRequest, memory_id: UUID) -> dict[str, Any] | None:
    """Return the reads and actions of a memory for its page; None without the scope `audit`."""
    if not request.principal.has_scope(Scope.AUDIT):
        return None
    read_log.flush_reads()
    reads_page = audit_queries.list_memory_reads(memory_id, request.principal, limit=MAX_ENTRIES_PER_MEMORY)
    actions_page = audit_queries.list_memory_actions(memory_id, request.principal, limit=MAX_ENTRIES_PER_MEMORY)
    return {
        "reads": audit.build_audit_lines(reads_page.entries) if reads_page else [],
        "actions": audit.build_audit_lines(actions_page.entries) if actions_page else [],
        "all_url": _build_url("inspector:audit-log", params=_build_params(memory=str(memory_id))),
    }


def _require_audit_and_flush(request: InspectorRequest) -> None:
    """Require the scope `audit`, and write the buffered reads, so that the page includes recent ones."""
    request.principal.require_scopes(Scope.AUDIT)
    read_log.flush_reads()


def _build_page_context(
    audit_page: audit_queries.AuditPage, params: QueryDict, view: str, *args: str
) -> dict[str, Any]:
    newest_params = params.copy()
    newest_params.pop("cursor", None)
    older_params = newest_params.copy()
    older_params["cursor"] = audit_page.next_cursor or ""
    return {
        "entries": audit.build_audit_lines(audit_page.entries),
        "older_url": _build_url(view, *args, params=older_params) if audit_page.next_cursor else "",
        "newest_url": _build_url(view, *args, params=newest_params),
    }


def _build_field(name: str, params: QueryDict, errors: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "name": name,
        "label": FIELD_LABELS[name],
        "value": params.get(name, ""),
        "hint": EMPTY_VALUE_LABEL if name in list_params_matching_empty(params) else HINTS.get(name, ""),
        "options": [(action, f"{action.label} ({action})") for action in AuditAction] if name == "action" else [],
        "error": " ".join(errors.get(name, [])),
    }


def _build_params(**values: str) -> QueryDict:
    params = QueryDict(mutable=True)
    params.update(values)
    return params


def _build_url(view: str, *args: str, params: QueryDict) -> str:
    query = params.urlencode()
    return reverse(view, args=args) + (f"?{query}" if query else "")
