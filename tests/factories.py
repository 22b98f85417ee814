"""Factories: what a test needs, made with the functions that the product itself uses."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import User

from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.models import ApiKey, ClearanceProfile, UserAccess
from memoryhub.firewall.principal import ACTOR_TYPES, Principal, Scope
from memoryhub.memories import word_index
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import write
from memoryhub.memories.writes.envelope import MemoryDraft
from memoryhub.memories.writes.identity import OnConflict
from memoryhub.memories.writes.write import WriteOutcome, WriteReceipt
from memoryhub.search.embedding_index import embed_memories

_sequence = itertools.count(1)
WRITER = Principal(name="key:test-writer", source="test", scopes=frozenset(Scope), clearance=unrestricted_clearance())
OPERATOR = replace(WRITER, name="system:test", is_operator=True)


def envelope(**fields: Any) -> dict[str, Any]:
    """A valid envelope; every call another payload_id. `labels`, `tier` are short for the envelope's longer names."""
    sequence_number = next(_sequence)
    field_aliases = {"labels": "sensitivity_labels", "tier": "classification_tier"}
    fields = {field_aliases.get(name, name): value for name, value in fields.items()}
    fields = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}
    return {
        "payload_id": f"p-{sequence_number}",
        "content": f"Fact number {sequence_number}.",
        "source": "test",
        **fields,
    }


def make_memory(*, principal: Principal = WRITER, **fields: Any) -> Memory:
    """Store one memory (or its next version, under the same payload_id) and read it back."""
    receipt = write.write_memories([envelope(**fields)], principal=principal, on_conflict=OnConflict.REPLACE)[0]
    assert receipt.outcome in (WriteOutcome.CREATED, WriteOutcome.UPDATED, WriteOutcome.DUPLICATE), receipt
    assert receipt.memory_id is not None
    return Memory.objects.get(memory_id=receipt.memory_id, superseded_at=None)


def store_drafts(drafts: Sequence[MemoryDraft], **options: Any) -> list[WriteReceipt]:
    """Store drafts of any classification, as the operator does."""
    return write.store_drafts(drafts, principal=OPERATOR, **options)


def index_all() -> None:
    """Do what the worker does: bring the indexes of words and of vectors up to date."""
    while word_index.index_words(1_000):
        pass
    while embed_memories(1_000):
        pass


def make_clearance(**fields: Any) -> ClearanceProfile:
    record, _ = ClearanceProfile.objects.get_or_create(
        name=fields.pop("name", None) or f"clearance-{next(_sequence)}", defaults={"max_tier": "restricted", **fields}
    )
    return record


def make_key(*, scopes: str = "read", source: str = "", clearance: dict[str, Any] | None = None, **fields: Any) -> str:
    """The secret of a new API key. Without `clearance` it sees the most open tier only; it writes for any actor."""
    owner, _ = User.objects.get_or_create(username=fields.pop("owner", "key-owner"))
    fields.setdefault("delegated_actor_types", list(ACTOR_TYPES))
    _, secret = ApiKey.objects.create(
        owner,
        name=f"key-{next(_sequence)}",
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
    UserAccess.objects.create(user=user, clearance=make_clearance(**clearance), scopes=scopes.split())
    return user


def utc(text: str) -> datetime:
    """`utc("2026-03-01 12:00")` is that instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


__all__ = [
    "WRITER",
    "Clearance",
    "envelope",
    "make_clearance",
    "make_key",
    "make_memory",
    "make_user",
    "store_drafts",
    "utc",
]
