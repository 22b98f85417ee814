"""What the ledger is told of people, keys and clearances."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import models, transaction

from memoryhub.audit import ledger
from memoryhub.firewall.reach import reach_of
from memoryhub.firewall.types import Principal

Told = dict[str, Any]
NEW_PASSWORD = {"password": [None, "changed"]}
"""All that is ever told of a password."""


@contextmanager
def together() -> Iterator[None]:
    """A transaction for what is done and for what the ledger is told of it: both, or neither."""
    with transaction.atomic():
        yield


def tell(action: str, *, by: Principal, details: Mapping[str, Any], request_id: str = "", route: str = "") -> None:
    """One entry, in the transaction of the deed."""
    ledger.append(
        ledger.Event(
            principal=by.name,
            action=action,
            reach=reach_of(by.clearance),
            details=details,
            request_id=request_id,
            route=route,
        )
    )


def told(row: models.Model, fields: Iterable[str]) -> Told:
    """The values of `fields` as an entry holds them: another row by its name, an instant as a text."""
    return {name: _plain(getattr(row, name)) for name in fields}


def changes(before: Told, after: Told) -> dict[str, list[Any]]:
    """[before, after] of each field that is another one now."""
    names = sorted(before.keys() | after.keys())
    return {name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return sorted(map(str, value))
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
