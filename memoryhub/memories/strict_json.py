"""JSON as strictly as it must be read when its bytes decide whether two writes are the same."""

import json
from typing import Any, NoReturn

from memoryhub.memories.envelope import MAX_DEPTH


class BadJson(ValueError):
    """A text that is no JSON for us: `code` is invalid_json, duplicate_key or too_deep; the words lack a subject."""

    def __init__(self, code: str, said: str) -> None:
        super().__init__(said)
        self.code = code


def decode(body: bytes) -> Any:
    """The value of a JSON document. Raises BadJson."""
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
