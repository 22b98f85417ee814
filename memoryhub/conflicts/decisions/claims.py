"""Claims: while a principal decides about a group, others wait some minutes, so that no work is done twice.

A claim is a courtesy, not a lock: the evidence protects a decision against concurrent changes. Like an audit entry, a
claim is visible only to principals that see everything its holder sees, and it blocks nobody else: a principal that
sees less must not learn from it that there is more to see. If neither of two principals sees all that the other one
sees, their claims exist side by side.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from django.db import connection, models, transaction
from django.db.models import Q
from django.utils import timezone

from memoryhub.conflicts.groups.group_keys import GroupKey
from memoryhub.conflicts.models import Claim
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.firewall.principal_lookup import get_current_clearances

CLAIM_MINUTES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimHolder:
    """The principal that holds a claim, and when the claim expires."""

    principal: str
    expires_at: datetime


class ClaimedByOtherError(Exception):
    """Another principal holds the claim."""

    def __init__(self, holder: ClaimHolder) -> None:
        super().__init__(f"{holder.principal} until {holder.expires_at:%H:%M}")
        self.holder = holder


def take_claim(key: GroupKey, *, principal: Principal) -> ClaimHolder:
    """Take or renew the claim of a group that `principal` sees. Claims that are hidden from it do not block it.

    Raises ClaimedByOtherError if another principal holds the claim, and MissingScopeError without the scope `curate`.
    """
    principal.require_scopes(Scope.CURATE)
    now = timezone.now()
    own_claim = ClaimHolder(principal=principal.name, expires_at=now + timedelta(minutes=CLAIM_MINUTES))
    with transaction.atomic():
        _lock_key(key)
        if blocking_claims := list_blocking_claims([key], principal=principal):
            raise ClaimedByOtherError(blocking_claims[key])
        _filter_by_key(key).filter(Q(principal=principal.name) | Q(expires_at__lte=now)).delete()
        subject, collection, *namespace = key
        Claim.objects.create(
            subject=subject,
            collection=collection,
            namespace=namespace[0] if namespace else None,
            principal=principal.name,
            expires_at=own_claim.expires_at,
        )
    return own_claim


def release_claims(keys: Iterable[GroupKey], *, principal: Principal) -> None:
    """Release the claims of `principal` on these groups. Raises MissingScopeError without the scope `curate`."""
    principal.require_scopes(Scope.CURATE)
    for key in keys:
        _filter_by_key(key).filter(principal=principal.name).delete()


def list_claims(keys: Iterable[GroupKey], *, principal: Principal) -> dict[GroupKey, ClaimHolder]:
    """The claim of each of these groups that `principal` may see: a blocking one, else its own.

    `principal` must be allowed to see the groups.
    """
    return _latest_by_key(_list_visible_claims(keys, principal), principal)


def list_blocking_claims(keys: Iterable[GroupKey], *, principal: Principal) -> dict[GroupKey, ClaimHolder]:
    """The claims of other principals that keep `principal` from deciding about these groups."""
    return _latest_by_key(
        [row for row in _list_visible_claims(keys, principal) if row.principal != principal.name], principal
    )


def _lock_key(key: GroupKey) -> None:
    """Lock the group against other transactions that claim it, until this transaction ends."""
    with connection.cursor() as cursor:
        lock_name = orjson.dumps(["conflict_claims", *key]).decode()
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [lock_name])


def _list_visible_claims(keys: Iterable[GroupKey], principal: Principal) -> list[Claim]:
    """Unexpired claims of these groups: the principal's own, and those of holders that see no more than it does."""
    key_set = set(keys)
    candidates = Claim.objects.filter(
        subject__in=[key[0] for key in key_set],
        collection__in=[key[1] for key in key_set],
        expires_at__gt=timezone.now(),
    )
    rows = [row for row in candidates if row.key in key_set]
    clearances = get_current_clearances({row.principal for row in rows} - {principal.name})
    return [
        row
        for row in rows
        if row.principal == principal.name
        or (row.principal in clearances and principal.clearance.is_superset_of(clearances[row.principal]))
    ]


def _latest_by_key(rows: Iterable[Claim], principal: Principal) -> dict[GroupKey, ClaimHolder]:
    """One claim per group: the claim of another principal that expires last, else the own one."""
    ordered_claims = sorted(rows, key=lambda row: (row.principal != principal.name, row.expires_at, row.principal))
    return {row.key: ClaimHolder(principal=row.principal, expires_at=row.expires_at) for row in ordered_claims}


def _filter_by_key(key: GroupKey) -> models.QuerySet[Claim]:
    subject, collection, *namespace = key
    claims = Claim.objects.filter(subject=subject, collection=collection)
    return claims.filter(namespace=namespace[0]) if namespace else claims.filter(namespace__isnull=True)
