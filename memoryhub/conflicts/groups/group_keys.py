"""Keys of groups, their public ids, and the evidence of their members."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from uuid import UUID

import orjson
from django.utils.crypto import salted_hmac

from memoryhub.core.secrets import mask_secrets
from memoryhub.core.storable_text import unstorable_reason

GroupKey = tuple[str, ...]
"""(subject, collection), or (subject, collection, namespace)."""
KEY_COLUMNS = ("subject", "collection", "namespace")
SCOPE_COLUMNS = {"collection": KEY_COLUMNS[:2], "namespace": KEY_COLUMNS}
"""The columns of the keys in each scope: groups over all namespaces, and groups of one namespace."""
REQUIRED_KEY_COLUMNS = KEY_COLUMNS[:2]
"""A memory in which one of these columns is empty belongs to no group, except with `include_keyless`."""
_ID_PREFIX = "cf_"
_ENCRYPTED_PREFIX = b"\0"
_TAG_BYTES, _BLOCK_BYTES = 16, 64


def encode_id(*key: str) -> str:
    """The public id of a group: its encoded key, the same for every caller. A key with a secret is encrypted."""
    return _ID_PREFIX + encode_key(key)


def decode_id(group_id: str) -> GroupKey:
    """The key in a public id. Raises ValueError."""
    if not group_id.startswith(_ID_PREFIX):
        raise ValueError(group_id)
    return decode_key(group_id.removeprefix(_ID_PREFIX))


def encode_key(key: GroupKey) -> str:
    """A key as URL-safe text for cursors and ids. A key with a secret is encrypted."""
    plaintext = orjson.dumps(key)
    payload = plaintext if all(mask_secrets(part) == part for part in key) else _ENCRYPTED_PREFIX + _encrypt(plaintext)
    return base64.urlsafe_b64encode(payload).decode().rstrip("=")


def decode_key(encoded: str) -> GroupKey:
    """The key that `encode_key` encoded. Raises ValueError."""
    try:
        payload = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        key = orjson.loads(
            _decrypt(payload.removeprefix(_ENCRYPTED_PREFIX)) if payload.startswith(_ENCRYPTED_PREFIX) else payload
        )
    except binascii.Error as error:
        raise ValueError(encoded) from error
    if not isinstance(key, list) or len(key) not in (2, 3):
        raise ValueError(encoded)
    if not all(isinstance(part, str) and unstorable_reason(part) is None for part in key):
        raise ValueError(encoded)
    return tuple(key)


def _encrypt(plaintext: bytes) -> bytes:
    """`plaintext` encrypted deterministically (synthetic IV) and padded, so that its exact length stays hidden."""
    padded = plaintext.ljust(-(-len(plaintext) // _BLOCK_BYTES) * _BLOCK_BYTES)
    tag = _compute_tag(padded)
    return tag + _apply_keystream(padded, tag)


def _decrypt(ciphertext: bytes) -> bytes:
    """The padded plaintext of `_encrypt`. Raises ValueError for any other input."""
    tag = ciphertext[:_TAG_BYTES]
    padded = _apply_keystream(ciphertext[_TAG_BYTES:], tag)
    if not hmac.compare_digest(tag, _compute_tag(padded)):
        raise ValueError("This is not a sealed key.")
    return padded


def _compute_tag(padded: bytes) -> bytes:
    return salted_hmac("memoryhub.conflicts.keys.tag", padded, algorithm="sha256").digest()[:_TAG_BYTES]


def _apply_keystream(data: bytes, tag: bytes) -> bytes:
    """`data` XOR the keystream of `tag`, which both encrypts and decrypts."""
    secret = salted_hmac("memoryhub.conflicts.keys.stream", tag, algorithm="sha256").digest()
    keystream = hashlib.shake_256(secret).digest(len(data))
    return bytes(data_byte ^ stream_byte for data_byte, stream_byte in zip(data, keystream, strict=True))


def compute_evidence(members: Iterable[tuple[UUID, int]]) -> str:
    """SHA-256 in hexadecimal over `memory_id:version` of all members, sorted by id and joined with commas."""
    version_list = ",".join(f"{memory_id}:{version}" for memory_id, version in sorted(members))
    return hashlib.sha256(version_list.encode()).hexdigest()
