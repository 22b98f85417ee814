"""Error pages. They do not access the database, because it may be the cause of the error."""

import sys
from collections.abc import Mapping

import structlog
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from memoryhub.core.errors import INTERNAL, classify_error, find_sqlstate

log = structlog.get_logger("inspector")


def render_error_page(
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


def render_bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render_error_page(
        request, 400, "That address cannot be answered", "It asks in a way that this page does not understand."
    )


def render_forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render_error_page(
        request,
        403,
        "Not for this account",
        "You are signed in, but you may not do that. An administrator can change it.",
    )


def render_csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return render_error_page(
        request,
        403,
        "This form has expired",
        "Nothing was changed. Go back, reload the page and send the form again; cookies must be allowed.",
    )


def render_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render_error_page(request, 404, "Nothing here", "There is no such page or memory, or none that you may see.")


def render_server_error(request: HttpRequest) -> HttpResponse:
    """Render the page for an exception: "Not now" if the database is unavailable, else "Something went wrong"."""
    error = sys.exception()
    error_info = classify_error(error) if error else INTERNAL
    request_id = getattr(request, "request_id", "")
    log.error("page failed", code=error_info.code, sqlstate=error and find_sqlstate(error), request_id=request_id)
    title = "Not now" if error_info.status == 503 else "Something went wrong"
    headers = {"Retry-After": str(error_info.retry_after_seconds)} if error_info.retry_after_seconds else {}
    return render_error_page(request, max(error_info.status, 500), title, error_info.detail, headers=headers)
