"""What the routes have in common at which memories are judged: classified, decided on, undone."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

from django.http import HttpResponse
from django.utils.cache import set_response_etag
from pydantic import BaseModel
from rest_framework.request import Request

from memoryhub.api.permissions import principal
from memoryhub.api.problems import Problem, not_found
from memoryhub.api.renderers import OrjsonRenderer
from memoryhub.api.views import View
from memoryhub.firewall.types import Scope
from memoryhub.memories.envelope import Rejected
from memoryhub.memories.filters import refuse_unknown
from memoryhub.memories.relabel import read

Asked = TypeVar("Asked", bound=BaseModel)


class JudgingView(View):
    scopes: ClassVar[dict[str, Scope]] = {"POST": Scope.INSPECT}

    def asked(self, request: Request, shape: type[Asked]) -> Asked:
        """What the body asks for. Who judges memories must be able to read them, or a filter would be a riddle."""
        principal(request).require(Scope.READ)
        refuse_unknown(request.query_params, frozenset())
        return read(request.data, shape)


@contextmanager
def refusals(statuses: Mapping[str, int], *, stale_status: int = 409, **told: Any) -> Iterator[None]:
    """Whatever is rejected within, as a problem; by its code `told` tells what else that says."""
    try:
        yield
    except Rejected as refused:
        if refused.code == "not_found":
            raise not_found() from None
        status = stale_status if refused.code == "stale" else statuses.get(refused.code, 400)
        more = told[refused.code]() if refused.code in told else {}
        raise Problem(status, refused.code, "Nothing was changed.", errors=refused.errors, told=more) from None


def unconditional(detail: str) -> Problem:
    return Problem(428, "precondition_required", detail)


def etag_of(found: Mapping[str, Any]) -> str:
    """The ETag of the route that answers with just this."""
    return set_response_etag(HttpResponse(OrjsonRenderer().render(found)))["ETag"]


def route_of(request: Request) -> str:
    match = request._request.resolver_match
    return match.view_name if match else ""
