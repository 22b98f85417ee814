"""The value of a content: which contents count as the same value, wherever values are compared."""

import hashlib

from memoryhub.core.canonical import canonicalize_text
from memoryhub.core.secrets import mask_secrets


def canonicalize_value(content: str) -> str:
    """Return a form that contents of one value share: the canonical form, or the very text if it holds a secret.

    So different secrets never count as one value, and nobody learns of a secret by writing another spelling of it.
    """
    # No content contains NUL, so a content with a secret has a form that no other content has.
    return f"\0{content}" if holds_secret(content) else canonicalize_text(content)


def compute_value_digest(content: str) -> bytes:
    """Return the SHA-256 of `canonicalize_value`: 32 bytes."""
    return hashlib.sha256(canonicalize_value(content).encode("utf-8", "surrogatepass")).digest()


def holds_secret(content: str) -> bool:
    return mask_secrets(content) != content
