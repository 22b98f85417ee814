"""Change the status of memories. Each change adds a version with the same content and another status."""

from collections.abc import Collection, Mapping
from uuid import UUID

from django.db import connection

from memoryhub.memories.writes.write import COLUMN_TYPES

_CLOSE_SQL = "UPDATE memories SET superseded_at = now() WHERE id = ANY(%s)"
_STATUS_COLUMNS = {
    "version": "m.version + 1",
    "status": "%s",
    "decision_id": "next.decision_id",
    "is_spelling_rejection": "m.id = ANY (%s::bigint[])",
    "decision_exceeds_source": "m.id = ANY (%s::bigint[])",
}
# Not a new value, so it keeps its position among the values that were asserted.
_INSERT_SQL = f"""
INSERT INTO memories ({", ".join(COLUMN_TYPES)}, asserted_at, asserted_version_id)
SELECT {", ".join(_STATUS_COLUMNS.get(name, f"m.{name}") for name in COLUMN_TYPES)},
       coalesce(m.asserted_at, m.recorded_at), coalesce(m.asserted_version_id, m.id)
FROM unnest(%s::bigint[], %s::uuid[]) AS next(id, decision_id) JOIN memories AS m ON m.id = next.id
"""  # noqa: S608 - put together from names of columns, which are constants
# In the order in which all writers lock memories. `version >= 1` is `querysets.ID_INDEX_GUARD`, without which
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
    (`Memory.decision_exceeds_source`). Run in the caller's transaction, after `next_record_time` and within
    `rls.as_writer`.
    """
    if decision_ids:
        with connection.cursor() as cursor:
            cursor.execute(_CLOSE_SQL, [list(decision_ids)])
            flagged_ids = [list(other_spelling_ids), list(exceeding_source_ids)]
            cursor.execute(_INSERT_SQL, [status, *flagged_ids, list(decision_ids), list(decision_ids.values())])


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
