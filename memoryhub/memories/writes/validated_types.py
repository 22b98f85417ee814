"""Types of JSON values that are checked as they are parsed: storable texts, instants, labels, documents, vectors."""

import json
import math
import re
from array import array
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from django.conf import settings
from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from memoryhub.core.storable_text import unstorable_reason
from memoryhub.core.strict_json import MAX_DEPTH
from memoryhub.firewall.clearance import get_tier_order, normalize_label
from memoryhub.memories.models import MAX_LABELS, NAME_LENGTH

if TYPE_CHECKING:
    Numbers = array[float]
else:
    # Python 3.11 supports the item type of an array in annotations only.
    Numbers = array

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
        raise PydanticCustomError("blank", "must not be blank.")
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
        raise PydanticCustomError("labels", f"must have at most {MAX_LABELS} labels.")
    return value


def _validate_visible_label(value: str) -> str:
    if value and not normalize_label(value):
        raise PydanticCustomError("invisible", "must contain a visible character.")
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
        raise PydanticCustomError("finite", "must contain finite 32-bit numbers only.")
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
                return "must contain finite numbers only."
    return None


Text = Annotated[str, AfterValidator(_validate_storable)]
Name = Annotated[Text, Field(max_length=NAME_LENGTH)]
Content = Annotated[Text, AfterValidator(_validate_content)]
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
