"""Keys in `Authorization: Bearer`, else the inspector's session (with CSRF, for what changes something)."""

import re
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone
from knox.auth import TokenAuthentication
from rest_framework import authentication, exceptions

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

    def _cleanup_token(self, key: ApiKey) -> bool:
        """Whether the key must not be used any more."""
        return key.revoked_at is not None or (key.expiry is not None and key.expiry <= timezone.now())


class SessionAuthentication(authentication.SessionAuthentication):
    """DRF's own; the challenge of the first class makes a missing sign-in a 401."""
