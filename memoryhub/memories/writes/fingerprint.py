"""The fingerprint of an envelope, a hash of its canonical form: equal writes have equal hashes."""

import hashlib
import sys
from array import array
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson

from memoryhub.memories.fields import FIELDS, NO_DEFAULT

# A retry of the same write may change the id of the request, and nothing else.
EXCLUDED_FIELDS = frozenset({"request_id"})
_DEFAULTS = {field.name: field.default for field in FIELDS}
_DOCUMENTS = {field.name for field in FIELDS if field.column_type == "jsonb"}


def compute_fingerprint(values: Mapping[str, Any]) -> bytes:
    """Return the SHA-256 of the canonical form of an envelope, 32 bytes: equal bytes mean the same write.

    Key order, white space, `1` or `1.0`, an explicit default or a missing field make no difference. A missing timestamp
    stays missing, so that a later retry is the same write. Labels are a set. Texts compare byte by byte (no Unicode
    normalization). An embedding compares as the 32-bit numbers that are stored.
    """
    canonical_values = {
        name: value
        for name, value in values.items()
        if name not in EXCLUDED_FIELDS and value != _DEFAULTS.get(name, NO_DEFAULT)
    }
    if (embedding := canonical_values.get("embedding")) is not None:
        canonical_values["embedding"] = hashlib.sha256(_to_little_endian(embedding)).hexdigest()
    canonical_values["sensitivity_labels"] = sorted(canonical_values["sensitivity_labels"])
    for document in _DOCUMENTS & canonical_values.keys():
        canonical_values[document] = _canonical_value(canonical_values[document])
    return hashlib.sha256(orjson.dumps(canonical_values, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)).digest()


def _canonical_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical_value(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        # The decimal number that jsonb stores and an export contains, not the binary one: 1e23 is 10**23.
        value = int(Decimal(repr(value)))
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        # No text contains NUL, so no document can look like this.
        return ["\x00", str(value)]
    return value


def _to_little_endian(numbers: "array[float]") -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()
