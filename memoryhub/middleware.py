"""Middleware for every request: request ids, security headers, health check, time limit, ETags, API problems."""

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
from memoryhub.api.problems import CONTENT_TYPE, ProblemError, problem_from_status
from memoryhub.core.time_limit import limit_statement_time
from memoryhub.version import VERSION

Handler = Callable[[HttpRequest], HttpResponse]

_REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
AUTHENTICATED_AS = "memoryhub.authenticated_as"
"""Key in the environ of a request with a valid key or session; its value names the key or the user."""
CHECK_CREDENTIAL_ONLY = "memoryhub.check_credential_only"
"""Key in the environ of a request that is sent only to have its key or session checked."""
REFUSAL = "memoryhub.refusal"
"""Key in the environ of a request that the front refused before Django; its value is the ProblemError to return."""
MAX_QUERY_BYTES = 16 * 2**10
"""A search text of 1,000 characters of any script takes 12,000 bytes. A response may repeat the query string."""
MAX_QUERY_PARAMS = 200
"""Each label filter is one parameter. With a thousand parameters Django would log a traceback."""
_API_PREFIXES = ("/api/", "/ready", "/health", "/metrics")


class RequestIdMiddleware:
    """Set `request.request_id` from X-Request-ID, or to a new id, and return it in the response header."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        client_request_id = request.headers.get("X-Request-ID", "")
        request_id = client_request_id if _REQUEST_ID_PATTERN.fullmatch(client_request_id) else uuid.uuid4().hex
        request.request_id = request_id  # type: ignore[attr-defined]
        response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


class SecurityHeadersMiddleware:
    """Add `settings.SECURITY_HEADERS` to every response, also to those that no view made."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        for name, value in settings.SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        return response


class ContentSecurityPolicyMiddleware(CSPMiddleware):
    """Sort the directives of django-csp's header: django-csp keeps them in a set, whose order differs by process."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response = super().process_response(request, response)
        if HEADER in response:
            response[HEADER] = "; ".join(sorted(response[HEADER].split("; ")))
        return response


class FetchMetadataMiddleware:
    """Refuse requests from other sites, except top-level navigation: no images, scripts, frames, fetches or forms.

    Whether such a resource loads, how long it takes and how large it is would reveal to the other site what the
    signed-in user may see.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.headers.get("Sec-Fetch-Site") == "cross-site" and not _is_top_level_navigation(request):
            return HttpResponseForbidden("Another site asked for this.\n", content_type="text/plain")
        return self.get_response(request)


def _is_top_level_navigation(request: HttpRequest) -> bool:
    headers = request.headers
    is_document_navigation = (headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")) == ("navigate", "document")
    return is_document_navigation and request.method in ("GET", "HEAD")


class HealthCheckMiddleware:
    """Answer `/health` while the process runs, without access to the database."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path != "/health":
            return self.get_response(request)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        body = orjson.dumps({"status": "ok", "version": VERSION})
        return HttpResponse(body, content_type="application/json", headers={"Cache-Control": "no-store"})


class StatementTimeoutMiddleware:
    """End the SQL statements of a request within the time limit of one statement."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with limit_statement_time(settings.APP_CONFIG.statement_timeout_seconds):
            return self.get_response(request)


class CredentialCheckMiddleware:
    """For requests marked CHECK_CREDENTIAL_ONLY, set AUTHENTICATED_AS in the environ if the key or session is valid."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if CHECK_CREDENTIAL_ONLY not in request.META:
            return self.get_response(request)
        if name := _get_credential_owner(request):
            request.META[AUTHENTICATED_AS] = name
        return HttpResponse(status=204)


def _get_credential_owner(request: HttpRequest) -> str:
    """Return which key or user the request's credential belongs to; "" if it is not valid."""
    if "HTTP_AUTHORIZATION" not in request.META:
        return f"user:{request.user.pk}" if request.user.is_authenticated else ""
    try:
        authenticated = KeyAuthentication().authenticate(request)
    except (APIException, ProblemError):
        return ""
    return f"key:{authenticated[1].pk}" if authenticated else ""


class EtagMiddleware(ConditionalGetMiddleware):
    """Add ETags to successful GET and HEAD responses.

    Problems have none: their request id makes each of them unique.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if response.status_code >= 400:
            return response
        if request.method == "HEAD" and not response.streaming and self.needs_etag(response):
            return response if "ETag" in response else set_response_etag(response)
        return super().process_response(request, response)


class ProblemDetailsMiddleware:
    """Turn Django's own error responses at API routes into problems, and refuse bad bodies and query strings early."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        refusal: ProblemError | None = request.META.get(REFUSAL) or _reject_query(request.META.get("QUERY_STRING", ""))
        if not request.path.startswith(_API_PREFIXES):
            return refusal.to_text_response() if refusal else self.get_response(request)
        refusal = refusal or self._reject_body(request)
        response = refusal.to_response(request) if refusal else self.get_response(request)
        if response.status_code >= 400 and response.get("Content-Type") != CONTENT_TYPE:
            allowed = response.get("Allow")
            problem = problem_from_status(response.status_code)
            problem.headers = {"Allow": allowed} if allowed else {}
            response = problem.to_response(request)
        if not response.has_header("Cache-Control"):
            patch_cache_control(response, private=True, no_store=True)
        patch_vary_headers(response, ["Authorization", "Cookie"])
        return response

    def _reject_body(self, request: HttpRequest) -> ProblemError | None:
        """Return the refusal of a body that is too long, encoded or without a length, before it is read; else None."""
        length = request.META.get("CONTENT_LENGTH") or ""
        if request.META.get("HTTP_TRANSFER_ENCODING") and not length:
            return ProblemError(411, "length_required", "Send the body with a Content-Length.")
        limit = settings.APP_CONFIG.max_body_bytes
        if length.isdecimal() and _exceeds_limit(length, limit):
            return ProblemError(413, "too_large", f"The body is larger than {limit:,} bytes.")
        if request.META.get("HTTP_CONTENT_ENCODING", "identity") != "identity":
            return ProblemError(415, "unsupported_media_type", "Send the body without a Content-Encoding.")
        return None


def _reject_query(query: str) -> ProblemError | None:
    """Return the refusal of a query string that is larger than any route needs, before it is parsed; else None."""
    # Count parameters like Django does: also those without a name or a value.
    if query.count("&") >= MAX_QUERY_PARAMS:
        return ProblemError(400, "bad_request", f"The query string has more than {MAX_QUERY_PARAMS} parameters.")
    if len(query) > MAX_QUERY_BYTES:
        return ProblemError(414, "query_too_long", f"The query string is longer than {MAX_QUERY_BYTES:,} bytes.")
    return None


def _exceeds_limit(digits: str, limit: int) -> bool:
    """Whether the number written as `digits` is larger than `limit`. Python parses at most 4,300 digits."""
    digits = digits.lstrip("0")
    return len(digits) > 20 or int(digits or "0") > limit
