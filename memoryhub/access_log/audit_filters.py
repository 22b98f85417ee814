"""The query string of the audit log, shared by API and inspector."""

from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.http import QueryDict

from memoryhub.access_log import audit_queries
from memoryhub.access_log.audit_queries import AuditPage
from memoryhub.audit.actions import AuditAction
from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall.principal import Principal
from memoryhub.memories.filter_fields import (
    InstantField,
    TextField,
    parse_params,
    reject_unknown_params,
    text_field_options,
)
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
    return audit_queries.list_entries(
        principal,
        principal_name=filters["principal"],
        action=filters["action"],
        memory_id=filters["memory"],
        request_id=filters["request_id"],
        since=filters["from"],
        until=filters["to"],
        **_parse_page_arguments(params),
    )


def query_principal_reads(principal_name: str, params: QueryDict, principal: Principal) -> AuditPage:
    """Return the page of a principal's reads for a query string. Raises InvalidQueryError."""
    reject_unknown_params(params, frozenset(PAGE_PARAMS))
    return audit_queries.list_principal_reads(principal_name, principal, **_parse_page_arguments(params))


def _parse_page_arguments(params: QueryDict) -> dict[str, Any]:
    return {"limit": parse_limit(params.get("limit", "")), "cursor": params.get("cursor", "")}
