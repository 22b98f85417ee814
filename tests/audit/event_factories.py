"""Entries for tests, and ways past the audit log's own defences."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction

from memoryhub.audit import log
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.clearance_snapshot import snapshot_clearance
from tests.memories.raw_rows import execute


def make_event(clearance: Clearance | None = None, **fields: Any) -> log.AuditEvent:
    """An event of an actor who could see what `clearance` may see: by default everything."""
    fields_: dict[str, Any] = {"principal": "user:ada", "action": "memory.write", **fields}
    return log.AuditEvent(clearance_snapshot=snapshot_clearance(clearance or unrestricted_clearance()), **fields_)


def append_events(*events: log.AuditEvent) -> log.ChainHead:
    with transaction.atomic():
        return log.append_events(*events)


def append_chain(count: int) -> log.ChainHead:
    """`count` entries that differ in everything."""
    return append_events(
        *(
            make_event(
                Clearance(max_tier="internal", blocked_labels=frozenset({f"l-{index}"}), namespaces=frozenset({"a"})),
                principal=f"user:{index}",
                memory_ids=[uuid.uuid4(), uuid.uuid4()],
                details={"place": index, "was": ["ä", None, True, {"b": 1, "a": -(2**70)}]},
                route="api:memory-list",
                query=f"q={index}",
                request_id=f"r-{index}",
            )
            for index in range(count)
        )
    )


@contextmanager
def allow_tampering() -> Iterator[None]:
    """What the table's owner can do: switch everything off, change what he likes, and switch it on again."""
    execute("ALTER TABLE audit_entries DISABLE TRIGGER USER")
    execute("ALTER TABLE audit_entries NO FORCE ROW LEVEL SECURITY")
    yield
    execute("ALTER TABLE audit_entries FORCE ROW LEVEL SECURITY")
    execute("ALTER TABLE audit_entries ENABLE TRIGGER USER")
