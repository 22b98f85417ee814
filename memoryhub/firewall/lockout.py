"""Who has tried too many passwords (AZ-10): the same answer for accounts that exist and for those that do not."""

from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from django.db.models import Sum
from django.http import HttpRequest

FROM_ANYWHERE = 5
"""How many times the limit of one address an account takes from all addresses together."""


class Lockout(AxesDatabaseHandler):  # type: ignore[misc]
    """Counts failures by account and address, and by account alone.

    The first stops whoever guesses from one place without locking out the person elsewhere, the second whoever
    guesses from many.
    """

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        anywhere, here = (
            attempts.aggregate(failures=Sum("failures_since_start"))["failures"] or 0
            for attempts in self.get_user_attempts(request, credentials)
        )
        return max(int(here), int(anywhere) // FROM_ANYWHERE)


def address(request: HttpRequest) -> str | None:
    """Where the connection comes from; None for a socket that has no address."""
    return request.META.get("REMOTE_ADDR") or None
