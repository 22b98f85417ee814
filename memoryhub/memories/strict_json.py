"""JSON as strictly as it must be read when its bytes decide whether two writes are the same."""

import json
from typing import Any, NoReturn

from memoryhub.memories.envelope import MAX_DEPTH

MAX_COST = 1_600_000
"""What a document may cost to decode, in numbers: a thousand embeddings of 1,000 dimensions, with their envelopes.

Without it 16 MiB of `{},` keep a thread, and with it the interpreter, for seconds; with it less than half a second.
"""
_COST_OF_MEMBER = 10
"""An object, an array or a member of an object costs as much as so many numbers."""
_MAX_STRINGS = 500_000


class BadJson(ValueError):
    """A text that is no JSON for us, with a sentence without its subject.

    `code` is invalid_json, duplicate_key, too_deep or too_large.
    """

    def __init__(self, code: str, said: str) -> None:
        super().__init__(said)
        self.code = code


def decode(body: bytes) -> Any:
    """The value of a JSON document. Raises BadJson."""
    if _is_too_costly(body):
        # Where the first ones to open are too many, that is what is wrong.
        first = body.partition(b"}")[0].partition(b"]")[0]
        if first.count(b"{") + first.count(b"[") > MAX_DEPTH + 2:
            raise _too_deep()
        raise BadJson("too_large", "holds more values than are read at once. Send it in smaller parts.")
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except BadJson:
        raise
    except UnicodeDecodeError:
        raise BadJson("invalid_json", "is not valid UTF-8.") from None
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as error:
        raise BadJson(
            "invalid_json", f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    except ValueError:
        raise BadJson("invalid_json", "holds a number that cannot be kept exactly.") from None
    _check_depth(value)
    return value


def _is_too_costly(body: bytes) -> bool:
    """Whether decoding would cost more than MAX_COST: judged by the punctuation between strings, without decoding."""
    if len(body) * _COST_OF_MEMBER <= MAX_COST:
        return False
    # Now each quotation mark begins or ends a string. (What is no JSON may be cut otherwise, and decodes no further.)
    body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if body.count(b'"') > 2 * _MAX_STRINGS:
        return True
    between = b"".join(body.split(b'"')[::2])
    return between.count(b",") + _COST_OF_MEMBER * sum(map(between.count, (b"{", b"[", b":"))) > MAX_COST


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadJson("duplicate_key", "names the same key twice in one object.")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise BadJson("invalid_json", f"is not JSON: {name} is no JSON number.")


def _check_depth(value: Any) -> None:
    # One level more than a document may have: a batch is a list around its envelopes.
    layer = [value]
    for _ in range(MAX_DEPTH + 2):
        layer = [part for whole in layer for part in _parts(whole) if isinstance(part, (list, dict))]
        if not layer:
            return
    raise _too_deep()


def _parts(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    # An embedding is a long list of numbers: asked at once whether it holds anything deeper, not number by number.
    return value if isinstance(value, list) and not {list, dict}.isdisjoint(map(type, value)) else ()


def _too_deep() -> BadJson:
    return BadJson("too_deep", f"is nested deeper than {MAX_DEPTH} levels.")
