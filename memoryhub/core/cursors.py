"""The codec of cursors: a position in a list as opaque text that is valid for one caller and one query only."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from django.core.signing import BadSignature, Signer

from memoryhub.core.errors import InvalidQueryError

CursorValue = datetime | UUID | int | str

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class CursorCodec:
    """Encodes positions as cursors and decodes them. `binding` identifies the caller and the query by its repr."""

    def __init__(self, binding: tuple[object, ...]) -> None:
        self._signer = Signer(salt=f"memoryhub.cursor:{binding!r}", sep=".")

    def encode(self, *position: CursorValue) -> str:
        """Return the cursor of a position: the values that place the last row of a page in the order of its list."""
        payload = orjson.dumps([_to_json(value) for value in position])
        return self._signer.sign(urlsafe_b64encode(payload).decode())

    def decode(self, cursor: str, *value_types: type[Any]) -> tuple[Any, ...]:
        """Return the position that a cursor encodes: one value of each of the types, instants with microseconds.

        Raises InvalidQueryError, with the same message whatever is wrong with the cursor.
        """
        try:
            values = orjson.loads(urlsafe_b64decode(self._signer.unsign(cursor)))
            return tuple(_from_json(*pair) for pair in zip(values, value_types, strict=True))
        except (BadSignature, ValueError, OverflowError):
            raise InvalidQueryError({"cursor": ["is not a cursor of this list."]}, "invalid_cursor") from None


def _to_json(value: CursorValue) -> int | str:
    if isinstance(value, datetime):
        return (value - _EPOCH) // _MICROSECOND
    return str(value) if isinstance(value, UUID) else value


def _from_json(value: Any, value_type: type[Any]) -> Any:
    return _EPOCH + int(value) * _MICROSECOND if value_type is datetime else value_type(str(value))
