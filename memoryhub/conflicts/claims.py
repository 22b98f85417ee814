"""Who is looking at a group in order to decide: others wait for some minutes, so that no two stewards do it twice.

A claim is a courtesy, not a lock: what is decided on is held by its evidence. It is told to those who may see all that
its holder may see, as an entry of the ledger is, and is in nobody else's way: whoever sees less must not learn from it
that there is more to look at. Claims of stewards of whom neither sees all that the other sees stand side by side.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from django.db import connection, models, transaction
from django.db.models import Q
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
    """Take the claim of a group that `by` sees, or renew it. Claims that `by` is not told of remain beside it.

    Raises Taken if somebody else holds it, and PermissionDenied for who may not judge memories.
    """
    _check(by)
    now = timezone.now()
    mine = Held(principal=by.name, until=now + timedelta(minutes=CLAIM_MINUTES))
    with transaction.atomic():
        _lock(key)
        if others := in_the_way([key], by=by):
            raise Taken(others[key])
        _of(key).filter(Q(principal=by.name) | Q(until__lte=now)).delete()
        subject, collection, *namespace = key
        Claim.objects.create(
            subject=subject,
            collection=collection,
            namespace=namespace[0] if namespace else None,
            principal=by.name,
            until=mine.until,
        )
    return mine


def release(keys: Iterable[Key], *, by: Principal) -> None:
    """Give back what `by` holds of these claims."""
    _check(by)
    for key in keys:
        _of(key).filter(principal=by.name).delete()


def held(keys: Iterable[Key], *, by: Principal) -> dict[Key, Held]:
    """The claim of each of these groups that `by` is told of: one that is in its way, else its own.

    The groups must be those that it sees.
    """
    return _strongest(_told(keys, by), by)


def in_the_way(keys: Iterable[Key], *, by: Principal) -> dict[Key, Held]:
    """The claims of others because of which `by` must not decide about these groups."""
    return _strongest([row for row in _told(keys, by) if row.principal != by.name], by)


def _check(by: Principal) -> None:
    by.require(Scope.INSPECT)


def _lock(key: Key) -> None:
    """Wait for whoever else claims this group at the moment, until the transaction ends."""
    with connection.cursor() as cursor:
        name = orjson.dumps(["conflict_claims", *key]).decode()
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])


def _told(keys: Iterable[Key], by: Principal) -> list[Claim]:
    """The claims in force of these groups whose holders see no more than `by` does, and its own."""
    wanted = set(keys)
    found = Claim.objects.filter(
        subject__in=[key[0] for key in wanted], collection__in=[key[1] for key in wanted], until__gt=timezone.now()
    )
    rows = [row for row in found if row.key in wanted]
    seen = clearances_of({row.principal for row in rows} - {by.name})
    return [
        row
        for row in rows
        if row.principal == by.name or (row.principal in seen and by.clearance.covers(seen[row.principal]))
    ]


def _strongest(rows: Iterable[Claim], by: Principal) -> dict[Key, Held]:
    """Of several claims of one group the one that `by` has to wait for longest; its own comes last."""
    ordered = sorted(rows, key=lambda row: (row.principal != by.name, row.until, row.principal))
    return {row.key: Held(principal=row.principal, until=row.until) for row in ordered}


def _of(key: Key) -> models.QuerySet[Claim]:
    subject, collection, *namespace = key
    found = Claim.objects.filter(subject=subject, collection=collection)
    return found.filter(namespace=namespace[0]) if namespace else found.filter(namespace__isnull=True)
