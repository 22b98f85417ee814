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

from memoryhub.conflicts.decisions import claims, resolve
from memoryhub.conflicts.decisions.resolution_requests import Resolution, ResolutionRequest
from memoryhub.conflicts.groups.group_keys import compute_evidence, encode_id
from memoryhub.conflicts.policies import policy_runs
from memoryhub.firewall.models import ApiKey
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.records import DETAIL_FIELDS, LIST_FIELDS
from memoryhub.memories.writes.envelope import FIELDS
from tests.authorization_matrix import ROUTES
from tests.conflicts.policies.policy_factories import ADMIN, change_policy, make_policy
from tests.factories import WRITER, envelope, make_clearance, make_key, make_memory
from tests.shared_world import shared_world

pytestmark = pytest.mark.django_db

SOAK = os.environ.get("MEMORYHUB_SOAK") == "1"
DOCUMENTED_ROUTES = {
    ("get", "/api/memories"): "api:memory-list",
    ("post", "/api/memories"): "api:memory-list",
    ("get", "/api/memories/{memory_id}"): "api:memory-detail",
    ("get", "/api/memories/{memory_id}/versions"): "api:memory-versions",
    ("post", "/api/memories/{memory_id}/classify"): "api:memory-classify",
    ("post", "/api/memories/classify"): "api:memories-classify",
    ("post", "/api/memories/secrets"): "api:secret-search",
    ("get", "/api/search"): "api:search",
    ("post", "/api/search"): "api:search",
    ("get", "/api/memories/{memory_id}/similar"): "api:memory-similar",
    ("get", "/api/facets"): "api:facets",
    ("get", "/api/histogram"): "api:histogram",
    ("get", "/api/timetravel"): "api:timetravel",
    ("get", "/api/diff"): "api:diff",
    ("get", "/api/conflicts"): "api:conflict-list",
    ("get", "/api/conflicts/{conflict_id}"): "api:conflict-detail",
    ("post", "/api/conflicts/{conflict_id}/decisions"): "api:conflict-resolve",
    ("post", "/api/conflicts/{conflict_id}/claim"): "api:conflict-claim",
    ("get", "/api/decisions"): "api:decision-list",
    ("get", "/api/decisions/export"): "api:decision-export",
    ("get", "/api/decisions/{decision_id}"): "api:decision-detail",
    ("post", "/api/decisions/{decision_id}/undo"): "api:decision-undo",
    ("get", "/api/policies"): "api:policy-list",
    ("post", "/api/policies"): "api:policy-list",
    ("get", "/api/policies/{policy_id}"): "api:policy-detail",
    ("post", "/api/policies/{policy_id}"): "api:policy-detail",
    ("post", "/api/policies/{policy_id}/dry-run"): "api:policy-dry-run",
    ("post", "/api/policies/{policy_id}/runs"): "api:policy-run-create",
    ("get", "/api/policy-runs"): "api:policy-run-list",
    ("get", "/api/policy-runs/{run_id}"): "api:policy-run-detail",
    ("post", "/api/policy-runs/{run_id}/advance"): "api:policy-run-advance",
    ("post", "/api/policy-runs/{run_id}/undo"): "api:policy-run-undo",
    ("get", "/api/replay"): "api:replay",
    ("get", "/api/audit"): "api:audit-log",
    ("get", "/api/status"): "api:status",
    ("get", "/ready"): "ready",
}
EVE_KEY = ("user:eve", "city")
NOT_A_CONFLICT = {"outcome": "not_a_conflict", "reason": "Both are true."}
# What describes the others, what is no route of the URL conf, and what Prometheus alone reads.
UNDOCUMENTED_ROUTES = {"api:schema", "docs", "api:^(?P<rest>.*)$", "health", "metrics"}
NON_API_ROUTES = {"docs", "ready", "health", "metrics"}
# Those that take something that can be generated; the total is for all of them, with good input and with bad.
FUZZED_ROUTES = [route for route in DOCUMENTED_ROUTES if route[1] not in ("/api/status", "/ready")]
MAX_EXAMPLES = (10_000 if SOAK else 500) // (2 * len(FUZZED_ROUTES)) + 1

load_all_checks()
CONFORMANCE_CHECKS: list[Any] = CHECKS.get_by_names(
    ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
     "response_headers_conformance"]
)  # fmt: skip


@cache
def _document() -> bytes:
    """Drawn up once: it tells everybody the same of every route."""
    response = Client().get("/api/schema")
    assert response.status_code == 200
    return response.content


@pytest.fixture
def document() -> dict[str, Any]:
    schema_document: dict[str, Any] = json.loads(_document())
    return schema_document


@cache
def _schema() -> BaseSchema:
    loaded_schema = schemathesis.openapi.from_wsgi("/api/schema", WSGIHandler(), headers={"Host": "localhost"})
    # Its client leaves the answer open; the test goes on as who it was before the request (conftest).
    request_finished.send(sender=None)
    return loaded_schema


@pytest.fixture
def schema() -> Iterator[BaseSchema]:
    # Between requests Django closes a connection that is in a transaction, as a test's is; its test client prevents it.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield _schema()
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture(scope="module")
def key(request: pytest.FixtureRequest) -> Iterator[str]:
    """A key to a hub with something of everything, the richest memory first."""
    all_fields: dict[str, Any] = {
        "metadata": {"a": [1, None]},
        "propagation": {"a": 1},
        "expires_at": "2999-01-01T00:00:00Z",
        "labels": ["pii"],
        "embedding": [1.0] * 384,
    }
    with shared_world(request):
        make_memory(**all_fields)
        make_memory(payload_id="known", content="One.")
        for content in ("Paris", "Berlin"):
            make_memory(subject="user:eve", collection="city", content=content)
        for _ in range(22):
            make_memory(labels=["pii"], metadata={"a": 1})
        yield make_key(scopes="read write curate audit view_as", source="test", clearance={"max_tier": "confidential"})


def test_the_document_depends_on_the_code_alone(api):
    """It is generated once for all callers, whatever their request says."""
    assert Client().get("/api/schema?version=9&lang=de").content == _document()
    assert api(make_key()).get("/api/schema").content == _document()


def test_the_document_is_valid_openapi_3_1(document, schema):
    assert document["openapi"].startswith("3.1.")
    schema.validate()
    assert document["info"]["title"] == "memoryhub"


def test_every_route_is_in_the_document(document):
    documented = {(method, path) for path, item in document["paths"].items() for method in item}

    assert documented == set(DOCUMENTED_ROUTES)
    names = {route.name for route in ROUTES if route.name.startswith("api:") or route.name in NON_API_ROUTES}
    assert names == set(DOCUMENTED_ROUTES.values()) | UNDOCUMENTED_ROUTES


def test_every_filter_and_field_is_in_the_document(document):
    for path in ("/api/memories", "/api/facets", "/api/histogram", "/api/timetravel"):
        parameter_names = {parameter["name"] for parameter in document["paths"][path]["get"]["parameters"]}
        filter_params = set(MemoryFilterSet.base_filters) | MemoryFilterSet.repeatable_params()
        assert parameter_names - {"limit", "cursor", "view"} == filter_params
    body = document["paths"]["/api/memories"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["oneOf"][0]["properties"]) == set(FIELDS)
    schemas = document["components"]["schemas"]
    assert tuple(schemas["ListedMemory"]["properties"]) == LIST_FIELDS
    assert tuple(schemas["DetailedMemory"]["properties"]) == DETAIL_FIELDS


def test_every_route_but_readiness_asks_for_a_key(document):
    for method, path in DOCUMENTED_ROUTES:
        security = document["paths"][path][method].get("security", [{}])
        assert ({"key": []} in security) == (path != "/ready")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [(method, path, 200) for method, path in DOCUMENTED_ROUTES if method == "get"]
    + [("post", "/api/memories", status) for status in (200, 201, 400, 401, 403, 409, 413, 415)]
    + [("post", "/api/memories/{memory_id}/classify", status) for status in (200, 400, 401, 403, 404, 409, 412, 428)]
    + [("post", "/api/memories/classify", status) for status in (200, 400, 401, 403, 409, 428)]
    + [("post", "/api/conflicts/{conflict_id}/decisions", s) for s in (201, 400, 401, 403, 404, 409, 412, 428)]
    + [("post", "/api/conflicts/{conflict_id}/claim", s) for s in (200, 400, 401, 403, 404, 409)]
    + [("post", "/api/decisions/{decision_id}/undo", s) for s in (201, 400, 401, 403, 404, 409, 412)]
    + [("get", "/api/decisions", 400), ("get", "/api/decisions/{decision_id}", 404)]
    + [("post", "/api/policies", s) for s in (201, 400, 401, 403)]
    + [("post", "/api/policies/{policy_id}", s) for s in (201, 400, 401, 403, 404, 409, 428)]
    + [("post", "/api/policies/{policy_id}/dry-run", s) for s in (200, 400, 401, 403, 404)]
    + [("post", "/api/policies/{policy_id}/runs", s) for s in (201, 400, 401, 403, 404, 409)]
    + [("post", "/api/policy-runs/{run_id}/advance", s) for s in (200, 400, 401, 403, 404, 409)]
    + [("post", "/api/policy-runs/{run_id}/undo", s) for s in (200, 400, 401, 403, 404)]
    + [("get", "/api/policies/{policy_id}", 404), ("get", "/api/policy-runs/{run_id}", 404)]
    + [("get", "/api/memories", 400), ("get", "/api/memories/{memory_id}", 404), ("get", "/api/status", 401)],
)
def test_a_real_answer_is_what_the_document_says(document, key, method, path, status):
    response = _provoke_status(key, method, path, status)

    assert response.status_code == status, response
    (kind, media), *other_media = document["paths"][path][method]["responses"][str(status)]["content"].items()
    assert (response["Content-Type"], other_media) == (kind, [])
    strict_schema = {**_forbid_more_properties(media["schema"]), "components": _strict_components()}
    for line in response if response.streaming else [response.content]:
        jsonschema.Draft202012Validator(strict_schema).validate(json.loads(line))


def _send_curation(key: str, path: str, status: int) -> Any:
    """A decision about a group, its claim, or an undo; the first request has decided already."""
    caller = Client(
        headers={"Authorization": f"Bearer {make_key() if status == 403 else key}"} if status != 401 else {}
    )
    first = make_decision() if status in (409, 412) or "/decisions/" in path else None
    if first and path.endswith("undo") and status in (409, 412):
        resolve.undo_decisions([first], principal=WRITER, reason="No.")
    if path.endswith("claim") and status == 409:
        claims.take_claim(
            EVE_KEY, principal=ApiKey.objects.get(token_key=make_key(scopes="curate")[:15]).as_principal()
        )
    bodies: dict[str, dict[str, Any]] = {"claim": {}, "undo": {"reason": "No."}}
    body = bodies.get(path.rpartition("/")[2], {**NOT_A_CONFLICT, "evidence": group_evidence()})
    body |= {"x": 1} if status == 400 else {}
    if status in (412, 428):
        body.pop("evidence", None)
    url = path.format(
        conflict_id="none" if status == 404 else encode_id(*EVE_KEY), decision_id=uuid4() if status == 404 else first
    )
    headers = {"If-Match": f'"{group_evidence()}"'} if status == 412 else {}
    return caller.post(url, body, content_type="application/json", headers=headers)


def group_evidence() -> str:
    return compute_evidence((member.memory_id, member.version) for member in resolve.list_members(EVE_KEY, WRITER))


def make_decision() -> UUID | None:
    validity = {Memory.objects.get(content="Paris").memory_id: {"from": "2026-01-01T00:00:00Z"}}
    keep_ids = list(Memory.objects.filter(content__in=("Paris", "Berlin")).values_list("memory_id", flat=True))
    choice = Resolution.model_validate(
        {"outcome": "keep_several", "keep": keep_ids, "validity": validity, "reason": "Both."}
    )
    return resolve.resolve(
        ResolutionRequest(key=EVE_KEY, evidence=group_evidence(), resolution=choice), principal=WRITER
    ).decision_id


def _send_policy_request(method: str, path: str, status: int) -> Any:
    """A policy that is written, tried, carried out or taken back; it has changed since, if that is refused."""
    policy = make_policy(collection="city")
    path_ids = {
        "policy_id": policy.policy_id,
        "run_id": policy_runs.start_run(policy.policy_id, principal=ADMIN).run_id,
    }
    path_ids = {name: uuid4() if status == 404 else id_ for name, id_ in path_ids.items()}
    if status == 409:
        change_policy(policy, is_enabled=False)
    key = make_key(scopes="read" if status == 403 else "admin", clearance={"name": "all", "max_tier": "restricted"})
    caller = Client(headers={"Authorization": f"Bearer {key}"} if status != 401 else {})
    if method == "get":
        return caller.get(path.format(**path_ids))
    policy_body: dict[str, Any] = {"name": "Made", "rules": [{"rule": "latest_event"}]}
    versioned = {**policy_body, "collection": "city"} | ({"version": 1} if status != 428 else {})
    bodies = {"policies": policy_body, "{policy_id}": versioned, "undo": {"reason": "No."}}
    body = bodies.get(path.rpartition("/")[2], {}) | ({"x": 1} if status == 400 else {})
    return caller.post(path.format(**path_ids), body, content_type="application/json")


def _provoke_status(key: str, method: str, path: str, status: int) -> Any:
    if path.startswith("/api/polic"):
        return _send_policy_request(method, path, status)
    if method == "post" and path.startswith(("/api/conflicts", "/api/decisions")):
        return _send_curation(key, path, status)
    caller = Client(headers={"Authorization": f"Bearer {key}"} if status != 401 else {})
    url = path.format(
        decision_id=make_decision() if path.startswith(("/api/decisions", "/api/conflicts/")) else "",
        memory_id=Memory.objects.values_list("memory_id", flat=True).first(),
        conflict_id=encode_id("user:eve", "city"),
    )
    if path == "/api/timetravel":
        url += "?as_of=2999-01-01"
    if path == "/api/diff":
        url += "?since=2000-01-01"
    if path == "/api/replay":
        url += f"?as=clearance:{make_clearance(max_tier='public').name}&as_of=2999-01-01"
    if method == "get":
        return caller.get({400: f"{url}?tier=x", 404: "/api/memories/1"}.get(status, url))
    if path.endswith("/classify"):
        return _send_classification(caller, url, status)
    body = {
        200: [envelope(), envelope(content=""), envelope(payload_id="known", content="Two.")],
        400: envelope(content=""),
        403: envelope(source="other"),
        409: envelope(payload_id="known", content="Two."),
        413: [envelope()] * 1_001,
    }.get(status, envelope())
    return caller.post(url, body, content_type="text/xml" if status == 415 else "application/json")


def _send_classification(caller: Client, url: str, status: int) -> Any:
    change: dict[str, Any] = {"classification_tier": "restricted" if status == 403 else "internal"}
    if url == "/api/memories/classify":
        change |= {"filter": {"subject": 1} if status == 400 else {}}
        change |= {"dry_run": True} if status == 200 else {"confirmation_token": "another" if status == 409 else ""}
        if status == 403:
            dry_run = caller.post(url, {**change, "dry_run": True}, content_type="application/json").json()
            change |= {"confirmation_token": dry_run["confirmation_token"]}
    else:
        url = "/api/memories/1/classify" if status == 404 else url
        change |= {"version": {400: 0, 409: 7}.get(status, 1)} if status not in (412, 428) else {}
    headers = {"If-Match": '"another"'} if status == 412 else {}
    return caller.post(url, change, content_type="application/json", headers=headers)


@cache
def _strict_components() -> Any:
    return _forbid_more_properties(json.loads(_document())["components"])


def _forbid_more_properties(schema_part: Any) -> Any:
    """A field that is sent and not documented counts as an error here, although JSON Schema lets it pass."""
    return json.loads(json.dumps(schema_part), object_hook=_without_additional_properties)


def _without_additional_properties(value: dict[str, Any]) -> dict[str, Any]:
    return (
        {**value, "additionalProperties": False} if value.get("type") == "object" and value.get("properties") else value
    )


@pytest.mark.soak
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), FUZZED_ROUTES)
def test_the_api_keeps_to_its_document_whatever_it_is_sent(schema, key, method, path, mode):
    if path.startswith("/api/polic"):
        key = make_key(scopes="admin", clearance={"max_tier": "confidential"})
    statuses: set[int] = set()

    @settings(
        max_examples=MAX_EXAMPLES,
        deadline=None,
        derandomize=not SOAK,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def assert_conforms(case: schemathesis.Case[Any]) -> None:
        if path == "/api/timetravel" and not {"as_of", "known_at"} & case.query.keys():
            # OpenAPI has no words for "one of these two parameters", so most generated queries have neither.
            case.query["as_of"] = "2026-03-01"
        response = case.call(headers={"Authorization": f"Bearer {key}", "Host": "localhost"})
        statuses.add(response.status_code)
        case.validate_response(response, checks=CONFORMANCE_CHECKS)

    assert_conforms()

    assert max(statuses) < 500
    # Nothing that is made up names somebody to view as.
    if mode is GenerationMode.POSITIVE and "{" not in path and path != "/api/replay":
        # What was made up of a token or a version is stale, which is found out after all else was well.
        assert min(statuses) < 300 or statuses & {409, 428}, (
            f"all {MAX_EXAMPLES} generated inputs were refused: make more of them"
        )


class TestDocs:
    def test_load_nothing_from_elsewhere_and_nothing_inline(self):
        page = Client().get("/api/docs")
        html = page.content.decode()
        loaded_urls = re.findall(
            r'<(?:script|img|iframe|source)[^>]*\ssrc="([^"]*)"|<(?:link|use)[^>]*\shref="([^"]*)"', html
        )

        assert page["Content-Type"].startswith("text/html")
        assert len(loaded_urls) >= 2
        assert [url for pair in loaded_urls for url in pair if url and not re.match(r"/(?!/)|#", url)] == []
        assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html) == []

    def test_name_every_route(self, document):
        html = Client().get("/api/docs").content.decode()

        assert [path for path in document["paths"] if path not in html] == []

    def test_come_with_the_policy_that_forbids_the_rest(self):
        policy = Client().get("/api/docs")["Content-Security-Policy"]

        assert "unsafe" not in policy
        assert "http" not in policy
