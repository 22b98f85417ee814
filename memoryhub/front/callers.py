"""Who sends a request, as far as sharing threads goes: nobody is authenticated here."""

import hashlib
from collections import OrderedDict
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from wsgiref.types import WSGIEnvironment

from django.conf import settings

from memoryhub.api.middleware import IS_KNOWN
from memoryhub.front.turns import Caller

STRANGERS = "strangers"
MAX_KNOWN = 10_000


class Callers:
    """Whoever has shown a good key or session here is a caller of their own; all others share as one group.

    Else everybody who makes up keys would be as many callers as they like.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def of(self, environ: WSGIEnvironment) -> Caller:
        credential = _credential(environ)
        if credential and credential in self._known:
            self._known.move_to_end(credential)
            return Caller(name=credential, group=credential)
        return Caller(name=settings.MEMORYHUB.trusted_proxies.client_address(environ), group=STRANGERS)

    def note(self, environ: WSGIEnvironment, status: int) -> None:
        """Remember or forget the credential of a request, by its answer."""
        credential = _credential(environ)
        if credential and environ.get(IS_KNOWN):
            self._known[credential] = None
            while len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        elif status == HTTPStatus.UNAUTHORIZED:
            self._known.pop(credential, None)


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
