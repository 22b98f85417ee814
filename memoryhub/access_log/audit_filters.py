"""The query string of the audit log, shared by API and inspector, and cursors that are bound to a principal."""

from dataclasses import replace
from typing import Any

from django import forms
from django.core.signing import BadSignature, Signer
from django.core.validators import RegexValidator
from django.http import QueryDict

from memoryhub.access_log import audit_queries
from memoryhub.access_log.audit_queries import AuditPage
from memoryhub.audit.actions import AuditAction
from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall.clearance import Principal
from memoryhub.firewall.cursors import create_cursor_signer
from memoryhub.memories.filters import InstantField, TextField, parse_params, reject_unknown_params, text_field_options
from memoryhub.memories.pagination import PAGE_PARAMS, parse_limit

FILTER_PARAMS = ("principal", "action", "memory", "request_id", "from", "to")
MAX_TEXT_CHARS = 300


_FILTER_FIELDS: dict[str, forms.Field] = {
    "principal": TextField(required=False, **text_field_options(MAX_TEXT_CHARS)),
    # An action that is not the hub's is accepted if it has the shape of one, and matches nothing.
    "action": forms.CharField(
        required=False,
        strip=False,
        validators=[
            RegexValidator(r"\A[a-z_]{1,32}\.[a-z_]{1,32}\Z", f"must be an action, such as {AuditAction.MEMORY_READ}.")
        ],
    ),
    "memory": forms.UUIDField(required=False, error_messages={"invalid": "must be the id of a memory."}),
    "request_id": TextField(required=False, **text_field_options(MAX_TEXT_CHARS)),
    "from": InstantField(required=False),
    "to": InstantField(required=False),
}


def query_entries(params: QueryDict, principal: Principal) -> AuditPage:
    """Return the page of audit entries for a query string. Raises InvalidQueryError."""
    reject_unknown_params(params, frozenset((*FILTER_PARAMS, *PAGE_PARAMS)))
    filters = parse_params(params, _FILTER_FIELDS)
    if filters["from"] and filters["to"] and filters["from"] >= filters["to"]:
        raise InvalidQueryError({"to": ["must be later than from."]})
    signer = create_cursor_signer(principal, "audit-entries", [params.get(name) for name in FILTER_PARAMS])
    audit_page = audit_queries.list_entries(
        principal,
        principal_name=filters["principal"],
        action=filters["action"],
        memory_id=filters["memory"],
        request_id=filters["request_id"],
        since=filters["from"],
        until=filters["to"],
        **_parse_page_arguments(params, signer),
    )
    return _sign_next_cursor(audit_page, signer)


def query_principal_reads(principal_name: str, params: QueryDict, principal: Principal) -> AuditPage:
    """Return the page of a principal's reads for a query string. Raises InvalidQueryError."""
    reject_unknown_params(params, frozenset(PAGE_PARAMS))
    signer = create_cursor_signer(principal, "principal-reads", principal_name)
    return _sign_next_cursor(
        audit_queries.list_principal_reads(principal_name, principal, **_parse_page_arguments(params, signer)), signer
    )


def _parse_page_arguments(params: QueryDict, signer: Signer) -> dict[str, Any]:
    """Parse limit and cursor. Raises InvalidQueryError."""
    limit = parse_limit(params.get("limit", ""))
    if not (cursor := params.get("cursor", "")):
        return {"limit": limit}
    try:
        return {"limit": limit, "cursor": signer.unsign(cursor)}
    except BadSignature:
        raise InvalidQueryError({"cursor": ["is not a cursor of this list."]}, "invalid_cursor") from None


def _sign_next_cursor(audit_page: AuditPage, signer: Signer) -> AuditPage:
    return replace(audit_page, next_cursor=audit_page.next_cursor and signer.sign(audit_page.next_cursor))
