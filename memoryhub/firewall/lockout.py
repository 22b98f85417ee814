"""Delays after too many wrong passwords (AZ-10), the same for accounts that exist and for those that do not.

The failures of an account are counted in three ways: those of a browser in which its owner has signed in before, alone;
those of unknown browsers at one address; and those of all unknown browsers together. So nobody elsewhere can keep an
owner out who comes back to a browser of theirs (OWASP's "device cookies").
"""

import math
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_client_username
from axes.models import AccessAttempt
from django.conf import settings
from django.core import signing
from django.db.models import Max, QuerySet, Sum
from django.http import HttpRequest, HttpResponse

FROM_ANYWHERE = 5
"""How many times the limit of one address an account takes from all addresses together."""
FIRST_DELAY = timedelta(seconds=30)
MAX_DELAY = timedelta(minutes=15)
COOKIE = "known_browser"
COOKIE_AGE = timedelta(days=365)
COOKIE_PATH = "/sign-in"
_SALT = "memoryhub.firewall.lockout"
_UNKNOWN_BROWSER = "unknown"


class Lockout(AxesDatabaseHandler):  # type: ignore[misc]
    """Lets one attempt through after each delay, and doubles the delay with each failure beyond the limit."""

    def is_locked(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> bool:
        return self.delay(request, credentials) > timedelta(0)

    def delay(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> timedelta:
        """How long this account takes no password from where the request comes from."""
        tallies = zip(self.get_user_attempts(request, credentials), (1, FROM_ANYWHERE), strict=False)
        return max(_remaining(attempts, times, request.axes_attempt_time) for attempts, times in tallies)  # type: ignore[attr-defined]

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        tallies = zip(self.get_user_attempts(request, credentials), (1, FROM_ANYWHERE), strict=False)
        return max(_failures(attempts) // times for attempts, times in tallies)

    def filter_user_attempts(
        self, request: HttpRequest, credentials: dict[str, Any] | None = None
    ) -> list[QuerySet[AccessAttempt]]:
        """The failures that count against a request: those from the same place, and those from all unknown browsers."""
        username = get_client_username(request, credentials)
        browser = known_browser(request, username)
        of_browser = AccessAttempt.objects.filter(username=username, user_agent=browser or _UNKNOWN_BROWSER)
        address = request.axes_ip_address  # type: ignore[attr-defined]
        return [of_browser] if browser else [of_browser.filter(ip_address=address), of_browser]

    def user_login_failed(self, sender: Any, credentials: dict[str, Any], request: Any = None, **more: Any) -> None:
        # What the client says of itself is no place: axes' column holds what we know of its browser.
        username = get_client_username(request, credentials)
        request.axes_user_agent = known_browser(request, username) or _UNKNOWN_BROWSER
        super().user_login_failed(sender, credentials, request, **more)

    def reset_user_attempts(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        """Forget the failures of the place where somebody has signed in; those of other places stay counted."""
        count, _ = self.filter_user_attempts(request, credentials)[0].delete()
        return int(count)


def seconds_to_wait(request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
    """How long to wait before the next attempt, at least 1."""
    return max(1, math.ceil(Lockout().delay(request, credentials).total_seconds()))


def remember_browser(response: HttpResponse, username: str) -> None:
    """Set the cookie by which this browser is known to have signed in as `username`."""
    response.set_cookie(
        COOKIE,
        signing.dumps([username, secrets.token_urlsafe(12)], salt=_SALT),
        max_age=COOKIE_AGE,
        path=COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def known_browser(request: HttpRequest, username: str | None) -> str | None:
    """The id of the browser that sends a request, if `username` was the last to sign in there."""
    try:
        owner, browser = signing.loads(request.COOKIES.get(COOKIE, ""), salt=_SALT, max_age=COOKIE_AGE)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    return f"known {browser}" if owner == username else None


def _failures(attempts: QuerySet[AccessAttempt]) -> int:
    return int(attempts.aggregate(failures=Sum("failures_since_start"))["failures"] or 0)


def _remaining(attempts: QuerySet[AccessAttempt], times: int, now: datetime) -> timedelta:
    """What is left of the delay after the last of some failures, which have `times` the limit of one place."""
    found: Mapping[str, Any] = attempts.aggregate(failures=Sum("failures_since_start"), last=Max("attempt_time"))
    excess: int = (found["failures"] or 0) // times - settings.AXES_FAILURE_LIMIT
    if excess < 0:
        return timedelta(0)
    last: datetime = found["last"]
    # An exponent that grows no further: the delay has reached its maximum long before.
    delay: timedelta = min(MAX_DELAY, FIRST_DELAY * 2 ** min(excess, 16))
    return max(timedelta(0), last + delay - now)


def client_address(request: HttpRequest) -> str | None:
    """Where a request comes from; None for a socket that has no address."""
    address: str | None = settings.MEMORYHUB.trusted_proxies.client_address(request.META)
    return address
