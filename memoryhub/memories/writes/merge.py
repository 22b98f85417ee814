"""Updates: merge the fields that were sent over those of the current version."""

import json
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from memoryhub.core.values import ContentForms
from memoryhub.firewall.clearance import ClassifiedRow
from memoryhub.memories import fields
from memoryhub.memories.writes.envelope import FIELDS, Envelope, MemoryDraft, complete_draft


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentEnvelope:
    """The fields of the envelope that a current version stores."""

    envelope: Envelope
    timestamp: datetime
    defaulted_fields: frozenset[str]
    content_forms: ContentForms


def read_envelopes(ids: Iterable[int]) -> dict[int, CurrentEnvelope]:
    """Return the envelopes of these versions, by id."""
    with connection.cursor() as cursor:
        cursor.execute(_ENVELOPES_SQL, [list(ids)])
        names = [column.name for column in cursor.description]
        return {
            id_: _to_current_envelope(dict(zip(names[1:], values, strict=True))) for id_, *values in cursor.fetchall()
        }


# Documents and vectors are read as text, so that their numbers come back as they were written.
_TEXT_CASTS = {
    field.name: f"{field.name}::text"
    for field in fields.FIELDS
    if field.is_sent and field.column_type in ("jsonb", "vector")
}
_CONTENT_FIELDS = {field.name for field in fields.FIELDS if field.belongs_to_content}
_COLUMNS = ", ".join(f"{_TEXT_CASTS.get(name, name)} AS {name}" for name in FIELDS)
_ENVELOPES_SQL = f"""
SELECT id, {_COLUMNS}, defaulted_fields, masked_content, value_sha256 FROM memories WHERE id = ANY (%s)
"""  # noqa: S608 - constants


def _to_current_envelope(row: dict[str, Any]) -> CurrentEnvelope:
    defaulted_fields = frozenset(row.pop("defaulted_fields"))
    content_forms = ContentForms(masked_content=row.pop("masked_content"), value_sha256=bytes(row.pop("value_sha256")))
    for name in _TEXT_CASTS:
        row[name] = None if row[name] is None else json.loads(row[name])
    if row["embedding"] is not None:
        row["embedding"] = array("f", row["embedding"])
    # No validation: the fields were checked when they were written.
    return CurrentEnvelope(
        envelope=Envelope.model_construct(**row),
        timestamp=row["timestamp"],
        defaulted_fields=defaulted_fields,
        content_forms=content_forms,
    )


def merge_draft(
    sent_draft: MemoryDraft, current_envelope: CurrentEnvelope, classification: ClassifiedRow
) -> MemoryDraft:
    """Merge `sent_draft` over the current version, whose classification is replaced by `classification`.

    A field that was sent is taken, a field that was cleared takes its default, every other field stays. If the content
    changes, an embedding and a timestamp that were not sent are reset: the memory then has no embedding, and the time
    of the update as its defaulted timestamp.
    """
    sent_fields = frozenset(FIELDS) - frozenset(sent_draft.defaulted_fields)
    replaced_fields = sent_fields | sent_draft.cleared_fields
    if "content" in sent_fields and sent_draft.envelope.content != current_envelope.envelope.content:
        replaced_fields |= _CONTENT_FIELDS
    values = vars(current_envelope.envelope) | {
        "namespace": classification.namespace,
        "classification_tier": classification.classification_tier,
        "sensitivity_labels": list(classification.sensitivity_labels),
    }
    values |= {name: value for name, value in vars(sent_draft.envelope).items() if name in replaced_fields}
    actor = {
        name: getattr(sent_draft, name) if name in replaced_fields else getattr(current_envelope.envelope, name)
        for name in ("actor_type", "actor_id")
    }
    return complete_draft(
        Envelope.model_construct(**values),
        source=sent_draft.source,
        **actor,
        timestamp=sent_draft.timestamp if "timestamp" in replaced_fields else current_envelope.timestamp,
        defaulted_fields=(current_envelope.defaulted_fields - replaced_fields) | (replaced_fields - sent_fields),
        content_forms=(sent_draft if "content" in replaced_fields else current_envelope).content_forms,
    )
