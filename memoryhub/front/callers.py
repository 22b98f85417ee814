"""Who sends a request, as far as sharing threads goes: nobody is authenticated here."""

import hashlib
from collections import OrderedDict
from http.cookies import CookieError, SimpleCookie
from wsgiref.types import WSGIEnvironment

from django.conf import settings

from memoryhub.front.turns import Caller

STRANGERS = "strangers"
MAX_KNOWN = 10_000


class Callers:
    """A key or session that is good is a caller of its own; all other requests share as one group.

    Else a client that makes up keys would be as many callers as it likes.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def of(self, environ: WSGIEnvironment) -> Caller:
        credential = _credential(environ)
        if credential and credential in self._known:
            self._known.move_to_end(credential)
            return Caller(name=credential, group=credential)
        return Caller(name=settings.MEMORYHUB.trusted_proxies.client_address(environ), group=STRANGERS)

    def needs_verification(self, environ: WSGIEnvironment) -> bool:
        """Whether a key or session was sent that is not known here."""
        credential = _credential(environ)
        return bool(credential) and credential not in self._known

    def remember(self, environ: WSGIEnvironment) -> None:
        """Its key or session is good."""
        self._known[_credential(environ)] = None
        while len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def forget(self, environ: WSGIEnvironment) -> None:
        """Its key or session was refused."""
        self._known.pop(_credential(environ), None)


def _credential(environ: WSGIEnvironment) -> bytes:
    """A digest of the key or session that was sent, for comparison within this process; empty without one."""
    sent = environ.get("HTTP_AUTHORIZATION", "")
    if not sent:
        try:
            cookie = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(settings.SESSION_COOKIE_NAME)
        except CookieError:
            cookie = None
        sent = cookie.value if cookie else ""
    return hashlib.sha256(sent.encode()).digest() if sent else b""
