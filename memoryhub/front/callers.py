"""Identify the caller of a request for sharing threads fairly. This authenticates nobody."""

import hashlib
from collections import OrderedDict
from http.cookies import CookieError, SimpleCookie
from wsgiref.types import WSGIEnvironment

from django.conf import settings

from memoryhub.front.turns import Caller

UNVERIFIED_GROUP = "strangers"
MAX_VERIFIED_CREDENTIALS = 10_000


class CallerRegistry:
    """Every verified key or session is a caller with a share of its own; all other requests share one group.

    Otherwise a client could make up keys and get a share for each.
    """

    def __init__(self) -> None:
        self._verified_credentials: OrderedDict[bytes, None] = OrderedDict()

    def get_caller(self, environ: WSGIEnvironment) -> Caller:
        credential = _credential_digest(environ)
        if credential and credential in self._verified_credentials:
            self._verified_credentials.move_to_end(credential)
            return Caller(name=credential, group=credential)
        return Caller(name=settings.APP_CONFIG.trusted_proxies.resolve_client_address(environ), group=UNVERIFIED_GROUP)

    def needs_verification(self, environ: WSGIEnvironment) -> bool:
        """Whether the request has a key or session that is not known to be valid."""
        credential = _credential_digest(environ)
        return bool(credential) and credential not in self._verified_credentials

    def remember_credential(self, environ: WSGIEnvironment) -> None:
        """Remember that the request's key or session is valid."""
        self._verified_credentials[_credential_digest(environ)] = None
        while len(self._verified_credentials) > MAX_VERIFIED_CREDENTIALS:
            self._verified_credentials.popitem(last=False)

    def forget_credential(self, environ: WSGIEnvironment) -> None:
        """Forget the request's key or session, because it was refused."""
        self._verified_credentials.pop(_credential_digest(environ), None)


def _credential_digest(environ: WSGIEnvironment) -> bytes:
    """Return a digest of the request's key or session, for comparison within this process; b"" without one."""
    credential = environ.get("HTTP_AUTHORIZATION", "")
    if not credential:
        try:
            cookie = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(settings.SESSION_COOKIE_NAME)
        except CookieError:
            cookie = None
        credential = cookie.value if cookie else ""
    return hashlib.sha256(credential.encode()).digest() if credential else b""
