"""The value of a content: which contents count as the same value, wherever values are compared."""

import hashlib
from dataclasses import dataclass

from memoryhub.core.canonical import canonicalize_text
from memoryhub.core.secrets import mask_secrets, mask_secrets_or_none


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentForms:
    """What is stored beside a content and depends on nothing else."""

    masked_content: str | None
    """The content with its secrets masked; None if it holds none."""
    value_sha256: bytes

    @property
    def holds_secret(self) -> bool:
        return self.masked_content is not None


def compute_content_forms(content: str) -> ContentForms:
    """Return the forms of `content`. They take up to a second per megabyte: compute them before a lock is taken."""
    masked_content = mask_secrets_or_none(content)
    canonical_text = _canonicalize(content, holds_secret=masked_content is not None)
    return ContentForms(masked_content=masked_content, value_sha256=_compute_digest(canonical_text))


def canonicalize_value(content: str) -> str:
    """Return a form that contents of one value share: the canonical form, or the very text if it holds a secret.

    So different secrets never count as one value, and nobody learns of a secret by writing another spelling of it.
    """
    return _canonicalize(content, holds_secret=holds_secret(content))


def compute_value_digest(content: str) -> bytes:
    """Return the SHA-256 of `canonicalize_value`: 32 bytes."""
    return _compute_digest(canonicalize_value(content))


def holds_secret(content: str) -> bool:
    return mask_secrets(content) != content


def _canonicalize(content: str, *, holds_secret: bool) -> str:
    # No content contains NUL, so a content with a secret has a form that no other content has.
    return f"\0{content}" if holds_secret else canonicalize_text(content)


def _compute_digest(canonical_text: str) -> bytes:
    return hashlib.sha256(canonical_text.encode("utf-8", "surrogatepass")).digest()
