"""What a group is told by: its key, its public id, and the hash of what a decision was made on."""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from uuid import UUID

import orjson

from memoryhub.memories.text import why_not_storable

Key = tuple[str, ...]
"""(subject, collection), or (subject, collection, namespace)."""
COLUMNS = ("subject", "collection", "namespace")
_ID = "cf_"


def id_of(*key: str) -> str:
    """The key itself, in letters of an address: stable, and the same whoever asks."""
    return _ID + written(key)


def key_of(group_id: str) -> Key:
    """The key that an id stands for. Raises ValueError."""
    if not group_id.startswith(_ID):
        raise ValueError(group_id)
    return read(group_id.removeprefix(_ID))


def written(key: Key) -> str:
    """A key as a cursor and an id hold it."""
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def read(text: str) -> Key:
    """What `written` wrote. Raises ValueError."""
    try:
        key = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except binascii.Error as error:
        raise ValueError(text) from error
    if not isinstance(key, list) or len(key) not in (2, 3):
        raise ValueError(text)
    if not all(isinstance(part, str) and why_not_storable(part) is None for part in key):
        raise ValueError(text)
    return tuple(key)


def evidence_of(members: Iterable[tuple[UUID, int]]) -> str:
    """SHA-256, in hexadecimal, over `memory_id:version` of all members in the order of their ids, with commas."""
    told = ",".join(f"{memory_id}:{version}" for memory_id, version in sorted(members))
    return hashlib.sha256(told.encode()).hexdigest()
