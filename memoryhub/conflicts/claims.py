"""Who is looking at a group in order to decide: others wait for some minutes, so that no two stewards do it twice.

A claim is a courtesy, not a lock: what is decided on is held by its evidence. It is told to those who may see all that
its holder may see, as an entry of the ledger is, and is in nobody else's way: whoever sees less must not learn from it
that there is more to look at.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.exceptions import PermissionDenied
from django.db import connection, models
from django.utils import timezone

from memoryhub.conflicts.keys import Key
from memoryhub.conflicts.models import Claim
from memoryhub.firewall.principals import clearances_of
from memoryhub.firewall.types import Principal, Scope

CLAIM_MINUTES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Who holds a claim, and until when."""

    principal: str
    until: datetime


class Taken(Exception):
    """Somebody else holds it."""

    def __init__(self, held: Held) -> None:
        super().__init__(f"{held.principal} until {held.until:%H:%M}")
        self.held = held


def claim(key: Key, *, by: Principal) -> Held:
    """Take the claim of a group that `by` sees, or renew it.

    Raises Taken if somebody else holds it, and PermissionDenied for who may not judge memories.
    """
    _check(by)
    now = timezone.now()
    mine = Held(principal=by.name, until=now + timedelta(minutes=CLAIM_MINUTES))
    yielding = {by.name}
    while not _take(key, mine, yielding, now):
        # None, if it was released this moment.
        holder = _of(key).first()
        if holder and (others := _told([holder], by)):
            raise Taken(others[key])
        yielding |= {holder.principal} if holder else set()
    return mine


def release(keys: Iterable[Key], *, by: Principal) -> None:
    """Give back what `by` holds of these claims."""
    _check(by)
    for key in keys:
        _of(key).filter(principal=by.name).delete()


def held(keys: Iterable[Key], *, by: Principal) -> dict[Key, Held]:
    """The claims of these groups that `by` is told of, its own among them. The groups must be those that it sees."""
    wanted = set(keys)
    found = Claim.objects.filter(
        subject__in=[key[0] for key in wanted], collection__in=[key[1] for key in wanted], until__gt=timezone.now()
    )
    return _told([row for row in found if row.key in wanted], by)


def in_the_way(keys: Iterable[Key], *, by: Principal) -> dict[Key, Held]:
    """The claims of others because of which `by` must not decide about these groups."""
    return {key: found for key, found in held(keys, by=by).items() if found.principal != by.name}


def _check(by: Principal) -> None:
    if not by.may(Scope.INSPECT):
        raise PermissionDenied


_TAKE = """
INSERT INTO conflict_claims (subject, collection, namespace, principal, until) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT ON CONSTRAINT conflict_claims_of_a_key DO UPDATE SET principal = excluded.principal, until = excluded.until
WHERE conflict_claims.principal = ANY (%s) OR conflict_claims.until <= %s
"""


def _take(key: Key, mine: Held, yielding: set[str], now: datetime) -> bool:
    """Whether the claim is ours now: it was free, it has expired, or one of `yielding` held it."""
    subject, collection, *namespace = key
    named = (subject, collection, namespace[0] if namespace else None)
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [*named, mine.principal, mine.until, sorted(yielding), now])
        return bool(cursor.rowcount)


def _told(rows: Iterable[Claim], by: Principal) -> dict[Key, Held]:
    rows = list(rows)
    seen = clearances_of({row.principal for row in rows} - {by.name})
    return {
        row.key: Held(principal=row.principal, until=row.until)
        for row in rows
        if row.principal == by.name or (row.principal in seen and by.clearance.covers(seen[row.principal]))
    }


def _of(key: Key) -> models.QuerySet[Claim]:
    subject, collection, *namespace = key
    found = Claim.objects.filter(subject=subject, collection=collection)
    return found.filter(namespace=namespace[0]) if namespace else found.filter(namespace__isnull=True)
