"""The diff between two instants, side by side."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from inspector.auth import InspectorRequest, reader_required
from inspector.presenters import memory_fields
from inspector.presenters.memory_search import (
    EMPTY_VALUE_LABEL,
    FIELD_LABELS,
    describe_filter,
    format_error_messages,
    list_params_matching_empty,
    parse_params,
)
from memoryhub.access_log import read_log
from memoryhub.core.errors import InvalidQueryError
from memoryhub.memories.facets import FacetValue
from memoryhub.memories.filter_fields import FORM_PARAM, escape_wildcard
from memoryhub.memories.records import MemoryRecord
from memoryhub.timetravel import diff as diffs
from memoryhub.timetravel import text_diff
from memoryhub.timetravel.diff import Change, Diff

INPUT_FIELDS = ("since", "until", "subject", "source", "q")
DIFF_FIELD_LABELS = {"since": "Since (UTC)", "until": "Until (UTC)", "q": "Words"}
HINTS = {"since": "2026-10-03", "until": "now", "subject": "any", "source": "any"}
AXIS_LABELS = {
    "record": ("Record time", "What the hub knew: each memory as it stood at both instants."),
    "event": ("Event time", "What had happened: the current value of each subject and collection at both instants."),
}
PRESETS = (
    ("the last hour", timedelta(hours=1)),
    ("the last day", timedelta(days=1)),
    ("the last 7 days", timedelta(days=7)),
)
EARLIEST_BY_AXIS = {"record": "1970-01-01", "event": "0001-01-01"}


@require_safe
@reader_required
def diff_page(request: InspectorRequest) -> HttpResponse:
    params = parse_params(request.GET)
    if FORM_PARAM in request.GET and not request.htmx:
        return HttpResponseRedirect(_build_url(params))
    if "since" not in params:
        return _render_page(request, params, {})
    try:
        diff_result = diffs.compute_diff(params, principal=request.principal)
    except InvalidQueryError as error:
        return _render_page(request, params, {"errors": error.errors})
    read_log.log_request_read(request, principal=request.principal, memory_ids=diff_result.memory_ids)
    return _render_page(request, params, _build_result_context(diff_result, params))


def _render_page(request: InspectorRequest, params: QueryDict, context: dict[str, Any]) -> HttpResponse:
    """Render the page, or for htmx its partial, then with status 200 even on errors: htmx does not swap a 400."""
    errors: Mapping[str, list[str]] = context.get("errors", {})
    axis = params.get("axis", "record")
    context = {
        "section": "diff",
        "params": params,
        "params_matching_empty": list_params_matching_empty(params),
        "is_later_page": "cursor" in params,
        "newest_url": _build_url(params),
        "json_url": _build_url(params, "api:diff"),
        "inputs": [_build_input(name, params, errors) for name in INPUT_FIELDS],
        "axes": [(name, *labels, name == axis) for name, labels in AXIS_LABELS.items()],
        "hidden": [
            (name, value)
            for name, values in params.lists()
            if name not in ("axis", "cursor")
            # An input shows the last value of its filter.
            for value in (values[:-1] if name in INPUT_FIELDS else values)
            if value
        ],
        "presets": _build_presets(params),
        "active_filters": _list_active_filters(params),
        "error_messages": format_error_messages(errors),
        **context,
    }
    is_full_page = not request.htmx or request.htmx.history_restore_request
    status = HTTPStatus.BAD_REQUEST if errors and is_full_page else HTTPStatus.OK
    return render(request, "diff/page.html" if is_full_page else "diff/page.html#results", context, status=status)


def _build_result_context(diff_result: Diff, params: QueryDict) -> dict[str, Any]:
    counts = diff_result.counts.with_secrets_masked()
    return {
        "is_answered": True,
        "since": diff_result.query.since,
        "until": diff_result.query.until,
        "is_until_now": "until" not in params,
        "clipped": diff_result.query.point_in_time.clipped,
        "changes": [_build_change(change, diff_result) for change in diff_result.changes],
        "older_url": _build_url(params, cursor=diff_result.next_cursor) if diff_result.next_cursor else "",
        "total": counts.total,
        "is_capped": counts.is_capped,
        "groups": [
            _build_facet_group(
                "change", "Kinds", [FacetValue(kind, count) for kind, count in counts.kinds.items()], params
            ),
            _build_facet_group("subject", "Subjects", counts.subjects, params),
            _build_facet_group("source", "Sources", counts.sources, params),
        ],
    }


def _build_change(change: Change, diff_result: Diff) -> dict[str, Any]:
    before, after = (end and memory_fields.mask_memory(end) for end in (change.before, change.after))
    field_changes = memory_fields.compare_fields(before, after) if before and after else []
    segments: list[text_diff.DiffSegment] = []
    if before and after and before["content"] != after["content"]:
        segments = memory_fields.truncate_segments(
            text_diff.diff_for_display(before["content"], after["content"], max_tokens=diff_result.max_words_per_change)
        )
    compared_fields = {change.label for change in field_changes} | {"content"}
    return {
        "kinds": change.kinds,
        "changed_at": change.changed_at,
        "memory": after or before,
        "url": _build_memory_url(after or before or {}, diff_result, is_before=after is None),
        "ends": [
            _build_end("Before", before, segments, "inserted", diff_result),
            _build_end("After", after, segments, "deleted", diff_result),
        ],
        "fields": field_changes,
        "other_fields": [name for name in change.fields if name not in compared_fields],
        "has_secrets": any(end and end["has_secrets"] for end in (before, after)),
    }


def _build_end(
    title: str, memory: MemoryRecord | None, segments: list[text_diff.DiffSegment], hidden_kind: str, diff_result: Diff
) -> dict[str, Any]:
    return {
        "title": title,
        "memory": memory,
        "segments": [segment for segment in segments if segment.kind != hidden_kind],
        "url": _build_memory_url(memory, diff_result, is_before=title == "Before") if memory else "",
    }


def _build_memory_url(memory: MemoryRecord, diff_result: Diff, *, is_before: bool) -> str:
    """Return the memory's page at that end of the diff."""
    axis = "as_of" if diff_result.query.filters.is_event_axis else "known_at"
    instant = diff_result.query.since if is_before else diff_result.query.until
    query = urlencode({axis: instant.astimezone(UTC).isoformat().replace("+00:00", "Z")})
    return f"{reverse('inspector:memory-detail', args=[memory['memory_id']])}?{query}"


def _build_facet_group(name: str, title: str, values: list[FacetValue], params: QueryDict) -> dict[str, Any]:
    active_values = params.getlist(name)
    return {
        "name": name,
        "title": title,
        "values": [
            {
                "value": facet_value.value,
                "count": facet_value.count,
                "is_active": filter_value in active_values,
                "url": _build_url_replacing(
                    params,
                    name,
                    [value for value in active_values if value != filter_value]
                    if filter_value in active_values
                    else [filter_value],
                ),
            }
            for facet_value in values
            for filter_value in [escape_wildcard(facet_value.value)]
        ],
    }


def _build_presets(params: QueryDict) -> list[tuple[str, str]]:
    now = datetime.now(UTC)
    recent_presets = [(label, (now - duration).strftime("%Y-%m-%dT%H:%M:%SZ")) for label, duration in PRESETS]
    earliest = EARLIEST_BY_AXIS.get(params.get("axis", "record"), EARLIEST_BY_AXIS["record"])
    params_until_now = params.copy()
    params_until_now.pop("until", None)
    return [
        (label, _build_url(params_until_now, since=since))
        for label, since in [*recent_presets, ("everything", earliest)]
    ]


def _list_active_filters(params: QueryDict) -> list[dict[str, str]]:
    active_filters = []
    for name, values in params.lists():
        for value in values if name not in ("since", "until", "axis", *diffs.PAGE_PARAMS) else ():
            other_values = [other_value for other_value in values if other_value != value]
            phrase = "kind is" if name == "change" else describe_filter(name)
            active_filters.append(
                {
                    "phrase": phrase,
                    "value": value or EMPTY_VALUE_LABEL,
                    "url": _build_url_replacing(params, name, other_values),
                }
            )
    return active_filters


def _build_input(name: str, params: QueryDict, errors: Mapping[str, list[str]]) -> dict[str, Any]:
    return {
        "name": name,
        "label": DIFF_FIELD_LABELS.get(name) or FIELD_LABELS.get(name, name.capitalize()),
        "value": params.get(name, ""),
        "hint": EMPTY_VALUE_LABEL if name in list_params_matching_empty(params) else HINTS.get(name, ""),
        "error": " ".join(errors.get(name, [])),
    }


def _build_url_replacing(params: QueryDict, name: str, values: list[str]) -> str:
    """Return the first page of this diff with other values of one parameter."""
    new_params = params.copy()
    new_params.setlist(name, values)
    return _build_url(new_params)


def _build_url(params: QueryDict, view: str = "inspector:diff", **changes: str) -> str:
    """Return the first page of this diff with some parameters replaced."""
    url_params = params.copy()
    url_params.pop("cursor", None)
    for name, value in changes.items():
        url_params[name] = value
    query = url_params.urlencode()
    return reverse(view) + (f"?{query}" if query else "")
