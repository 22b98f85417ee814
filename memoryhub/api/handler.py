"""DRF's exception handler, apart from the problems themselves because DRF's views import it and parsers alike."""

from typing import Any

import structlog
from django.http import HttpResponse
from rest_framework.views import set_rollback

from memoryhub.api.problems import problem_of, request_id_of
from memoryhub.faults import INTERNAL, sqlstate_of

log = structlog.get_logger("memoryhub.api")


def handle_exception(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """Whatever happened in a view, as a problem."""
    set_rollback()
    problem = problem_of(error)
    if problem.status >= 500:
        unforeseen = error if problem.code == INTERNAL.code else None
        log.error(
            "request failed",
            code=problem.code,
            sqlstate=sqlstate_of(error),
            request_id=request_id_of(context["request"]),
            exc_info=unforeseen,
        )
    # Not DRF's Response: a page's renderer would make a page of it.
    return problem.response(context["request"])
