"""Delay sign-ins after too many wrong passwords.

Guarantee: the work and the answer of a failed sign-in do not depend on whether the account exists, and nobody elsewhere
can lock out its owner.

Why the obvious way breaks it. A lookup that fails before the password is hashed answers some hundred milliseconds
earlier, so a clock finds the accounts. Django's ModelBackend hashes the password for a missing account as well; this
module counts failures under the name as typed, whether or not such an account exists, and delays both alike. A lockout
by account alone lets a stranger lock out its owner, and one by address alone is evaded from many addresses. So the
failures of an account are counted in three ways: those of each browser in which its owner has signed in before; those
of unknown browsers at one address; and those of all unknown browsers together (OWASP's "device cookies").

API keys need no delay: they are random and hashed, and knox compares hashes in constant time.

Tests that notice: `tests/firewall/test_sign_in.py`, of which `test_hashes_as_often_for_an_account_that_does_not_exist`
counts the hashes and `test_does_not_reveal_whether_the_account_exists` compares the answers.
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

GLOBAL_LIMIT_FACTOR = 5
"""The limit of failures from all addresses together, as a multiple of the limit of one address."""
FIRST_DELAY = timedelta(seconds=30)
MAX_DELAY = timedelta(minutes=15)
COOKIE_NAME = "known_browser"
MAX_COOKIE_AGE = timedelta(days=365)
COOKIE_PATH = "/sign-in"
_SALT = "memoryhub.firewall.lockout"
_UNKNOWN_BROWSER = "unknown"


class LockoutHandler(AxesDatabaseHandler):  # type: ignore[misc]
    """Allow one attempt after each delay, and double the delay with each failure beyond the limit."""

    def is_locked(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> bool:
        return self.get_delay(request, credentials) > timedelta(0)

    def get_delay(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> timedelta:
        """Return how long this account accepts no password from the place of the request."""
        attempt_groups = zip(self.get_user_attempts(request, credentials), (1, GLOBAL_LIMIT_FACTOR), strict=False)
        return max(
            _remaining_delay(attempts, limit_factor, request.axes_attempt_time)  # type: ignore[attr-defined]
            for attempts, limit_factor in attempt_groups
        )

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        attempt_groups = zip(self.get_user_attempts(request, credentials), (1, GLOBAL_LIMIT_FACTOR), strict=False)
        return max(_count_failures(attempts) // limit_factor for attempts, limit_factor in attempt_groups)

    def filter_user_attempts(
        self, request: HttpRequest, credentials: dict[str, Any] | None = None
    ) -> list[QuerySet[AccessAttempt]]:
        """Return the failures that count: those of the same place, and those of all unknown browsers.

        A known browser is a place of its own, and no other failures count against it.
        """
        username = get_client_username(request, credentials)
        browser = get_known_browser(request, username)
        browser_attempts = AccessAttempt.objects.filter(username=username, user_agent=browser or _UNKNOWN_BROWSER)
        address = request.axes_ip_address  # type: ignore[attr-defined]
        return [browser_attempts] if browser else [browser_attempts.filter(ip_address=address), browser_attempts]

    def user_login_failed(
        self, sender: Any, credentials: dict[str, Any], request: Any = None, **extra_kwargs: Any
    ) -> None:
        # The user agent is only the client's claim: axes' column stores instead which known browser it is.
        username = get_client_username(request, credentials)
        request.axes_user_agent = get_known_browser(request, username) or _UNKNOWN_BROWSER
        super().user_login_failed(sender, credentials, request, **extra_kwargs)

    def reset_user_attempts(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        """Delete the failures of the place of a successful sign-in; those of other places keep counting."""
        count, _ = self.filter_user_attempts(request, credentials)[0].delete()
        return int(count)


def get_wait_seconds(request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
    """Return the seconds to wait before the next attempt, at least 1."""
    return max(1, math.ceil(LockoutHandler().get_delay(request, credentials).total_seconds()))


def remember_browser(response: HttpResponse, username: str) -> None:
    """Set the cookie that identifies this browser as one in which `username` has signed in."""
    response.set_cookie(
        COOKIE_NAME,
        signing.dumps([username, secrets.token_urlsafe(12)], salt=_SALT),
        max_age=MAX_COOKIE_AGE,
        path=COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def get_known_browser(request: HttpRequest, username: str | None) -> str | None:
    """Return the id of the browser of `request` if `username` was the last to sign in there; else None."""
    try:
        owner, browser = signing.loads(request.COOKIES.get(COOKIE_NAME, ""), salt=_SALT, max_age=MAX_COOKIE_AGE)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    return f"known {browser}" if owner == username else None


def _count_failures(attempts: QuerySet[AccessAttempt]) -> int:
    return int(attempts.aggregate(failures=Sum("failures_since_start"))["failures"] or 0)


def _remaining_delay(attempts: QuerySet[AccessAttempt], limit_factor: int, now: datetime) -> timedelta:
    """Return the rest of the delay after the last of `attempts`; `limit_factor` multiplies the limit of one place."""
    totals: Mapping[str, Any] = attempts.aggregate(failures=Sum("failures_since_start"), last=Max("attempt_time"))
    excess_failures: int = (totals["failures"] or 0) // limit_factor - settings.AXES_FAILURE_LIMIT
    if excess_failures < 0:
        return timedelta(0)
    last_attempt_at: datetime = totals["last"]
    # The exponent is bounded: the delay reaches its maximum long before.
    delay: timedelta = min(MAX_DELAY, FIRST_DELAY * 2 ** min(excess_failures, 16))
    return max(timedelta(0), last_attempt_at + delay - now)


def get_client_address(request: HttpRequest) -> str | None:
    """Return the address of the client; None for a socket that has no address."""
    address: str | None = settings.APP_CONFIG.trusted_proxies.resolve_client_address(request.META)
    return address
