"""What holds for every request, whatever view answers it."""

import re
import uuid
from collections.abc import Callable

import orjson
from csp.constants import HEADER
from csp.middleware import CSPMiddleware
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.middleware.http import ConditionalGetMiddleware
from django.utils.cache import patch_cache_control, patch_vary_headers, set_response_etag
from rest_framework.exceptions import APIException

from memoryhub.api.authentication import KeyAuthentication
from memoryhub.api.problems import CONTENT_TYPE, Problem, of_status
from memoryhub.core.time_limit import limited
from memoryhub.version import VERSION

Handler = Callable[[HttpRequest], HttpResponse]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
IS_KNOWN = "memoryhub.is_known"
"""In the environ of a request whose key or session is good (memoryhub.front.callers)."""
VERIFY = "memoryhub.verify"
"""In the environ of a request of which nothing is asked but that."""
REFUSAL = "memoryhub.refusal"
"""In the environ of a request that was refused before Django was asked: the Problem to answer with."""
MAX_QUERY_BYTES = 16 * 2**10
"""A search for 1,000 characters of any script takes 12,000 bytes; an answer to more could repeat more of it."""
MAX_QUERY_PARAMETERS = 200
"""Each label that is looked for is a parameter; of a thousand Django would write a traceback into the log."""
_DOORS = ("/api/", "/ready", "/health")


class RequestId:
    """Every answer carries the id under which its request stands in the log."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        claimed = request.headers.get("X-Request-ID", "")
        request_id = claimed if _REQUEST_ID.fullmatch(claimed) else uuid.uuid4().hex
        request.request_id = request_id  # type: ignore[attr-defined]
        response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


class SecurityHeaders:
    """What browsers are told of every answer, also of those that no view made."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        for name, value in settings.SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        return response


class ContentSecurityPolicy(CSPMiddleware):
    """django-csp's header in one order: its own is that of a set, which differs from process to process."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response = super().process_response(request, response)
        if HEADER in response:
            response[HEADER] = "; ".join(sorted(response[HEADER].split("; ")))
        return response


class OwnSite:
    """Other sites may lead people here, and do nothing else: no image, script, frame, fetch or form of theirs.

    What loads, how long it takes and how large it is would tell them what the person behind the browser may see.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.headers.get("Sec-Fetch-Site") == "cross-site" and not _leads_here(request):
            return HttpResponseForbidden("Another site asked for this.\n", content_type="text/plain")
        return self.get_response(request)


def _leads_here(request: HttpRequest) -> bool:
    told = request.headers
    to_a_page = (told.get("Sec-Fetch-Mode"), told.get("Sec-Fetch-Dest")) == ("navigate", "document")
    return to_a_page and request.method in ("GET", "HEAD")


class Liveness:
    """`/health` says that the process answers. It asks nothing and nobody, least of all the database."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path != "/health":
            return self.get_response(request)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        body = orjson.dumps({"status": "ok", "version": VERSION})
        return HttpResponse(body, content_type="application/json", headers={"Cache-Control": "no-store"})


class StatementTime:
    """All statements of a request together take no longer than one may."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with limited(settings.MEMORYHUB.statement_timeout_seconds):
            return self.get_response(request)


class KnownCaller:
    """Where that alone is asked (VERIFY), notes in the environ whether the key or session that was sent is good."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if VERIFY not in request.META:
            return self.get_response(request)
        if _has_good_credential(request):
            request.META[IS_KNOWN] = True
        return HttpResponse(status=204)


def _has_good_credential(request: HttpRequest) -> bool:
    if "HTTP_AUTHORIZATION" not in request.META:
        return request.user.is_authenticated
    try:
        return KeyAuthentication().authenticate(request) is not None
    except (APIException, Problem):
        return False


class ConditionalRead(ConditionalGetMiddleware):
    """ETags for what was read: on HEAD as on GET, and not on problems, whose request id makes each of them new."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if response.status_code >= 400:
            return response
        if request.method == "HEAD" and not response.streaming and self.needs_etag(response):
            return response if "ETag" in response else set_response_etag(response)
        return super().process_response(request, response)


class ProblemDetails:
    """No HTML error page at an API route: what Django answers by itself becomes a problem, too."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        refusal: Problem | None = request.META.get(REFUSAL) or _refuse_query(request.META.get("QUERY_STRING", ""))
        if not request.path.startswith(_DOORS):
            return refusal.text() if refusal else self.get_response(request)
        refusal = refusal or self._refuse_unread(request)
        response = refusal.response(request) if refusal else self.get_response(request)
        if response.status_code >= 400 and response.get("Content-Type") != CONTENT_TYPE:
            allowed = response.get("Allow")
            problem = of_status(response.status_code)
            problem.headers = {"Allow": allowed} if allowed else {}
            response = problem.response(request)
        if not response.has_header("Cache-Control"):
            patch_cache_control(response, private=True, no_store=True)
        patch_vary_headers(response, ["Authorization", "Cookie"])
        return response

    def _refuse_unread(self, request: HttpRequest) -> Problem | None:
        """A body whose length is not told, or that is too long, is refused before a byte of it is read."""
        length = request.META.get("CONTENT_LENGTH") or ""
        if request.META.get("HTTP_TRANSFER_ENCODING") and not length:
            return Problem(411, "length_required", "Send the body with a Content-Length.")
        limit = settings.MEMORYHUB.max_body_bytes
        if length.isdecimal() and _exceeds(length, limit):
            return Problem(413, "too_large", f"The body is larger than {limit:,} bytes.")
        if request.META.get("HTTP_CONTENT_ENCODING", "identity") != "identity":
            return Problem(415, "unsupported_media_type", "Send the body without a Content-Encoding.")
        return None


def _refuse_query(query: str) -> Problem | None:
    """A query string that asks for more than any route can use is refused before it is taken apart."""
    # As Django reads it: parameters without a name or a value count, too.
    if query.count("&") >= MAX_QUERY_PARAMETERS:
        return Problem(400, "bad_request", f"The query string has more than {MAX_QUERY_PARAMETERS} parameters.")
    if len(query) > MAX_QUERY_BYTES:
        return Problem(414, "query_too_long", f"The query string is longer than {MAX_QUERY_BYTES:,} bytes.")
    return None


def _exceeds(digits: str, limit: int) -> bool:
    """Whether a number is larger than `limit`; Python reads no more than 4,300 digits."""
    digits = digits.lstrip("0")
    return len(digits) > 20 or int(digits or "0") > limit
