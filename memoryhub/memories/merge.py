"""Updates: the fields that were sent are merged over those of the current version."""

import json
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from memoryhub.firewall.types import Classified
from memoryhub.memories.envelope import FIELDS, Draft, Envelope, complete


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentEnvelope:
    """What a current version holds of the envelope."""

    envelope: Envelope
    timestamp: datetime
    defaulted: frozenset[str]


def read_envelopes(ids: Iterable[int]) -> dict[int, CurrentEnvelope]:
    """The envelopes of these versions, by id."""
    with connection.cursor() as cursor:
        cursor.execute(_ENVELOPES, [list(ids)])
        names = [column.name for column in cursor.description]
        return {id_: _current(dict(zip(names[1:], values, strict=True))) for id_, *values in cursor.fetchall()}


# Documents and vectors as text: they come back as the numbers that were written.
_TEXTS = {name: f"{name}::text" for name in ("embedding", "metadata", "propagation")}
_COLUMNS = ", ".join(f"{_TEXTS.get(name, name)} AS {name}" for name in FIELDS)
_ENVELOPES = f"SELECT id, {_COLUMNS}, defaulted FROM memories WHERE id = ANY (%s)"  # noqa: S608 - constants


def _current(row: dict[str, Any]) -> CurrentEnvelope:
    defaulted = frozenset(row.pop("defaulted"))
    for name in _TEXTS:
        row[name] = None if row[name] is None else json.loads(row[name])
    if row["embedding"] is not None:
        row["embedding"] = array("f", row["embedding"])
    # Its fields were checked when they were written.
    return CurrentEnvelope(envelope=Envelope.model_construct(**row), timestamp=row["timestamp"], defaulted=defaulted)


def merge(sent: Draft, current: CurrentEnvelope, classification: Classified) -> Draft:
    """`sent` merged over the current version, whose classification is taken to be `classification`.

    A field that was sent holds, a field that was cleared takes its default, every other field stays as it is. Other
    content takes the embedding and the timestamp of the old one with it, if they were not sent: the memory has no
    embedding then, and the time of the update, as a default.
    """
    sent_fields = frozenset(FIELDS) - frozenset(sent.defaulted)
    replaced = sent_fields | sent.cleared
    if "content" in sent_fields and sent.envelope.content != current.envelope.content:
        replaced |= {"embedding", "timestamp"}
    values = vars(current.envelope) | {
        "namespace": classification.namespace,
        "classification_tier": classification.classification_tier,
        "sensitivity_labels": list(classification.sensitivity_labels),
    }
    values |= {name: value for name, value in vars(sent.envelope).items() if name in replaced}
    actor = {
        name: getattr(sent, name) if name in replaced else getattr(current.envelope, name)
        for name in ("actor_type", "actor_id")
    }
    return complete(
        Envelope.model_construct(**values),
        source=sent.source,
        **actor,
        timestamp=sent.timestamp if "timestamp" in replaced else current.timestamp,
        defaulted=(current.defaulted - replaced) | (replaced - sent_fields),
    )
