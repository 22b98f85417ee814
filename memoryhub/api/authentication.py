"""Authentication by a key in `Authorization: Bearer`, or by the inspector's session (with CSRF checks on changes)."""

import re
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone
from knox.auth import TokenAuthentication
from rest_framework import authentication, exceptions

from memoryhub.api.problems import ProblemError
from memoryhub.firewall.models import ApiKey

_KEY_PATTERN = re.compile(rb"[A-Za-z0-9_]{16,200}", re.ASCII)


class KeyAuthentication(TokenAuthentication):
    """knox's check of a hashed key, for keys that stay on record after they expire or are revoked."""

    def authenticate(self, request: Any) -> tuple[User, ApiKey] | None:
        header = authentication.get_authorization_header(request)
        # Refuse an Authorization header of another scheme: the request must not fall back to its session cookie.
        if header and not header.lower().startswith(b"bearer "):
            raise exceptions.AuthenticationFailed
        credentials: tuple[User, ApiKey] | None = super().authenticate(request)
        return credentials

    def authenticate_credentials(self, token: bytes) -> tuple[User, ApiKey]:
        if not _KEY_PATTERN.fullmatch(token):
            raise exceptions.AuthenticationFailed
        user, key = super().authenticate_credentials(token)
        return user, key

    def validate_user(self, key: ApiKey) -> tuple[User, ApiKey]:
        """Check revocation and expiry. knox calls this after the secret matched, so the holder may learn the reason."""
        if key.revoked_at is not None:
            raise ProblemError(401, "key_revoked", "This key was revoked.", headers=self._challenge())
        if key.expiry is not None and key.expiry <= timezone.now():
            raise ProblemError(401, "key_expired", "This key has expired.", headers=self._challenge())
        credentials: tuple[User, ApiKey] = super().validate_user(key)
        return credentials

    def _cleanup_token(self, key: ApiKey) -> bool:
        """Return False: knox must not skip an expired key before its secret is compared; `validate_user` refuses it."""
        return False

    def _challenge(self) -> dict[str, str]:
        return {"WWW-Authenticate": self.authenticate_header(None)}


class SessionAuthentication(authentication.SessionAuthentication):
    """DRF's own; the challenge of the first class makes a missing sign-in a 401."""
