"""Decide what a write does: which stored memory it is about, and what the memory's next version holds.

The identity of a write is (source, payload_id). The answer to a source's write depends on what that source wrote and on
nothing else: the write is compared with what the source last sent, never with how others have reclassified it since.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from memoryhub.core.sql import fetch_dicts
from memoryhub.firewall.clearance import ClassifiedRow, Clearance, is_lower_tier, normalize_label, normalize_labels
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.writes.envelope import FIELDS, MemoryDraft, OperationRejectedError, complete_draft
from memoryhub.memories.writes.merge import CurrentEnvelope, merge_draft

Identity = tuple[str, str]
"""(source, payload_id)"""
CONTENT_CONFLICT_MESSAGE = "is stored already with other content; on_conflict=update adds a version."
_CLASSIFICATION_FIELDS = frozenset({"namespace", "classification_tier", "sensitivity_labels"})


class OnConflict(StrEnum):
    """What to do if a payload_id is written again with other content."""

    REFUSE = "refuse"
    UPDATE = "update"
    """Merge the fields that were sent over the current version."""
    REPLACE = "replace"
    """The same, and reset the fields that were not sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """The fields by which the firewall decides."""

    namespace: str
    classification_tier: str
    sensitivity_labels: tuple[str, ...]

    @classmethod
    def from_row(cls, row: ClassifiedRow) -> "Classification":
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
    """The fingerprint of what its source wrote, with the classification that the source last sent."""
    status: str
    exceeds_source_clearance: bool
    current: Classification
    last_sent: Classification
    stored_bytes: int = 0
    """About the size of the fields that may be long; 0 where a query does not read it."""

    def is_same_write(self, draft: MemoryDraft, principal: Principal) -> bool:
        """Whether storing `draft` would add nothing."""
        if not principal.is_operator:
            return self.fingerprint == draft.fingerprint
        return self.fingerprint == with_classification(draft, self.last_sent).fingerprint and self.is_classified_as(
            draft
        )

    def is_classified_as(self, row: ClassifiedRow) -> bool:
        return _classification_key(self.current) == _classification_key(row)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """A version to be stored."""

    draft: MemoryDraft
    """The fields, with the classification to be stored."""
    sent_draft: MemoryDraft
    """The fields, with the classification that the source sent: the answer to the write may depend on these alone."""
    memory_id: uuid.UUID
    version: int = 1
    replaces: StoredVersion | None = None
    status: str = "active"
    decision_id: uuid.UUID | None = None
    is_spelling_rejection: bool = False
    decision_exceeds_source: bool = False
    last_sent: Classification
    exceeds_source_clearance: bool = False
    asserted_at: datetime | None = None
    asserted_version_id: int | None = None
    is_superseded: bool = False
    """Whether a later version is already stored, so that this one is current at no instant."""


def find_current_versions(identities: Sequence[Identity], principal: Principal) -> dict[Identity, StoredVersion]:
    """Return the current versions under `identities`, whatever their classification is now.

    To a source's write, versions that the operator stored beyond the source's clearance do not exist.
    """
    sources, payload_ids = [source for source, _ in identities], [payload_id for _, payload_id in identities]
    rows = fetch_dicts(_BY_IDENTITY_SQL, [sources, payload_ids, principal.is_operator])
    return {(row["source"], row["payload_id"]): _to_stored_version(row) for row in rows}


# A lateral join, not two lists: each pair is one descent of the index, whatever the planner estimates. The index has
# `tiers.ID_INDEX_GUARD` as its predicate, which is `version >= 1`.
_BY_IDENTITY_SQL = """
SELECT m.source, m.payload_id, m.id, m.memory_id, m.version, m.fingerprint, m.status, m.exceeds_source_clearance,
    m.namespace, m.classification_tier, m.sensitivity_labels, m.sent_namespace, m.sent_tier, m.sent_labels,
    octet_length(m.content) + coalesce(pg_column_size(m.embedding), 0) + octet_length(m.sensitivity_labels::text)
        + octet_length(m.metadata::text) + coalesce(octet_length(m.propagation::text), 0) AS stored_bytes
FROM unnest(%s::varchar[], %s::varchar[]) AS requested(source, payload_id)
CROSS JOIN LATERAL (
    SELECT * FROM memories
    WHERE source = requested.source AND payload_id = requested.payload_id AND superseded_at IS NULL AND version >= 1
        AND exceeds_source_clearance <= %s
    ORDER BY exceeds_source_clearance LIMIT 1
) AS m
"""


def _to_stored_version(row: dict[str, Any]) -> StoredVersion:
    return StoredVersion(**stored_version_fields(row), stored_bytes=row["stored_bytes"])


def stored_version_fields(row: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a StoredVersion from the columns of a row."""
    return {
        "id": row["id"],
        "memory_id": row["memory_id"],
        "version": row["version"],
        "fingerprint": bytes(row["fingerprint"]),
        "status": row["status"],
        "exceeds_source_clearance": row["exceeds_source_clearance"],
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
    draft: MemoryDraft,
    stored_version: StoredVersion | None,
    *,
    principal: Principal,
    clearance: Clearance,
    on_conflict: OnConflict,
    current_envelope: CurrentEnvelope | None = None,
) -> NewVersion | None:
    """Return the version that `draft` adds; None if it adds nothing.

    `clearance` is the source's clearance for writing. An update needs `current_envelope`, the stored one. Raises
    OperationRejectedError: `payload_id_conflict`, `above_clearance`, `actor_mismatch`, `declassification`, or
    `invalid_value` if content is missing.
    """
    if stored_version is None:
        return _first_version(draft, principal, clearance)
    sent_parts = _CLASSIFICATION_FIELDS
    if current_envelope is not None:
        sent_parts = _CLASSIFICATION_FIELDS & ({*FIELDS} - {*draft.defaulted_fields} | draft.cleared_fields)
        draft = merge_draft(
            draft, current_envelope, stored_version.current if principal.is_operator else stored_version.last_sent
        )
    check_clearance(draft, principal, clearance)
    if stored_version.is_same_write(draft, principal):
        return None
    if on_conflict is OnConflict.REFUSE:
        raise payload_id_conflict(CONTENT_CONFLICT_MESSAGE)
    check_actor(draft, principal)
    if principal.is_operator:
        return _operator_version(draft, stored_version, clearance)
    if not principal.has_scope(Scope.DECLASSIFY):
        _reject_declassification(draft, stored_version.last_sent)
    return _source_version(draft, stored_version, sent_parts)


def check_clearance(draft: MemoryDraft, principal: Principal, clearance: Clearance) -> None:
    """Raise OperationRejectedError, `above_clearance`, if the source may not write the classification of `draft`."""
    if principal.is_operator or clearance.permits(draft):
        return
    field = "classification_tier" if draft.classification_tier not in clearance.visible_tiers() else "namespace"
    raise OperationRejectedError({field: ["is beyond the clearance of this source for writing."]}, "above_clearance")


def check_actor(draft: MemoryDraft, principal: Principal) -> None:
    """Raise OperationRejectedError, `actor_mismatch`, if `principal` may not write for the actor of `draft`."""
    if not principal.may_write_for_actor_type(actor_type=draft.actor_type):
        raise OperationRejectedError(
            {"actor_type": ["is an actor type for which this key may not write."]}, "actor_mismatch"
        )
    if not principal.may_write_as_actor(actor_id=draft.actor_id):
        raise OperationRejectedError({"actor_id": ["is not the actor of this key."]}, "actor_mismatch")


def _first_version(draft: MemoryDraft, principal: Principal, clearance: Clearance) -> NewVersion:
    if draft.is_partial:
        raise OperationRejectedError({"content": ["is required, because no memory has this payload_id yet."]})
    check_clearance(draft, principal, clearance)
    return NewVersion(
        draft=draft,
        sent_draft=draft,
        memory_id=uuid.uuid4(),
        last_sent=Classification.from_row(draft),
        exceeds_source_clearance=not clearance.permits(draft),
    )


def _source_version(draft: MemoryDraft, stored_version: StoredVersion, sent_parts: Collection[str]) -> NewVersion:
    return replace(
        _following_version(draft, stored_version),
        draft=with_classification(draft, _strictest_classification(draft, stored_version, sent_parts)),
        last_sent=Classification.from_row(draft),
    )


def _operator_version(draft: MemoryDraft, stored_version: StoredVersion, clearance: Clearance) -> NewVersion:
    """Return the operator's version: it sets the classification; status and what the source last sent stay.

    Raises OperationRejectedError for an erased memory, because an import does not bring it back, and for content that
    the source may not see (`reject_hidden_overwrite`).
    """
    if stored_version.status == "erased":
        raise payload_id_conflict("was erased here, and an import does not bring it back.")
    if not clearance.permits(draft):
        reject_hidden_overwrite(draft, stored_version)
    sent_draft = with_classification(draft, stored_version.last_sent)
    return replace(_following_version(draft, stored_version), sent_draft=sent_draft, status=stored_version.status)


def reject_hidden_overwrite(draft: MemoryDraft, stored_version: StoredVersion) -> None:
    """Raise OperationRejectedError if `draft`, which its source may not see, differs from what the source wrote.

    The source could guess the content, because the answer to its next write depends on what is stored there.
    """
    if (
        not stored_version.exceeds_source_clearance
        and stored_version.fingerprint != with_classification(draft, stored_version.last_sent).fingerprint
    ):
        raise payload_id_conflict(
            "is what its source wrote, and this source may not see the new content: use another payload_id."
        )


def payload_id_conflict(message: str) -> OperationRejectedError:
    """Return the rejection of an envelope whose identity is stored with something else."""
    return OperationRejectedError({"payload_id": [message]}, "payload_id_conflict")


def _following_version(draft: MemoryDraft, stored_version: StoredVersion) -> NewVersion:
    return NewVersion(
        draft=draft,
        sent_draft=draft,
        memory_id=stored_version.memory_id,
        version=stored_version.version + 1,
        replaces=stored_version,
        # A writer does not release its own memory from quarantine.
        status=stored_version.status if stored_version.status == "quarantined" else "active",
        last_sent=stored_version.last_sent,
        exceeds_source_clearance=stored_version.exceeds_source_clearance,
    )


def _reject_declassification(draft: MemoryDraft, last_sent: Classification) -> None:
    errors = {}
    if is_lower_tier(draft.classification_tier, last_sent.classification_tier):
        errors["classification_tier"] = ["is lower than what this source sent last."]
    if not normalize_labels(last_sent.sensitivity_labels) <= normalize_labels(draft.sensitivity_labels):
        errors["sensitivity_labels"] = ["lack a label that this source sent last."]
    if draft.namespace != last_sent.namespace:
        errors["namespace"] = ["is another one than this source sent last."]
    if errors:
        raise OperationRejectedError(errors, "declassification")


def _strictest_classification(
    draft: MemoryDraft, stored_version: StoredVersion, sent_parts: Collection[str]
) -> Classification:
    """Return, of each part that was sent, the stricter of the sent and the stored one; other parts as stored.

    A tier, label or namespace that somebody else set is never lowered. A source that may declassify takes back only
    what it sent itself.
    """
    current, last_sent = stored_version.current, stored_version.last_sent
    namespace, tier, labels = current.namespace, current.classification_tier, current.sensitivity_labels
    if "namespace" in sent_parts and namespace == last_sent.namespace:
        namespace = draft.namespace
    is_set_by_source = tier == last_sent.classification_tier
    if "classification_tier" in sent_parts and (is_set_by_source or is_lower_tier(tier, draft.classification_tier)):
        tier = draft.classification_tier
    if "sensitivity_labels" in sent_parts:
        removed_keys = normalize_labels(last_sent.sensitivity_labels) - normalize_labels(draft.sensitivity_labels)
        labels_by_key = {
            normalize_label(label): label for label in labels if normalize_label(label) not in removed_keys
        }
        labels = tuple((labels_by_key | {normalize_label(label): label for label in draft.sensitivity_labels}).values())
    return Classification(namespace=namespace, classification_tier=tier, sensitivity_labels=labels)


def with_classification(draft: MemoryDraft, classification: ClassifiedRow) -> MemoryDraft:
    """Return `draft` with another classification."""
    envelope = draft.envelope.model_copy(
        update={
            "namespace": classification.namespace,
            "classification_tier": classification.classification_tier,
            "sensitivity_labels": list(classification.sensitivity_labels),
        }
    )
    return complete_draft(
        envelope,
        source=draft.source,
        actor_type=draft.actor_type,
        actor_id=draft.actor_id,
        timestamp=draft.timestamp,
        defaulted_fields=draft.defaulted_fields,
        content_forms=draft.content_forms,
        export_fields=draft.export_fields,
    )


def _classification_key(row: ClassifiedRow) -> tuple[str, str, frozenset[str]]:
    return row.namespace, row.classification_tier, normalize_labels(row.sensitivity_labels)
