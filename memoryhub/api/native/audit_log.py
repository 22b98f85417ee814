"""The audit log in the API: actions and reads of principals, as far as the caller may see them."""

from typing import ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from memoryhub.access_log import audit_filters, read_log
from memoryhub.api import schema as docs
from memoryhub.api.native.memories import ApiView, mask_for_session
from memoryhub.api.permissions import get_principal, rls_scoped
from memoryhub.api.responses.memories import AuditPageResponse
from memoryhub.firewall.principal import Scope


class AuditLogView(ApiView):
    scopes: ClassVar[dict[str, Scope]] = {"GET": Scope.AUDIT}

    @docs.audit_log
    @rls_scoped
    def get(self, request: Request) -> Response:
        # Write the buffered reads first, so that the answer includes recent ones.
        read_log.flush_reads()
        audit_page = audit_filters.query_entries(request.query_params, get_principal(request))
        return Response(
            AuditPageResponse(
                entries=mask_for_session(request, audit_page.entries),
                next_cursor=audit_page.next_cursor,
                has_more=audit_page.next_cursor is not None,
            )
        )
