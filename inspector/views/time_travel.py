"""The time form: it parses an instant and leads to the page at that instant."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from django.http import HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_safe

from inspector import time_context
from inspector.auth import InspectorRequest, reader_required
from memoryhub.memories import clock
from memoryhub.memories.filters import POINT_IN_TIME_PARAMS

PRESETS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
TIME_PARAM_CHOICES = (*POINT_IN_TIME_PARAMS, time_context.BOTH_AXES)
UNREADABLE_MESSAGE = "That is no instant. Write it as 2026-03-01T12:30, which is UTC, or add an offset, such as +02:00."


@require_safe
@reader_required
def choose_time(request: InspectorRequest) -> HttpResponse:
    return_url = _get_return_url(request)
    if "now" in request.GET:
        return HttpResponseRedirect(time_context.replace_instants(return_url, {}))
    is_submitted = bool(request.GET.get("instant") or request.GET.get("preset"))
    time_param = request.GET.get("axis", "known_at")
    instant = _parse_requested_instant(request.GET) if time_param in TIME_PARAM_CHOICES else None
    if instant is None:
        context = {
            "section": "time",
            "return_url": return_url,
            "axis": time_param,
            "rejected_input": request.GET.get("instant", ""),
            "error": UNREADABLE_MESSAGE if is_submitted else "",
        }
        return render(
            request, "time/page.html", context, status=HTTPStatus.BAD_REQUEST if is_submitted else HTTPStatus.OK
        )
    names = POINT_IN_TIME_PARAMS if time_param == time_context.BOTH_AXES else (time_param,)
    return HttpResponseRedirect(
        time_context.replace_instants(return_url, dict.fromkeys(names, time_context.format_iso_instant(instant)))
    )


def _parse_requested_instant(data: QueryDict) -> datetime | None:
    """Parse the instant of the form: a preset duration before now, or a typed text, in UTC unless it names a zone."""
    if (preset := PRESETS.get(data.get("preset", ""))) is not None:
        now: datetime = clock.database_now()
        return (now - preset).replace(microsecond=0)
    try:
        input_instant = datetime.fromisoformat(data.get("instant", ""))
        input_instant = input_instant if input_instant.tzinfo else input_instant.replace(tzinfo=UTC)
        input_instant = input_instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    # The input drops microseconds; if the user left it alone, keep the exact previous instant.
    previous_instant = time_context.parse_instant(data.get("previous_instant", ""))
    return (
        previous_instant
        if previous_instant and previous_instant.replace(microsecond=0) == input_instant
        else input_instant
    )


def _get_return_url(request: InspectorRequest) -> str:
    return_url = request.GET.get("next", "")
    is_own_host = url_has_allowed_host_and_scheme(return_url, {request.get_host()}, require_https=request.is_secure())
    return return_url if is_own_host else reverse("inspector:memory-list")
