"""The canonical envelope: what a writer hands in, checked, completed and reduced to a fingerprint.

The fields are those of design.md, part 3. A field that is missing, null or empty takes its documented default, and the
name of every field that was filled in this way is remembered: provenance never lies.
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

from memoryhub.core.scripts import imitation_warning
from memoryhub.firewall.types import ACTOR_TYPES, label_key, label_keys, tier_order
from memoryhub.memories.fingerprint import fingerprint
from memoryhub.memories.models import KINDS, MAX_LABELS, NAME_LENGTH
from memoryhub.memories.text import why_not_storable

if TYPE_CHECKING:
    from memoryhub.memories.exported import Exported

    Numbers = array[float]
else:
    # Python 3.11 knows what an array holds in annotations only.
    Numbers = array

MAX_DEPTH = 64
MAX_SCHEMA_VERSION = 32_767
MAX_METADATA_BYTES = 256 * 1024
_MOST_DIGITS = 345  # of a 64-bit float that is written without an exponent
_EXPONENT = re.compile(rb"\de[+-]?\d")
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:[0-5]\d)", re.ASCII)


def parse_instant(text: str) -> datetime:
    """An RFC 3339 instant as an aware datetime in UTC.

    Raises ValueError with a sentence: no zone, a leap second, 24:00, finer than microseconds, not in the years 1-9999.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("must be an RFC 3339 instant with a zone, such as 2026-03-01T12:30:00Z.")
    day, clock, fraction, zone = match.groups()
    if fraction and fraction[6:].strip("0"):
        raise ValueError("is finer than a microsecond and would not be kept exactly.")
    micros = (fraction or "")[:6].ljust(6, "0")
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}.{micros}{'+00:00' if zone in 'Zz' else zone}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not an instant that exists between the years 1 and 9999.") from None


def _instant(value: Any) -> datetime:
    if not isinstance(value, str):
        raise PydanticCustomError("instant", "must be an RFC 3339 instant in a string.")
    try:
        return parse_instant(value)
    except ValueError as error:
        raise PydanticCustomError("instant", str(error)) from None


def _storable(value: str) -> str:
    if (reason := why_not_storable(value)) is not None:
        raise PydanticCustomError("storable", reason)
    return value


def _content(value: str) -> str:
    if not value.strip():
        raise PydanticCustomError("blank", "must not be blank: there is nothing to remember.")
    if len(value.encode()) > settings.MEMORYHUB.max_content_bytes:
        raise PydanticCustomError("too_large", f"is larger than {settings.MEMORYHUB.max_content_bytes:,} bytes.")
    return value


def one_of(*allowed: str) -> AfterValidator:
    def check(value: str) -> str:
        if value not in allowed:
            raise PydanticCustomError("choice", f"must be one of {', '.join(allowed)}.")
        return value

    return AfterValidator(check)


def _tier(value: str) -> str:
    if value not in tier_order():
        raise PydanticCustomError("tier", f"must be one of {', '.join(tier_order())}.")
    return value


def _labels(value: list[str]) -> list[str]:
    if len(value) > MAX_LABELS:
        raise PydanticCustomError("labels", f"must hold at most {MAX_LABELS} labels.")
    return value


def _visible_label(value: str) -> str:
    if value and not label_key(value):
        raise PydanticCustomError("invisible", "must hold something that can be seen.")
    return value


def _embedding(value: Any) -> Numbers:
    """The 32-bit numbers that will be stored; judged as such, for a number may be too large or too small for them."""
    if not isinstance(value, list) or not {float, int}.issuperset(map(type, value)):
        raise PydanticCustomError("numbers", "must be a list of numbers.")
    expected = settings.MEMORYHUB.embedding_dimensions
    if len(value) != expected:
        raise PydanticCustomError("dimension", f"must have {expected} dimensions, not {len(value)}.")
    try:
        numbers = array("f", value)
    except OverflowError:
        numbers = array("f", [math.inf])
    if not math.isfinite(sum(numbers)):
        raise PydanticCustomError("finite", "must hold finite 32-bit numbers only.")
    if not any(numbers):
        raise PydanticCustomError("zero", "must not be the zero vector: its cosine distance is undefined.")
    return numbers


def _document(value: dict[str, Any]) -> dict[str, Any]:
    if (reason := _unfit(value)) is not None:
        raise PydanticCustomError("document", reason)
    if _size(value) > MAX_METADATA_BYTES:
        raise PydanticCustomError("too_large", f"is larger than {MAX_METADATA_BYTES:,} bytes.")
    return value


def _unfit(document: dict[str, Any]) -> str | None:
    """Why a JSON document could not be stored and given back unchanged."""
    todo: list[tuple[Any, int]] = [(document, 1)]
    while todo:
        whole, depth = todo.pop()
        if depth > MAX_DEPTH:
            return f"is nested deeper than {MAX_DEPTH} levels."
        for part in chain(whole, whole.values()) if isinstance(whole, dict) else whole:
            if isinstance(part, str):
                if (reason := why_not_storable(part)) is not None:
                    return reason
            elif isinstance(part, (dict, list)):
                todo.append((part, depth + 1))
            elif isinstance(part, float) and not math.isfinite(part):
                return "must hold finite numbers only."
    return None


Text = Annotated[str, AfterValidator(_storable)]
Name = Annotated[Text, Field(max_length=NAME_LENGTH)]
Instant = Annotated[datetime, BeforeValidator(_instant)]
Document = Annotated[dict[str, Any], AfterValidator(_document)]
Tier = Annotated[str, AfterValidator(_tier)]
Labels = Annotated[list[Annotated[Name, Field(min_length=1)]], AfterValidator(_labels)]
NewLabels = Annotated[
    list[Annotated[Name, Field(min_length=1), AfterValidator(_visible_label)]], AfterValidator(_labels)
]
Embedding = Annotated[
    Numbers,
    PlainValidator(_embedding),
    WithJsonSchema({"type": "array", "items": {"type": "number"}}),
]


class Envelope(BaseModel):
    """One memory as its writer hands it in."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=True)

    payload_id: Annotated[Name, Field(min_length=1)]
    content: Annotated[Text, AfterValidator(_content)]
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
    """An envelope whose content was left out."""

    content: str = ""


FIELDS = tuple(Envelope.model_fields)
Errors = dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An envelope that can be stored, with the fields that were filled in for its writer."""

    envelope: Envelope
    source: str
    actor_type: str
    actor_id: str
    classification_tier: str
    timestamp: datetime
    defaulted: tuple[str, ...]
    label_keys: tuple[str, ...]
    fingerprint: bytes
    cleared: frozenset[str] = frozenset()
    """Fields that were given as null or empty: an update takes away what is stored there."""
    exported: "Exported | None" = None
    """What an export says of it besides, where it comes from one: `memories.restore` stores such drafts."""

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


def label_warnings(field: str, labels: Iterable[str]) -> Errors:
    """What a reader may mistake in `labels`, which are those of `field`: sentences by place, as errors are told.

    It is said of what was sent alone, so that it tells nothing of what is stored.
    """
    found = {f"{field}.{place}": imitation_warning(label) for place, label in enumerate(labels)}
    return {where: [warning] for where, warning in found.items() if warning}


class Rejected(ValueError):
    """An envelope that cannot be stored: its errors by field, each a sentence without its subject."""

    def __init__(self, errors: Errors, code: str = "invalid_value") -> None:
        super().__init__("; ".join(f"{field} {'; '.join(said)}" for field, said in errors.items()))
        self.errors = errors
        self.code = code


def draft(
    raw: Any, *, source: str | None, actor_type: str, now: datetime, actor_id: str = "", may_be_partial: bool = False
) -> Draft:
    """Check `raw` and fill in what it leaves out: source and actor of the writer, the lowest tier, the time `now`.

    `may_be_partial` lets the content be left out, as in an update. Raises Rejected with the errors of every field.
    """
    envelope = check(raw, may_be_partial=may_be_partial)
    source = envelope.source or source
    if not source:
        raise Rejected({"source": ["is required: this key may write as any source and must say which."]})
    return complete(
        envelope,
        source=source,
        actor_type=envelope.actor_type or actor_type,
        actor_id=envelope.actor_id or actor_id,
        timestamp=envelope.timestamp or now,
        defaulted=frozenset(FIELDS) - envelope.model_fields_set,
        cleared=frozenset(name for name in FIELDS if name in raw and name not in envelope.model_fields_set),
    )


def complete(
    envelope: Envelope,
    *,
    source: str,
    actor_type: str,
    actor_id: str,
    timestamp: datetime,
    defaulted: Collection[str],
    cleared: frozenset[str] = frozenset(),
    exported: "Exported | None" = None,
) -> Draft:
    """A draft of `envelope`, whose source, actor and timestamp are `defaulted` or its own."""
    tier = envelope.classification_tier or tier_order()[0]
    filled_in = {"source": source, "actor_type": actor_type, "actor_id": actor_id, "classification_tier": tier}
    # A timestamp that was filled in is no part of the write: a retry of it is the same write later, too.
    given_timestamp = {"timestamp": None if "timestamp" in defaulted else timestamp}
    return Draft(
        envelope=envelope,
        source=source,
        actor_type=actor_type,
        actor_id=actor_id,
        classification_tier=tier,
        timestamp=timestamp,
        defaulted=tuple(name for name in FIELDS if name in defaulted),
        label_keys=tuple(sorted(label_keys(envelope.sensitivity_labels))),
        fingerprint=fingerprint(vars(envelope) | filled_in | given_timestamp),
        cleared=cleared,
        exported=exported,
    )


def check(raw: Any, *, may_be_partial: bool = False) -> Envelope:
    """The envelope in `raw`, a decoded JSON value; one that may be partial can lack the content. Raises Rejected."""
    if not isinstance(raw, Mapping):
        raise Rejected({"": ["must be a JSON object."]})
    given = {name: value for name, value in raw.items() if name not in FIELDS or value not in ("", None, [], {})}
    shape = PartialEnvelope if may_be_partial and "content" not in raw else Envelope
    try:
        return shape.model_validate(given)
    except ValidationError as error:
        raise rejected(error) from None


_SENTENCES = {
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
_CODES = {"extra_forbidden": "unknown_field", "too_large": "too_large"}


def rejected(error: ValidationError) -> Rejected:
    """What pydantic found wrong, in our words."""
    errors: Errors = {}
    code = "invalid_value"
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        field = ".".join(_printable(part) for part in item["loc"])
        errors.setdefault(field, []).append(_SENTENCES.get(item["type"], item["msg"]))
        code = _CODES.get(item["type"], code)
        if len(errors) >= 50:
            break
    return Rejected(errors, code)


def _printable(part: int | str) -> str:
    """A key as it can be repeated in an answer: hostile keys lose what JSON could not carry, and their length."""
    return str(part).encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")[:100]


def _size(document: dict[str, Any]) -> int:
    """The bytes of a document as the database tells it again."""
    try:
        written = orjson.dumps(document)
    except TypeError:
        # An integer beyond 64 bits, which orjson does not write.
        written = json.dumps(document, ensure_ascii=False).encode()
    # jsonb writes 1e308 out as 309 digits: a small body must not become a large answer.
    if len(written) + _MOST_DIGITS * len(_EXPONENT.findall(written)) <= MAX_METADATA_BYTES:
        return len(written)
    return len(written) + _growth(document)


def _growth(value: Any) -> int:
    if isinstance(value, float):
        return len(format(Decimal(repr(value)), "f")) - len(repr(value))
    if isinstance(value, dict):
        return sum(map(_growth, value.values()))
    return sum(map(_growth, value)) if isinstance(value, list) else 0
