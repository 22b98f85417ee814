"""Keys in `Authorization: Bearer`, else the inspector's session (with CSRF, for what changes something)."""

import re
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone
from knox.auth import TokenAuthentication
from rest_framework import authentication, exceptions

from memoryhub.api.problems import Problem
from memoryhub.firewall.models import ApiKey

_KEY = re.compile(rb"[A-Za-z0-9_]{16,200}", re.ASCII)


class KeyAuthentication(TokenAuthentication):
    """knox's check of a hashed key, for keys that stay on record after they expire or are revoked."""

    def authenticate(self, request: Any) -> tuple[User, ApiKey] | None:
        header = authentication.get_authorization_header(request)
        # A header that is there and no key of ours is refused: a session cookie beside it must not let it pass.
        if header and not header.lower().startswith(b"bearer "):
            raise exceptions.AuthenticationFailed
        found: tuple[User, ApiKey] | None = super().authenticate(request)
        return found

    def authenticate_credentials(self, token: bytes) -> tuple[User, ApiKey]:
        if not _KEY.fullmatch(token):
            raise exceptions.AuthenticationFailed
        user, key = super().authenticate_credentials(token)
        return user, key

    def validate_user(self, key: ApiKey) -> tuple[User, ApiKey]:
        """knox asks here once the secret is known to be right: its holder may be told why the key is refused."""
        if key.revoked_at is not None:
            raise Problem(401, "key_revoked", "This key was revoked.", headers=self._challenge())
        if key.expiry is not None and key.expiry <= timezone.now():
            raise Problem(401, "key_expired", "This key has expired.", headers=self._challenge())
        valid: tuple[User, ApiKey] = super().validate_user(key)
        return valid

    def _cleanup_token(self, key: ApiKey) -> bool:
        """Whether to pass over the key before its secret is compared: never, `validate_user` judges it."""
        return False

    def _challenge(self) -> dict[str, str]:
        return {"WWW-Authenticate": self.authenticate_header(None)}


class SessionAuthentication(authentication.SessionAuthentication):
    """DRF's own; the challenge of the first class makes a missing sign-in a 401."""
