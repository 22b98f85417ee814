"""DRF's exception handler, apart from the problems themselves because DRF's views import it and parsers alike."""

from typing import Any

import structlog
from rest_framework.response import Response
from rest_framework.views import set_rollback

from memoryhub.api.problems import CONTENT_TYPE, problem_of, request_id_of
from memoryhub.faults import INTERNAL

log = structlog.get_logger("memoryhub.api")


def handle_exception(error: Exception, context: dict[str, Any]) -> Response:
    """Whatever happened in a view, as a problem."""
    set_rollback()
    problem = problem_of(error)
    if problem.status >= 500:
        log.error("request failed", code=problem.code, exc_info=error if problem.code == INTERNAL.code else None)
    body = problem.document(request_id_of(context["request"]))
    return Response(body, status=problem.status, headers=problem.headers, content_type=CONTENT_TYPE)
