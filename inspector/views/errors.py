"""Pages for what went wrong. They ask nobody anything: it may be the database that failed."""

import sys
from collections.abc import Mapping

import structlog
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from memoryhub.faults import INTERNAL, fault_of, sqlstate_of

log = structlog.get_logger("inspector")


def page(
    request: HttpRequest, status: int, title: str, text: str, *, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    context = {
        "status": status,
        "title": title,
        "text": text,
        "request_id": getattr(request, "request_id", ""),
        "retry": request.get_full_path() if request.method == "GET" and status >= 500 else "",
    }
    response = render(request, "errors/page.html", context, status=status)
    for name, value in {"Cache-Control": "private, no-store", **(headers or {})}.items():
        response[name] = value
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return page(request, 400, "That address cannot be answered", "It asks in a way that this page does not understand.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return page(
        request,
        403,
        "Not for this account",
        "You are signed in, but you may not do that. An administrator can change it.",
    )


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return page(
        request,
        403,
        "This form has expired",
        "Nothing was changed. Go back, reload the page and send the form again; cookies must be allowed.",
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return page(request, 404, "Nothing here", "There is no such page or memory, or none that you may see.")


def server_error(request: HttpRequest) -> HttpResponse:
    """The page for an exception: "not now" where the database is the reason, else "our fault"."""
    error = sys.exception()
    fault = fault_of(error) if error else INTERNAL
    request_id = getattr(request, "request_id", "")
    log.error("page failed", code=fault.code, sqlstate=error and sqlstate_of(error), request_id=request_id)
    title = "Not now" if fault.status == 503 else "Something went wrong"
    headers = {"Retry-After": str(fault.retry_after_seconds)} if fault.retry_after_seconds else {}
    return page(request, max(fault.status, 500), title, fault.detail, headers=headers)
