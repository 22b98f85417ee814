"""What a group is told by: its key, its public id, and the hash of what a decision was made on."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from uuid import UUID

import orjson
from django.utils.crypto import salted_hmac

from memoryhub.memories.suspicion import masked
from memoryhub.memories.text import why_not_storable

Key = tuple[str, ...]
"""(subject, collection), or (subject, collection, namespace)."""
COLUMNS = ("subject", "collection", "namespace")
KEYED_BY = COLUMNS[:2]
"""What is empty in a memory that belongs to no group, unless groups without it are asked for."""
_ID = "cf_"
_SEAL = b"\0"
_TAG_BYTES, _BLOCK_BYTES = 16, 64


def id_of(*key: str) -> str:
    """The key itself, in letters of an address: stable, and the same whoever asks. One with a secret is sealed."""
    return _ID + written(key)


def key_of(group_id: str) -> Key:
    """The key that an id stands for. Raises ValueError."""
    if not group_id.startswith(_ID):
        raise ValueError(group_id)
    return read(group_id.removeprefix(_ID))


def written(key: Key) -> str:
    """A key as a cursor and an id hold it."""
    plain = orjson.dumps(key)
    told = plain if all(masked(part) == part for part in key) else _SEAL + _sealed(plain)
    return base64.urlsafe_b64encode(told).decode().rstrip("=")


def read(text: str) -> Key:
    """What `written` wrote. Raises ValueError."""
    try:
        told = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        key = orjson.loads(_opened(told.removeprefix(_SEAL)) if told.startswith(_SEAL) else told)
    except binascii.Error as error:
        raise ValueError(text) from error
    if not isinstance(key, list) or len(key) not in (2, 3):
        raise ValueError(text)
    if not all(isinstance(part, str) and why_not_storable(part) is None for part in key):
        raise ValueError(text)
    return tuple(key)


def _sealed(plain: bytes) -> bytes:
    """`plain` encrypted, always to the same bytes (a synthetic IV), which do not tell how long it is exactly."""
    padded = plain.ljust(-(-len(plain) // _BLOCK_BYTES) * _BLOCK_BYTES)
    tag = _tag(padded)
    return tag + _crypted(padded, tag)


def _opened(sealed: bytes) -> bytes:
    """What `_sealed` sealed. Raises ValueError for anything else."""
    tag = sealed[:_TAG_BYTES]
    padded = _crypted(sealed[_TAG_BYTES:], tag)
    if not hmac.compare_digest(tag, _tag(padded)):
        raise ValueError("This is not a sealed key.")
    return padded


def _tag(padded: bytes) -> bytes:
    return salted_hmac("memoryhub.conflicts.keys.tag", padded, algorithm="sha256").digest()[:_TAG_BYTES]


def _crypted(data: bytes, tag: bytes) -> bytes:
    """`data` with the stream that belongs to `tag` added to it, or taken away."""
    secret = salted_hmac("memoryhub.conflicts.keys.stream", tag, algorithm="sha256").digest()
    stream = hashlib.shake_256(secret).digest(len(data))
    return bytes(one ^ other for one, other in zip(data, stream, strict=True))


def evidence_of(members: Iterable[tuple[UUID, int]]) -> str:
    """SHA-256, in hexadecimal, over `memory_id:version` of all members in the order of their ids, with commas."""
    told = ",".join(f"{memory_id}:{version}" for memory_id, version in sorted(members))
    return hashlib.sha256(told.encode()).hexdigest()
