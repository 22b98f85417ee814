"""Audit entries in words: principal, action, memories and details."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.http import QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from inspector.presenters.memory_search import EMPTY_VALUE_LABEL, describe_filter, parse_params
from memoryhub.access_log.audit_queries import VisibleEntry
from memoryhub.audit.actions import READ_ACTIONS, AuditAction

MAX_MEMORIES_SHOWN = 5
ACTION_LABELS = dict(AuditAction.choices)
TARGET_DETAILS: dict[str, str] = {
    AuditAction.KEY_CREATE: "key",
    AuditAction.KEY_CHANGE: "key",
    AuditAction.KEY_ROTATE: "key",
    AuditAction.KEY_REVOKE: "key",
    AuditAction.CLEARANCE_CHANGE: "clearance",
    AuditAction.SOURCE_CHANGE: "source",
    AuditAction.USER_CHANGE: "user",
    AuditAction.POLICY_CHANGE: "name",
    AuditAction.POLICY_RUN: "name",
    AuditAction.SESSION_LOGIN_FAILED: "account",
    AuditAction.VIEW_AS_START: "view_as",
    AuditAction.VIEW_AS_STOP: "view_as",
}
"""The detail that names the target of an action whose target is not a memory."""
ROUTE_LABELS = {
    "inspector:memory-list": "the list",
    "inspector:memory-list-path": "the list",
    "inspector:memory-detail": "a memory's page",
    "inspector:memory-unmask": "a memory's page",
    "inspector:subject-detail": "a subject's page",
    "inspector:diff": "the changes",
    "inspector:replay": "a replay",
    "inspector:conflict-list": "the queue of conflicts",
    "inspector:conflict-detail": "a conflict's page",
    "inspector:conflict-resolve": "a conflict's page",
    "inspector:conflict-similar": "a preview of similar conflicts",
    "inspector:decision-list": "the decisions",
    "inspector:decision-detail": "a decision's page",
    "inspector:audit-log": "the audit log",
    "inspector:audit-principal": "the audit log",
    "api:memory-list": "the API's list",
    "api:memory-detail": "the API's record of a memory",
    "api:memory-versions": "the API's versions of a memory",
    "api:facets": "the API's counts",
    "api:histogram": "the API's histogram",
    "api:status": "the API's status",
    "api:conflict-list": "the API's conflicts",
    "api:conflict-detail": "the API's record of a conflict",
    "api:decision-list": "the API's decisions",
    "api:decision-detail": "the API's record of a decision",
    "api:diff": "the API's diff",
    "api:replay": "the API's replay",
    "api:audit-log": "the API's audit log",
}
# Parameters that change how a page is shown, not which memories it contains.
_DISPLAY_PARAMS = {"limit", "back", "full", "queue", "from_group"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditDetail:
    """One detail of an entry: a value, or a value before and after a change."""

    name: str
    value: str = ""
    previous_value: str = ""
    is_change: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    """One entry as a page shows it."""

    occurred_at: datetime
    principal: str
    principal_url: str
    action_label: str
    target: str
    memories: list[UUID]
    memory_count: int
    route_label: str
    view_as: str
    query_filters: list[tuple[str, str]]
    details: list[AuditDetail]
    request_id: str
    url: str

    @property
    def more_count(self) -> int:
        return self.memory_count - len(self.memories)


def build_audit_lines(entries: Iterable[VisibleEntry]) -> list[AuditLine]:
    return [_build_line(entry) for entry in entries]


def build_principal_url(principal: str) -> str:
    return reverse("inspector:audit-principal", args=[principal])


def _build_line(entry: VisibleEntry) -> AuditLine:
    target_key, details = TARGET_DETAILS.get(entry.action, ""), dict(entry.details)
    target = details.pop(target_key, None)
    is_read = entry.action == AuditAction.MEMORY_READ
    return AuditLine(
        occurred_at=entry.occurred_at,
        principal=entry.principal,
        principal_url=build_principal_url(entry.principal),
        action_label="asked" if is_read and not entry.memory_ids else ACTION_LABELS.get(entry.action, entry.action),
        target="nobody's account" if target_key == "account" and not target else _format_value(target),
        memories=entry.memory_ids[:MAX_MEMORIES_SHOWN],
        memory_count=len(entry.memory_ids),
        route_label=ROUTE_LABELS.get(entry.route, entry.route) if entry.action in READ_ACTIONS else "",
        view_as="" if target_key == "view_as" else _format_value(details.pop("view_as", "")),
        query_filters=_list_query_filters(entry.query) if entry.action.startswith("memory.") else [],
        details=list(_iter_details(details)),
        request_id=entry.request_id,
        url=_build_entry_url(entry),
    )


def _build_entry_url(entry: VisibleEntry) -> str:
    """Return a permanent address of this entry: by its request id, or by its instant if it has none."""
    if entry.request_id:
        params = {"request_id": entry.request_id}
    else:
        end = entry.occurred_at + timedelta(microseconds=1)
        params = {"principal": entry.principal, "from": _format_instant(entry.occurred_at), "to": _format_instant(end)}
    return f"{reverse('inspector:audit-log')}?{urlencode(params)}"


def _format_instant(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def _list_query_filters(query: str) -> list[tuple[str, str]]:
    params = parse_params(QueryDict(query))
    return [
        ("a later page", "") if name == "cursor" else (describe_filter(name), value or EMPTY_VALUE_LABEL)
        for name, values in params.lists()
        if name not in _DISPLAY_PARAMS
        for value in values
    ]


def _iter_details(details: Mapping[str, Any]) -> Iterable[AuditDetail]:
    before_values, after_values = details.get("before"), details.get("after")
    if isinstance(before_values, dict) and isinstance(after_values, dict):
        details = {name: value for name, value in details.items() if name not in ("before", "after", "requested")}
        yield from _iter_changes(
            {name: [before_values.get(name), after_values.get(name)] for name in {**before_values, **after_values}}
        )
    for name, value in details.items():
        if name == "changed_fields" and isinstance(value, dict):
            yield from _iter_changes(value)
        elif value not in ("", None, [], {}):
            yield AuditDetail(name=_humanize_name(name), value=_format_value(value))


def _iter_changes(changes: Mapping[str, Any]) -> Iterable[AuditDetail]:
    for name, (before, after) in changes.items():
        if before != after:
            yield AuditDetail(
                name=_humanize_name(name),
                value=_format_value(after),
                previous_value=_format_value(before),
                is_change=True,
            )


def _humanize_name(name: str) -> str:
    return name.replace("_", " ")


def _format_value(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(_format_value, value))
        case dict():
            return ", ".join(f"{_humanize_name(name)} {_format_value(item)}" for name, item in value.items())
        case _:
            return str(value)
