"""What a write may have changed in the tables, whatever it answered: looked at as a superuser, in one world."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from memoryhub.firewall.clearance import Clearance, get_tier_order
from memoryhub.memories.writes.envelope import FIELDS
from tests.memories.raw_rows import execute

Row = Mapping[str, Any]
CLASSIFICATION = ("classification_tier", "sensitivity_labels", "namespace")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSnapshot:
    """Every version of every memory by its internal id, and the number of the last audit entry."""

    rows: Mapping[int, Row]
    last_entry_seq: int

    def current(self) -> dict[UUID, Row]:
        return {UUID(row["memory_id"]): row for row in self.rows.values() if row["superseded_at"] is None}

    def memory_ids(self) -> set[UUID]:
        return {UUID(row["memory_id"]) for row in self.rows.values()}

    def versions_of(self, memory_ids: Collection[UUID]) -> dict[int, Row]:
        return {id_: row for id_, row in self.rows.items() if UUID(row["memory_id"]) in memory_ids}

    def is_any_visible(self, clearance: Clearance, memory_ids: Collection[UUID]) -> bool:
        """Whether any version of these memories may be seen under `clearance`."""
        return any(is_row_permitted(clearance, row) for row in self.versions_of(memory_ids).values())


def is_row_permitted(clearance: Clearance, row: Row) -> bool:
    return clearance.permits(SimpleNamespace(**{name: row[name] for name in CLASSIFICATION}))


def read_tables() -> TableSnapshot:
    row_documents = execute("SELECT id, to_jsonb(m) - 'search' FROM memories AS m ORDER BY id")
    ((entries,),) = execute("SELECT coalesce(max(seq), 0) FROM audit_entries")
    return TableSnapshot(rows={id_: json.loads(row) for id_, row in row_documents}, last_entry_seq=entries)


def assert_write_allowed(
    before: TableSnapshot, after: TableSnapshot, *, stored_ids: list[UUID], sources: set[str], principal: str
) -> None:
    """`stored_ids`: the memories that a receipt says got a version. `sources`: those that the request may write as."""
    added_rows = [row for id_, row in after.rows.items() if id_ not in before.rows]
    changed_rows = [row for id_, row in before.rows.items() if after.rows[id_] != row]

    assert [row for row in added_rows if row["source"] not in sources] == [], "a row of another source was added"
    assert [row for row in changed_rows if row["source"] not in sources] == [], "a row of another source was changed"
    assert sorted(UUID(row["memory_id"]) for row in added_rows) == sorted(stored_ids), "a version for each stored write"
    closed_ids = {UUID(row["memory_id"]) for row in changed_rows}
    assert closed_ids <= set(stored_ids), "a memory was closed that no receipt names"
    assert_audit_entries(before.last_entry_seq, set(stored_ids), principal)


def assert_audit_entries(since_seq: int, stored_ids: set[UUID], principal: str) -> None:
    """One entry for all that a request stored, and none for a request that stored nothing."""
    entries = execute(
        "SELECT principal, memory_ids FROM audit_entries WHERE seq > %s AND action = 'memory.write'", since_seq
    )
    assert {principal_name for principal_name, _ in entries} == ({principal} if stored_ids else set()), (
        "who wrote is in the audit log"
    )
    assert {memory_id for _, ids in entries for memory_id in ids} == stored_ids, (
        "every stored write is in the audit log"
    )


def assert_unchanged(before: TableSnapshot, after: TableSnapshot, memory_ids: Collection[UUID]) -> None:
    """No version of these memories was added, closed or changed."""
    assert after.versions_of(memory_ids) == before.versions_of(memory_ids), "a hidden memory was changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationFloor:
    """The classification that somebody else gave a writer's memory, which the writer must not lower."""

    row: Row

    def is_lowered_by(self, row: Row) -> bool:
        tiers = get_tier_order()
        return (
            tiers.index(row["classification_tier"]) < tiers.index(self.row["classification_tier"])
            or not set(self.row["normalized_labels"]) <= set(row["normalized_labels"])
            or row["namespace"] != self.row["namespace"]
        )


def unclassified_fields(row: Row) -> Row:
    """What a memory says, without what it is classified as."""
    return {name: row[name] for name in FIELDS if name not in CLASSIFICATION}
