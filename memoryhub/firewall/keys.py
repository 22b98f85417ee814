"""Give API keys their secrets, rotate and revoke them. Each action and its audit entry are one transaction."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone
from knox.models import get_digest_token

from memoryhub.audit.actions import AuditAction
from memoryhub.firewall import audit_events
from memoryhub.firewall.models import ApiKey
from memoryhub.firewall.principal import Principal

ROTATION_GRACE = timedelta(hours=24)
AUDITED_FIELDS = (
    "name", "user", "source", "actor_type", "actor_id", "delegated_actor_types", "scopes", "clearance", "expiry",
    "revoked_at",
)  # fmt: skip
_ROTATED_FIELDS = ("user", "source", "actor_type", "actor_id", "delegated_actor_types", "scopes", "clearance")
_KEY_PREFIX_LENGTH = 15
"""Length of the prefix by which knox finds the key of a secret; the prefix is stored in clear text."""


class KeyInactiveError(ValueError):
    """The key is revoked or has expired, so there are no rights to hand on."""


def assign_secret(key: ApiKey) -> str:
    """Give `key`, which is not stored yet, a secret and return it.

    Only its hash is stored: it cannot be shown again.
    """
    secret: str
    key.digest, secret = get_digest_token()
    key.token_key = secret[:_KEY_PREFIX_LENGTH]
    return secret


@transaction.atomic
def rotate_key(key: ApiKey, *, principal: Principal, request_id: str = "") -> tuple[ApiKey, str]:
    """Create and return a successor of `key`, and its secret; `key` expires after ROTATION_GRACE.

    The successor has the rights, source and lifetime of `key`. It is a principal of its own, whose name shows which key
    it replaces. Raises KeyInactiveError.
    """
    old_key = _lock_key(key)
    now = timezone.now()
    if old_key.revoked_at is not None or (old_key.expiry is not None and old_key.expiry <= now):
        raise KeyInactiveError
    new_key = ApiKey(
        name=_next_name(old_key.name),
        expiry=None if old_key.expiry is None else now + (old_key.expiry - old_key.created),
        **{name: getattr(old_key, name) for name in _ROTATED_FIELDS},
    )
    secret = assign_secret(new_key)
    new_key.save(force_insert=True)
    old_key.expiry = min(old_key.expiry or now + ROTATION_GRACE, now + ROTATION_GRACE)
    old_key.save(update_fields=["expiry"])
    details = {"key": old_key.name, "successor": new_key.name, **audit_events.get_field_values(old_key, ["expiry"])}
    audit_events.record_audit_event(AuditAction.KEY_ROTATE, principal=principal, details=details, request_id=request_id)
    return new_key, secret


@transaction.atomic
def revoke_key(key: ApiKey, *, principal: Principal, request_id: str = "") -> bool:
    """Revoke `key` from now on. Returns False if it was already revoked."""
    locked_key = _lock_key(key)
    if locked_key.revoked_at is not None:
        return False
    locked_key.revoked_at = timezone.now()
    locked_key.save(update_fields=["revoked_at"])
    audit_events.record_audit_event(
        AuditAction.KEY_REVOKE, principal=principal, details={"key": locked_key.name}, request_id=request_id
    )
    return True


def _lock_key(key: ApiKey) -> ApiKey:
    locked_key: ApiKey = ApiKey.objects.select_for_update(of=("self",)).get(pk=key.pk)
    return locked_key


def _next_name(name: str) -> str:
    """Return the next free name: `reader-2` after `reader`, `reader-3` after `reader-2`."""
    stem, _, suffix = name.rpartition("-")
    stem, rotation = (stem, int(suffix)) if stem and suffix.isdecimal() and len(suffix) < 6 else (name, 1)
    while True:
        rotation += 1
        candidate = f"{stem[:90]}-{rotation}"
        if not ApiKey.objects.filter(name=candidate).exists():
            return candidate
