"""A strict JSON decoder, because the bytes of a document decide whether two writes are the same."""

import json
from typing import Any, NoReturn

MAX_DEPTH = 64
MAX_COST = 1_600_000
"""Maximum cost of decoding, in numbers: a thousand embeddings of 1,000 dimensions, with their envelopes.

Without this limit 16 MiB of `{},` block the thread, and the interpreter with it, for seconds; with the limit it is less
than half a second.
"""
_MEMBER_COST = 10
"""The cost of an object, an array or a member of an object, in numbers."""
_MAX_STRINGS = 500_000
_MAX_INTEGER_COST = 5_000_000_000
"""Maximum sum of the squared lengths of integers, whose conversion takes quadratic time: 300 of 4,000 digits."""


class InvalidJsonError(ValueError):
    """A text that is not accepted as JSON. The message is a sentence without its subject.

    `code` is invalid_json, duplicate_key, too_deep or too_large.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def decode_json(body: bytes) -> Any:
    """Return the value of a JSON document. Raises InvalidJsonError."""
    if _is_too_costly(body):
        # If the document starts with too many opening brackets, the error to report is its depth.
        prefix = body.partition(b"}")[0].partition(b"]")[0]
        if prefix.count(b"{") + prefix.count(b"[") > MAX_DEPTH + 2:
            raise _too_deep_error()
        raise InvalidJsonError("too_large", "has too many values. Send it in smaller parts.")
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_reject_duplicate_keys,
            parse_constant=_reject_constant,
            parse_int=_IntegerParser().parse,
        )
    except InvalidJsonError:
        raise
    except UnicodeDecodeError:
        raise InvalidJsonError("invalid_json", "is not valid UTF-8.") from None
    except RecursionError:
        raise _too_deep_error() from None
    except json.JSONDecodeError as error:
        raise InvalidJsonError(
            "invalid_json", f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    except ValueError:
        raise InvalidJsonError("invalid_json", "holds a number that cannot be kept exactly.") from None
    _check_depth(value)
    return value


def _is_too_costly(body: bytes) -> bool:
    """Whether decoding would cost more than MAX_COST, estimated from the punctuation between strings."""
    if len(body) * _MEMBER_COST <= MAX_COST:
        return False
    # Now each quotation mark begins or ends a string. (Invalid JSON may be split in other places, but its decoding
    # stops there.)
    body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if body.count(b'"') > 2 * _MAX_STRINGS:
        return True
    punctuation = b"".join(body.split(b'"')[::2])
    return punctuation.count(b",") + _MEMBER_COST * sum(map(punctuation.count, (b"{", b"[", b":"))) > MAX_COST


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidJsonError("duplicate_key", "names the same key twice in one object.")
    return members


class _IntegerParser:
    """Converts the integers of one document, up to a total cost."""

    def __init__(self) -> None:
        self.cost = 0

    def parse(self, text: str) -> int:
        value = int(text)
        self.cost += len(text) ** 2
        if self.cost > _MAX_INTEGER_COST:
            raise InvalidJsonError("too_large", "has too many long numbers. Send it in smaller parts.")
        return value


def _reject_constant(name: str) -> NoReturn:
    raise InvalidJsonError("invalid_json", f"is not JSON: {name} is no JSON number.")


def _check_depth(value: Any) -> None:
    # One level more than a document may have, because a batch is a list around its envelopes.
    layer = [value]
    for _ in range(MAX_DEPTH + 2):
        layer = [item for container in layer for item in _nested_values(container) if isinstance(item, (list, dict))]
        if not layer:
            return
    raise _too_deep_error()


def _nested_values(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    # An embedding is a long list of numbers: one look at its types replaces a test of every number.
    return value if isinstance(value, list) and not {list, dict}.isdisjoint(map(type, value)) else ()


def _too_deep_error() -> InvalidJsonError:
    return InvalidJsonError("too_deep", f"is nested deeper than {MAX_DEPTH} levels.")
