"""The OpenAPI document says what the API does, and the API does what it says."""

import json
import os
import re
from collections.abc import Iterator
from functools import cache
from typing import Any
from uuid import UUID, uuid4

import jsonschema  # type: ignore[import-untyped]
import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.generation import GenerationMode
from schemathesis.schemas import BaseSchema

from memoryhub.conflicts import claims, decide, runs
from memoryhub.conflicts.choices import Choice, Wish
from memoryhub.conflicts.keys import evidence_of, id_of
from memoryhub.firewall.models import ApiKey
from memoryhub.memories.envelope import FIELDS
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.records import RECORD, WHOLE
from tests.builders import WRITER, envelope, make_clearance, make_key, make_memory
from tests.conflicts.runs import ADMIN, change, make_policy
from tests.test_authorization import ROUTES

pytestmark = pytest.mark.django_db

SOAK = os.environ.get("MEMORYHUB_SOAK") == "1"
DOCUMENTED = {
    ("get", "/api/memories"): "api:memories",
    ("post", "/api/memories"): "api:memories",
    ("get", "/api/memories/{memory_id}"): "api:memory",
    ("get", "/api/memories/{memory_id}/versions"): "api:memory-versions",
    ("post", "/api/memories/{memory_id}/labels"): "api:memory-labels",
    ("post", "/api/memories/labels"): "api:labels",
    ("post", "/api/memories/secrets"): "api:memory-secrets",
    ("get", "/api/facets"): "api:facets",
    ("get", "/api/histogram"): "api:histogram",
    ("get", "/api/timetravel"): "api:timetravel",
    ("get", "/api/diff"): "api:diff",
    ("get", "/api/conflicts"): "api:conflicts",
    ("get", "/api/conflicts/{conflict_id}"): "api:conflict",
    ("post", "/api/conflicts/{conflict_id}/decisions"): "api:conflict-decisions",
    ("post", "/api/conflicts/{conflict_id}/claim"): "api:conflict-claim",
    ("get", "/api/decisions"): "api:decisions",
    ("get", "/api/decisions/export"): "api:decisions-export",
    ("get", "/api/decisions/{decision_id}"): "api:decision",
    ("post", "/api/decisions/{decision_id}/undo"): "api:decision-undo",
    ("get", "/api/policies"): "api:policies",
    ("post", "/api/policies"): "api:policies",
    ("get", "/api/policies/{policy_id}"): "api:policy",
    ("post", "/api/policies/{policy_id}"): "api:policy",
    ("post", "/api/policies/{policy_id}/dry-run"): "api:policy-dry-run",
    ("post", "/api/policies/{policy_id}/runs"): "api:policy-run",
    ("get", "/api/policy-runs"): "api:policy-runs",
    ("get", "/api/policy-runs/{run_id}"): "api:policy-run-of-id",
    ("post", "/api/policy-runs/{run_id}/go"): "api:policy-run-go",
    ("post", "/api/policy-runs/{run_id}/undo"): "api:policy-run-undo",
    ("get", "/api/replay"): "api:replay",
    ("get", "/api/ledger"): "api:ledger",
    ("get", "/api/status"): "api:status",
    ("get", "/ready"): "ready",
}
EVE = ("user:eve", "city")
NOT_ONE = {"outcome": "not_a_conflict", "reason": "Both are true."}
# What describes the others, and what is no route of the URL conf.
NOT_DOCUMENTED = {"api:schema", "docs", "api:^(?P<rest>.*)$", "health"}
BESIDE_THE_API = {"docs", "ready", "health"}
# Those that take something that can be generated; the total is for all of them, with good input and with bad.
FUZZED = [route for route in DOCUMENTED if route[1] not in ("/api/status", "/ready")]
EXAMPLES = (10_000 if SOAK else 600) // (2 * len(FUZZED)) + 1

load_all_checks()
CONFORMS: list[Any] = CHECKS.get_by_names(
    ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
     "response_headers_conformance"]
)  # fmt: skip


@cache
def _document() -> bytes:
    """Drawn up once: it tells everybody the same of every route."""
    answer = Client().get("/api/schema")
    assert answer.status_code == 200
    return answer.content


@pytest.fixture
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_document())
    return found


@cache
def _schema() -> BaseSchema:
    read = schemathesis.openapi.from_wsgi("/api/schema", WSGIHandler(), headers={"Host": "localhost"})
    # Its client leaves the answer open; the test goes on as who it was before the request (conftest).
    request_finished.send(sender=None)
    return read


@pytest.fixture
def schema() -> Iterator[BaseSchema]:
    # Between requests Django closes a connection that is in a transaction, as a test's is; its test client prevents it.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield _schema()
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def key() -> str:
    return make_key(scopes="read write inspect audit view_as", source="test", clearance={"max_tier": "confidential"})


def test_the_document_is_valid_openapi_3_1(document, schema):
    assert document["openapi"].startswith("3.1.")
    schema.validate()
    assert document["info"]["title"] == "memoryhub"


def test_every_route_is_in_the_document(document):
    told = {(method, path) for path, item in document["paths"].items() for method in item}

    assert told == set(DOCUMENTED)
    names = {route.name for route in ROUTES if route.name.startswith("api:") or route.name in BESIDE_THE_API}
    assert names == set(DOCUMENTED.values()) | NOT_DOCUMENTED


def test_every_filter_and_field_is_in_the_document(document):
    for path in ("/api/memories", "/api/facets", "/api/histogram", "/api/timetravel"):
        told = {parameter["name"] for parameter in document["paths"][path]["get"]["parameters"]}
        assert told - {"limit", "cursor", "view"} == set(MemoryFilterSet.base_filters)
    body = document["paths"]["/api/memories"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["oneOf"][0]["properties"]) == set(FIELDS)
    schemas = document["components"]["schemas"]
    assert tuple(schemas["Record"]["properties"]) == RECORD
    assert tuple(schemas["WholeRecord"]["properties"]) == WHOLE


def test_every_route_but_readiness_asks_for_a_key(document):
    for method, path in DOCUMENTED:
        security = document["paths"][path][method].get("security", [{}])
        assert ({"key": []} in security) == (path != "/ready")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [(method, path, 200) for method, path in DOCUMENTED if method == "get"]
    + [("post", "/api/memories", status) for status in (200, 201, 400, 401, 403, 409, 413, 415)]
    + [("post", "/api/memories/{memory_id}/labels", status) for status in (200, 400, 401, 403, 404, 409, 412, 428)]
    + [("post", "/api/memories/labels", status) for status in (200, 400, 401, 403, 409, 428)]
    + [("post", "/api/conflicts/{conflict_id}/decisions", s) for s in (201, 400, 401, 403, 404, 409, 412, 428)]
    + [("post", "/api/conflicts/{conflict_id}/claim", s) for s in (200, 400, 401, 403, 404, 409)]
    + [("post", "/api/decisions/{decision_id}/undo", s) for s in (201, 400, 401, 403, 404, 409, 412)]
    + [("get", "/api/decisions", 400), ("get", "/api/decisions/{decision_id}", 404)]
    + [("post", "/api/policies", s) for s in (201, 400, 401, 403)]
    + [("post", "/api/policies/{policy_id}", s) for s in (201, 400, 401, 403, 404, 409, 428)]
    + [("post", "/api/policies/{policy_id}/dry-run", s) for s in (200, 400, 401, 403, 404)]
    + [("post", "/api/policies/{policy_id}/runs", s) for s in (201, 400, 401, 403, 404, 409)]
    + [("post", "/api/policy-runs/{run_id}/go", s) for s in (200, 400, 401, 403, 404, 409)]
    + [("post", "/api/policy-runs/{run_id}/undo", s) for s in (200, 400, 401, 403, 404)]
    + [("get", "/api/policies/{policy_id}", 404), ("get", "/api/policy-runs/{run_id}", 404)]
    + [("get", "/api/memories", 400), ("get", "/api/memories/{memory_id}", 404), ("get", "/api/status", 401)],
)
def test_a_real_answer_is_what_the_document_says(document, key, method, path, status):
    everything = envelope(
        metadata={"a": [1, None]},
        propagation={"a": 1},
        expires_at="2999-01-01T00:00:00Z",
        labels=["pii"],
        embedding=[1.0] * 384,
    )
    for memory in (everything, envelope(), envelope(payload_id="known", content="One.")):
        make_memory(**memory)
    for content in ("Paris", "Berlin"):
        make_memory(subject="user:eve", collection="city", content=content)

    answer = _provoke(key, method, path, status)

    assert answer.status_code == status, answer
    (kind, media), *others = document["paths"][path][method]["responses"][str(status)]["content"].items()
    assert (answer["Content-Type"], others) == (kind, [])
    # What is told and not documented counts as an error here, although JSON Schema lets it pass.
    strict = json.loads(json.dumps({**media["schema"], "components": document["components"]}), object_hook=_closed)
    for line in answer if answer.streaming else [answer.content]:
        jsonschema.Draft202012Validator(strict).validate(json.loads(line))


def _judge(key: str, path: str, status: int) -> Any:
    """A decision about a group, its claim, or an undo; whoever is first has decided already."""
    caller = Client(
        headers={"Authorization": f"Bearer {make_key() if status == 403 else key}"} if status != 401 else {}
    )
    first = decided() if status in (409, 412) or "/decisions/" in path else None
    if first and path.endswith("undo") and status in (409, 412):
        decide.undo([first], by=WRITER, reason="No.")
    if path.endswith("claim") and status == 409:
        claims.claim(EVE, by=ApiKey.objects.get(token_key=make_key(scopes="inspect")[:15]).as_principal())
    bodies: dict[str, dict[str, Any]] = {"claim": {}, "undo": {"reason": "No."}}
    body = bodies.get(path.rpartition("/")[2], {**NOT_ONE, "evidence": evidence()})
    body |= {"x": 1} if status == 400 else {}
    if status in (412, 428):
        body.pop("evidence", None)
    address = path.format(
        conflict_id="none" if status == 404 else id_of(*EVE), decision_id=uuid4() if status == 404 else first
    )
    headers = {"If-Match": f'"{evidence()}"'} if status == 412 else {}
    return caller.post(address, body, content_type="application/json", headers=headers)


def evidence() -> str:
    return evidence_of((member.memory_id, member.version) for member in decide.members(EVE, WRITER))


def decided() -> UUID | None:
    spell = {Memory.objects.get(content="Paris").memory_id: {"from": "2026-01-01T00:00:00Z"}}
    keep = list(Memory.objects.filter(content__in=("Paris", "Berlin")).values_list("memory_id", flat=True))
    choice = Choice.model_validate({"outcome": "keep_several", "keep": keep, "validity": spell, "reason": "Both."})
    return decide.decide(Wish(key=EVE, evidence=evidence(), choice=choice), by=WRITER).decision_id


def _govern(method: str, path: str, status: int) -> Any:
    """A policy that is written, tried, carried out or taken back; it has changed since, if that is refused."""
    policy = make_policy(collection="city")
    place = {"policy_id": policy.policy_id, "run_id": runs.start(policy.policy_id, by=ADMIN).run_id}
    place = {name: uuid4() if status == 404 else found for name, found in place.items()}
    if status == 409:
        change(policy, is_enabled=False)
    key = make_key(scopes="read" if status == 403 else "admin", clearance={"name": "all", "max_tier": "restricted"})
    caller = Client(headers={"Authorization": f"Bearer {key}"} if status != 401 else {})
    if method == "get":
        return caller.get(path.format(**place))
    said: dict[str, Any] = {"name": "Made", "rules": [{"rule": "latest_event"}]}
    versioned = {**said, "collection": "city"} | ({"version": 1} if status != 428 else {})
    bodies = {"policies": said, "{policy_id}": versioned, "undo": {"reason": "No."}}
    body = bodies.get(path.rpartition("/")[2], {}) | ({"x": 1} if status == 400 else {})
    return caller.post(path.format(**place), body, content_type="application/json")


def _provoke(key: str, method: str, path: str, status: int) -> Any:
    if path.startswith("/api/polic"):
        return _govern(method, path, status)
    if method == "post" and path.startswith(("/api/conflicts", "/api/decisions")):
        return _judge(key, path, status)
    caller = Client(headers={"Authorization": f"Bearer {key}"} if status != 401 else {})
    address = path.format(
        decision_id=decided() if path.startswith(("/api/decisions", "/api/conflicts/")) else "",
        memory_id=Memory.objects.values_list("memory_id", flat=True).first(),
        conflict_id=id_of("user:eve", "city"),
    )
    if path == "/api/timetravel":
        address += "?as_of=2999-01-01"
    if path == "/api/diff":
        address += "?since=2000-01-01"
    if path == "/api/replay":
        address += f"?as=clearance:{make_clearance(max_tier='public').name}&as_of=2999-01-01"
    if method == "get":
        return caller.get({400: f"{address}?tier=x", 404: "/api/memories/1"}.get(status, address))
    if path.endswith("/labels"):
        return _classify(caller, address, status)
    body = {
        200: [envelope(), envelope(content=""), envelope(payload_id="known", content="Two.")],
        400: envelope(content=""),
        403: envelope(source="other"),
        409: envelope(payload_id="known", content="Two."),
        413: [envelope()] * 1_001,
    }.get(status, envelope())
    return caller.post(address, body, content_type="text/xml" if status == 415 else "application/json")


def _classify(caller: Client, address: str, status: int) -> Any:
    change: dict[str, Any] = {"classification_tier": "restricted" if status == 403 else "internal"}
    if address == "/api/memories/labels":
        change |= {"filter": {"subject": 1} if status == 400 else {}}
        change |= {"dry_run": True} if status == 200 else {"token": "another" if status == 409 else ""}
        if status == 403:
            dry = caller.post(address, {**change, "dry_run": True}, content_type="application/json").json()
            change |= {"token": dry["token"]}
    else:
        address = "/api/memories/1/labels" if status == 404 else address
        change |= {"version": {400: 0, 409: 7}.get(status, 1)} if status not in (412, 428) else {}
    headers = {"If-Match": '"another"'} if status == 412 else {}
    return caller.post(address, change, content_type="application/json", headers=headers)


def _closed(value: dict[str, Any]) -> dict[str, Any]:
    return (
        {**value, "additionalProperties": False} if value.get("type") == "object" and value.get("properties") else value
    )


@pytest.mark.soak
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), FUZZED)
def test_the_api_keeps_to_its_document_whatever_it_is_sent(schema, key, method, path, mode):
    for _ in range(25):
        make_memory(labels=["pii"], metadata={"a": 1})
    if path.startswith("/api/polic"):
        key = make_key(scopes="admin", clearance={"max_tier": "confidential"})
    statuses: set[int] = set()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=not SOAK,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def keeps_to_it(case: schemathesis.Case[Any]) -> None:
        response = case.call(headers={"Authorization": f"Bearer {key}", "Host": "localhost"})
        statuses.add(response.status_code)
        case.validate_response(response, checks=CONFORMS)

    keeps_to_it()

    assert max(statuses) < 500
    # Nothing that is made up names somebody to look as.
    if mode is GenerationMode.POSITIVE and "{" not in path and path != "/api/replay":
        # What was made up of a token or a version is stale, which is found out after all else was well.
        assert min(statuses) < 300 or statuses & {409, 428}, "the generated input must get past the checks"


class TestDocs:
    def test_load_nothing_from_elsewhere_and_nothing_inline(self):
        page = Client().get("/api/docs")
        html = page.content.decode()
        loaded = re.findall(
            r'<(?:script|img|iframe|source)[^>]*\ssrc="([^"]*)"|<(?:link|use)[^>]*\shref="([^"]*)"', html
        )

        assert page["Content-Type"].startswith("text/html")
        assert len(loaded) >= 2
        assert [address for pair in loaded for address in pair if address and not re.match(r"/(?!/)|#", address)] == []
        assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html) == []

    def test_name_every_route(self, document):
        html = Client().get("/api/docs").content.decode()

        assert [path for path in document["paths"] if path not in html] == []

    def test_come_with_the_policy_that_forbids_the_rest(self):
        policy = Client().get("/api/docs")["Content-Security-Policy"]

        assert "unsafe" not in policy
        assert "http" not in policy
