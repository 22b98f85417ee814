"""Builders: what a test needs, made through the doors that callers use."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import User

from memoryhub.firewall.models import ApiKey, ClearanceRecord, UserClearance
from memoryhub.firewall.types import ACTOR_TYPES, Clearance, Principal, Scope, everything
from memoryhub.memories import ingest
from memoryhub.memories.envelope import Draft
from memoryhub.memories.ingest import OnConflict, Outcome, Receipt
from memoryhub.memories.models import Memory

_numbers = itertools.count(1)
WRITER = Principal(name="key:test-writer", source="test", scopes=frozenset(Scope), clearance=everything())
OPERATOR = replace(WRITER, name="system:test", is_operator=True)


def envelope(**fields: Any) -> dict[str, Any]:
    """A valid envelope; every call another payload_id. `labels`, `tier` are short for the envelope's longer names."""
    number = next(_numbers)
    short = {"labels": "sensitivity_labels", "tier": "classification_tier"}
    fields = {short.get(name, name): value for name, value in fields.items()}
    fields = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}
    return {"payload_id": f"p-{number}", "content": f"Fact number {number}.", "source": "test", **fields}


def make_memory(*, by: Principal = WRITER, **fields: Any) -> Memory:
    """Store one memory (or its next version, under the same payload_id) and read it back."""
    receipt = ingest.write([envelope(**fields)], by=by, on_conflict=OnConflict.REPLACE)[0]
    assert receipt.outcome in (Outcome.CREATED, Outcome.UPDATED, Outcome.DUPLICATE), receipt
    assert receipt.memory_id is not None
    return Memory.objects.get(memory_id=receipt.memory_id, superseded_at=None)


def store(drafts: Sequence[Draft], **options: Any) -> list[Receipt]:
    """Store drafts of any classification, as the operator does."""
    return ingest.store(drafts, by=OPERATOR, **options)


def make_clearance(**fields: Any) -> ClearanceRecord:
    record, _ = ClearanceRecord.objects.get_or_create(
        name=fields.pop("name", None) or f"clearance-{next(_numbers)}", defaults={"max_tier": "restricted", **fields}
    )
    return record


def make_key(*, scopes: str = "read", source: str = "", clearance: dict[str, Any] | None = None, **fields: Any) -> str:
    """The secret of a new API key. Without `clearance` it sees the most open tier only; it writes for any actor."""
    owner, _ = User.objects.get_or_create(username=fields.pop("owner", "key-owner"))
    fields.setdefault("vouches_for", list(ACTOR_TYPES))
    _, secret = ApiKey.objects.create(
        owner,
        name=f"key-{next(_numbers)}",
        scopes=scopes.split(),
        source=source or ("test" if "write" in scopes else ""),
        clearance=None if clearance is None else make_clearance(**clearance),
        **fields,
    )
    return str(secret)


def make_user(
    username: str, password: str = "correct horse battery", *, scopes: str = "read", **clearance: Any
) -> User:
    """A user who can sign in, cleared as `clearance` says."""
    user = User.objects.create_user(username, password=password)
    UserClearance.objects.create(user=user, clearance=make_clearance(**clearance), scopes=scopes.split())
    return user


def at(text: str) -> datetime:
    """`at("2026-03-01 12:00")` is that instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


__all__ = ["WRITER", "Clearance", "at", "envelope", "make_clearance", "make_key", "make_memory", "make_user", "store"]
