"""Every kind of caller, one of everything that a route may name, and the calls that they make."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.utils import timezone

from memoryhub.conflicts.groups.group_keys import encode_id
from memoryhub.conflicts.policies import policy_runs
from memoryhub.firewall.models import ApiKey, ClearanceProfile, Source, UserAccess
from memoryhub.memories.models import Memory
from tests.authorization_matrix import DISABLED_USERS_KEY, DISABLED_USERS_SESSION, USERS, Route
from tests.conflicts.policies.policy_factories import ADMIN as POLICY_ADMIN
from tests.conflicts.policies.policy_factories import make_policy
from tests.factories import make_clearance, make_key, make_memory
from tests.route_actions import PASSWORD, ROUTE_ACTIONS, RouteAction, make_decision

DISABLED_USERNAME = "disabled_user"


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


def roll_back_after(operation: Callable[[], Any]) -> Any:
    """The response of `operation`, whose changes are rolled back."""
    with transaction.atomic():
        response = operation()
        transaction.set_rollback(True)
    return response
