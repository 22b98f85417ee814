"""Errors are data: every one leaves the API as RFC 9457 `application/problem+json`."""

from http import HTTPStatus
from typing import Any

import orjson
from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from rest_framework import exceptions

from memoryhub.faults import INTERNAL, Fault, OutcomeUnknown, fault_of
from memoryhub.firewall.types import MissingScopeError
from memoryhub.memories.envelope import Errors
from memoryhub.memories.filters import BadQuery

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):
    """An answer that is not a success: HTTP status, stable code, one sentence, errors by field, and what else helps."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Errors | None = None,
        headers: dict[str, str] | None = None,
        told: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}
        self.told = told or {}

    def document(self, request_id: str) -> dict[str, Any]:
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "request_id": request_id,
            **self.told,
        }
        return body if self.errors is None else {**body, "errors": self.errors}

    def response(self, request: HttpRequest) -> HttpResponse:
        body = orjson.dumps(self.document(request_id_of(request)), option=orjson.OPT_UTC_Z)
        return HttpResponse(body, status=self.status, content_type=CONTENT_TYPE, headers=self.headers)

    def text(self) -> HttpResponse:
        """The same for people, where no page can be made."""
        return HttpResponse(f"{self.detail}\n", status=self.status, content_type="text/plain", headers=self.headers)


def request_id_of(request: Any) -> str:
    return str(getattr(request, "request_id", ""))


def problem_of(error: BaseException) -> Problem:
    match error:
        case Problem():
            return error
        case BadQuery():
            return Problem(400, error.code, "The query string cannot be answered.", errors=error.errors)
        case Http404():
            return not_found()
        case MissingScopeError():
            return Problem(403, "forbidden", str(error))
        case PermissionDenied():
            return of_status(403)
        case RequestDataTooBig():
            return of_status(413)
        case SuspiciousOperation() | BadRequest() | UnreadablePostError():
            return of_status(400)
        case exceptions.APIException():
            return _of_framework(error)
        case DatabaseError() | InterfaceError() | OutcomeUnknown():
            return of_fault(fault_of(error))
        case _:
            return of_fault(INTERNAL)


def of_fault(fault: Fault) -> Problem:
    headers = {"Retry-After": str(fault.retry_after_seconds)} if fault.retry_after_seconds else {}
    return Problem(fault.status, fault.code, fault.detail, headers=headers)


def not_found() -> Problem:
    """What is missing and what is hidden are the same answer."""
    return Problem(404, "not_found", "There is nothing here that this caller may see.")


_FRAMEWORK = {
    401: ("unauthorized", "A valid key is needed: Authorization: Bearer <key>."),
    403: ("forbidden", "This caller may not do that."),
    405: ("method_not_allowed", "This route does not know that method."),
    415: ("unsupported_media_type", "Send JSON with Content-Type: application/json."),
}


def _of_framework(error: exceptions.APIException) -> Problem:
    code, detail = _FRAMEWORK.get(error.status_code, ("bad_request", "The request cannot be understood."))
    challenge = getattr(error, "auth_header", None)
    return Problem(error.status_code, code, detail, headers={"WWW-Authenticate": challenge} if challenge else None)


_PLAIN = {
    400: ("bad_request", "The request cannot be understood."),
    403: ("forbidden", "This caller may not do that."),
    404: ("not_found", "There is nothing here that this caller may see."),
    405: ("method_not_allowed", "This route does not know that method."),
    413: ("too_large", "The body is larger than this server takes."),
}


def of_status(status: int) -> Problem:
    """The problem for an answer that Django itself gave."""
    code, detail = _PLAIN.get(status, (INTERNAL.code, INTERNAL.detail) if status >= 500 else ("error", "Refused."))
    return Problem(status, code, detail)
