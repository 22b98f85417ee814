"""Apply the decisions about conflicts to memories: store merged values, retire losing ones, and undo both.

The functions run in the caller's `write_transaction`, after `next_record_time`.
"""

from collections.abc import Collection, Mapping
from uuid import UUID, uuid4

from django.db import connection

from memoryhub.memories.writes.envelope import MemoryDraft
from memoryhub.memories.writes.identity import Classification, NewVersion
from memoryhub.memories.writes.versions import add_changed_copies, add_versions

# In the order in which all writers lock memories. `version >= 1` is `tiers.ID_INDEX_GUARD`, without which
# PostgreSQL cannot use the indexes.
_RETIRED_BY_DECISION_SQL = """
SELECT id, memory_id, decision_id FROM memories
WHERE decision_id = ANY (%s) AND superseded_at IS NULL AND version >= 1 AND status = 'retired' AND memory_id <> ALL (%s)
ORDER BY memory_id
"""
_CREATED_BY_DECISION_SQL = """
SELECT id, memory_id FROM memories
WHERE memory_id = ANY (%s) AND superseded_at IS NULL AND version >= 1 AND status <> 'erased' ORDER BY memory_id
"""


def store_merged_draft(draft: MemoryDraft, *, decision_id: UUID) -> UUID:
    """Store the memory that a decision creates; return its id."""
    memory_id = uuid4()
    version = NewVersion(
        draft=draft,
        sent_draft=draft,
        memory_id=memory_id,
        decision_id=decision_id,
        last_sent=Classification.from_row(draft),
    )
    add_versions([version])
    return memory_id


def set_status(
    decision_ids: Mapping[int, UUID],
    *,
    status: str,
    other_spelling_ids: Collection[int] = (),
    exceeding_source_ids: Collection[int] = (),
) -> None:
    """Add a next version with `status` to each of these versions: `decision_ids` maps their ids to the decision.

    For the versions in `other_spelling_ids` the decision keeps the value and retires the text alone. The sources of
    those in `exceeding_source_ids` may not see everything that the decision was based on
    (`Memory.decision_exceeds_source`).
    """
    add_changed_copies(
        {
            id_: {
                "status": status,
                "decision_id": decision_id,
                "is_spelling_rejection": id_ in other_spelling_ids,
                "decision_exceeds_source": id_ in exceeding_source_ids,
            }
            for id_, decision_id in decision_ids.items()
        }
    )


def restore_retired(undo_ids: Mapping[UUID, UUID], *, created_memories: Mapping[UUID, UUID]) -> dict[UUID, list[UUID]]:
    """Undo the statuses that decisions set; return the ids of the memories that are active again, by decision.

    `undo_ids` maps each decision to its undo. All memories that are retired because of the decision become active
    again, those that arrived since included. The memories that the decisions created (`created_memories`: memory id to
    undo) are retired, whatever another decision has done with them meanwhile.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CREATED_BY_DECISION_SQL, [list(created_memories)])
        created_versions = {id_: created_memories[memory_id] for id_, memory_id in cursor.fetchall()}
        cursor.execute(_RETIRED_BY_DECISION_SQL, [list(undo_ids), list(created_memories)])
        retired_rows = cursor.fetchall()
    set_status(created_versions, status="retired")
    set_status({id_: undo_ids[decision_id] for id_, _, decision_id in retired_rows}, status="active")
    restored_ids: dict[UUID, list[UUID]] = {decision_id: [] for decision_id in undo_ids}
    for _, memory_id, decision_id in retired_rows:
        restored_ids[decision_id].append(memory_id)
    return restored_ids
