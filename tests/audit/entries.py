"""Entries for tests, and hands that reach past the ledger's own defences."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction

from memoryhub.audit import ledger
from memoryhub.firewall.reach import reach_of
from memoryhub.firewall.types import Clearance, everything
from tests.memories.rows import execute


def event(clearance: Clearance | None = None, **fields: Any) -> ledger.Event:
    """An event of an actor who could see what `clearance` may see: by default everything."""
    whole: dict[str, Any] = {"principal": "user:ada", "action": "memory.write", **fields}
    return ledger.Event(reach=reach_of(clearance or everything()), **whole)


def append(*events: ledger.Event) -> ledger.Head:
    with transaction.atomic():
        return ledger.append(*events)


def chain(number: int) -> ledger.Head:
    """`number` entries that differ in everything."""
    return append(
        *(
            event(
                Clearance(max_tier="internal", blocked_labels=frozenset({f"l-{place}"}), namespaces=frozenset({"a"})),
                principal=f"user:{place}",
                memory_ids=[uuid.uuid4(), uuid.uuid4()],
                details={"place": place, "was": ["ä", None, True, {"b": 1, "a": -(2**70)}]},
                route="api:memories",
                query=f"q={place}",
                request_id=f"r-{place}",
            )
            for place in range(number)
        )
    )


@contextmanager
def tampering() -> Iterator[None]:
    """What the table's owner can do: switch everything off, change what he likes, and switch it on again."""
    execute("ALTER TABLE audit_entries DISABLE TRIGGER USER")
    execute("ALTER TABLE audit_entries NO FORCE ROW LEVEL SECURITY")
    yield
    execute("ALTER TABLE audit_entries FORCE ROW LEVEL SECURITY")
    execute("ALTER TABLE audit_entries ENABLE TRIGGER USER")
