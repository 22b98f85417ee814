"""What becomes of a write: which stored memory it is about, and what its next version holds.

The identity of a write is (source, payload_id). The answer to a source's write depends on what that source wrote and on
nothing else: what it sends is compared with what it last sent, never with what others made of the classification since.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from memoryhub.firewall.types import Classified, Clearance, Principal, Scope, is_lower_tier, label_key, label_keys
from memoryhub.memories.envelope import FIELDS, Draft, Rejected, complete
from memoryhub.memories.merge import CurrentEnvelope, merge
from memoryhub.memories.querysets import fetched

Identity = tuple[str, str]
"""(source, payload_id)"""
STORED_OTHERWISE = "is stored already with other content; on_conflict=update adds a version."
_CLASSIFICATION = frozenset({"namespace", "classification_tier", "sensitivity_labels"})


class OnConflict(StrEnum):
    """What to do when a payload_id is written again with other content."""

    REFUSE = "refuse"
    UPDATE = "update"
    """Merge the fields that were sent over the current version."""
    REPLACE = "replace"
    """The same, and reset the fields that were not sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """What the firewall judges a memory by."""

    namespace: str
    classification_tier: str
    sensitivity_labels: tuple[str, ...]

    @classmethod
    def of(cls, row: Classified) -> "Classification":
        return cls(
            namespace=row.namespace,
            classification_tier=row.classification_tier,
            sensitivity_labels=tuple(row.sensitivity_labels),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """The current version of a memory, as far as the next write under its identity depends on it."""

    id: int
    memory_id: uuid.UUID
    version: int
    fingerprint: bytes
    """Of what its source wrote, with the classification that it last sent."""
    status: str
    beyond_source: bool
    current: Classification
    last_sent: Classification

    def is_written_by(self, draft: Draft, by: Principal) -> bool:
        """Whether storing `draft` would add nothing."""
        if not by.is_operator:
            return self.fingerprint == draft.fingerprint
        return self.fingerprint == classified(draft, self.last_sent).fingerprint and self.is_classified_as(draft)

    def is_classified_as(self, row: Classified) -> bool:
        return _comparable(self.current) == _comparable(row)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """A version that is to be stored."""

    draft: Draft
    """Its fields, with the classification that it is stored with."""
    written: Draft
    """The same with the classification that its source sent: all that the answer to the write may depend on."""
    memory_id: uuid.UUID
    version: int = 1
    replaces: StoredVersion | None = None
    status: str = "active"
    decision: uuid.UUID | None = None
    is_other_spelling: bool = False
    decided_beyond_source: bool = False
    last_sent: Classification
    beyond_source: bool = False
    said_at: datetime | None = None
    said_id: int | None = None
    is_superseded: bool = False
    """Whether a later version is stored already, so that this one is in force at no instant."""


def look_up(identities: Sequence[Identity], by: Principal) -> dict[Identity, StoredVersion]:
    """The current versions under `identities`, whatever they are classified as by now.

    To a source's write those that the operator stored beyond its clearance do not exist.
    """
    sources, payload_ids = [source for source, _ in identities], [payload_id for _, payload_id in identities]
    rows = fetched(_BY_IDENTITY, [sources, payload_ids, by.is_operator])
    return {(row["source"], row["payload_id"]): _stored(row) for row in rows}


# A join, not two lists: each pair is one descent of the index, whatever the planner believes about the table. The index
# asks for `querysets.BY_ID`.
_BY_IDENTITY = """
SELECT m.source, m.payload_id, m.id, m.memory_id, m.version, m.fingerprint, m.status, m.beyond_source,
    m.namespace, m.classification_tier, m.sensitivity_labels, m.sent_namespace, m.sent_tier, m.sent_labels
FROM unnest(%s::varchar[], %s::varchar[]) AS wanted(source, payload_id)
CROSS JOIN LATERAL (
    SELECT * FROM memories
    WHERE source = wanted.source AND payload_id = wanted.payload_id AND superseded_at IS NULL AND version >= 1
        AND beyond_source <= %s
    ORDER BY beyond_source LIMIT 1
) AS m
"""


def _stored(row: dict[str, Any]) -> StoredVersion:
    return StoredVersion(**version_fields(row))


def version_fields(row: dict[str, Any]) -> dict[str, Any]:
    """The fields of a StoredVersion, by the columns of a row."""
    return {
        "id": row["id"],
        "memory_id": row["memory_id"],
        "version": row["version"],
        "fingerprint": bytes(row["fingerprint"]),
        "status": row["status"],
        "beyond_source": row["beyond_source"],
        "current": Classification(
            namespace=row["namespace"],
            classification_tier=row["classification_tier"],
            sensitivity_labels=tuple(row["sensitivity_labels"]),
        ),
        "last_sent": Classification(
            namespace=row["sent_namespace"],
            classification_tier=row["sent_tier"],
            sensitivity_labels=tuple(row["sent_labels"]),
        ),
    }


def next_version(
    draft: Draft,
    stored: StoredVersion | None,
    *,
    by: Principal,
    clearance: Clearance,
    on_conflict: OnConflict,
    to_merge: CurrentEnvelope | None = None,
) -> NewVersion | None:
    """The version that `draft` adds; None if it adds nothing.

    `clearance` is that of the source for writing. An update needs the envelope `to_merge` with. Raises Rejected:
    `payload_id_conflict`, `above_clearance`, `actor_mismatch`, `declassification`, `invalid_value` without content.
    """
    if stored is None:
        return _first_version(draft, by, clearance)
    sent_parts = _CLASSIFICATION
    if to_merge is not None:
        sent_parts = _CLASSIFICATION & ({*FIELDS} - {*draft.defaulted} | draft.cleared)
        draft = merge(draft, to_merge, stored.current if by.is_operator else stored.last_sent)
    check_clearance(draft, by, clearance)
    if stored.is_written_by(draft, by):
        return None
    if on_conflict is OnConflict.REFUSE:
        raise conflict(STORED_OTHERWISE)
    check_actor(draft, by)
    if by.is_operator:
        return _operators_version(draft, stored, clearance)
    if not by.may(Scope.DECLASSIFY):
        _refuse_lowering(draft, stored.last_sent)
    return _sources_version(draft, stored, sent_parts)


def check_clearance(draft: Draft, by: Principal, clearance: Clearance) -> None:
    """Raise Rejected, `above_clearance`, if the source may not write what is classified as `draft` is."""
    if by.is_operator or clearance.permits(draft):
        return
    field = "classification_tier" if draft.classification_tier not in clearance.tiers() else "namespace"
    raise Rejected({field: ["is beyond the clearance of this source for writing."]}, "above_clearance")


def check_actor(draft: Draft, by: Principal) -> None:
    """Raise Rejected, `actor_mismatch`, if `by` may not write for the actor of `draft`."""
    if not by.may_speak_for(actor_type=draft.actor_type):
        raise Rejected({"actor_type": ["is not one that this key may write for."]}, "actor_mismatch")
    if not by.may_speak_as(actor_id=draft.actor_id):
        raise Rejected({"actor_id": ["is not the actor of this key."]}, "actor_mismatch")


def _first_version(draft: Draft, by: Principal, clearance: Clearance) -> NewVersion:
    if draft.is_partial:
        raise Rejected({"content": ["is required: nothing is stored under this payload_id yet."]})
    check_clearance(draft, by, clearance)
    return NewVersion(
        draft=draft,
        written=draft,
        memory_id=uuid.uuid4(),
        last_sent=Classification.of(draft),
        beyond_source=not clearance.permits(draft),
    )


def _sources_version(draft: Draft, stored: StoredVersion, sent_parts: Collection[str]) -> NewVersion:
    return replace(
        _following(draft, stored),
        draft=classified(draft, _stricter(draft, stored, sent_parts)),
        last_sent=Classification.of(draft),
    )


def _operators_version(draft: Draft, stored: StoredVersion, clearance: Clearance) -> NewVersion:
    """The operator's classification holds; what the source last sent stays what it was, and so does the status.

    Raises Rejected for an erased memory, for an import brings nothing back into force, and for what the source may not
    see (`refuse_hiding`).
    """
    if stored.status == "erased":
        raise conflict("was erased here, and an import does not bring it back.")
    if not clearance.permits(draft):
        refuse_hiding(draft, stored)
    written = classified(draft, stored.last_sent)
    return replace(_following(draft, stored), written=written, status=stored.status)


def refuse_hiding(draft: Draft, stored: StoredVersion) -> None:
    """Raise Rejected if `draft`, which its source may not see, is other than what the source wrote under its id.

    The source could guess it: the answer to its next write depends on what is stored there.
    """
    if not stored.beyond_source and stored.fingerprint != classified(draft, stored.last_sent).fingerprint:
        raise conflict("is what its source wrote, and this source may not see the new content: use another payload_id.")


def conflict(sentence: str) -> Rejected:
    """The refusal of an envelope whose identity is stored with something else."""
    return Rejected({"payload_id": [sentence]}, "payload_id_conflict")


def _following(draft: Draft, stored: StoredVersion) -> NewVersion:
    return NewVersion(
        draft=draft,
        written=draft,
        memory_id=stored.memory_id,
        version=stored.version + 1,
        replaces=stored,
        # A writer does not take its own memory out of quarantine.
        status=stored.status if stored.status == "quarantined" else "active",
        last_sent=stored.last_sent,
        beyond_source=stored.beyond_source,
    )


def _refuse_lowering(draft: Draft, last_sent: Classification) -> None:
    errors = {}
    if is_lower_tier(draft.classification_tier, last_sent.classification_tier):
        errors["classification_tier"] = ["is lower than what this source sent last."]
    if not label_keys(last_sent.sensitivity_labels) <= label_keys(draft.sensitivity_labels):
        errors["sensitivity_labels"] = ["lack a label that this source sent last."]
    if draft.namespace != last_sent.namespace:
        errors["namespace"] = ["is another one than this source sent last."]
    if errors:
        raise Rejected(errors, "declassification")


def _stricter(sent: Draft, stored: StoredVersion, sent_parts: Collection[str]) -> Classification:
    """Of each part that was sent the stricter of what is sent and what is stored; the other parts as they are stored.

    A tier, label or namespace that somebody else set is never lowered. A source that may declassify takes back what it
    sent itself.
    """
    current, last_sent = stored.current, stored.last_sent
    namespace, tier, labels = current.namespace, current.classification_tier, current.sensitivity_labels
    if "namespace" in sent_parts and namespace == last_sent.namespace:
        namespace = sent.namespace
    set_by_source = tier == last_sent.classification_tier
    if "classification_tier" in sent_parts and (set_by_source or is_lower_tier(tier, sent.classification_tier)):
        tier = sent.classification_tier
    if "sensitivity_labels" in sent_parts:
        taken_back = label_keys(last_sent.sensitivity_labels) - label_keys(sent.sensitivity_labels)
        union = {label_key(label): label for label in labels if label_key(label) not in taken_back}
        labels = tuple((union | {label_key(label): label for label in sent.sensitivity_labels}).values())
    return Classification(namespace=namespace, classification_tier=tier, sensitivity_labels=labels)


def classified(draft: Draft, classification: Classified) -> Draft:
    """`draft` with another classification."""
    envelope = draft.envelope.model_copy(
        update={
            "namespace": classification.namespace,
            "classification_tier": classification.classification_tier,
            "sensitivity_labels": list(classification.sensitivity_labels),
        }
    )
    return complete(
        envelope,
        source=draft.source,
        actor_type=draft.actor_type,
        actor_id=draft.actor_id,
        timestamp=draft.timestamp,
        defaulted=draft.defaulted,
        exported=draft.exported,
    )


def _comparable(row: Classified) -> tuple[str, str, frozenset[str]]:
    return row.namespace, row.classification_tier, label_keys(row.sensitivity_labels)
