"""Which groups are open: the one condition behind the lists, the queue, dry runs and the marks on disputed memories.

A group is open, for a clearance at a point in time, if

1. the active memories of its key that the clearance sees then have two contents at least, and
2. no decision accepts all of these contents. The decisions are those about this very key that are in force then and
   visible to the clearance. A decision on (subject, collection) does not close (subject, collection, namespace), nor
   the reverse.

Each read computes this anew. A retirement removes a content, an undo or the end of a snooze takes a decision out of
force, and a new value is accepted by no earlier decision. Claims make no difference. A group with a decision in force
that is not open is decided.

`consistency` recounts the groups with plain queries, for operators and tests.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Exists, F, OuterRef

from memoryhub.conflicts.decisions.querysets import DecisionQuerySet
from memoryhub.conflicts.groups.group_keys import SCOPE_COLUMNS, GroupKey, encode_id
from memoryhub.conflicts.models import Decision
from memoryhub.core.sql import EqualsAny, LateralColumn, compile_sql, fetch_dicts, match_columns
from memoryhub.firewall.clearance import Clearance
from memoryhub.memories.models import Memory
from memoryhub.memories.point_in_time import NOW, PointInTime
from memoryhub.memories.querysets import MemoryQuerySet

SqlWithParams = tuple[str, list[Any]]


def open_condition_sql(
    active_members: MemoryQuerySet, decisions: DecisionQuerySet, key_columns: Sequence[str]
) -> SqlWithParams:
    """The condition that the group of a key is open.

    The SQL must be placed where an alias `keys` has `key_columns`. `active_members` and `decisions` are those that the
    caller sees at the point in time; the decisions are in force.
    """
    members = active_members.filter(**match_columns("keys", key_columns))
    unaccepted_members = members.exclude(EqualsAny(F("content_sha256"), OuterRef("accepted_hashes")))
    key_decisions = filter_by_key_columns(decisions, key_columns).filter(**match_columns("keys", key_columns))
    # In the order of the template: PostgreSQL matches the parameters by position.
    subqueries = {
        "sample": members.values("content_sha256")[:1],
        "greater_member": members.filter(content_sha256__gt=LateralColumn("sample", "content_sha256")).values("id")[:1],
        "smaller_member": members.filter(content_sha256__lt=LateralColumn("sample", "content_sha256")).values("id")[:1],
        "accepting_decision": key_decisions.filter(~Exists(unaccepted_members)).values("id")[:1],
    }
    compiled_queries = {name: compile_sql(subquery) for name, subquery in subqueries.items()}
    sql = _OPEN_CONDITION_SQL.format(**{name: subquery for name, (subquery, _) in compiled_queries.items()})
    return sql, [param for _, params in compiled_queries.values() for param in params]


def filter_by_key_columns(decisions: DecisionQuerySet, key_columns: Sequence[str]) -> DecisionQuerySet:
    """The decisions about groups with these key columns."""
    return decisions.filter(namespace__isnull="namespace" not in key_columns)


def find_open_keys(
    keys: Iterable[GroupKey], *, clearance: Clearance, point_in_time: PointInTime = NOW
) -> list[GroupKey]:
    """Those of these keys (subject, collection) whose groups are open, in the same order.

    Costs one query, which looks each key up in an index. Call it inside `rls.as_reader`.
    """
    key_list = list(keys)
    if not key_list:
        return []
    condition_sql, params = open_condition_sql(
        point_in_time.active_versions(Memory.objects.visible_to(clearance)),
        Decision.objects.visible_to(clearance).in_force(point_in_time.known_at),
        SCOPE_COLUMNS["collection"],
    )
    key_arrays = [list(column) for column in zip(*key_list, strict=True)]
    rows = fetch_dicts(_OPEN_KEYS_SQL.format(is_open=condition_sql), [*key_arrays, *params])
    return [key_list[row["position"] - 1] for row in rows]


def find_disputed_group_ids(
    records: Iterable[Mapping[str, Any]], *, clearance: Clearance, point_in_time: PointInTime
) -> dict[UUID, str]:
    """Ids of the open groups of these memories: `{memory_id: group_id}`. Undisputed memories are left out.

    Each record needs memory_id, subject, collection and status. Costs one query.
    """
    ids_by_key: dict[GroupKey, list[UUID]] = {}
    for record in records:
        if record["subject"] and record["collection"] and record["status"] == "active":
            ids_by_key.setdefault((record["subject"], record["collection"]), []).append(record["memory_id"])
    open_keys = find_open_keys(ids_by_key, clearance=clearance, point_in_time=point_in_time)
    return {memory_id: encode_id(*key) for key in open_keys for memory_id in ids_by_key[key]}


# A different content is greater or smaller than the sample. Each of these comparisons is one step in the index that
# orders the contents of a key; `<>` could not use that index.
_OPEN_CONDITION_SQL = """
EXISTS (SELECT FROM ({sample}) AS sample WHERE ({greater_member}) IS NOT NULL OR ({smaller_member}) IS NOT NULL)
AND ({accepting_decision}) IS NULL
"""
_OPEN_KEYS_SQL = """
SELECT keys.position::integer
FROM unnest(%s::varchar[], %s::varchar[]) WITH ORDINALITY AS keys(subject, collection, position)
WHERE {is_open}
ORDER BY keys.position
"""
