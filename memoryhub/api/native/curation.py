"""Common parts of the routes that classify memories and decide about conflicts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

from django.http import HttpResponse
from django.utils.cache import set_response_etag
from pydantic import BaseModel
from rest_framework.request import Request

from memoryhub.api.native.memories import ApiView
from memoryhub.api.permissions import get_principal
from memoryhub.api.problems import ProblemError, not_found
from memoryhub.api.renderers import OrjsonRenderer
from memoryhub.firewall.principal import Scope
from memoryhub.memories.filter_fields import reject_unknown_params
from memoryhub.memories.writes.envelope import OperationRejectedError, parse_body

BodyModel = TypeVar("BodyModel", bound=BaseModel)


class CurateView(ApiView):
    scopes: ClassVar[dict[str, Scope]] = {"POST": Scope.CURATE}

    def parse_body(self, request: Request, model: type[BodyModel]) -> BodyModel:
        """Return the validated body.

        Also requires the scope `read`: filters and counts would reveal what memories contain.
        """
        get_principal(request).require_scopes(Scope.READ)
        reject_unknown_params(request.query_params, frozenset())
        return parse_body(request.data, model)


@contextmanager
def refusals_as_problems(
    status_by_code: Mapping[str, int], *, stale_status: int = 409, **extra_by_code: Any
) -> Iterator[None]:
    """Turn OperationRejectedError into ProblemError; `extra_by_code` maps codes to functions for extra members."""
    try:
        yield
    except OperationRejectedError as error:
        if error.code == "not_found":
            raise not_found() from None
        status = stale_status if error.code == "stale" else status_by_code.get(error.code, 400)
        extra = extra_by_code[error.code]() if error.code in extra_by_code else {}
        raise ProblemError(status, error.code, "Nothing was changed.", errors=error.errors, extra=extra) from None


def precondition_required(detail: str) -> ProblemError:
    return ProblemError(428, "precondition_required", detail)


def compute_etag(representation: Mapping[str, Any]) -> str:
    """Return the ETag that a route gets if its response body is `representation`."""
    return set_response_etag(HttpResponse(OrjsonRenderer().render(representation)))["ETag"]


def get_route_name(request: Request) -> str:
    match = request._request.resolver_match
    return match.view_name if match else ""
