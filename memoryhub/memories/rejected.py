"""Values that a decision rejected, arriving again: they are stored as retired, and the decision stands.

A value is rejected in all its spellings (`memories.values`). Of a value that the decision keeps, only the very texts
that it retired are.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db.models import BigIntegerField, Field, Func, Q
from django.db.models.functions import Coalesce

from memoryhub.firewall import wall
from memoryhub.firewall.models import ClearanceRecord
from memoryhub.firewall.types import TRUST, Clearance, opens, tier_order
from memoryhub.memories.envelope import Draft
from memoryhub.memories.models import CURRENT, REJECTED, Memory
from memoryhub.memories.querysets import BY_ID, MemoryQuerySet, compiled, fetched
from memoryhub.memories.values import holds_secret, value_digest

# Of memories that were rejected for saying the same, one of each kind is asked: were it the newest few, many that a
# reader does not see would stand in the place of the one that it does see.
_AS_CLASSIFIED = ("namespace", "classification_tier", "sensitivity_labels")
_AS_SENT = ("sent_namespace", "sent_tier", "sent_labels")


class Wanted(Func):
    """A column of the values that are asked about."""

    output_field = Field()
    template = "wanted.%(name)s"


class _Row:
    """A rejected memory, as the firewall judges it."""

    def __init__(self, row: dict[str, Any], columns: tuple[str, str, str]) -> None:
        namespace, tier, labels = columns
        self.namespace: str = row[namespace]
        self.classification_tier: str = row[tier]
        self.sensitivity_labels: Sequence[str] = row[labels]
        self.trust = TRUST[row["actor_type"]]
        self.decision: UUID = row["decision"]


def decisions(drafts: Sequence[Draft], clearance: Clearance) -> list[UUID | None]:
    """For each draft the decision that rejected what it says of its subject and collection, or None.

    Only a decision that whoever may see the draft may see has a say, so a rejection tells nobody of hidden memories; it
    is looked for among what the writer, who may see its own draft, may see. A draft whose actor is trusted more than
    any that was rejected is new evidence: it has no such decision.

    Memories of the draft's own source are judged by what that source last sent, and do not count where the decision was
    made on more than the source may see of it: the answer to its write does not tell whether somebody reclassified
    them. A draft that holds a secret is compared with those alone: the answer
    does not tell that somebody else's secret, which is masked, is the same. Asked in a transaction that writes as the
    sources of the drafts.
    """
    found = _found(drafts, clearance)
    if not found:
        return [None] * len(drafts)
    clearances = [record.as_clearance() for record in ClearanceRecord.objects.all()]
    return [_judged(made, found.get(place, []), clearances) for place, made in enumerate(drafts, 1)]


def _judged(made: Draft, rows: Sequence[_Row], clearances: Sequence[Clearance]) -> UUID | None:
    shared = [row for row in rows if row.namespace == made.namespace and not opens(row, made, clearances)]
    if not shared or TRUST[made.actor_type] > max(row.trust for row in shared):
        return None
    return shared[0].decision


def _found(drafts: Sequence[Draft], clearance: Clearance) -> dict[int, list[_Row]]:
    """The rejected memories that say what each draft says of the same, by the draft's place."""
    values: list[bytes | None] = [value_digest(made.envelope.content) for made in drafts]
    # Nothing is equal to NULL.
    shown = [None if holds_secret(made.envelope.content) else value for made, value in zip(drafts, values, strict=True)]
    found: dict[int, list[_Row]] = {}
    with wall.behind(clearance):
        for row in _fetch(_sql_of_others(clearance, tuple(tier_order())), drafts, shown):
            found.setdefault(row["place"], []).append(_Row(row, _AS_CLASSIFIED))
    for row in _fetch(_sql_of_own_source(), drafts, values):
        rejected = _Row(row, _AS_SENT)
        if clearance.permits(rejected):
            found.setdefault(row["place"], []).append(rejected)
    return found


# To compile these two takes longer than to run them, and every write asks both. There are few clearances.
@lru_cache(maxsize=256)
def _sql_of_others(
    clearance: Clearance,
    tiers: tuple[str, ...],  # noqa: ARG001  # a part of the key of the cache
) -> tuple[str, list[Any]]:
    """Rejected memories of other sources. What `clearance` reaches depends on `tiers`, the order of tiers."""
    visible = Memory.objects.visible_to(clearance)
    return _sql(visible.exclude(source=Wanted(name="source")), _AS_CLASSIFIED)


@lru_cache(maxsize=1)
def _sql_of_own_source() -> tuple[str, list[Any]]:
    """Rejected memories of the draft's own source."""
    return _sql(Memory.objects.filter(source=Wanted(name="source"), decided_beyond_source=False), _AS_SENT)


def _sql(rows: MemoryQuerySet, columns: tuple[str, str, str]) -> tuple[str, list[Any]]:
    """Those of `rows` that each draft asks for, the newest first, as they are classified by `columns`."""
    same = {name: Wanted(name=name) for name in ("subject", "collection", "value_sha256")}
    spelled = Q(is_other_spelling=False) | Q(content_sha256=Wanted(name="content_sha256"))
    kinds = (*columns, "actor_type")
    # By the version that was written: to classify it anew makes it no newer.
    rows = rows.filter(CURRENT, REJECTED, BY_ID, spelled, **same).annotate(
        written_as=Coalesce("said_id", "id", output_field=BigIntegerField())
    )
    newest = rows.order_by(*kinds, "-written_as").distinct(*kinds)
    part, params = compiled(newest.values("written_as", *kinds, "decision"))
    return _REJECTED.format(part=part), params


def _fetch(
    query: tuple[str, list[Any]], drafts: Sequence[Draft], values: Sequence[bytes | None]
) -> list[dict[str, Any]]:
    """The rows of `query` for each draft and its value."""
    sql, params = query
    envelopes = [made.envelope for made in drafts]
    wanted: list[list[Any]] = [
        [made.source for made in drafts],
        [envelope.subject for envelope in envelopes],
        [envelope.collection for envelope in envelopes],
        list(values),
        [hashlib.sha256(envelope.content.encode()).digest() for envelope in envelopes],
    ]
    return fetched(sql, [*wanted, *params])


_REJECTED = """
SELECT wanted.place::integer, rejected.*
FROM unnest(%s::varchar[], %s::varchar[], %s::varchar[], %s::bytea[], %s::bytea[])
    WITH ORDINALITY AS wanted(source, subject, collection, value_sha256, content_sha256, place)
CROSS JOIN LATERAL ({part}) AS rejected
ORDER BY wanted.place, rejected.written_as DESC
"""
