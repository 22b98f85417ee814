"""Find the stored memories that the lines of an export are about."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from memoryhub.core.sql import fetch_dicts
from memoryhub.memories.writes.envelope import MemoryDraft
from memoryhub.memories.writes.exported import ExportFields
from memoryhub.memories.writes.identity import StoredVersion, stored_version_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertedVersion(StoredVersion):
    """A stored version, with its position among the values that were asserted."""

    asserted_at: datetime
    asserted_version_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMemory:
    """The stored versions of the memory that a line is about."""

    current: AssertedVersion | None = None
    same_or_next_version: AssertedVersion | None = None
    """The version with the line's number, or else the next one that is stored."""
    is_id_taken: bool = False
    """Whether the line's memory_id belongs to a memory of another identity."""


def get_export_fields(draft: MemoryDraft) -> ExportFields:
    """Return the fields of a draft's line that are not fields of the envelope."""
    return draft.export_fields or ExportFields()


def find_stored_memories(
    drafts: Sequence[MemoryDraft], exceeds_source_clearance: Sequence[bool], *, by_memory_id: bool
) -> list[StoredMemory]:
    """Return the stored memory of each draft: by its memory_id if `by_memory_id`, else by its identity.

    `exceeds_source_clearance` says of each draft whether it is beyond the clearance of its source.
    """
    identities = [
        [draft.source for draft in drafts],
        [draft.envelope.payload_id for draft in drafts],
        list(exceeds_source_clearance),
    ]
    by_identity = {row["position"]: row for row in fetch_dicts(_BY_IDENTITY_SQL, identities)}
    by_id: dict[int, dict[str, Any]] = {}
    if by_memory_id:
        by_id = {
            row["position"]: row
            for row in fetch_dicts(_BY_MEMORY_ID_SQL, [[get_export_fields(draft).memory_id for draft in drafts]])
        }
    current: list[dict[str, Any] | None] = []
    for position, draft in enumerate(drafts, 1):
        row = by_id.get(position)
        is_same_memory = row is not None and (row["source"], row["payload_id"]) == (
            draft.source,
            draft.envelope.payload_id,
        )
        current.append(row if is_same_memory else by_identity.get(position))
    version_numbers = [get_export_fields(draft).version or 1 for draft in drafts]
    ids = [row and row["memory_id"] for row in current]
    same_or_next_rows = {row["position"]: row for row in fetch_dicts(_BY_VERSION_SQL, [ids, version_numbers])}
    return [
        StoredMemory(
            current=_to_asserted_version(row),
            same_or_next_version=_to_asserted_version(same_or_next_rows.get(position)),
            is_id_taken=row is None and position in by_id,
        )
        for position, row in enumerate(current, 1)
    ]


MemoryName = tuple[UUID, str, str]
"""(memory_id, source, payload_id) of a memory in another hub."""


def find_memory_ids(names: Collection[MemoryName]) -> dict[MemoryName, UUID | None]:
    """Return the memory_id here of each memory: its own if nothing is stored, None if another memory has that id.

    Run in a transaction that writes as every source.
    """
    ordered_names = list(names)
    ids: dict[MemoryName, UUID | None] = {name: name[0] for name in ordered_names}
    rows = fetch_dicts(_BY_NAME_SQL, [list(column) for column in zip(*ordered_names, strict=True)] or [[], [], []])
    for row in sorted(rows, key=lambda row: bool(row["has_same_id"])):
        name = ordered_names[row["position"] - 1]
        if row["has_same_name"]:
            # Of two memories of one identity the one with the same id is meant; it comes last.
            ids[name] = row["memory_id"]
        elif ids[name] == name[0]:
            ids[name] = None
    return ids


def _to_asserted_version(row: dict[str, Any] | None) -> AssertedVersion | None:
    if row is None:
        return None
    return AssertedVersion(
        **stored_version_fields(row), asserted_at=row["asserted_at"], asserted_version_id=row["asserted_version_id"]
    )


_COLUMNS = """
m.source, m.payload_id, m.id, m.memory_id, m.version, m.fingerprint, m.status, m.exceeds_source_clearance, m.namespace,
m.classification_tier, m.sensitivity_labels, m.sent_namespace, m.sent_tier, m.sent_labels,
coalesce(m.asserted_at, m.recorded_at) AS asserted_at, coalesce(m.asserted_version_id, m.id) AS asserted_version_id
"""
# Each lookup is one descent of an index, whose predicate is `tiers.ID_INDEX_GUARD` (`version >= 1`).
_LATERAL_SQL = """
SELECT requested.position::integer, {columns} FROM {requested}
CROSS JOIN LATERAL (
    SELECT * FROM memories WHERE version >= 1 AND {condition}
) AS m
"""
_BY_IDENTITY_SQL = _LATERAL_SQL.format(
    columns=_COLUMNS,
    requested="unnest(%s::varchar[], %s::varchar[], %s::boolean[]) WITH ORDINALITY"
    " AS requested(source, payload_id, exceeds_source_clearance, position)",
    condition="source = requested.source AND payload_id = requested.payload_id AND superseded_at IS NULL"
    " AND exceeds_source_clearance = requested.exceeds_source_clearance",
)
_BY_MEMORY_ID_SQL = _LATERAL_SQL.format(
    columns=_COLUMNS,
    requested="unnest(%s::uuid[]) WITH ORDINALITY AS requested(memory_id, position)",
    condition="memory_id = requested.memory_id AND superseded_at IS NULL",
)
_BY_VERSION_SQL = _LATERAL_SQL.format(
    columns=_COLUMNS,
    requested="unnest(%s::uuid[], %s::integer[]) WITH ORDINALITY AS requested(memory_id, version, position)",
    condition="memory_id = requested.memory_id AND memories.version >= requested.version ORDER BY version LIMIT 1",
)
_BY_NAME_SQL = """
SELECT requested.position::integer, m.memory_id, m.memory_id = requested.memory_id AS has_same_id,
       (m.source, m.payload_id) = (requested.source, requested.payload_id) AS has_same_name
FROM unnest(%s::uuid[], %s::varchar[], %s::varchar[])
    WITH ORDINALITY AS requested(memory_id, source, payload_id, position)
CROSS JOIN LATERAL (
    SELECT memory_id, source, payload_id FROM memories
    WHERE version >= 1 AND memory_id = requested.memory_id AND superseded_at IS NULL
    UNION ALL
    SELECT memory_id, source, payload_id FROM memories
    WHERE version >= 1 AND source = requested.source AND payload_id = requested.payload_id AND superseded_at IS NULL
) AS m
"""
