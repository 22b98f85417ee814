"""The envelope that a producer sends: check it, fill in its defaults, and compute its fingerprint.

A field that is missing, null or empty takes its documented default, and its name is stored in `defaulted_fields`, so
that the provenance of every field is known.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from memoryhub.core.confusables import describe_confusable_text
from memoryhub.core.values import ContentForms, compute_content_forms
from memoryhub.firewall.clearance import get_tier_order, normalize_labels
from memoryhub.firewall.principal import ACTOR_TYPES
from memoryhub.memories.models import KINDS, NAME_LENGTH
from memoryhub.memories.writes.fingerprint import compute_fingerprint
from memoryhub.memories.writes.validated_types import (
    Content,
    Document,
    Embedding,
    Instant,
    Name,
    NewLabels,
    Tier,
    one_of,
)

if TYPE_CHECKING:
    from memoryhub.memories.writes.exported import ExportFields

MAX_SCHEMA_VERSION = 32_767


class Envelope(BaseModel):
    """One memory as its producer sends it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=True)

    payload_id: Annotated[Name, Field(min_length=1)]
    content: Content
    source: Name = ""
    request_id: Name = ""
    subject: Name = ""
    namespace: Name = ""
    destination: Name = ""
    collection: Name = ""
    model: Name = ""
    role: Name = ""
    timestamp: Instant | None = None
    idempotency_key: Name = ""
    schema_version: Annotated[int, Field(ge=1, le=MAX_SCHEMA_VERSION)] = 1
    transform_version: Name = ""
    actor_type: Annotated[str, one_of(*ACTOR_TYPES)] = ""
    actor_id: Name = ""
    embedding: Embedding | None = None
    metadata: Document = Field(default_factory=dict)
    sensitivity_labels: NewLabels = Field(default_factory=list)
    classification_tier: Tier = ""
    kind: Annotated[str, one_of(*KINDS)] = "fact"
    pinned: bool = False
    expires_at: Instant | None = None
    propagation: Document | None = None


class PartialEnvelope(Envelope):
    """An envelope without content."""

    content: str = ""


FIELDS = tuple(Envelope.model_fields)
Errors = dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryDraft:
    """An envelope with its defaults filled in, before it is stored."""

    envelope: Envelope
    source: str
    actor_type: str
    actor_id: str
    classification_tier: str
    timestamp: datetime
    defaulted_fields: tuple[str, ...]
    normalized_labels: tuple[str, ...]
    fingerprint: bytes
    content_forms: ContentForms
    cleared_fields: frozenset[str] = frozenset()
    """Fields that were sent as null or empty: an update clears what is stored there."""
    export_fields: "ExportFields | None" = None
    """The other fields of an exported line, if it comes from one: `memories.writes.restore` stores such drafts."""

    @property
    def is_partial(self) -> bool:
        """Whether the content was left out, which an update may do."""
        return not self.envelope.content

    def estimate_bytes(self) -> int:
        """Return about the size of the fields that may be long and are expensive to store."""
        envelope = self.envelope
        documents = json.dumps([envelope.metadata, envelope.propagation, envelope.sensitivity_labels])
        return len(envelope.content.encode()) + len(documents)

    @property
    def namespace(self) -> str:
        return self.envelope.namespace

    @property
    def sensitivity_labels(self) -> list[str]:
        return self.envelope.sensitivity_labels


def find_label_warnings(field: str, labels: Iterable[str]) -> Errors:
    """Return what a reader may mistake in `labels`, the value of `field`: sentences by path, in the shape of errors.

    The warnings depend on the sent labels alone, so they reveal nothing about what is stored.
    """
    warnings = {f"{field}.{index}": describe_confusable_text(label) for index, label in enumerate(labels)}
    return {path: [warning] for path, warning in warnings.items() if warning}


class OperationRejectedError(ValueError):
    """An envelope that cannot be stored: its errors by field, each a sentence without its subject."""

    def __init__(self, errors: Errors, code: str = "invalid_value") -> None:
        super().__init__("; ".join(f"{field} {'; '.join(messages)}" for field, messages in errors.items()))
        self.errors = errors
        self.code = code


def prepare_draft(
    raw: Any, *, source: str | None, actor_type: str, now: datetime, actor_id: str = "", allow_partial: bool = False
) -> MemoryDraft:
    """Check `raw` and fill in missing fields: source and actor of the writer, the lowest tier, the time `now`.

    `allow_partial` accepts an envelope without content, as for an update. Raises OperationRejectedError with the errors
    of every field.
    """
    envelope = parse_envelope(raw, allow_partial=allow_partial)
    source = envelope.source or source
    if not source:
        raise OperationRejectedError({"source": ["is required, because this key may write as any source."]})
    return complete_draft(
        envelope,
        source=source,
        actor_type=envelope.actor_type or actor_type,
        actor_id=envelope.actor_id or actor_id,
        timestamp=envelope.timestamp or now,
        defaulted_fields=frozenset(FIELDS) - envelope.model_fields_set,
        content_forms=compute_content_forms(envelope.content),
        cleared_fields=frozenset(name for name in FIELDS if name in raw and name not in envelope.model_fields_set),
    )


def complete_draft(
    envelope: Envelope,
    *,
    source: str,
    actor_type: str,
    actor_id: str,
    timestamp: datetime,
    defaulted_fields: Collection[str],
    content_forms: ContentForms,
    cleared_fields: frozenset[str] = frozenset(),
    export_fields: "ExportFields | None" = None,
) -> MemoryDraft:
    """Return a draft of `envelope`. `defaulted_fields` names the fields whose value the writer did not give.

    `content_forms` are those of the content. A draft that is made while locks are held takes them from another draft or
    from the stored version.
    """
    tier = envelope.classification_tier or get_tier_order()[0]
    resolved_values = {"source": source, "actor_type": actor_type, "actor_id": actor_id, "classification_tier": tier}
    # A defaulted timestamp is not part of the write, so that a later retry is the same write.
    fingerprint_timestamp = {"timestamp": None if "timestamp" in defaulted_fields else timestamp}
    return MemoryDraft(
        envelope=envelope,
        source=source,
        actor_type=actor_type,
        actor_id=actor_id,
        classification_tier=tier,
        timestamp=timestamp,
        defaulted_fields=tuple(name for name in FIELDS if name in defaulted_fields),
        normalized_labels=tuple(sorted(normalize_labels(envelope.sensitivity_labels))),
        fingerprint=compute_fingerprint(vars(envelope) | resolved_values | fingerprint_timestamp),
        content_forms=content_forms,
        cleared_fields=cleared_fields,
        export_fields=export_fields,
    )


def parse_envelope(raw: Any, *, allow_partial: bool = False) -> Envelope:
    """Return the envelope in `raw`, a decoded JSON value; with `allow_partial` its content may be missing.

    Raises OperationRejectedError.
    """
    if not isinstance(raw, Mapping):
        raise OperationRejectedError({"": ["must be a JSON object."]})
    values = {name: value for name, value in raw.items() if name not in FIELDS or value not in ("", None, [], {})}
    envelope_class = PartialEnvelope if allow_partial and "content" not in raw else Envelope
    try:
        return envelope_class.model_validate(values)
    except ValidationError as error:
        raise rejection_from_pydantic(error) from None


BodyModel = TypeVar("BodyModel", bound=BaseModel)


def parse_body(body: Any, model: type[BodyModel]) -> BodyModel:
    """Parse `body`, a decoded JSON value. Raises OperationRejectedError with the errors of every field."""
    if not isinstance(body, Mapping):
        raise OperationRejectedError({"": ["must be a JSON object."]})
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise rejection_from_pydantic(error) from None


_ERROR_MESSAGES = {
    "missing": "is required.",
    "extra_forbidden": "is not a field that can be written.",
    "string_type": "must be a string.",
    "int_type": "must be a whole number.",
    "bool_type": "must be true or false.",
    "list_type": "must be a list.",
    "dict_type": "must be an object.",
    "float_type": "must be a number.",
    "string_unicode": "must be valid Unicode without lone surrogates.",
    "too_long": f"must be at most {NAME_LENGTH} characters long.",
    "too_short": "must not be empty.",
    "greater_than_equal": "must be at least 1.",
    "less_than_equal": f"must be at most {MAX_SCHEMA_VERSION}.",
}
_ERROR_CODES = {"extra_forbidden": "unknown_field", "too_large": "too_large"}


def rejection_from_pydantic(error: ValidationError) -> OperationRejectedError:
    """Convert pydantic's errors to the messages and codes of this API."""
    errors: Errors = {}
    code = "invalid_value"
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        field = ".".join(_safe_key(part) for part in item["loc"])
        errors.setdefault(field, []).append(_ERROR_MESSAGES.get(item["type"], item["msg"]))
        code = _ERROR_CODES.get(item["type"], code)
        if len(errors) >= 50:
            break
    return OperationRejectedError(errors, code)


def _safe_key(part: int | str) -> str:
    """Return a key that is safe to repeat in a response: cut, and with what JSON cannot carry escaped."""
    return str(part).encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")[:100]
