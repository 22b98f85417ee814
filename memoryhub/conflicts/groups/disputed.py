"""Disputed memories of a list: members of a group that is open for the reader at the list's point in time."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db.models import Exists, F, OuterRef

from memoryhub.conflicts.groups.group_keys import GroupKey, encode_id
from memoryhub.conflicts.models import Decision
from memoryhub.core.sql import EqualsAny, LateralColumn, compile_sql, fetch_dicts, match_columns
from memoryhub.firewall.clearance import Clearance
from memoryhub.memories.models import Memory
from memoryhub.memories.point_in_time import PointInTime

_KEY_MATCH = match_columns("keys", ("subject", "collection"))


def find_disputed_group_ids(
    records: Iterable[Mapping[str, Any]], *, clearance: Clearance, point_in_time: PointInTime
) -> dict[UUID, str]:
    """Ids of the open groups of these memories: `{memory_id: group_id}`. Undisputed memories are left out.

    Each record needs memory_id, subject, collection and status. Costs one query, which looks each key up in an index.
    """
    ids_by_key: dict[GroupKey, list[UUID]] = {}
    for record in records:
        if record["subject"] and record["collection"] and record["status"] == "active":
            ids_by_key.setdefault((record["subject"], record["collection"]), []).append(record["memory_id"])
    if not ids_by_key:
        return {}
    open_keys = _find_open_keys(list(ids_by_key), clearance, point_in_time)
    return {memory_id: encode_id(*key) for key in open_keys for memory_id in ids_by_key[key]}


def _find_open_keys(keys: list[GroupKey], clearance: Clearance, point_in_time: PointInTime) -> list[GroupKey]:
    rows = point_in_time.active_versions(Memory.objects.visible_to(clearance)).filter(**_KEY_MATCH)
    unaccepted_rows = rows.exclude(EqualsAny(F("content_sha256"), OuterRef("accepted_hashes")))
    decisions = (
        Decision.objects.visible_to(clearance)
        .in_force(point_in_time.known_at)
        .filter(namespace__isnull=True, **_KEY_MATCH)
    )
    subqueries = {
        "sample": rows.values("content_sha256")[:1],
        "greater": rows.filter(content_sha256__gt=LateralColumn("sample", "content_sha256")).values("id")[:1],
        "smaller": rows.filter(content_sha256__lt=LateralColumn("sample", "content_sha256")).values("id")[:1],
        "accepting": decisions.filter(~Exists(unaccepted_rows)).values("id")[:1],
    }
    compiled_queries = {name: compile_sql(subquery) for name, subquery in subqueries.items()}
    sql = _DISPUTED_SQL.format(**{name: subquery for name, (subquery, _) in compiled_queries.items()})
    key_arrays = [list(column) for column in zip(*keys, strict=True)]
    open_rows = fetch_dicts(sql, [*key_arrays, *(param for _, params in compiled_queries.values() for param in params)])
    return [keys[row["position"] - 1] for row in open_rows]


# A different content is greater or smaller than the sample. Each of these comparisons is one step in the index that
# orders the contents of a key; `<>` could not use that index.
_DISPUTED_SQL = """
SELECT keys.position::integer
FROM unnest(%s::varchar[], %s::varchar[]) WITH ORDINALITY AS keys(subject, collection, position)
CROSS JOIN LATERAL ({sample}) AS sample
WHERE (({greater}) IS NOT NULL OR ({smaller}) IS NOT NULL) AND ({accepting}) IS NULL
"""
