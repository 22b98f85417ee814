"""What a memory says as a value: which contents are the same one, wherever contents are compared for that."""

import hashlib

from memoryhub.core.canonical import canonical_form
from memoryhub.memories.suspicion import masked


def value_form(content: str) -> str:
    """Contents with equal forms are one value: the canonical form, and what holds a secret as it is written.

    So two secrets are never one value, and nobody learns of a secret by writing another spelling of it.
    """
    # No content holds a NUL: what holds a secret has a form that no other content has.
    return f"\0{content}" if holds_secret(content) else canonical_form(content)


def value_digest(content: str) -> bytes:
    """SHA-256 of `value_form`: 32 bytes."""
    return hashlib.sha256(value_form(content).encode("utf-8", "surrogatepass")).digest()


def holds_secret(content: str) -> bool:
    return masked(content) != content
