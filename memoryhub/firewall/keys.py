"""What becomes of an API key after it was made. Each deed and its entry in the ledger are one transaction."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone
from knox.models import get_digest_token

from memoryhub.firewall import deeds
from memoryhub.firewall.models import ApiKey
from memoryhub.firewall.types import Principal

GRACE = timedelta(hours=24)
TOLD = (
    "name", "user", "source", "actor_type", "actor_id", "vouches_for", "scopes", "clearance", "expiry", "revoked_at",
)  # fmt: skip
_HANDED_ON = ("user", "source", "actor_type", "actor_id", "vouches_for", "scopes", "clearance")
_FOUND_BY = 15
"""The first characters of a secret, by which knox finds the key; they stand in the clear."""


class NotInForce(ValueError):
    """The key is revoked or has expired: there is nothing to hand on."""


def seal(key: ApiKey) -> str:
    """Give `key`, which is not stored yet, a secret. It is told here and never again: the key keeps its hash."""
    secret: str
    key.digest, secret = get_digest_token()
    key.token_key = secret[:_FOUND_BY]
    return secret


@transaction.atomic
def rotate(key: ApiKey, *, by: Principal, request_id: str = "") -> tuple[ApiKey, str]:
    """A successor with the rights, the source and the lifetime of `key`, and its secret; `key` ends after GRACE.

    The successor is a principal of its own, whose name tells whose place it takes. Raises NotInForce.
    """
    old = _locked(key)
    now = timezone.now()
    if old.revoked_at is not None or (old.expiry is not None and old.expiry <= now):
        raise NotInForce
    new = ApiKey(
        name=_next_name(old.name),
        expiry=None if old.expiry is None else now + (old.expiry - old.created),
        **{name: getattr(old, name) for name in _HANDED_ON},
    )
    secret = seal(new)
    new.save(force_insert=True)
    old.expiry = min(old.expiry or now + GRACE, now + GRACE)
    old.save(update_fields=["expiry"])
    details = {"key": old.name, "successor": new.name, **deeds.told(old, ["expiry"])}
    deeds.tell("key.rotate", by=by, details=details, request_id=request_id)
    return new, secret


@transaction.atomic
def revoke(key: ApiKey, *, by: Principal, request_id: str = "") -> bool:
    """Refuse `key` from now on; False if it was revoked before."""
    known = _locked(key)
    if known.revoked_at is not None:
        return False
    known.revoked_at = timezone.now()
    known.save(update_fields=["revoked_at"])
    deeds.tell("key.revoke", by=by, details={"key": known.name}, request_id=request_id)
    return True


def _locked(key: ApiKey) -> ApiKey:
    found: ApiKey = ApiKey.objects.select_for_update(of=("self",)).get(pk=key.pk)
    return found


def _next_name(name: str) -> str:
    """`reader` is followed by `reader-2`, that by `reader-3`."""
    stem, _, number = name.rpartition("-")
    stem, turn = (stem, int(number)) if stem and number.isdecimal() and len(number) < 6 else (name, 1)
    while True:
        turn += 1
        wanted = f"{stem[:90]}-{turn}"
        if not ApiKey.objects.filter(name=wanted).exists():
            return wanted
