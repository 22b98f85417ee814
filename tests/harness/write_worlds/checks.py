"""What a write may have changed in the tables, whatever it answered: looked at as a superuser, in one world."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from memoryhub.firewall.types import Clearance, tier_order
from memoryhub.memories.envelope import FIELDS
from tests.memories.rows import execute

Row = Mapping[str, Any]
CLASSIFICATION = ("classification_tier", "sensitivity_labels", "namespace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Every version of every memory by its internal id, and the number of the last audit entry."""

    rows: Mapping[int, Row]
    entries: int

    def current(self) -> dict[UUID, Row]:
        return {UUID(row["memory_id"]): row for row in self.rows.values() if row["superseded_at"] is None}

    def memory_ids(self) -> set[UUID]:
        return {UUID(row["memory_id"]) for row in self.rows.values()}

    def of(self, memory_ids: Collection[UUID]) -> dict[int, Row]:
        return {id_: row for id_, row in self.rows.items() if UUID(row["memory_id"]) in memory_ids}

    def permit(self, clearance: Clearance, memory_ids: Collection[UUID]) -> bool:
        """Whether any version of these memories may be seen under `clearance`."""
        return any(permits(clearance, row) for row in self.of(memory_ids).values())


def permits(clearance: Clearance, row: Row) -> bool:
    return clearance.permits(SimpleNamespace(**{name: row[name] for name in CLASSIFICATION}))


def read_tables() -> Tables:
    found = execute("SELECT id, to_jsonb(m) - 'search' FROM memories AS m ORDER BY id")
    ((entries,),) = execute("SELECT coalesce(max(seq), 0) FROM audit_entries")
    return Tables(rows={id_: json.loads(row) for id_, row in found}, entries=entries)


def check_write(before: Tables, after: Tables, *, stored: list[UUID], sources: set[str], principal: str) -> None:
    """`stored`: the memories that a receipt says got a version. `sources`: those that the request may write as."""
    added = [row for id_, row in after.rows.items() if id_ not in before.rows]
    changed = [row for id_, row in before.rows.items() if after.rows[id_] != row]

    assert [row for row in added if row["source"] not in sources] == [], "a row of another source was added"
    assert [row for row in changed if row["source"] not in sources] == [], "a row of another source was changed"
    assert sorted(UUID(row["memory_id"]) for row in added) == sorted(stored), "a version for each stored write"
    closed = {UUID(row["memory_id"]) for row in changed}
    assert closed <= set(stored), "a memory was closed that no receipt names"
    check_entries(before.entries, set(stored), principal)


def check_entries(since: int, stored: set[UUID], principal: str) -> None:
    """One entry for all that a request stored, and none for a request that stored nothing."""
    entries = execute(
        "SELECT principal, memory_ids FROM audit_entries WHERE seq > %s AND action = 'memory.write'", since
    )
    assert {by for by, _ in entries} == ({principal} if stored else set()), "who wrote is in the audit log"
    assert {memory_id for _, ids in entries for memory_id in ids} == stored, "every stored write is in the audit log"


def check_untouched(before: Tables, after: Tables, memory_ids: Collection[UUID]) -> None:
    """No version of these memories was added, closed or changed."""
    assert after.of(memory_ids) == before.of(memory_ids), "a hidden memory was changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The classification that somebody else gave a writer's memory, which the writer must not lower."""

    row: Row

    def is_lowered_by(self, row: Row) -> bool:
        tiers = tier_order()
        return (
            tiers.index(row["classification_tier"]) < tiers.index(self.row["classification_tier"])
            or not set(self.row["label_keys"]) <= set(row["label_keys"])
            or row["namespace"] != self.row["namespace"]
        )


def contents(row: Row) -> Row:
    """What a memory says, without what it is classified as."""
    return {name: row[name] for name in FIELDS if name not in CLASSIFICATION}
