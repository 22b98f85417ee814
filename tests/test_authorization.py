"""Who may call which route: one table over every route of the URL conf and every kind of caller (AZ-01).

A new route is one line in TABLE (matrix.py) for each of its methods, and for a method that sends something also one in
DEEDS. A route or a method that stands in neither fails a test.
"""

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatch
from functools import partial
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.urls import URLResolver, get_resolver
from django.utils import timezone

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts import decide, runs
from memoryhub.conflicts.choices import Automatic, Choice, Wish
from memoryhub.conflicts.keys import evidence_of, id_of
from memoryhub.conflicts.models import Decision, PolicyRun
from memoryhub.firewall.models import ApiKey, ClearanceRecord, Source, UserClearance
from memoryhub.memories.models import Memory
from tests.api.answers import refused, told
from tests.builders import WRITER, envelope, make_clearance, make_key, make_memory
from tests.conflicts.runs import ADMIN as POLICY_ADMIN
from tests.conflicts.runs import make_policy
from tests.matrix import CALLERS, METHODS, PEOPLE, TABLE, Row

pytestmark = pytest.mark.django_db


@dataclass(frozen=True, slots=True)
class Deed:
    """What is sent by whom to a method, and what the ledger says of it: "" for what changes nothing."""

    action: str = ""
    sent: Callable[[], dict[str, Any]] = dict
    by: str = "admin"
    is_json: bool = False
    first: Callable[[Client], dict[str, Any]] = lambda _: {}
    """What is done before, and what is sent because of it."""


def key_form(**fields: Any) -> dict[str, Any]:
    owner = User.objects.get(username="owner").pk
    return {"name": "made", "user": owner, "source": "", "actor_type": "agent", "scopes": ["read"], **fields}


def person_form(**fields: Any) -> dict[str, Any]:
    inline = {"TOTAL_FORMS": "0", "INITIAL_FORMS": "0", "MIN_NUM_FORMS": "0", "MAX_NUM_FORMS": "1"}
    return {**fields, **{f"held_clearance-{name}": value for name, value in inline.items()}}


def hidden_field(page: Any, name: str) -> dict[str, Any]:
    found = re.search(rf'name="{name}" value="([^"]+)"', page.content.decode())
    return {name: html.unescape(found[1])} if found else {}


def labelled(client: Client) -> dict[str, Any]:
    """A memory was just classified; the token that takes it back."""
    page = f"/memories/{Memory.objects.values_list('memory_id', flat=True)[0]}"
    client.post(f"{page}/labels", CLOSER)
    return hidden_field(client.get(page), "undo")


def tried(client: Client) -> dict[str, Any]:
    """A dry run; the token for doing it."""
    told = client.post("/api/memories/labels", {**ALL_CLOSER, "dry_run": True}, content_type="application/json")
    return {"token": told.json()["token"]} if told.status_code == 200 else {}


def run_on(client: Client) -> dict[str, Any]:
    """The run has decided something."""
    client.post(f"/api/policy-runs/{PolicyRun.objects.get().run_id}/go", {}, content_type="application/json")
    return {}


def evidence(subject: str = "user:eve") -> str:
    """What a decision about a group is made on."""
    found = decide.members((subject, "city"), WRITER)
    return evidence_of((member.memory_id, member.version) for member in found)


def decided() -> UUID:
    """What a run of a policy decided."""
    for content in ("Paris", "Berlin"):
        make_memory(subject="user:dan", collection="city", content=content)
    wish = Wish(key=("user:dan", "city"), evidence=evidence("user:dan"), choice=Choice.model_validate(NOT_ONE))
    (outcome,) = decide.decide_all([wish], by=WRITER, automatic=Automatic(policy=RUN, policy_version=1, run=RUN))
    assert outcome.decision_id
    return outcome.decision_id


def looking(client: Client) -> dict[str, Any]:
    client.post("/view-as", {"as": "user:analyst"})
    return {}


RUN = UUID(int=7)
NOT_ONE = {"outcome": "not_a_conflict", "reason": "Both are true."}
TYPED = {"choice": "not_a_conflict", "reason": "Both are true."}
CLOSER = {"classification_tier": "internal", "version": "1"}
ALL_CLOSER = {"filter": {"source": "test"}, "classification_tier": "internal"}
PASSWORD = "correct horse battery"
NEW = "staple horse battery"
POLICY = {"name": "Made", "rules": [{"rule": "latest_event"}], "classes": ["paraphrase"]}
POLICY_FORM = {"name": "Made", "rule": "latest_event", "classes": "paraphrase", "is_enabled": "on"}
DEEDS: dict[str, Deed] = {
    "POST api:memories": Deed("memory.write", envelope, is_json=True),
    "POST api:memory-labels": Deed(
        "memory.relabel", lambda: {"classification_tier": "internal", "version": 1}, is_json=True
    ),
    "POST api:labels": Deed("memory.relabel", lambda: ALL_CLOSER, is_json=True, first=tried),
    "POST api:memory-secrets": Deed("memory.reveal", lambda: {"text": "AKIA"}, is_json=True),
    "POST api:policies": Deed("policy.change", lambda: POLICY, is_json=True),
    "POST api:policy": Deed("policy.change", lambda: {**POLICY, "version": 1}, is_json=True),
    "POST api:policy-dry-run": Deed(is_json=True),
    "POST api:policy-run": Deed("policy.run", is_json=True),
    "POST api:policy-run-go": Deed("conflict.decide", is_json=True),
    "POST api:policy-run-undo": Deed("conflict.undo", lambda: {"reason": "By mistake."}, is_json=True, first=run_on),
    "POST api:conflict-decisions": Deed(
        "conflict.decide",
        lambda: {"outcome": "not_a_conflict", "reason": "Both.", "evidence": evidence()},
        is_json=True,
    ),
    # Others are told of it for some minutes, and nothing stays of it.
    "POST api:conflict-claim": Deed("", is_json=True),
    "POST api:decision-undo": Deed("conflict.undo", lambda: {"reason": "By mistake."}, is_json=True),
    "POST inspector:memory-reveal": Deed("memory.reveal"),
    "POST inspector:memory-secrets": Deed("memory.reveal", lambda: {"text": "AKIA"}),
    "POST inspector:memory-labels": Deed("memory.relabel", lambda: CLOSER),
    "POST inspector:labels": Deed(
        "memory.relabel",
        lambda: {"classification_tier": "internal"},
        first=lambda client: hidden_field(client.get("/labels?classification_tier=internal"), "token"),
    ),
    "POST inspector:labels-undo": Deed("memory.relabel", lambda: {"reason": "By mistake."}, first=labelled),
    "POST inspector:conflict-decide": Deed("conflict.decide", lambda: {**TYPED, "evidence": evidence()}),
    "POST inspector:conflict-claim": Deed(),
    "POST inspector:conflict-similar": Deed("", lambda: TYPED),
    "POST inspector:decisions-undo": Deed(
        "conflict.undo", lambda: {"reason": "By mistake.", "decision": str(Decision.objects.get(run=RUN).decision_id)}
    ),
    "POST inspector:policy-new": Deed("policy.change", lambda: POLICY_FORM),
    "POST inspector:policy": Deed("policy.change", lambda: {**POLICY_FORM, "version": "1"}),
    "POST inspector:policy-start": Deed("policy.run"),
    "POST inspector:policy-run-go": Deed("conflict.decide"),
    "POST inspector:policy-run-undo": Deed("conflict.undo", lambda: {"reason": "By mistake."}, first=run_on),
    "POST inspector:view-as": Deed("view_as.start", lambda: {"as": "user:analyst"}),
    "POST inspector:view-as-stop": Deed("view_as.stop", first=looking),
    "POST inspector:sign-in": Deed("session.sign_in", lambda: {"username": "admin", "password": PASSWORD}, by="nobody"),
    "POST inspector:sign-out": Deed("session.sign_out", by="analyst"),
    "POST inspector:theme": Deed("", lambda: {"theme": "dark"}, by="nobody"),
    "POST admin:password_change": Deed(
        "user.change", lambda: {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}
    ),
    "POST admin:logout": Deed("session.sign_out"),
    "POST admin:auth_user_changelist": Deed(),
    "POST admin:firewall_clearancerecord_changelist": Deed(),
    "POST admin:firewall_apikey_changelist": Deed(
        "key.rotate", lambda: {"action": "rotate", "_selected_action": [ApiKey.objects.get(name="spare").pk]}
    ),
    "POST admin:auth_user_add": Deed(
        "user.change",
        lambda: person_form(username="made", password1=NEW, password2=NEW, usable_password="true"),
    ),
    "POST admin:firewall_clearancerecord_add": Deed("clearance.change", lambda: {"name": "made", "max_tier": "public"}),
    "POST admin:firewall_apikey_add": Deed("key.create", key_form),
    "POST admin:auth_user_change": Deed(
        "user.change", lambda: person_form(date_joined_0="2026-01-01", date_joined_1="00:00", is_active="on")
    ),
    "POST admin:firewall_clearancerecord_change": Deed(
        "clearance.change", lambda: {"name": "spare", "max_tier": "internal"}
    ),
    "POST admin:firewall_apikey_change": Deed("key.change", lambda: key_form(scopes=["inspect"])),
    "POST admin:firewall_clearancerecord_delete": Deed("clearance.change", lambda: {"post": "yes"}),
    "POST admin:firewall_source_changelist": Deed(),
    "POST admin:firewall_source_add": Deed("source.change", lambda: {"name": "made", "max_tier": "public"}),
    "POST admin:firewall_source_change": Deed("source.change", lambda: {"max_tier": "internal"}),
    "POST admin:firewall_source_delete": Deed(sent=lambda: {"post": "yes"}),
    "POST admin:auth_user_delete": Deed(sent=lambda: {"post": "yes"}),
    "POST admin:firewall_apikey_delete": Deed(sent=lambda: {"post": "yes"}),
    "POST admin:auth_user_password_change": Deed(
        "user.change", lambda: {"password1": NEW, "password2": NEW, "usable_password": "true"}
    ),
    "POST admin:firewall_clearancerecord_preview": Deed("", lambda: {"name": "made", "max_tier": "public"}),
}


@dataclass(frozen=True, slots=True)
class Route:
    name: str
    pattern: str

    def __str__(self) -> str:
        return self.name


def routes(resolver: URLResolver, space: str = "", before: str = "") -> Iterator[Route]:
    for route in resolver.url_patterns:
        pattern = before + str(route.pattern)
        if isinstance(route, URLResolver):
            yield from routes(route, f"{route.namespace}:" if route.namespace else space, pattern)
        else:
            # What has no name is known by its pattern within its namespace.
            name = route.name or re.sub(r"^(api|admin)/", "", pattern)
            yield Route(f"{space}{name}", pattern)


# `health` is answered by a middleware, before any URL conf.
ROUTES = [*routes(get_resolver()), Route("health", "health")]
CELLS = [(method, route) for route in ROUTES for method in METHODS]


def row(method: str, route: Route) -> Row | None:
    """The row of a route: by its own name, else by a pattern over Django's admin."""
    asked = f"{method} {route.name}"
    if asked in TABLE:
        return TABLE[asked]
    if f"* {route.name}" in TABLE:
        return TABLE[f"* {route.name}"]
    # Django's admin has the same routes for each of its tables.
    return next((found for known, found in TABLE.items() if "admin:*" in known and fnmatch(asked, known)), None)


LISTED = [(method, route) for method, route in CELLS if row(method, route) is not None]
SENDING = [(method, route) for method, route in LISTED if method == "POST" and f"* {route.name}" not in TABLE]


@dataclass(slots=True)
class World:
    """Everybody who may call, and one of everything that a route may name."""

    memory: Memory = field(default_factory=lambda: make_memory(subject="user:ada"))
    secrets: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _person("analyst", "read")
        _person("steward", "read inspect declassify audit view_as")
        _person("admin", "admin", is_staff=True, is_superuser=True)
        _person("left", "admin", is_staff=True, is_superuser=True)
        User.objects.create(username="owner")
        make_clearance(name="spare", max_tier="public")
        for day, content in enumerate(("Paris", "Berlin"), 1):
            make_memory(subject="user:eve", collection="city", content=content, timestamp=f"2026-03-{day:02}T12:00:00Z")
        scopes = {"write": "write", "read": "read", "inspect": "inspect", "admin key": "admin"}
        self.secrets = {name: _key(scope) for name, scope in scopes.items()}
        self.secrets |= {name: _key("read write inspect admin") for name in ("expired", "revoked")}
        self.sessions = {name: _session(name) for name in (*PEOPLE, "left")}
        self.secrets["left's key"] = _key("read write inspect admin", owner="left")
        _named(self.secrets["expired"]).update(expiry=timezone.now() - timedelta(seconds=1))
        _named(self.secrets["revoked"]).update(revoked_at=timezone.now())
        _named(_key("read")).update(name="spare")
        # One with nothing to decide, and a run of another one that has.
        idle, busy = (make_policy(collection=collection) for collection in ("nothing", "city"))
        self.places = {
            "<uuid:policy_id>": str(idle.policy_id),
            "<uuid:run_id>": str(runs.start(busy.policy_id, by=POLICY_ADMIN).run_id),
            "<uuid:memory_id>": str(self.memory.memory_id),
            "user/<path:object_id>": f"user/{User.objects.get(username='owner').pk}",
            "user/<id>": f"user/{User.objects.get(username='owner').pk}",
            "clearancerecord/<path:object_id>": f"clearancerecord/{ClearanceRecord.objects.get(name='spare').pk}",
            "apikey/<path:object_id>": f"apikey/{ApiKey.objects.get(name='spare').pk}",
            "source/<path:object_id>": f"source/{Source.objects.get(name='test').pk}",
            "<path:name>": "user:analyst",
            "<path:subject>": "user:ada",
            "<str:conflict_id>": id_of("user:eve", "city"),
            "<str:group_id>": id_of("user:eve", "city"),
            "<uuid:decision_id>": str(decided()),
            "api/timetravel": "api/timetravel?as_of=2026-03-01",
            "api/diff": "api/diff?since=2026-03-01",
            "api/replay": "api/replay?as=user:analyst&as_of=2026-03-01",
            "^(?P<rest>.*)$": "no/such/route",
            "(?P<url>.*)$": "no/such/page",
        }

    def path(self, route: Route, places: dict[str, str] | None = None) -> str:
        path = re.sub(r"\^\(\?P<app_label>[^)]*\)/\$", "auth/", route.pattern)
        for placeholder, value in {**self.places, **(places or {})}.items():
            path = path.replace(placeholder, value)
        assert not set("<>^$()") & set(path), f"say in World.places what stands in {path}"
        return f"/{path}"

    def client(self, who: str, **options: Any) -> Client:
        if who in self.secrets:
            return Client(headers={"Authorization": f"Bearer {self.secrets[who]}"}, **options)
        client = Client(**options)
        if who != "nobody":
            client.cookies[settings.SESSION_COOKIE_NAME] = self.sessions[who.removesuffix("'s session")]
            if who == "left's session":
                User.objects.filter(username="left").update(is_active=False)
        elif options.get("enforce_csrf_checks"):
            client.get("/sign-in")
        return client

    def call(self, who: str, method: str, route: Route, path: str = "", **options: Any) -> Any:
        """The answer to one call, of which nothing stays."""
        client = self.client(who, **options)
        if who == "left's key":
            User.objects.filter(username="left").update(is_active=False)
        return send(client, method, route, path or self.path(route))


def send(
    client: Client, method: str, route: Route, path: str, told: dict[str, Any] | None = None, **headers: str
) -> Any:
    deed = DEEDS.get(f"{method} {route.name}", Deed())
    if method != "POST":
        return client.generic(method, path, headers=headers)
    sent = deed.sent() | (deed.first(client) if told is None else told)
    if deed.is_json:
        return client.post(path, sent, content_type="application/json", headers=headers)
    return client.post(path, sent, headers=headers)


def _person(name: str, scopes: str, **fields: Any) -> None:
    user = User.objects.create_user(name, password=PASSWORD, **fields)
    tier = "internal" if name == "analyst" else "restricted"
    UserClearance.objects.create(user=user, clearance=make_clearance(name=tier, max_tier=tier), scopes=scopes.split())


def _session(name: str) -> str:
    client = Client()
    client.force_login(User.objects.get(username=name), "django.contrib.auth.backends.ModelBackend")
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def _key(scopes: str, **fields: Any) -> str:
    return make_key(scopes=scopes, source="test", clearance={"name": "restricted", "max_tier": "restricted"}, **fields)


def _named(secret: str) -> Any:
    return ApiKey.objects.filter(token_key=secret[:15])


@pytest.fixture(scope="module")
def one_world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """A world for all tests of a module: made once, in a transaction around those of the tests."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield World()
        transaction.set_rollback(True)


@pytest.fixture
def world(one_world: World, db: None) -> World:
    """What a test does in it is undone after the test."""
    return one_world


def undone(act: Callable[[], Any]) -> Any:
    """What `act` answers; what it did is taken back."""
    with transaction.atomic():
        answer = act()
        transaction.set_rollback(True)
    return answer


def deeds() -> list[str]:
    """What the ledger holds besides reads."""
    return list(AuditEntry.objects.exclude(action="memory.read").order_by("seq").values_list("action", flat=True))


def test_every_line_of_the_table_is_a_route():
    used = {
        known for known in TABLE if any(fnmatch(f"{m} {r.name}", known) or known.startswith("* ") for m, r in CELLS)
    }

    assert used == TABLE.keys()
    assert {f"{method} {route.name}" for method, route in SENDING} == DEEDS.keys()


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_every_route_is_in_the_table(route):
    assert [method for method in METHODS if row(method, route) is not None], f"add {route.name} to TABLE"


@pytest.mark.parametrize(("method", "route"), LISTED, ids=str)
def test_every_caller_gets_what_the_table_says(world, method, route):
    answers = {who: undone(partial(world.call, who, method, route)) for who in CALLERS}

    assert dict(zip(CALLERS, row(method, route) or (), strict=True)) == {
        who: answer.status_code for who, answer in answers.items()
    }
    for answer in answers.values():
        if answer.status_code >= 400 and route.pattern.startswith(("api/", "ready", "health")):
            refused(answer)
        if answer.status_code == 401:
            assert answer["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_a_method_that_is_not_in_the_table_is_refused_to_those_who_may_everything(world, route):
    unlisted = [method for method in METHODS if row(method, route) is None]

    answers = {
        (method, who): undone(partial(world.call, who, method, route)).status_code
        for method in unlisted
        for who in ("admin", "admin key")
    }

    assert {call: status for call, status in answers.items() if status != 405} == {}


@pytest.mark.parametrize(("method", "route"), [cell for cell in LISTED if "<" in cell[1].pattern], ids=str)
def test_who_may_not_act_is_told_the_same_of_what_is_there_and_of_what_is_not(world, method, route):
    missing = {
        place: re.sub(r"[^/]+$", str(uuid4()) if "uuid" in place else "987654321", value)
        for place, value in world.places.items()
        if place.startswith(("<uuid", "user/", "clearancerecord/", "apikey/", "source/"))
    }
    paths = world.path(route), world.path(route, missing)
    may_not = [who for who, status in zip(CALLERS, row(method, route) or (), strict=True) if status in (401, 403)]

    for who in may_not:
        there, not_there = (plain(undone(partial(world.call, who, method, route, path)), path) for path in paths)
        assert there == not_there, who


def plain(answer: Any, path: str) -> Any:
    """What can be compared of an answer: without the tokens that are new each time and without the asked path.

    The page that a deed is asked of is the path but for its last part.
    """
    status, headers, body = told(answer)
    body = re.sub(rb'name="csrfmiddlewaretoken" value="\w+"', b"", body).replace(path.encode(), b"<path>")
    body = body.replace(path.rpartition("/")[0].encode(), b"<page>") if path.count("/") > 2 else body
    headers = [(name, value.replace(quote(path), "<path>")) for name, value in headers if name != "Content-Length"]
    return status, headers, body


@pytest.mark.parametrize(("method", "route"), SENDING, ids=str)
def test_every_deed_is_one_entry_in_the_ledger_and_a_refused_one_is_none(world, method, route):
    deed = DEEDS[f"{method} {route.name}"]
    client = world.client(deed.by)
    told = deed.first(client)
    before = len(deeds())

    answer = send(client, method, route, world.path(route), told)

    assert answer.status_code < 400 or route.name.endswith(("_delete", "labels-undo"))
    assert deeds()[before:] == ([deed.action] if deed.action else [])
    before = len(deeds())
    for who, status in zip(CALLERS, row(method, route) or (), strict=True):
        if status in (401, 403):
            world.call(who, method, route)
    assert deeds()[before:] == []


@pytest.mark.parametrize(
    "headers", [{}, {"HX-Request": "true"}, {"X-CSRFToken": "a" * 32, "Origin": "https://evil.example"}]
)
@pytest.mark.parametrize(("method", "route"), SENDING, ids=str)
def test_no_session_sends_anything_without_a_token_or_for_another_site(world, method, route, headers):
    deed = DEEDS[f"{method} {route.name}"]
    client = world.client(deed.by, enforce_csrf_checks=True)
    if "Origin" in headers:
        client.cookies["csrftoken"] = "a" * 32
    before = len(deeds())

    answer = send(client, method, route, world.path(route), {}, **headers)

    assert answer.status_code == 403
    assert deeds()[before:] == []
