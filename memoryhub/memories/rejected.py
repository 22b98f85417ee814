"""Values that a decision rejected, arriving again: they are stored as retired, and the decision stands."""

import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import Field, Func

from memoryhub.firewall import wall
from memoryhub.firewall.models import ClearanceRecord
from memoryhub.firewall.types import TRUST, Clearance, opens
from memoryhub.memories.envelope import Draft
from memoryhub.memories.models import CURRENT, REJECTED, Memory
from memoryhub.memories.querysets import compiled, fetched

# Of memories that were rejected for saying the same, one of each kind is asked: were it the newest few, many that a
# reader does not see would stand in the place of the one that it does see.
_KINDS = ("namespace", "classification_tier", "label_keys", "actor_type")


class Wanted(Func):
    """A column of the values that are asked about."""

    output_field = Field()
    template = "wanted.%(name)s"


class _Row:
    """A rejected memory, as the firewall judges it."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.namespace: str = row["namespace"]
        self.classification_tier: str = row["classification_tier"]
        self.sensitivity_labels: Sequence[str] = row["sensitivity_labels"]
        self.trust = TRUST[row["actor_type"]]
        self.decision: UUID = row["decision"]


def decisions(drafts: Sequence[Draft], clearance: Clearance) -> list[UUID | None]:
    """For each draft the decision that rejected what it says of its subject and collection, or None.

    Only a decision that whoever may see the draft may see has a say, so a rejection tells nobody of hidden memories; it
    is looked for among what the writer, who may see its own draft, may see. A draft whose actor is trusted more than
    any that was rejected is new evidence: it has no such decision.
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
    """The rejected memories that say what each draft says of the same, the newest first, by the draft's place."""
    names = ("subject", "collection", "content_sha256")
    rows = Memory.objects.visible_to(clearance).filter(CURRENT, REJECTED, **{name: Wanted(name=name) for name in names})
    told = ("id", "namespace", "classification_tier", "sensitivity_labels", "actor_type", "decision")
    part, params = compiled(rows.order_by(*_KINDS, "-id").distinct(*_KINDS).values(*told))
    envelopes = [made.envelope for made in drafts]
    hashes = [hashlib.sha256(envelope.content.encode()).digest() for envelope in envelopes]
    keys = [[envelope.subject for envelope in envelopes], [envelope.collection for envelope in envelopes]]
    found: dict[int, list[_Row]] = {}
    with wall.behind(clearance):
        for row in fetched(_REJECTED.format(part=part), [*keys, hashes, *params]):
            found.setdefault(row["place"], []).append(_Row(row))
    return found


_REJECTED = """
SELECT wanted.place::integer, rejected.*
FROM unnest(%s::varchar[], %s::varchar[], %s::bytea[])
    WITH ORDINALITY AS wanted(subject, collection, content_sha256, place)
CROSS JOIN LATERAL ({part}) AS rejected
ORDER BY wanted.place, rejected.id DESC
"""
