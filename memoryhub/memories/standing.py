"""Taking memories out of force and putting them back: a next version of each stands otherwise, and says the same."""

from collections.abc import Collection, Mapping
from uuid import UUID

from django.db import connection

from memoryhub.memories.ingest import COLUMNS

_CLOSE = "UPDATE memories SET superseded_at = now() WHERE id = ANY(%s)"
_STANDS = {
    "version": "m.version + 1",
    "status": "%s",
    "decision": "next.decision",
    "is_other_spelling": "m.id = ANY (%s::bigint[])",
    "decided_beyond_source": "m.id = ANY (%s::bigint[])",
}
# Not a new value, so it keeps its place among those that were said.
_ADD = f"""
INSERT INTO memories ({", ".join(COLUMNS)}, said_at, said_id)
SELECT {", ".join(_STANDS.get(name, f"m.{name}") for name in COLUMNS)},
       coalesce(m.said_at, m.recorded_at), coalesce(m.said_id, m.id)
FROM unnest(%s::bigint[], %s::uuid[]) AS next(id, decision) JOIN memories AS m ON m.id = next.id
"""  # noqa: S608 - put together from names of columns, which are constants
# In the order in which everybody locks memories, and by indexes that ask for `querysets.BY_ID`.
_HELD = """
SELECT id, memory_id, decision FROM memories
WHERE decision = ANY (%s) AND superseded_at IS NULL AND version >= 1 AND status = 'retired' AND memory_id <> ALL (%s)
ORDER BY memory_id
"""
_MADE = """
SELECT id, memory_id FROM memories
WHERE memory_id = ANY (%s) AND superseded_at IS NULL AND version >= 1 AND status <> 'erased' ORDER BY memory_id
"""


def stand(
    decisions: Mapping[int, UUID],
    *,
    status: str,
    other_spellings: Collection[int] = (),
    beyond_source: Collection[int] = (),
) -> None:
    """Give each of these versions, by id, a next one that stands so because of a decision.

    Of `other_spellings`, which are ids among them, the decision keeps the value and retires the text alone. The sources
    of those `beyond_source` may not see all that the decision was made on (`Memory.decided_beyond_source`). Within the
    caller's transaction, after its tick and behind a wall that lets it write them.
    """
    if decisions:
        with connection.cursor() as cursor:
            cursor.execute(_CLOSE, [list(decisions)])
            marked = [list(other_spellings), list(beyond_source)]
            cursor.execute(_ADD, [status, *marked, list(decisions), list(decisions.values())])


def give_back(undos: Mapping[UUID, UUID], *, made: Mapping[UUID, UUID]) -> dict[UUID, list[UUID]]:
    """Undo how memories stand because of decisions, each by its undo; the ids of those in force again, by decision.

    All that is retired because of one is active again, what arrived since included. What they `made` (memory ids, each
    with the undo) is retired, whatever another decision has made of it meanwhile.
    """
    with connection.cursor() as cursor:
        cursor.execute(_MADE, [list(made)])
        ended = {id_: made[memory_id] for id_, memory_id in cursor.fetchall()}
        cursor.execute(_HELD, [list(undos), list(made)])
        held = cursor.fetchall()
    stand(ended, status="retired")
    stand({id_: undos[decision] for id_, _, decision in held}, status="active")
    back: dict[UUID, list[UUID]] = {decision: [] for decision in undos}
    for _, memory_id, decision in held:
        back[decision].append(memory_id)
    return back
