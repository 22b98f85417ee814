"""Two worlds: one database with hidden rows, one without, and otherwise the same to the last microsecond.

Both are copies of one template, so that the low caller's key, user and session are the same bytes in both. Memories are
written through the product's own ingest; record time and memory_id, which the hub draws, are dealt to both alike: the
record clock is set to the future, where it advances by the microsecond, and uuid4 returns ids computed from the step.
"""

import itertools
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unittest import mock

from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpResponse
from django.test import Client

from memoryhub.access_log import read_log
from memoryhub.audit.log import GENESIS_HASH
from memoryhub.config import APP_ROLE
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.models import ApiKey, ClearanceProfile, UserAccess
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.writes.envelope import MemoryDraft
from memoryhub.memories.writes.identity import OnConflict
from memoryhub.operations import database_roles, process
from tests.factories import store_drafts
from tests.harness.databases import DatabaseHandle, as_unrestricted_reader, migrated_database_name, temporary_database
from tests.memories.raw_rows import execute

START_INSTANT = datetime(2100, 1, 1, tzinfo=UTC)
LOW = Clearance(
    max_tier="internal",
    blocked_labels=frozenset({"pii"}),
    namespaces=frozenset({"", "team", "shared"}),
)
HIGH = Principal(name="user:high", clearance=unrestricted_clearance(), scopes=frozenset(Scope), actor_type="user")
REQUEST_ID = "the-same-in-both-worlds"

# What differs from answer to answer for reasons of its own, and nothing else: the mask that Django puts on a CSRF token
# anew each time, how long the process has been running (which takes seven digits, whenever it is asked), and up to when
# the record is complete, which is now.
_NONDETERMINISTIC_PATTERNS = (
    (re.compile(rb'(name="csrfmiddlewaretoken" value=")[A-Za-z0-9]{64}"'), rb'\1-"'),
    (re.compile(rb'("X-CSRFToken": ?"|&quot;X-CSRFToken&quot;: ?&quot;)[A-Za-z0-9]{64}'), rb"\1-"),
    (re.compile(rb'("uptime_seconds":)\d+'), rb"\g<1>0"),
    (re.compile(rb'("watermark":)"[^"]+"'), rb'\g<1>""'),
    (re.compile(rb'("watermark_lag_seconds":)[\d.]+'), rb"\g<1>0"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldStep:
    """One write, or another action: the drafts of one batch, which one world may never see."""

    drafts: Sequence[MemoryDraft] = ()
    is_hidden: bool = False
    action: Callable[[], Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedResponse:
    """Everything that a caller can see of an answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @classmethod
    def from_response(cls, response: HttpResponse) -> "RecordedResponse":
        body = b"".join(response) if response.streaming else response.content
        for pattern, replacement in _NONDETERMINISTIC_PATTERNS:
            body = pattern.sub(replacement, body)
        cookies = [("Set-Cookie", morsel.OutputString()) for morsel in response.cookies.values()]
        headers = [*response.headers.items(), *cookies]
        # ConditionalGet's ETag is a digest of the body, whose length the lag's digits decide.
        if b'"uptime_seconds":' in body:
            headers = [pair for pair in headers if pair[0] not in ("ETag", "Content-Length")]
        return cls(status=response.status_code, headers=tuple(sorted(headers)), body=body)


class WorldCaller:
    """Somebody with a key or signed in; the same in whichever world."""

    def __init__(self, headers: Mapping[str, str], cookies: Mapping[str, str] | None = None) -> None:
        self.client = Client(headers={**headers, "X-Request-ID": REQUEST_ID}, raise_request_exception=False)
        self.cookies = cookies or {}

    def get(self, path: str, **headers: str) -> RecordedResponse:
        return self.request(path, headers=headers)

    def post(self, path: str, body: Any) -> RecordedResponse:
        return self.request(path, body)

    def request(self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> RecordedResponse:
        """GET, or POST where there is a body: JSON for the API, a form for a page."""
        # What one answer sets must not reach the next question.
        self.client.cookies.clear()
        self.client.cookies.load(dict(self.cookies))
        response: Any
        if body is None:
            response = self.client.get(path, headers=headers)
        elif path.startswith("/api/"):
            response = self.client.post(path, body, content_type="application/json", headers=headers)
        else:
            response = self.client.post(path, body, headers=headers)
        return RecordedResponse.from_response(response)


class WorldSession:
    """A stay in one world, in a transaction that is never committed: what is done there is gone with it.

    Each step has a number, which says what instant it is and which memory_ids are dealt. The same number is the same
    step in both worlds, whatever happened in one of them before. Without row security the database hides
    nothing, and what the query filter forgets comes to light.
    """

    def __init__(self, world: DatabaseHandle, *, row_security: bool = True) -> None:
        self._world = world
        self._row_security = row_security
        self._read_log = read_log.ReadLogWriter(is_background=False)
        with world.activate():
            self._transaction = transaction.atomic()
            self._transaction.__enter__()

    @contextmanager
    def step(self, step_number: int) -> Iterator[None]:
        with (
            self._world.activate(),
            mock.patch.object(read_log, "_writer", self._read_log),
            deterministic_ids(f"step {step_number}"),
        ):
            _set_clocks(START_INSTANT + timedelta(seconds=step_number))
            with nullcontext() if self._row_security else as_unrestricted_reader():
                yield

    def end(self) -> None:
        with self._world.activate():
            transaction.set_rollback(True)
            self._transaction.__exit__(None, None, None)


def _set_clocks(instant: datetime) -> None:
    """Record time and the audit log's time go on from `instant`. (A rollback does not reset the watermark.)"""
    with as_unrestricted_reader():
        execute(
            """
            INSERT INTO record_clock VALUES (1, %s) ON CONFLICT (id) DO UPDATE SET instant = excluded.instant;
            INSERT INTO audit_chain_head (id, seq, hash, last_occurred_at) VALUES (1, 0, %s, %s)
            ON CONFLICT (id) DO UPDATE SET last_occurred_at = excluded.last_occurred_at;
            SELECT setval('record_time_watermark', 0)
            """,
            instant,
            GENESIS_HASH,
            instant,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedWorlds:
    """Both worlds, and who asks in them: the low caller in two ways, and one who sees every tier."""

    world_without: DatabaseHandle
    world_with_hidden: DatabaseHandle
    key: WorldCaller
    person: WorldCaller
    high: WorldCaller

    @contextmanager
    def run_steps(
        self, world: DatabaseHandle, steps: Sequence[WorldStep], *, row_security: bool = True
    ) -> Iterator[None]:
        """In `world`, as far as the rows of `steps` exist there; nothing of it remains."""
        session = WorldSession(world, row_security=row_security)
        try:
            for step_number, step in enumerate(steps):
                if world is self.world_with_hidden or not step.is_hidden:
                    with session.step(step_number):
                        store_drafts(step.drafts, on_conflict=OnConflict.REPLACE)
                        if step.action:
                            step.action()
            with session.step(len(steps)):
                yield
        finally:
            session.end()


@contextmanager
def deterministic_ids(seed_name: str) -> Iterator[None]:
    """The same memory_ids, and ids of decisions, policies and runs, for everybody who writes under the same name."""
    names = (uuid.uuid5(uuid.NAMESPACE_OID, f"{seed_name}/{index}") for index in itertools.count())
    with ExitStack() as patches:
        for module in (
            "memories.writes.apply_decisions",
            "memories.writes.identity.uuid",
            "conflicts.decisions.plans",
            "conflicts.decisions.resolve",
            "conflicts.policies.policies",
            "conflicts.policies.policy_runs",
        ):
            patches.enter_context(mock.patch(f"memoryhub.{module}.uuid4", side_effect=names))
        yield


@contextmanager
def create_paired_worlds() -> Iterator[PairedWorlds]:
    """Two empty hubs with one and the same low caller."""
    with temporary_database(migrated_database_name(), as_application=True) as template:
        with template.activate():
            with database_roles.connect_as_owner():
                database_roles.grant_app_privileges(APP_ROLE)
            callers = _create_callers()
        template.close()
        uptime_patch = mock.patch.object(process, "_THIS_PROCESS", (1, time.monotonic() - 2_000_000))
        copy = partial(temporary_database, template.name, as_application=True)
        with copy() as world_without, copy() as world_with_hidden, uptime_patch:
            yield PairedWorlds(world_without=world_without, world_with_hidden=world_with_hidden, **callers)


def _create_callers() -> dict[str, WorldCaller]:
    clearance = ClearanceProfile.objects.create(
        name="low",
        max_tier=LOW.max_tier,
        blocked_labels=sorted(LOW.blocked_labels),
        all_namespaces=False,
        namespaces=sorted(LOW.namespaces or ()),
    )
    user = User.objects.create_user("low", is_staff=True, is_superuser=True)
    UserAccess.objects.create(user=user, clearance=clearance, scopes=["read", "curate", "audit", "view_as"])
    _, secret = ApiKey.objects.create(
        user, name="low", scopes=["read", "write", "audit"], source="low", clearance=clearance
    )
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    cookies = {"sessionid": client.cookies["sessionid"].value, "csrftoken": "c" * 32}
    every_tier = ClearanceProfile.objects.create(name="high", max_tier="restricted")
    UserAccess.objects.create(user=User.objects.create_user("high"), clearance=every_tier, scopes=list(Scope))
    _, high = ApiKey.objects.create(user, name="high", scopes=["read"], clearance=every_tier)
    return {"key": _caller_with_key(secret), "person": WorldCaller({}, cookies), "high": _caller_with_key(high)}


def _caller_with_key(secret: str) -> WorldCaller:
    return WorldCaller({"Authorization": f"Bearer {secret}"})
