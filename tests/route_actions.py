"""What is sent to each method of a route that changes something, and what must be done before."""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.test import Client

from memoryhub.conflicts.decisions import resolve
from memoryhub.conflicts.decisions.resolution_requests import PolicyAttribution, Resolution, ResolutionRequest
from memoryhub.conflicts.groups.group_keys import compute_evidence
from memoryhub.conflicts.models import Decision, PolicyRun
from memoryhub.firewall.models import ApiKey
from memoryhub.memories.models import Memory
from tests.factories import WRITER, envelope, make_memory


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
    "POST api:search": RouteAction("", lambda: {"filter": {"q": "Ada"}}, is_json=True),
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
