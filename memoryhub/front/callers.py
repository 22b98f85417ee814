"""Identify the caller of a request for sharing threads fairly. This authenticates nobody."""

import hashlib
from collections import OrderedDict
from wsgiref.types import WSGIEnvironment

from django.conf import settings

from memoryhub.front.cookies import parse_own_cookies
from memoryhub.front.turns import Caller

UNVERIFIED_GROUP = "strangers"
MAX_VERIFIED_CREDENTIALS = 10_000


class CallerRegistry:
    """Every key, and every user with a session, is a caller with a share of its own; other requests share one group.

    Otherwise a client could make up keys, or spell one key in many ways, and get a share for each.
    """

    def __init__(self) -> None:
        self._names_by_credential: OrderedDict[bytes, str] = OrderedDict()
        """The names of the owners of valid credentials, as `middleware.AUTHENTICATED_AS` has them."""

    def get_caller(self, environ: WSGIEnvironment) -> Caller:
        credential = _credential_digest(environ)
        if credential and credential in self._names_by_credential:
            self._names_by_credential.move_to_end(credential)
            name = self._names_by_credential[credential]
            return Caller(name=name, group=name)
        return Caller(name=settings.APP_CONFIG.trusted_proxies.resolve_client_address(environ), group=UNVERIFIED_GROUP)

    def needs_verification(self, environ: WSGIEnvironment) -> bool:
        """Whether the request has a key or session that is not known to be valid."""
        credential = _credential_digest(environ)
        return bool(credential) and credential not in self._names_by_credential

    def remember_credential(self, environ: WSGIEnvironment, name: str) -> None:
        """Remember that the request's key or session is valid, and the name of its owner."""
        self._names_by_credential[_credential_digest(environ)] = name
        while len(self._names_by_credential) > MAX_VERIFIED_CREDENTIALS:
            self._names_by_credential.popitem(last=False)

    def forget_credential(self, environ: WSGIEnvironment) -> None:
        """Forget the request's key or session, because it was refused."""
        self._names_by_credential.pop(_credential_digest(environ), None)


def _credential_digest(environ: WSGIEnvironment) -> bytes:
    """Return a digest of the request's key or session, for comparison within this process; b"" without one."""
    # However many spaces separate the scheme from the key, it is the same credential.
    credential = " ".join(environ.get("HTTP_AUTHORIZATION", "").split())
    if not credential:
        credential = parse_own_cookies(environ.get("HTTP_COOKIE", "")).get(settings.SESSION_COOKIE_NAME, "")
    return hashlib.sha256(credential.encode()).digest() if credential else b""
