"""Keep the cookies that the hub sets, and drop all others, before anything decodes them.

Python before 3.11.10 decodes a quoted cookie with backslashes in quadratic time (CVE-2024-7592): one header of 12 kB
would hold the event loop for seconds. None of the hub's cookies is quoted.
"""

from collections.abc import Mapping
from functools import cache

from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage

from inspector.templatetags.inspector import THEME_COOKIE
from memoryhub.firewall.lockout import COOKIE_NAME as KNOWN_BROWSER_COOKIE

MAX_COOKIE_LENGTH = 4_096
"""The longest cookie that browsers keep."""


@cache
def own_cookie_names() -> frozenset[str]:
    """The names of the cookies that the hub sets."""
    return frozenset(
        {
            settings.SESSION_COOKIE_NAME,
            settings.CSRF_COOKIE_NAME,
            CookieStorage.cookie_name,
            KNOWN_BROWSER_COOKIE,
            THEME_COOKIE,
        }
    )


def parse_own_cookies(header: str) -> dict[str, str]:
    """Return the hub's cookies of a Cookie header, in linear time. The last one of a name counts, as in Django."""
    cookies: dict[str, str] = {}
    for pair in header.split(";"):
        name, _, value = pair.strip().partition("=")
        if name in own_cookie_names() and len(value) <= MAX_COOKIE_LENGTH and not {'"', "\\"} & set(value):
            cookies[name] = value
    return cookies


def format_cookies(cookies: Mapping[str, str]) -> str:
    """Return the Cookie header of `cookies`."""
    return "; ".join(f"{name}={value}" for name, value in cookies.items())
