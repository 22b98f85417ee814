"""Who may call which route: one table over every route of the URL conf and every kind of caller (AZ-01).

A new route is one line in AUTHORIZATION_MATRIX (authorization_matrix.py) for each of its methods, and for a method that
sends something also one in ROUTE_ACTIONS. A route or a method that is in neither fails a test.
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
from memoryhub.conflicts.decisions import resolve
from memoryhub.conflicts.decisions.resolution_requests import PolicyAttribution, Resolution, ResolutionRequest
from memoryhub.conflicts.groups.group_keys import compute_evidence, encode_id
from memoryhub.conflicts.models import Decision, PolicyRun
from memoryhub.conflicts.policies import policy_runs
from memoryhub.firewall.models import ApiKey, ClearanceProfile, Source, UserAccess
from memoryhub.memories.models import Memory
from tests.api.responses import assert_any_problem, comparable_response
from tests.authorization_matrix import (
    AUTHORIZATION_MATRIX,
    CALLERS,
    DISABLED_USERS_KEY,
    DISABLED_USERS_SESSION,
    METHODS,
    USERS,
    Row,
)
from tests.conflicts.policies.policy_factories import ADMIN as POLICY_ADMIN
from tests.conflicts.policies.policy_factories import make_policy
from tests.factories import WRITER, envelope, make_clearance, make_key, make_memory

pytestmark = pytest.mark.django_db


@dataclass(frozen=True, slots=True)
class RouteAction:
    """What is sent by whom to a method, and its action in the audit log: "" for what changes nothing."""

    audit_action: str = ""
    body: Callable[[], dict[str, Any]] = dict
    caller: str = "admin"
    is_json: bool = False
    prepare: Callable[[Client], dict[str, Any]] = lambda _: {}
    """What is done before, and what is sent because of it."""


def key_form(**fields: Any) -> dict[str, Any]:
    owner = User.objects.get(username="owner").pk
    return {"name": "made", "user": owner, "source": "", "actor_type": "agent", "scopes": ["read"], **fields}


def person_form(**fields: Any) -> dict[str, Any]:
    inline = {"TOTAL_FORMS": "0", "INITIAL_FORMS": "0", "MIN_NUM_FORMS": "0", "MAX_NUM_FORMS": "1"}
    return {**fields, **{f"access-{name}": value for name, value in inline.items()}}


def read_hidden_field(page: Any, name: str) -> dict[str, Any]:
    value_match = re.search(rf'name="{name}" value="([^"]+)"', page.content.decode())
    return {name: html.unescape(value_match[1])} if value_match else {}


def make_classified(client: Client) -> dict[str, Any]:
    """A memory was just classified; the token that takes it back."""
    page = f"/memories/{Memory.objects.values_list('memory_id', flat=True)[0]}"
    client.post(f"{page}/classify", NARROWER_FORM)
    return read_hidden_field(client.get(page), "undo")


def make_dry_run_token(client: Client) -> dict[str, Any]:
    """A dry run; the token for doing it."""
    response = client.post(
        "/api/memories/classify", {**BULK_NARROWER, "dry_run": True}, content_type="application/json"
    )
    return {"confirmation_token": response.json()["confirmation_token"]} if response.status_code == 200 else {}


def advance_run(client: Client) -> dict[str, Any]:
    """The run has decided something."""
    client.post(f"/api/policy-runs/{PolicyRun.objects.get().run_id}/advance", {}, content_type="application/json")
    return {}


def group_evidence(subject: str = "user:eve") -> str:
    """What a decision about a group is made on."""
    members = resolve.list_members((subject, "city"), WRITER)
    return compute_evidence((member.memory_id, member.version) for member in members)


def make_decision() -> UUID:
    """What a run of a policy decided."""
    for content in ("Paris", "Berlin"):
        make_memory(subject="user:dan", collection="city", content=content)
    request = ResolutionRequest(
        key=("user:dan", "city"),
        evidence=group_evidence("user:dan"),
        resolution=Resolution.model_validate(NOT_A_CONFLICT),
    )
    (outcome,) = resolve.resolve_many(
        [request], principal=WRITER, attribution=PolicyAttribution(policy_id=RUN_ID, policy_version=1, run_id=RUN_ID)
    )
    assert outcome.decision_id
    return outcome.decision_id


def start_view_as(client: Client) -> dict[str, Any]:
    client.post("/view-as", {"as": "user:analyst"})
    return {}


RUN_ID = UUID(int=7)
DISABLED_USERNAME = "disabled_user"
NOT_A_CONFLICT = {"outcome": "not_a_conflict", "reason": "Both are true."}
DECISION_FORM = {"choice": "not_a_conflict", "reason": "Both are true."}
NARROWER_FORM = {"classification_tier": "internal", "version": "1"}
BULK_NARROWER = {"filter": {"source": "test"}, "classification_tier": "internal"}
PASSWORD = "correct horse battery"
NEW_PASSWORD = "staple horse battery"
POLICY_BODY = {"name": "Made", "rules": [{"rule": "latest_event"}], "classes": ["paraphrase"]}
POLICY_FORM = {"name": "Made", "rule": "latest_event", "classes": "paraphrase", "is_enabled": "on"}
ROUTE_ACTIONS: dict[str, RouteAction] = {
    "POST api:memory-list": RouteAction("memory.write", envelope, is_json=True),
    "POST api:memory-classify": RouteAction(
        "memory.reclassify", lambda: {"classification_tier": "internal", "version": 1}, is_json=True
    ),
    "POST api:memories-classify": RouteAction(
        "memory.reclassify", lambda: BULK_NARROWER, is_json=True, prepare=make_dry_run_token
    ),
    "POST api:secret-search": RouteAction("memory.unmask", lambda: {"text": "AKIA"}, is_json=True),
    "POST api:policy-list": RouteAction("policy.change", lambda: POLICY_BODY, is_json=True),
    "POST api:policy-detail": RouteAction("policy.change", lambda: {**POLICY_BODY, "version": 1}, is_json=True),
    "POST api:policy-dry-run": RouteAction(is_json=True),
    "POST api:policy-run-create": RouteAction("policy.run", is_json=True),
    "POST api:policy-run-advance": RouteAction("conflict.resolve", is_json=True),
    "POST api:policy-run-undo": RouteAction(
        "conflict.undo", lambda: {"reason": "By mistake."}, is_json=True, prepare=advance_run
    ),
    "POST api:conflict-resolve": RouteAction(
        "conflict.resolve",
        lambda: {"outcome": "not_a_conflict", "reason": "Both.", "evidence": group_evidence()},
        is_json=True,
    ),
    # Others see the claim for some minutes, and nothing is stored after that.
    "POST api:conflict-claim": RouteAction("", is_json=True),
    "POST api:decision-undo": RouteAction("conflict.undo", lambda: {"reason": "By mistake."}, is_json=True),
    "POST inspector:memory-unmask": RouteAction("memory.unmask"),
    "POST inspector:secret-search": RouteAction("memory.unmask", lambda: {"text": "AKIA"}),
    "POST inspector:memory-classify": RouteAction("memory.reclassify", lambda: NARROWER_FORM),
    "POST inspector:memories-classify": RouteAction(
        "memory.reclassify",
        lambda: {"classification_tier": "internal"},
        prepare=lambda client: read_hidden_field(
            client.get("/memories/classify?classification_tier=internal"), "confirmation_token"
        ),
    ),
    "POST inspector:classification-undo": RouteAction(
        "memory.reclassify", lambda: {"reason": "By mistake."}, prepare=make_classified
    ),
    "POST inspector:conflict-resolve": RouteAction(
        "conflict.resolve", lambda: {**DECISION_FORM, "evidence": group_evidence()}
    ),
    "POST inspector:conflict-claim": RouteAction(),
    "POST inspector:conflict-similar": RouteAction("", lambda: DECISION_FORM),
    "POST inspector:decision-undo": RouteAction(
        "conflict.undo",
        lambda: {"reason": "By mistake.", "decision": str(Decision.objects.get(run_id=RUN_ID).decision_id)},
    ),
    "POST inspector:policy-create": RouteAction("policy.change", lambda: POLICY_FORM),
    "POST inspector:policy-detail": RouteAction("policy.change", lambda: {**POLICY_FORM, "version": "1"}),
    "POST inspector:policy-run-create": RouteAction("policy.run"),
    "POST inspector:policy-run-advance": RouteAction("conflict.resolve"),
    "POST inspector:policy-run-undo": RouteAction(
        "conflict.undo", lambda: {"reason": "By mistake."}, prepare=advance_run
    ),
    "POST inspector:view-as": RouteAction("view_as.start", lambda: {"as": "user:analyst"}),
    "POST inspector:view-as-stop": RouteAction("view_as.stop", prepare=start_view_as),
    "POST inspector:sign-in": RouteAction(
        "session.sign_in", lambda: {"username": "admin", "password": PASSWORD}, caller="anonymous"
    ),
    "POST inspector:sign-out": RouteAction("session.sign_out", caller="analyst"),
    "POST inspector:theme": RouteAction("", lambda: {"theme": "dark"}, caller="anonymous"),
    "POST admin:password_change": RouteAction(
        "user.change", lambda: {"old_password": PASSWORD, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    ),
    "POST admin:logout": RouteAction("session.sign_out"),
    "POST admin:auth_user_changelist": RouteAction(),
    "POST admin:firewall_clearanceprofile_changelist": RouteAction(),
    "POST admin:firewall_apikey_changelist": RouteAction(
        "key.rotate", lambda: {"action": "rotate", "_selected_action": [ApiKey.objects.get(name="spare").pk]}
    ),
    "POST admin:auth_user_add": RouteAction(
        "user.change",
        lambda: person_form(username="made", password1=NEW_PASSWORD, password2=NEW_PASSWORD, usable_password="true"),
    ),
    "POST admin:firewall_clearanceprofile_add": RouteAction(
        "clearance.change", lambda: {"name": "made", "max_tier": "public"}
    ),
    "POST admin:firewall_apikey_add": RouteAction("key.create", key_form),
    "POST admin:auth_user_change": RouteAction(
        "user.change", lambda: person_form(date_joined_0="2026-01-01", date_joined_1="00:00", is_active="on")
    ),
    "POST admin:firewall_clearanceprofile_change": RouteAction(
        "clearance.change", lambda: {"name": "spare", "max_tier": "internal"}
    ),
    "POST admin:firewall_apikey_change": RouteAction("key.change", lambda: key_form(scopes=["curate"])),
    "POST admin:firewall_clearanceprofile_delete": RouteAction("clearance.change", lambda: {"post": "yes"}),
    "POST admin:firewall_source_changelist": RouteAction(),
    "POST admin:firewall_source_add": RouteAction("source.change", lambda: {"name": "made", "max_tier": "public"}),
    "POST admin:firewall_source_change": RouteAction("source.change", lambda: {"max_tier": "internal"}),
    "POST admin:firewall_source_delete": RouteAction(body=lambda: {"post": "yes"}),
    "POST admin:auth_user_delete": RouteAction(body=lambda: {"post": "yes"}),
    "POST admin:firewall_apikey_delete": RouteAction(body=lambda: {"post": "yes"}),
    "POST admin:auth_user_password_change": RouteAction(
        "user.change", lambda: {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD, "usable_password": "true"}
    ),
    "POST admin:firewall_clearanceprofile_preview": RouteAction("", lambda: {"name": "made", "max_tier": "public"}),
}


# The last one with a token of its own, which the browser has for this site as well.
FORGED_HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"HX-Request": "true"},
    {"X-CSRFToken": "a" * 32, "Origin": "https://evil.example"},
)


@dataclass(frozen=True, slots=True)
class Route:
    name: str
    pattern: str

    def __str__(self) -> str:
        return self.name


def iter_routes(resolver: URLResolver, namespace: str = "", prefix: str = "") -> Iterator[Route]:
    for route in resolver.url_patterns:
        pattern = prefix + str(route.pattern)
        if isinstance(route, URLResolver):
            yield from iter_routes(route, f"{route.namespace}:" if route.namespace else namespace, pattern)
        else:
            # What has no name is known by its pattern within its namespace.
            name = route.name or re.sub(r"^(api|admin)/", "", pattern)
            yield Route(f"{namespace}{name}", pattern)


# `health` is answered by a middleware, before any URL conf.
ROUTES = [*iter_routes(get_resolver()), Route("health", "health")]
CELLS = [(method, route) for route in ROUTES for method in METHODS]


def matrix_row(method: str, route: Route) -> Row | None:
    """The row of a route: by its own name, else by a pattern over Django's admin."""
    route_key = f"{method} {route.name}"
    if route_key in AUTHORIZATION_MATRIX:
        return AUTHORIZATION_MATRIX[route_key]
    if f"* {route.name}" in AUTHORIZATION_MATRIX:
        return AUTHORIZATION_MATRIX[f"* {route.name}"]
    # Django's admin has the same routes for each of its tables.
    return next(
        (
            statuses
            for pattern, statuses in AUTHORIZATION_MATRIX.items()
            if "admin:*" in pattern and fnmatch(route_key, pattern)
        ),
        None,
    )


LISTED_CELLS = [(method, route) for method, route in CELLS if matrix_row(method, route) is not None]
POST_CELLS = [
    (method, route)
    for method, route in LISTED_CELLS
    if method == "POST" and f"* {route.name}" not in AUTHORIZATION_MATRIX
]


@dataclass(slots=True)
class Scenario:
    """Everybody who may call, and one of everything that a route may name."""

    memory: Memory = field(default_factory=lambda: make_memory(subject="user:ada"))
    secrets: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    path_values: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _make_user("analyst", "read")
        _make_user("steward", "read curate declassify audit view_as")
        _make_user("admin", "admin", is_staff=True, is_superuser=True)
        _make_user(DISABLED_USERNAME, "admin", is_staff=True, is_superuser=True)
        User.objects.create(username="owner")
        make_clearance(name="spare", max_tier="public")
        for day, content in enumerate(("Paris", "Berlin"), 1):
            make_memory(subject="user:eve", collection="city", content=content, timestamp=f"2026-03-{day:02}T12:00:00Z")
        scopes = {"write": "write", "read": "read", "curate": "curate", "admin key": "admin"}
        self.secrets = {name: _make_key(scope) for name, scope in scopes.items()}
        self.secrets |= {name: _make_key("read write curate admin") for name in ("expired", "revoked")}
        self.sessions = {name: _make_session(name) for name in USERS}
        self.sessions[DISABLED_USERS_SESSION] = _make_session(DISABLED_USERNAME)
        self.secrets[DISABLED_USERS_KEY] = _make_key("read write curate admin", owner=DISABLED_USERNAME)
        _key_by_secret(self.secrets["expired"]).update(expiry=timezone.now() - timedelta(seconds=1))
        _key_by_secret(self.secrets["revoked"]).update(revoked_at=timezone.now())
        _key_by_secret(_make_key("read")).update(name="spare")
        # One with nothing to decide, and a run of another one that has.
        idle_policy, busy_policy = (make_policy(collection=collection) for collection in ("nothing", "city"))
        self.path_values = {
            "<uuid:policy_id>": str(idle_policy.policy_id),
            "<uuid:run_id>": str(policy_runs.start_run(busy_policy.policy_id, principal=POLICY_ADMIN).run_id),
            "<uuid:memory_id>": str(self.memory.memory_id),
            "user/<path:object_id>": f"user/{User.objects.get(username='owner').pk}",
            "user/<id>": f"user/{User.objects.get(username='owner').pk}",
            "clearanceprofile/<path:object_id>": f"clearanceprofile/{ClearanceProfile.objects.get(name='spare').pk}",
            "apikey/<path:object_id>": f"apikey/{ApiKey.objects.get(name='spare').pk}",
            "source/<path:object_id>": f"source/{Source.objects.get(name='test').pk}",
            "<path:name>": "user:analyst",
            "<path:subject>": "user:ada",
            "<str:conflict_id>": encode_id("user:eve", "city"),
            "<str:group_id>": encode_id("user:eve", "city"),
            "<uuid:decision_id>": str(make_decision()),
            "api/timetravel": "api/timetravel?as_of=2026-03-01",
            "api/diff": "api/diff?since=2026-03-01",
            "api/replay": "api/replay?as=user:analyst&as_of=2026-03-01",
            "^(?P<rest>.*)$": "no/such/route",
            "(?P<url>.*)$": "no/such/page",
        }

    def path(self, route: Route, extra_values: dict[str, str] | None = None) -> str:
        path = re.sub(r"\^\(\?P<app_label>[^)]*\)/\$", "auth/", route.pattern)
        for placeholder, value in {**self.path_values, **(extra_values or {})}.items():
            path = path.replace(placeholder, value)
        assert not set("<>^$()") & set(path), f"add the placeholder of {path} to Scenario.path_values"
        return f"/{path}"

    def make_client(self, caller: str, **options: Any) -> Client:
        if caller in self.secrets:
            return Client(headers={"Authorization": f"Bearer {self.secrets[caller]}"}, **options)
        client = Client(**options)
        if caller != "anonymous":
            client.cookies[settings.SESSION_COOKIE_NAME] = self.sessions[caller]
            if caller == DISABLED_USERS_SESSION:
                User.objects.filter(username=DISABLED_USERNAME).update(is_active=False)
        elif options.get("enforce_csrf_checks"):
            client.get("/sign-in")
        return client

    def request(self, caller: str, method: str, route: Route, path: str = "", **options: Any) -> Any:
        """The answer to one call, of which nothing stays."""
        client = self.make_client(caller, **options)
        if caller == DISABLED_USERS_KEY:
            User.objects.filter(username=DISABLED_USERNAME).update(is_active=False)
        return send_request(client, method, route, path or self.path(route))


def send_request(
    client: Client, method: str, route: Route, path: str, prepared_fields: dict[str, Any] | None = None, **headers: str
) -> Any:
    route_action = ROUTE_ACTIONS.get(f"{method} {route.name}", RouteAction())
    if method != "POST":
        return client.generic(method, path, headers=headers)
    request_body = route_action.body() | (route_action.prepare(client) if prepared_fields is None else prepared_fields)
    if route_action.is_json:
        return client.post(path, request_body, content_type="application/json", headers=headers)
    return client.post(path, request_body, headers=headers)


def _make_user(name: str, scopes: str, **fields: Any) -> None:
    user = User.objects.create_user(name, password=PASSWORD, **fields)
    tier = "internal" if name == "analyst" else "restricted"
    UserAccess.objects.create(user=user, clearance=make_clearance(name=tier, max_tier=tier), scopes=scopes.split())


def _make_session(name: str) -> str:
    client = Client()
    client.force_login(User.objects.get(username=name), "django.contrib.auth.backends.ModelBackend")
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def _make_key(scopes: str, **fields: Any) -> str:
    return make_key(scopes=scopes, source="test", clearance={"name": "restricted", "max_tier": "restricted"}, **fields)


def _key_by_secret(secret: str) -> Any:
    return ApiKey.objects.filter(token_key=secret[:15])


@pytest.fixture(scope="module")
def shared_scenario(django_db_setup: None, django_db_blocker: Any) -> Iterator[Scenario]:
    """A scenario for all tests of a module: made once, in a transaction around those of the tests."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield Scenario()
        transaction.set_rollback(True)


@pytest.fixture
def scenario(shared_scenario: Scenario, db: None) -> Scenario:
    """What a test does in it is undone after the test."""
    return shared_scenario


def roll_back_after(operation: Callable[[], Any]) -> Any:
    """The response of `operation`, whose changes are rolled back."""
    with transaction.atomic():
        response = operation()
        transaction.set_rollback(True)
    return response


def audit_actions() -> list[str]:
    """The actions in the audit log other than reads."""
    return list(AuditEntry.objects.exclude(action="memory.read").order_by("seq").values_list("action", flat=True))


def test_every_line_of_the_table_is_a_route():
    used_patterns = {
        pattern
        for pattern in AUTHORIZATION_MATRIX
        if any(fnmatch(f"{m} {r.name}", pattern) or pattern.startswith("* ") for m, r in CELLS)
    }

    assert used_patterns == AUTHORIZATION_MATRIX.keys()
    assert {f"{method} {route.name}" for method, route in POST_CELLS} == ROUTE_ACTIONS.keys()


def test_every_route_is_in_the_table():
    """What is missing here is to be added to AUTHORIZATION_MATRIX."""
    listed_routes = {route for _, route in LISTED_CELLS}

    assert [str(route) for route in ROUTES if route not in listed_routes] == []


@pytest.mark.parametrize(("method", "route"), LISTED_CELLS, ids=str)
def test_every_caller_gets_what_the_table_says(scenario, method, route):
    answers = {caller: roll_back_after(partial(scenario.request, caller, method, route)) for caller in CALLERS}

    assert dict(zip(CALLERS, matrix_row(method, route) or (), strict=True)) == {
        caller: response.status_code for caller, response in answers.items()
    }
    for response in answers.values():
        if response.status_code >= 400 and route.pattern.startswith(("api/", "ready", "health")):
            assert_any_problem(response)
        if response.status_code == 401:
            assert response["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_a_method_that_is_not_in_the_table_is_refused_to_those_who_may_everything(scenario, route):
    unlisted = [method for method in METHODS if matrix_row(method, route) is None]

    answers = {
        (method, caller): roll_back_after(partial(scenario.request, caller, method, route)).status_code
        for method in unlisted
        for caller in ("admin", "admin key")
    }

    assert {call: status for call, status in answers.items() if status != 405} == {}


@pytest.mark.parametrize(("method", "route"), [cell for cell in LISTED_CELLS if "<" in cell[1].pattern], ids=str)
def test_a_caller_without_permission_gets_the_same_response_for_existing_and_missing_objects(scenario, method, route):
    missing = {
        placeholder: re.sub(r"[^/]+$", str(uuid4()) if "uuid" in placeholder else "987654321", value)
        for placeholder, value in scenario.path_values.items()
        if placeholder.startswith(("<uuid", "user/", "clearanceprofile/", "apikey/", "source/"))
    }
    paths = scenario.path(route), scenario.path(route, missing)
    refused_callers = [
        caller for caller, status in zip(CALLERS, matrix_row(method, route) or (), strict=True) if status in (401, 403)
    ]

    for caller in refused_callers:
        existing_response, missing_response = (
            comparable_response_for(roll_back_after(partial(scenario.request, caller, method, route, path)), path)
            for path in paths
        )
        assert existing_response == missing_response, caller


def comparable_response_for(response: Any, path: str) -> Any:
    """What can be compared of an answer: without the tokens that are new each time and without the asked path.

    The page from which an action is sent is the path without its last part.
    """
    status, headers, body = comparable_response(response)
    body = re.sub(rb'name="csrfmiddlewaretoken" value="\w+"', b"", body).replace(path.encode(), b"<path>")
    body = body.replace(path.rpartition("/")[0].encode(), b"<page>") if path.count("/") > 2 else body
    headers = [(name, value.replace(quote(path), "<path>")) for name, value in headers if name != "Content-Length"]
    return status, headers, body


@pytest.mark.parametrize(("method", "route"), POST_CELLS, ids=str)
def test_every_action_is_one_entry_in_the_audit_log_and_a_refused_action_is_none(scenario, method, route):
    route_action = ROUTE_ACTIONS[f"{method} {route.name}"]
    client = scenario.make_client(route_action.caller)
    prepared_fields = route_action.prepare(client)
    before = len(audit_actions())

    response = send_request(client, method, route, scenario.path(route), prepared_fields)

    assert response.status_code < 400 or route.name.endswith(("_delete", "classification-undo"))
    assert audit_actions()[before:] == ([route_action.audit_action] if route_action.audit_action else [])
    before = len(audit_actions())
    for caller, status in zip(CALLERS, matrix_row(method, route) or (), strict=True):
        if status in (401, 403):
            scenario.request(caller, method, route)
    assert audit_actions()[before:] == []


@pytest.mark.parametrize(("method", "route"), POST_CELLS, ids=str)
def test_no_session_sends_anything_without_a_token_or_for_another_site(scenario, method, route):
    route_action = ROUTE_ACTIONS[f"{method} {route.name}"]
    client = scenario.make_client(route_action.caller, enforce_csrf_checks=True)
    before = len(audit_actions())

    for headers in FORGED_HEADERS:
        if "Origin" in headers:
            client.cookies["csrftoken"] = "a" * 32
        response = send_request(client, method, route, scenario.path(route), {}, **headers)

        assert response.status_code == 403, headers
    assert audit_actions()[before:] == []
