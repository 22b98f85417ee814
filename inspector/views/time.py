"""The time machine's own door: it reads an instant as people give one, and leads to the page at that instant."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from django.http import HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_safe

from inspector import moment
from inspector.access import PageRequest, reader
from memoryhub.memories import clock
from memoryhub.memories.filters import MOMENT

AGO = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
AXES = (*MOMENT, moment.BOTH)
UNREADABLE = "That is no instant. Write it as 2026-03-01T12:30, which is UTC, or with a zone of its own."


@require_safe
@reader
def time(request: PageRequest) -> HttpResponse:
    back = _back(request)
    if "now" in request.GET:
        return HttpResponseRedirect(moment.changed(back, {}))
    is_asked = bool(request.GET.get("instant") or request.GET.get("ago"))
    axis = request.GET.get("axis", "known_at")
    instant = _instant(request.GET) if axis in AXES else None
    if instant is None:
        context = {
            "section": "time",
            "back": back,
            "axis": axis,
            "given": request.GET.get("instant", ""),
            "error": UNREADABLE if is_asked else "",
        }
        return render(request, "time/page.html", context, status=HTTPStatus.BAD_REQUEST if is_asked else HTTPStatus.OK)
    names = MOMENT if axis == moment.BOTH else (axis,)
    return HttpResponseRedirect(moment.changed(back, dict.fromkeys(names, moment.as_parameter(instant))))


def _instant(data: QueryDict) -> datetime | None:
    """The instant that a form asks for: so long ago, or what was typed, in UTC unless it names a zone."""
    if (ago := AGO.get(data.get("ago", ""))) is not None:
        now: datetime = clock.now()
        return (now - ago).replace(microsecond=0)
    try:
        typed = datetime.fromisoformat(data.get("instant", ""))
        typed = typed if typed.tzinfo else typed.replace(tzinfo=UTC)
        typed = typed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    # An input holds seconds; what was not touched is meant as exactly as it was.
    held = moment.parsed(data.get("held", ""))
    return held if held and held.replace(microsecond=0) == typed else typed


def _back(request: PageRequest) -> str:
    back = request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    return back if is_ours else reverse("inspector:memories")
