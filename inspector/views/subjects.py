"""The timeline of one subject."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.core.exceptions import BadRequest
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from inspector import time_context
from inspector.auth import InspectorRequest, reader_required
from inspector.presenters import memory_fields, subject_chart, subject_decisions
from inspector.presenters.memory_search import build_back_query, build_list_url, parse_list_params
from inspector.time_context import TimeContext
from memoryhub.access_log import read_log
from memoryhub.core.errors import InvalidQueryError
from memoryhub.core.storable_text import unstorable_reason
from memoryhub.memories.filter_fields import escape_wildcard
from memoryhub.memories.filters import PointInTimeFilterSet
from memoryhub.timetravel.subject_history import (
    MAX_COLLECTIONS,
    MAX_VERSIONS,
    SubjectHistory,
    ValuePeriod,
    get_subject_history,
)

MAX_ROWS_SHOWN = 50


@require_safe
@reader_required
def subject_detail(request: InspectorRequest, subject: str) -> HttpResponse:
    try:
        filters = PointInTimeFilterSet(
            request.GET, clearance=request.principal.clearance, extra_params=("back", "full")
        )
    except InvalidQueryError as error:
        raise BadRequest(str(error)) from error
    page_time = time_context.get_time_context(request, filters.point_in_time)
    history = None if unstorable_reason(subject) else get_subject_history(subject, filters)
    if history is None:
        raise Http404
    memory_ids = {period.record["memory_id"]: None for period in history.periods}
    read_log.log_request_read(request, principal=request.principal, memory_ids=list(memory_ids))
    decision_entries = subject_decisions.list_subject_decisions(
        history, request.principal.clearance, filters.point_in_time.known_at
    )
    history = _mask_history(history)
    list_params = parse_list_params(QueryDict(request.GET.get("back", "")))
    periods = history.periods
    is_full = "full" in request.GET
    current_keys = history.current_at(filters.point_in_time.as_of)
    rows = _build_rows(
        periods if is_full else periods[:MAX_ROWS_SHOWN],
        filters,
        page_time,
        list_params,
        subject_decisions.index_decision_ids(decision_entries),
    )
    context = {
        "section": "memories",
        "page_time": page_time,
        "subject": subject,
        "history": history,
        "decisions": decision_entries,
        "rows": [{**row, **_build_row_status(row["period"], current_keys)} for row in rows],
        "period_count": len(periods),
        "is_truncated": not is_full and len(periods) > MAX_ROWS_SHOWN,
        "max_versions": MAX_VERSIONS,
        "max_collections": MAX_COLLECTIONS,
        "chart": None
        if history.is_empty
        else subject_chart.build_subject_chart(
            history, filters.point_in_time.as_of, subject_decisions.collect_decision_times(decision_entries)
        ),
        "as_of": filters.point_in_time.as_of,
        "back_query": build_back_query(list_params, page_time.instant_params),
        "is_listed": bool(list_params),
        "list_url": page_time.add_to_url(build_list_url(list_params)),
        "all_url": page_time.add_to_url(build_list_url(_build_subject_params(subject))),
        "json_url": _build_json_url(subject, page_time),
        "full_url": "?" + urlencode({"back": list_params.urlencode(), "full": "1", **page_time.instant_params}),
        **_build_step_context(history, filters, page_time),
    }
    return render(request, "subjects/page.html", context)


def _build_rows(
    periods: Sequence[ValuePeriod],
    filters: PointInTimeFilterSet,
    page_time: TimeContext,
    list_params: QueryDict,
    decisions: Mapping[UUID | None, UUID],
) -> list[dict[str, Any]]:
    as_of = filters.point_in_time.as_of
    rows = []
    for period in periods:
        is_later = as_of is not None and period.start > as_of
        instants_at_start = _replace_as_of(page_time, time_context.format_iso_instant(period.start))
        rows.append(
            {
                "period": period,
                "memory": period.record,
                "url": time_context.replace_instants(page_time.page_url, instants_at_start),
                "is_later": is_later,
                # A memory that is not known yet at the page's instant is linked at the start of its period.
                "back_query": build_back_query(
                    list_params, instants_at_start if is_later else page_time.instant_params
                ),
                "is_linked": period.kind != "superseded",
                "decision": decisions.get(period.decision_id),
            }
        )
    return rows


def _build_row_status(period: ValuePeriod, current_keys: Set[tuple[UUID, int]]) -> dict[str, Any]:
    """Return the status of a version now, and the end of its period. Only one value of a key is current."""
    if period.kind == "current" and period.version_key not in current_keys:
        return {"status": "superseded", "until": period.end or period.intervals[0][1]}
    return {"status": period.kind, "until": period.end}


def _replace_as_of(page_time: TimeContext, instant: str) -> dict[str, str]:
    """Return the instants of this page with another `as_of`; "" removes it."""
    known_at_param = {name: value for name, value in page_time.instant_params.items() if name == "known_at"}
    return {**({"as_of": instant} if instant else {}), **known_at_param}


def _build_step_context(
    history: SubjectHistory, filters: PointInTimeFilterSet, page_time: TimeContext
) -> dict[str, Any]:
    steps = subject_chart.build_event_steps(history.event_times, filters.point_in_time.as_of)

    def build_step_url(instant: str | None) -> str | None:
        return (
            None
            if instant is None
            else time_context.replace_instants(page_time.page_url, _replace_as_of(page_time, instant))
        )

    return {
        "steps": steps,
        "previous_url": build_step_url(steps.previous_instant),
        "next_url": build_step_url(steps.next_instant),
    }


def _mask_history(history: SubjectHistory) -> SubjectHistory:
    """Return the history with secrets masked."""
    collections = [
        replace(
            collection_history,
            periods=[
                replace(period, record=memory_fields.mask_memory(period.record))
                for period in collection_history.periods
            ],
        )
        for collection_history in history.collections
    ]
    return replace(
        history, collections=collections, current_values=list(map(memory_fields.mask_memory, history.current_values))
    )


def _build_subject_params(subject: str) -> QueryDict:
    params = QueryDict(mutable=True)
    params["subject"] = escape_wildcard(subject)
    return params


def _build_json_url(subject: str, page_time: TimeContext) -> str:
    params = {"subject": escape_wildcard(subject)}
    if page_time.is_now:
        return f"{reverse('api:memory-list')}?{urlencode(params)}"
    return f"{reverse('api:timetravel')}?{urlencode({'view': 'state', **params, **page_time.instant_params})}"
