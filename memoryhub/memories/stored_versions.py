"""What is stored of the memories that the lines of an export are about."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from memoryhub.memories.envelope import Draft
from memoryhub.memories.exported import Exported
from memoryhub.memories.identity import StoredVersion, version_fields
from memoryhub.memories.querysets import fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownVersion(StoredVersion):
    """A stored version, with its place among the values that were said."""

    said_at: datetime
    said_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMemory:
    """What is stored of the memory that a line is about."""

    current: KnownVersion | None = None
    at_or_after: KnownVersion | None = None
    """The version with the line's number, or the next one that is stored."""
    is_taken: bool = False
    """Whether the line's memory_id is that of a memory of another identity."""


def exported_fields(made: Draft) -> Exported:
    """What the line of a draft says besides its envelope."""
    return made.exported or Exported()


def find_versions(drafts: Sequence[Draft], beyond_source: Sequence[bool], *, by_memory_id: bool) -> list[StoredMemory]:
    """What is stored of the memory of each draft: by its memory_id if that counts, else by its identity.

    `beyond_source` says of each draft whether it is more than its source may see.
    """
    identities = [
        [made.source for made in drafts],
        [made.envelope.payload_id for made in drafts],
        list(beyond_source),
    ]
    by_identity = {row["place"]: row for row in fetched(_BY_IDENTITY, identities)}
    by_id: dict[int, dict[str, Any]] = {}
    if by_memory_id:
        by_id = {
            row["place"]: row for row in fetched(_BY_MEMORY_ID, [[exported_fields(made).memory_id for made in drafts]])
        }
    current: list[dict[str, Any] | None] = []
    for place, made in enumerate(drafts, 1):
        row = by_id.get(place)
        is_it = row is not None and (row["source"], row["payload_id"]) == (made.source, made.envelope.payload_id)
        current.append(row if is_it else by_identity.get(place))
    numbers = [exported_fields(made).version or 1 for made in drafts]
    ids = [row and row["memory_id"] for row in current]
    later = {row["place"]: row for row in fetched(_BY_VERSION, [ids, numbers])}
    return [
        StoredMemory(current=_known(row), at_or_after=_known(later.get(place)), is_taken=row is None and place in by_id)
        for place, row in enumerate(current, 1)
    ]


Name = tuple[UUID, str, str]
"""(memory_id, source, payload_id) of a memory, as another hub has it."""


def find_ids(names: Collection[Name]) -> dict[Name, UUID | None]:
    """The memory_id here of each of these memories, its own if nothing is stored; None if that is another memory's.

    Asked in a transaction that writes as every source.
    """
    wanted = list(names)
    ids: dict[Name, UUID | None] = {name: name[0] for name in wanted}
    rows = fetched(_NAMED, [list(column) for column in zip(*wanted, strict=True)] or [[], [], []])
    for row in sorted(rows, key=lambda row: bool(row["has_the_id"])):
        name = wanted[row["place"] - 1]
        if row["has_the_name"]:
            # Of two memories of one identity that with the same id is meant, which comes last.
            ids[name] = row["memory_id"]
        elif ids[name] == name[0]:
            ids[name] = None
    return ids


def _known(row: dict[str, Any] | None) -> KnownVersion | None:
    if row is None:
        return None
    return KnownVersion(**version_fields(row), said_at=row["said_at"], said_id=row["said_id"])


_COLUMNS = """
m.source, m.payload_id, m.id, m.memory_id, m.version, m.fingerprint, m.status, m.beyond_source, m.namespace,
m.classification_tier, m.sensitivity_labels, m.sent_namespace, m.sent_tier, m.sent_labels,
coalesce(m.said_at, m.recorded_at) AS said_at, coalesce(m.said_id, m.id) AS said_id
"""
# Each is one descent of an index, which asks for `querysets.BY_ID`.
_LATERAL = """
SELECT wanted.place::integer, {columns} FROM {wanted}
CROSS JOIN LATERAL (
    SELECT * FROM memories WHERE version >= 1 AND {condition}
) AS m
"""
_BY_IDENTITY = _LATERAL.format(
    columns=_COLUMNS,
    wanted="unnest(%s::varchar[], %s::varchar[], %s::boolean[]) WITH ORDINALITY"
    " AS wanted(source, payload_id, beyond_source, place)",
    condition="source = wanted.source AND payload_id = wanted.payload_id AND superseded_at IS NULL"
    " AND beyond_source = wanted.beyond_source",
)
_BY_MEMORY_ID = _LATERAL.format(
    columns=_COLUMNS,
    wanted="unnest(%s::uuid[]) WITH ORDINALITY AS wanted(memory_id, place)",
    condition="memory_id = wanted.memory_id AND superseded_at IS NULL",
)
_BY_VERSION = _LATERAL.format(
    columns=_COLUMNS,
    wanted="unnest(%s::uuid[], %s::integer[]) WITH ORDINALITY AS wanted(memory_id, number, place)",
    condition="memory_id = wanted.memory_id AND version >= wanted.number ORDER BY version LIMIT 1",
)
_NAMED = """
SELECT wanted.place::integer, m.memory_id, m.memory_id = wanted.memory_id AS has_the_id,
       (m.source, m.payload_id) = (wanted.source, wanted.payload_id) AS has_the_name
FROM unnest(%s::uuid[], %s::varchar[], %s::varchar[]) WITH ORDINALITY AS wanted(memory_id, source, payload_id, place)
CROSS JOIN LATERAL (
    SELECT memory_id, source, payload_id FROM memories
    WHERE version >= 1 AND memory_id = wanted.memory_id AND superseded_at IS NULL
    UNION ALL
    SELECT memory_id, source, payload_id FROM memories
    WHERE version >= 1 AND source = wanted.source AND payload_id = wanted.payload_id AND superseded_at IS NULL
) AS m
"""
