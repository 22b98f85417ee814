"""Two worlds: one database with hidden rows, one without, and otherwise the same to the last microsecond.

Both are copies of one template, so that the low caller's key, user and session are the same bytes in both. Memories are
written through the product's own ingest; record time and memory_id, which the hub draws, are dealt to both alike: the
record clock stands in the future, where it advances by the microsecond, and uuid4 gives what it is told to.
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

from memoryhub.audit.ledger import NO_HASH
from memoryhub.config import APPLICATION
from memoryhub.firewall.models import ApiKey, ClearanceRecord, UserClearance
from memoryhub.firewall.types import Clearance, Principal, Scope, everything
from memoryhub.memories.envelope import Draft
from memoryhub.memories.ingest import OnConflict
from memoryhub.ops import process, reads, roles
from tests.builders import store
from tests.harness.databases import World, as_keeper, migrated, world
from tests.memories.rows import execute

CLOCK = datetime(2100, 1, 1, tzinfo=UTC)
LOW = Clearance(
    max_tier="internal",
    blocked_labels=frozenset({"pii"}),
    namespaces=frozenset({"", "team", "shared"}),
)
HIGH = Principal(name="user:high", clearance=everything(), scopes=frozenset(Scope), actor_type="user")
REQUEST_ID = "the-same-in-both-worlds"

# What differs from answer to answer for reasons of its own, and nothing else: the mask that Django puts on a CSRF token
# anew each time, how long the process has been running (which takes seven digits, whenever it is asked), and up to when
# the record is complete, which is now.
_RANDOM = (
    (re.compile(rb'(name="csrfmiddlewaretoken" value=")[A-Za-z0-9]{64}"'), rb'\1-"'),
    (re.compile(rb'("X-CSRFToken": ?"|&quot;X-CSRFToken&quot;: ?&quot;)[A-Za-z0-9]{64}'), rb"\1-"),
    (re.compile(rb'("uptime_seconds":)\d+'), rb"\g<1>0"),
    (re.compile(rb'("horizon":)"[^"]+"'), rb'\g<1>""'),
    (re.compile(rb'("lag_seconds":)[\d.]+'), rb"\g<1>0"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One write, or another deed: the drafts of one batch, which one world may never see."""

    drafts: Sequence[Draft] = ()
    is_hidden: bool = False
    deed: Callable[[], Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Everything that a caller can see of an answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @classmethod
    def of(cls, response: HttpResponse) -> "Answer":
        body = b"".join(response) if response.streaming else response.content
        for pattern, instead in _RANDOM:
            body = pattern.sub(instead, body)
        cookies = [("Set-Cookie", morsel.OutputString()) for morsel in response.cookies.values()]
        headers = [*response.headers.items(), *cookies]
        # ConditionalGet's ETag is a digest of the body, whose length the lag's digits decide.
        if b'"uptime_seconds":' in body:
            headers = [pair for pair in headers if pair[0] not in ("ETag", "Content-Length")]
        return cls(status=response.status_code, headers=tuple(sorted(headers)), body=body)


class Caller:
    """Somebody with a key or signed in; the same in whichever world."""

    def __init__(self, headers: Mapping[str, str], cookies: Mapping[str, str] | None = None) -> None:
        self.client = Client(headers={**headers, "X-Request-ID": REQUEST_ID}, raise_request_exception=False)
        self.cookies = cookies or {}

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask(path, headers=headers)

    def post(self, path: str, body: Any) -> Answer:
        return self.ask(path, body)

    def ask(self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Answer:
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
        return Answer.of(response)


class Stay:
    """A stay in one world, in a transaction that is never committed: what is done there is gone with it.

    Each step has a number, which says what instant it is and which memory_ids are dealt. The same number is the same
    step in both worlds, whatever happened in one of them before. Without the second wall, row-level security hides
    nothing, and what the first one forgets comes to light.
    """

    def __init__(self, place: World, *, second_wall: bool = True) -> None:
        self._place = place
        self._second_wall = second_wall
        self._reads = reads.Queue(in_background=False)
        with place.entered():
            self._transaction = transaction.atomic()
            self._transaction.__enter__()

    @contextmanager
    def step(self, number: int) -> Iterator[None]:
        with self._place.entered(), mock.patch.object(reads, "_queue", self._reads), dealt(f"step {number}"):
            _set_clocks(CLOCK + timedelta(seconds=number))
            with nullcontext() if self._second_wall else as_keeper():
                yield

    def end(self) -> None:
        with self._place.entered():
            transaction.set_rollback(True)
            self._transaction.__exit__(None, None, None)


def _set_clocks(instant: datetime) -> None:
    """Record time and the ledger's time go on from `instant`. (What was told is not undone with its transaction.)"""
    with as_keeper():
        execute(
            """
            INSERT INTO record_clock VALUES (1, %s) ON CONFLICT (id) DO UPDATE SET instant = excluded.instant;
            INSERT INTO audit_head (id, seq, hash, at) VALUES (1, 0, %s, %s)
            ON CONFLICT (id) DO UPDATE SET at = excluded.at;
            SELECT setval('record_told', 0)
            """,
            instant,
            NO_HASH,
            instant,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Worlds:
    """`without` and `with_hidden`, and who asks in them: the low caller in two ways, and one who sees every tier."""

    without: World
    with_hidden: World
    key: Caller
    person: Caller
    high: Caller

    @contextmanager
    def inside(self, place: World, steps: Sequence[Step], *, second_wall: bool = True) -> Iterator[None]:
        """In `place`, as far as the rows of `steps` exist there; nothing of it remains."""
        stay = Stay(place, second_wall=second_wall)
        try:
            for number, step in enumerate(steps):
                if place is self.with_hidden or not step.is_hidden:
                    with stay.step(number):
                        store(step.drafts, on_conflict=OnConflict.REPLACE)
                        if step.deed:
                            step.deed()
            with stay.step(len(steps)):
                yield
        finally:
            stay.end()


@contextmanager
def dealt(hand: str) -> Iterator[None]:
    """The same memory_ids, and ids of decisions, for everybody who writes under the same name."""
    names = (uuid.uuid5(uuid.NAMESPACE_OID, f"{hand}/{place}") for place in itertools.count())
    with ExitStack() as patches:
        for drawn in ("memories.ingest.uuid", "conflicts.plans", "conflicts.decide", "conflicts.policies"):
            patches.enter_context(mock.patch(f"memoryhub.{drawn}.uuid4", side_effect=names))
        yield


@contextmanager
def two_worlds() -> Iterator[Worlds]:
    """Two empty hubs with one and the same low caller."""
    with world(migrated(), as_application=True) as template:
        with template.entered():
            with roles.as_owner():
                roles.grant(APPLICATION)
            callers = _callers()
        template.close()
        long_ago = mock.patch.object(process, "_THIS_PROCESS", (1, time.monotonic() - 2_000_000))
        copy = partial(world, template.name, as_application=True)
        with copy() as without, copy() as with_hidden, long_ago:
            yield Worlds(without=without, with_hidden=with_hidden, **callers)


def _callers() -> dict[str, Caller]:
    clearance = ClearanceRecord.objects.create(
        name="low",
        max_tier=LOW.max_tier,
        blocked_labels=sorted(LOW.blocked_labels),
        every_namespace=False,
        namespaces=sorted(LOW.namespaces or ()),
    )
    user = User.objects.create_user("low", is_staff=True, is_superuser=True)
    UserClearance.objects.create(user=user, clearance=clearance, scopes=["read", "inspect", "audit", "view_as"])
    _, secret = ApiKey.objects.create(
        user, name="low", scopes=["read", "write", "audit"], source="low", clearance=clearance
    )
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    cookies = {"sessionid": client.cookies["sessionid"].value, "csrftoken": "c" * 32}
    every_tier = ClearanceRecord.objects.create(name="high", max_tier="restricted")
    UserClearance.objects.create(user=User.objects.create_user("high"), clearance=every_tier, scopes=list(Scope))
    _, high = ApiKey.objects.create(user, name="high", scopes=["read"], clearance=every_tier)
    return {"key": _with_key(secret), "person": Caller({}, cookies), "high": _with_key(high)}


def _with_key(secret: str) -> Caller:
    return Caller({"Authorization": f"Bearer {secret}"})
