"""The first data of a new hub: users, API keys and, if configured, demo data."""

import json
import os
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from memoryhub.audit.actions import AuditAction
from memoryhub.config import Config
from memoryhub.demo import generator
from memoryhub.demo.conflicts import write_demo_conflicts
from memoryhub.demo.writers import WRITERS
from memoryhub.firewall import audit_events
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.firewall.models import ApiKey, ClearanceProfile, UserAccess
from memoryhub.firewall.principal import ACTOR_TYPES, Principal, Scope
from memoryhub.memories.writes import write
from memoryhub.memories.writes.identity import OnConflict

CREDENTIALS_FILE = "credentials.json"
BOOTSTRAP_PRINCIPAL = Principal(name="system:bootstrap", clearance=unrestricted_clearance(), actor_type="system")
SOURCES = ("default", "agent")
BATCH_SIZE = 1_000

Credentials = dict[str, Any]


def initialize_hub(config: Config, url: str) -> Path:
    """Create users, keys and demo data if there are no users yet; return the path of `credentials.json`.

    The file also gets the current `url`. Everything happens in one transaction, and the file is written before the
    commit, so a start that was killed begins anew.
    """
    path = config.ensure_home() / CREDENTIALS_FILE
    with transaction.atomic():
        if User.objects.exists():
            credentials = json.loads(path.read_text()) if path.exists() else None
            if credentials and credentials["url"] != url:
                _write_credentials(path, {**credentials, "url": url})
            return path
        sources = [*SOURCES, *(WRITERS if config.demo else ())]
        _write_credentials(path, {"url": url, "users": _create_users(config), "keys": _create_keys(config, sources)})
        if config.demo:
            load_demo_data()
    return path


def load_demo_data(until: datetime | None = None) -> None:
    """Write the demo data as of `until` (aware; default: now)."""
    principal = Principal(name="system:demo", scopes=frozenset({Scope.ADMIN}), clearance=unrestricted_clearance())
    end_time = until or datetime.now(UTC)
    for batch in _iter_batches(generator.generate_envelopes(end_time=end_time), BATCH_SIZE):
        write.write_memories(batch, principal=principal, on_conflict=OnConflict.REPLACE)
    write_demo_conflicts(end_time, principal=principal)


def _iter_batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _create_users(config: Config) -> dict[str, str]:
    tiers = config.tiers
    accounts = {
        "admin": (tiers[-1], list(Scope)),
        "steward": (tiers[-1], [Scope.READ, Scope.CURATE, Scope.DECLASSIFY, Scope.AUDIT, Scope.VIEW_AS]),
        "analyst": (tiers[min(1, len(tiers) - 1)], [Scope.READ]),
    }
    passwords = {}
    for name, (tier, scopes) in accounts.items():
        passwords[name] = secrets.token_urlsafe(12)
        user = User.objects.create_user(
            name, password=passwords[name], is_staff=name == "admin", is_superuser=name == "admin"
        )
        access = UserAccess.objects.create(user=user, clearance=_get_or_create_profile(tier), scopes=scopes)
        _record_creation(
            AuditAction.USER_CHANGE, "user", name, audit_events.get_field_values(access, ("clearance", "scopes"))
        )
    return passwords


def _create_keys(config: Config, sources: Iterable[str]) -> dict[str, str]:
    highest_tier = config.tiers[-1]
    owner = User.objects.get(username="admin")
    key_specs: list[tuple[str, str, str, list[Scope]]] = [("admin", "", highest_tier, list(Scope))]
    key_specs += [(f"write-{source}", source, highest_tier, [Scope.WRITE]) for source in sources]
    key_specs += [(f"read-{tier}", "", tier, [Scope.READ]) for tier in config.tiers]
    secrets_by_name = {}
    for name, source, tier, scopes in key_specs:
        key, secrets_by_name[name] = ApiKey.objects.create(
            owner,
            name=name,
            source=source,
            scopes=scopes,
            clearance=_get_or_create_profile(tier),
            actor_type="agent",
            # Writing keys relay the statements of users, agents and systems.
            delegated_actor_types=list(ACTOR_TYPES) if Scope.WRITE in scopes else [],
        )
        _record_creation(
            AuditAction.KEY_CREATE, "key", name, audit_events.get_field_values(key, ("source", "scopes", "clearance"))
        )
    return secrets_by_name


def _record_creation(action: AuditAction, noun: str, name: str, field_values: audit_events.FieldValues) -> None:
    """Audit what the bootstrap creates, so that an empty audit log of a hub in use is known to be incomplete."""
    audit_events.record_audit_event(
        action,
        principal=BOOTSTRAP_PRINCIPAL,
        details={noun: name, "changed_fields": audit_events.diff_field_values({}, field_values)},
    )


def _get_or_create_profile(tier: str) -> ClearanceProfile:
    profile, _ = ClearanceProfile.objects.get_or_create(name=tier, defaults={"max_tier": tier})
    return profile


def _write_credentials(path: Path, credentials: Credentials) -> None:
    """Write the file atomically, readable by its owner alone."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(credentials, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
