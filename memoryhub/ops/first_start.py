"""What a new hub begins with: people who can sign in, keys, and a story to look at."""

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

from memoryhub.config import Config
from memoryhub.firewall import deeds
from memoryhub.firewall.models import ApiKey, ClearanceRecord, UserClearance
from memoryhub.firewall.types import ACTOR_TYPES, Principal, Scope, everything
from memoryhub.memories import ingest
from memoryhub.memories.ingest import OnConflict
from memoryhub.ops import demo
from memoryhub.ops.demo_conflicts import tell_conflicts
from memoryhub.ops.demo_writers import WRITERS

CREDENTIALS = "credentials.json"
STARTER = Principal(name="system:first-start", clearance=everything(), actor_type="system")
SOURCES = ("default", "agent")
BATCH = 1_000

Credentials = dict[str, Any]


def prepare(config: Config, url: str) -> Path:
    """Make users, keys and demo data if there are no users yet, and say in `credentials.json` where the hub is now.

    All in one transaction, and the file before the commit: a start that was killed begins anew.
    """
    path = config.ensure_home() / CREDENTIALS
    with transaction.atomic():
        if User.objects.exists():
            known = json.loads(path.read_text()) if path.exists() else None
            if known and known["url"] != url:
                _keep(path, {**known, "url": url})
            return path
        sources = [*SOURCES, *(WRITERS if config.demo else ())]
        _keep(path, {"url": url, "users": _make_users(config), "keys": _make_keys(config, sources)})
        if config.demo:
            load_demo()
    return path


def load_demo(until: datetime | None = None) -> None:
    """Write the demo's story as its agents would have."""
    writer = Principal(name="system:demo", scopes=frozenset({Scope.ADMIN}), clearance=everything())
    end = until or datetime.now(UTC)
    for batch in _batches(demo.envelopes(until=end), BATCH):
        ingest.write(batch, by=writer, on_conflict=OnConflict.REPLACE)
    tell_conflicts(end, writer=writer)


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _make_users(config: Config) -> dict[str, str]:
    tiers = config.tiers
    people = {
        "admin": (tiers[-1], list(Scope)),
        "steward": (tiers[-1], [Scope.READ, Scope.INSPECT, Scope.DECLASSIFY, Scope.AUDIT, Scope.VIEW_AS]),
        "analyst": (tiers[min(1, len(tiers) - 1)], [Scope.READ]),
    }
    passwords = {}
    for name, (tier, scopes) in people.items():
        passwords[name] = secrets.token_urlsafe(12)
        user = User.objects.create_user(
            name, password=passwords[name], is_staff=name == "admin", is_superuser=name == "admin"
        )
        held = UserClearance.objects.create(user=user, clearance=_clearance(tier), scopes=scopes)
        _record("user.change", "user", name, deeds.told(held, ("clearance", "scopes")))
    return passwords


def _make_keys(config: Config, sources: Iterable[str]) -> dict[str, str]:
    top = config.tiers[-1]
    owner = User.objects.get(username="admin")
    wanted: list[tuple[str, str, str, list[Scope]]] = [("admin", "", top, list(Scope))]
    wanted += [(f"write-{source}", source, top, [Scope.WRITE]) for source in sources]
    wanted += [(f"read-{tier}", "", tier, [Scope.READ]) for tier in config.tiers]
    made = {}
    for name, source, tier, scopes in wanted:
        key, made[name] = ApiKey.objects.create(
            owner,
            name=name,
            source=source,
            scopes=scopes,
            clearance=_clearance(tier),
            actor_type="agent",
            # They pass on what people, agents and systems say.
            vouches_for=list(ACTOR_TYPES) if Scope.WRITE in scopes else [],
        )
        _record("key.create", "key", name, deeds.told(key, ("source", "scopes", "clearance")))
    return made


def _record(action: str, noun: str, name: str, state: deeds.Told) -> None:
    """An audit entry for what the hub itself creates, so that a log without entries is known to be incomplete."""
    deeds.tell(action, by=STARTER, details={noun: name, "changed": deeds.changes({}, state)})


def _clearance(tier: str) -> ClearanceRecord:
    record, _ = ClearanceRecord.objects.get_or_create(name=tier, defaults={"max_tier": tier})
    return record


def _keep(path: Path, credentials: Credentials) -> None:
    """Write the file whole or not at all, for the owner's eyes only."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(credentials, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
