"""Record the audit events of a principal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import models, transaction

from memoryhub.audit import log
from memoryhub.audit.actions import AuditAction
from memoryhub.firewall.clearance_snapshot import snapshot_clearance
from memoryhub.firewall.principal import Principal

FieldValues = dict[str, Any]
PASSWORD_CHANGED = {"password": [None, "changed"]}
"""The only thing that an audit event ever says about a password."""


@contextmanager
def atomic() -> Iterator[None]:
    """Run an action and record its audit events in one transaction."""
    with transaction.atomic():
        yield


def record_audit_event(
    action: AuditAction,
    *,
    principal: Principal,
    details: Mapping[str, Any] | None = None,
    memory_ids: Sequence[UUID] = (),
    request_id: str = "",
    route: str = "",
) -> None:
    """Append one entry to the audit log, in the transaction of the action. For `memory_ids` see `AuditEvent`."""
    log.append_events(
        log.AuditEvent(
            principal=principal.name,
            action=action,
            clearance_snapshot=snapshot_clearance(principal.clearance),
            memory_ids=memory_ids,
            details=details or {},
            request_id=request_id,
            route=route,
        )
    )


def get_field_values(row: models.Model, fields: Iterable[str]) -> FieldValues:
    """Return the values of `fields` as an entry stores them: a related row as its name, an instant as text."""
    return {name: _to_json_value(getattr(row, name)) for name in fields}


def diff_field_values(before: FieldValues, after: FieldValues) -> dict[str, list[Any]]:
    """Return [before, after] of each field whose value has changed."""
    names = sorted(before.keys() | after.keys())
    return {name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)}


def _to_json_value(value: Any) -> Any:
    if isinstance(value, list):
        return sorted(map(str, value))
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
