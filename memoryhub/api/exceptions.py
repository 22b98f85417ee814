"""DRF's exception handler. Not in `problems`, because DRF's views import this module and parsers import that one."""

from typing import Any

import structlog
from django.http import HttpResponse
from rest_framework.views import set_rollback

from memoryhub.api.problems import get_request_id, problem_from_exception
from memoryhub.core.errors import INTERNAL, find_sqlstate

log = structlog.get_logger("memoryhub.api")


def handle_exception(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """Return any exception of a view as a problem response, and log it if the status is 500 or above."""
    set_rollback()
    problem = problem_from_exception(error)
    if problem.status >= 500:
        unexpected_error = error if problem.code == INTERNAL.code else None
        log.error(
            "request failed",
            code=problem.code,
            sqlstate=find_sqlstate(error),
            request_id=get_request_id(context["request"]),
            exc_info=unexpected_error,
        )
    # Not DRF's Response, which the view's renderer would render again.
    return problem.to_response(context["request"])
