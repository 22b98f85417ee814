"""The canonical form of an envelope, reduced to a hash: equal writes have equal hashes."""

import hashlib
import sys
from array import array
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson

# What a retry of the same write may change: the number of the attempt, and nothing else.
NOT_IN_FINGERPRINT = frozenset({"request_id"})


def fingerprint(values: Mapping[str, Any]) -> bytes:
    """SHA-256 over the canonical form of an envelope, 32 bytes: equal bytes mean the same write.

    Key order, white space, `1` or `1.0`, an explicit default or a missing field make no difference; a missing
    timestamp stays missing, so that a retry is the same write later, too; labels are a set; texts compare byte by byte
    (no Unicode normalisation); an embedding compares as the 32-bit numbers that are stored.
    """
    plain = {name: value for name, value in values.items() if name not in NOT_IN_FINGERPRINT}
    if (embedding := plain["embedding"]) is not None:
        plain["embedding"] = hashlib.sha256(_little_endian(embedding)).hexdigest()
    plain["sensitivity_labels"] = sorted(plain["sensitivity_labels"])
    for document in ("metadata", "propagation"):
        plain[document] = _canonical(plain[document])
    return hashlib.sha256(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)).digest()


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_canonical(part) for part in value]
    if isinstance(value, float) and value.is_integer():
        # The decimal number that jsonb keeps and an export tells, not the binary one: 1e23 is 10**23.
        value = int(Decimal(repr(value)))
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        # No text holds a NUL, so no document can look like this.
        return ["\x00", str(value)]
    return value


def _little_endian(numbers: "array[float]") -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()
