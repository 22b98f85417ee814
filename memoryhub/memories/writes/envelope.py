"""The envelope that a producer sends: check it, fill in its defaults, and compute its fingerprint.

A field that is missing, null or empty takes its documented default, and its name is stored in `defaulted_fields`, so
that the provenance of every field is known.
"""

import json
import math
import re
from array import array
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from django.conf import settings
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from memoryhub.core.confusables import describe_confusable_text
from memoryhub.core.storable_text import unstorable_reason
from memoryhub.core.strict_json import MAX_DEPTH
from memoryhub.firewall.clearance import get_tier_order, normalize_label, normalize_labels
from memoryhub.firewall.principal import ACTOR_TYPES
from memoryhub.memories.models import KINDS, MAX_LABELS, NAME_LENGTH
from memoryhub.memories.writes.fingerprint import compute_fingerprint

if TYPE_CHECKING:
    from memoryhub.memories.writes.exported import ExportFields

    Numbers = array[float]
else:
    # Python 3.11 supports the item type of an array in annotations only.
    Numbers = array

MAX_SCHEMA_VERSION = 32_767
MAX_METADATA_BYTES = 256 * 1024
_MAX_FLOAT_DIGITS = 345  # of a 64-bit float that is written without an exponent
_EXPONENT = re.compile(rb"\de[+-]?\d")
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:[0-5]\d)", re.ASCII)


def parse_instant(text: str) -> datetime:
    """Return an RFC 3339 instant as an aware datetime in UTC.

    Raises ValueError with a sentence: no zone, a leap second, 24:00, finer than microseconds, not in the years 1-9999.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("must be an RFC 3339 instant with a zone, such as 2026-03-01T12:30:00Z.")
    day, time_of_day, fraction, zone = match.groups()
    if fraction and fraction[6:].strip("0"):
        raise ValueError("is finer than a microsecond and would not be kept exactly.")
    microseconds = (fraction or "")[:6].ljust(6, "0")
    try:
        instant = datetime.fromisoformat(f"{day}T{time_of_day}.{microseconds}{'+00:00' if zone in 'Zz' else zone}")
        return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not an instant that exists between the years 1 and 9999.") from None


def _validate_instant(value: Any) -> datetime:
    if not isinstance(value, str):
        raise PydanticCustomError("instant", "must be an RFC 3339 instant in a string.")
    try:
        return parse_instant(value)
    except ValueError as error:
        raise PydanticCustomError("instant", str(error)) from None


def _validate_storable(value: str) -> str:
    if (reason := unstorable_reason(value)) is not None:
        raise PydanticCustomError("storable", reason)
    return value


def _validate_content(value: str) -> str:
    if not value.strip():
        raise PydanticCustomError("blank", "must not be blank: there is nothing to remember.")
    if len(value.encode()) > settings.APP_CONFIG.max_content_bytes:
        raise PydanticCustomError("too_large", f"is larger than {settings.APP_CONFIG.max_content_bytes:,} bytes.")
    return value


def one_of(*allowed: str) -> AfterValidator:
    def validate_choice(value: str) -> str:
        if value not in allowed:
            raise PydanticCustomError("choice", f"must be one of {', '.join(allowed)}.")
        return value

    return AfterValidator(validate_choice)


def _validate_tier(value: str) -> str:
    if value not in get_tier_order():
        raise PydanticCustomError("tier", f"must be one of {', '.join(get_tier_order())}.")
    return value


def _validate_labels(value: list[str]) -> list[str]:
    if len(value) > MAX_LABELS:
        raise PydanticCustomError("labels", f"must hold at most {MAX_LABELS} labels.")
    return value


def _validate_visible_label(value: str) -> str:
    if value and not normalize_label(value):
        raise PydanticCustomError("invisible", "must hold something that can be seen.")
    return value


def _parse_embedding(value: Any) -> Numbers:
    """Return the 32-bit numbers that will be stored.

    They are checked as such: a number may be too large or small for them.
    """
    if not isinstance(value, list) or not {float, int}.issuperset(map(type, value)):
        raise PydanticCustomError("numbers", "must be a list of numbers.")
    dimensions = settings.APP_CONFIG.embedding_dimensions
    if len(value) != dimensions:
        raise PydanticCustomError("dimension", f"must have {dimensions} dimensions, not {len(value)}.")
    try:
        numbers = array("f", value)
    except OverflowError:
        numbers = array("f", [math.inf])
    if not math.isfinite(sum(numbers)):
        raise PydanticCustomError("finite", "must hold finite 32-bit numbers only.")
    if not any(numbers):
        raise PydanticCustomError("zero", "must not be the zero vector: its cosine distance is undefined.")
    return numbers


def _validate_document(value: dict[str, Any]) -> dict[str, Any]:
    if (reason := _invalid_document_reason(value)) is not None:
        raise PydanticCustomError("document", reason)
    if _serialized_size(value) > MAX_METADATA_BYTES:
        raise PydanticCustomError("too_large", f"is larger than {MAX_METADATA_BYTES:,} bytes.")
    return value


def _invalid_document_reason(document: dict[str, Any]) -> str | None:
    """Return why a JSON document could not be stored and returned unchanged; None if it can."""
    pending_items: list[tuple[Any, int]] = [(document, 1)]
    while pending_items:
        container, depth = pending_items.pop()
        if depth > MAX_DEPTH:
            return f"is nested deeper than {MAX_DEPTH} levels."
        for item in chain(container, container.values()) if isinstance(container, dict) else container:
            if isinstance(item, str):
                if (reason := unstorable_reason(item)) is not None:
                    return reason
            elif isinstance(item, (dict, list)):
                pending_items.append((item, depth + 1))
            elif isinstance(item, float) and not math.isfinite(item):
                return "must hold finite numbers only."
    return None


Text = Annotated[str, AfterValidator(_validate_storable)]
Name = Annotated[Text, Field(max_length=NAME_LENGTH)]
Instant = Annotated[datetime, BeforeValidator(_validate_instant)]
Document = Annotated[dict[str, Any], AfterValidator(_validate_document)]
Tier = Annotated[str, AfterValidator(_validate_tier)]
Labels = Annotated[list[Annotated[Name, Field(min_length=1)]], AfterValidator(_validate_labels)]
NewLabels = Annotated[
    list[Annotated[Name, Field(min_length=1), AfterValidator(_validate_visible_label)]],
    AfterValidator(_validate_labels),
]
Embedding = Annotated[
    Numbers,
    PlainValidator(_parse_embedding),
    WithJsonSchema({"type": "array", "items": {"type": "number"}}),
]


class Envelope(BaseModel):
    """One memory as its producer sends it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=True)

    payload_id: Annotated[Name, Field(min_length=1)]
    content: Annotated[Text, AfterValidator(_validate_content)]
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
    cleared_fields: frozenset[str] = frozenset()
    """Fields that were sent as null or empty: an update clears what is stored there."""
    export_fields: "ExportFields | None" = None
    """The other fields of an exported line, if it comes from one: `memories.writes.restore` stores such drafts."""

    @property
    def is_partial(self) -> bool:
        """Whether the content was left out, which an update may do."""
        return not self.envelope.content

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
        raise OperationRejectedError({"source": ["is required: this key may write as any source and must say which."]})
    return complete_draft(
        envelope,
        source=source,
        actor_type=envelope.actor_type or actor_type,
        actor_id=envelope.actor_id or actor_id,
        timestamp=envelope.timestamp or now,
        defaulted_fields=frozenset(FIELDS) - envelope.model_fields_set,
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
    cleared_fields: frozenset[str] = frozenset(),
    export_fields: "ExportFields | None" = None,
) -> MemoryDraft:
    """Return a draft of `envelope`. `defaulted_fields` names the fields whose value the writer did not give."""
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


def _serialized_size(document: dict[str, Any]) -> int:
    """Return the size of a document in bytes, as the database returns it."""
    try:
        serialized = orjson.dumps(document)
    except TypeError:
        # orjson does not write integers beyond 64 bits.
        serialized = json.dumps(document, ensure_ascii=False).encode()
    # jsonb writes 1e308 out as 309 digits: a small request must not become a large response.
    if len(serialized) + _MAX_FLOAT_DIGITS * len(_EXPONENT.findall(serialized)) <= MAX_METADATA_BYTES:
        return len(serialized)
    return len(serialized) + _expanded_digits(document)


def _expanded_digits(value: Any) -> int:
    if isinstance(value, float):
        return len(format(Decimal(repr(value)), "f")) - len(repr(value))
    if isinstance(value, dict):
        return sum(map(_expanded_digits, value.values()))
    return sum(map(_expanded_digits, value)) if isinstance(value, list) else 0
