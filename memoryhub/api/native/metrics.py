"""`GET /metrics`, for Prometheus: off by default, then open to this machine alone or to a key."""

from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from memoryhub.api.authentication import KeyAuthentication
from memoryhub.api.permissions import HasScope, get_principal
from memoryhub.api.problems import not_found
from memoryhub.core.client_address import is_direct_from_loopback
from memoryhub.firewall.principal import Scope
from memoryhub.operations import metrics


class MetricsView(APIView):
    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.ADMIN}
    authentication_classes = (KeyAuthentication,)

    def get_permissions(self) -> list[Any]:
        return [HasScope()] if _get_mode() == "key" else []

    def perform_authentication(self, request: Request) -> None:
        if _get_mode() == "off" or (_get_mode() == "loopback" and not is_direct_from_loopback(request.META)):
            # As at a route that does not exist.
            raise not_found()
        if _get_mode() == "key":
            super().perform_authentication(request)

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        # The jobs and the lags of the indexes reveal that something was written, also of hidden memories.
        if _get_mode() == "key" and not get_principal(request).is_unrestricted_admin:
            raise PermissionDenied("This needs a key whose clearance shows every memory.")
        return HttpResponse(metrics.render_metrics(), content_type=metrics.CONTENT_TYPE)


def _get_mode() -> str:
    mode: str = settings.APP_CONFIG.metrics
    return mode
