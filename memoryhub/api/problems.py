"""Errors of the API as RFC 9457 `application/problem+json`."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, NotRequired

import orjson
from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from pydantic import Field
from rest_framework import exceptions
from typing_extensions import TypedDict

from memoryhub.core.errors import INTERNAL, CommitOutcomeUnknownError, ErrorInfo, InvalidQueryError, classify_error
from memoryhub.firewall.principal import MissingScopeError
from memoryhub.memories.writes.envelope import Errors

CONTENT_TYPE = "application/problem+json"


class ProblemResponse(TypedDict):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    code: Annotated[str, Field(description="Stable: a program can branch on it.")]
    detail: str
    request_id: str
    errors: NotRequired[Annotated[Errors, Field(description="Sentences by field.")]]


class ProblemError(Exception):
    """An error response: HTTP status, stable code, one sentence, errors by field, headers and extra members."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Errors | None = None,
        headers: dict[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}
        self.extra = extra or {}

    def to_json(self, request_id: str) -> dict[str, Any]:
        problem = ProblemResponse(
            type="about:blank",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            code=self.code,
            detail=self.detail,
            request_id=request_id,
        )
        if self.errors is not None:
            problem["errors"] = self.errors
        return {**problem, **self.extra}

    def to_response(self, request: HttpRequest) -> HttpResponse:
        body = orjson.dumps(self.to_json(get_request_id(request)), option=orjson.OPT_UTC_Z)
        return HttpResponse(body, status=self.status, content_type=CONTENT_TYPE, headers=self.headers)

    def to_text_response(self) -> HttpResponse:
        """Return the error as plain text, for routes where no page can be rendered."""
        return HttpResponse(f"{self.detail}\n", status=self.status, content_type="text/plain", headers=self.headers)


def get_request_id(request: Any) -> str:
    return str(getattr(request, "request_id", ""))


def problem_from_exception(error: BaseException) -> ProblemError:
    match error:
        case ProblemError():
            return error
        case InvalidQueryError():
            return ProblemError(400, error.code, "The query string cannot be answered.", errors=error.errors)
        case Http404():
            return not_found()
        case MissingScopeError():
            return ProblemError(403, "forbidden", str(error))
        case PermissionDenied():
            return problem_from_status(403)
        case RequestDataTooBig():
            return problem_from_status(413)
        case SuspiciousOperation() | BadRequest() | UnreadablePostError():
            return problem_from_status(400)
        case exceptions.APIException():
            return _problem_from_drf(error)
        case DatabaseError() | InterfaceError() | CommitOutcomeUnknownError():
            return problem_from_error_info(classify_error(error))
        case _:
            return problem_from_error_info(INTERNAL)


def problem_from_error_info(error_info: ErrorInfo) -> ProblemError:
    headers = {"Retry-After": str(error_info.retry_after_seconds)} if error_info.retry_after_seconds else {}
    return ProblemError(error_info.status, error_info.code, error_info.detail, headers=headers)


def not_found() -> ProblemError:
    """Return the problem for memories that are missing or hidden: the two must not be distinguishable."""
    return ProblemError(404, "not_found", "There is nothing here that this caller may see.")


_DRF_ERRORS = {
    401: ("unauthorized", "A valid key is needed: Authorization: Bearer <key>."),
    403: ("forbidden", "This caller lacks the permission."),
    405: ("method_not_allowed", "This route does not support that method."),
    415: ("unsupported_media_type", "Send JSON with Content-Type: application/json."),
}


def _problem_from_drf(error: exceptions.APIException) -> ProblemError:
    code, detail = _DRF_ERRORS.get(error.status_code, ("bad_request", "The request is malformed."))
    challenge = getattr(error, "auth_header", None)
    return ProblemError(error.status_code, code, detail, headers={"WWW-Authenticate": challenge} if challenge else None)


_DJANGO_ERRORS = {
    400: ("bad_request", "The request is malformed."),
    403: ("forbidden", "This caller lacks the permission."),
    404: ("not_found", "There is nothing here that this caller may see."),
    405: ("method_not_allowed", "This route does not support that method."),
    413: ("too_large", "The body is larger than this server accepts."),
}


def problem_from_status(status: int) -> ProblemError:
    """Return the problem that replaces an error response of Django itself."""
    code, detail = _DJANGO_ERRORS.get(
        status, (INTERNAL.code, INTERNAL.detail) if status >= 500 else ("error", "Refused.")
    )
    return ProblemError(status, code, detail)
