"""A caller cannot tell whether hidden rows exist: every endpoint, asked in a world with them and in one without.

A route of the URL conf that is neither an endpoint (reads/endpoints.py) nor in EXEMPT_ROUTES fails a test.
"""

import itertools
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import time_machine
from django.db.models import Q
from django.http import QueryDict
from django.urls import URLPattern, URLResolver, get_resolver
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from memoryhub.api.native import memories
from memoryhub.api.problems import ProblemError
from memoryhub.conflicts.decisions.querysets import DecisionQuerySet
from memoryhub.conflicts.models import Decision, Policy, PolicyRun
from memoryhub.firewall import querysets as firewall_querysets
from memoryhub.memories import pagination
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.transfer.jsonl_export import iter_jsonl
from tests.factories import utc
from tests.harness.databases import as_unrestricted_reader
from tests.harness.strategies import SOAK, example_settings, prepare_memory
from tests.noninterference.reads.endpoints import (
    ENDPOINTS,
    EXEMPT_ROUTES,
    RARE_ENDPOINTS,
    STATIC_ENDPOINTS,
    Endpoint,
    EndpointInputs,
    collect_responses,
)
from tests.noninterference.reads.rows import DAYS, DECISION_STEPS, INSTANT_BETWEEN_STEPS, KEYS, STORY_STEPS
from tests.noninterference.reads.state_machine import ExampleStatistics, NoninterferenceMachine
from tests.noninterference.worlds import (
    HIGH,
    LOW,
    PairedWorlds,
    RecordedResponse,
    WorldStep,
    create_paired_worlds,
    deterministic_ids,
)

pytestmark = pytest.mark.soak

NOW = utc("2026-03-10 12:00")


def route_names(resolver: URLResolver, space: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from route_names(pattern, f"{pattern.namespace}:" if pattern.namespace else space)
        elif isinstance(pattern, URLPattern):
            yield f"{space}{pattern.name}" if pattern.name else ""


def test_every_route_is_an_endpoint_or_has_a_reason_not_to_be():
    endpoint_routes = {endpoint.route for endpoint in [*ENDPOINTS, *RARE_ENDPOINTS, *STATIC_ENDPOINTS]}
    covered_routes = endpoint_routes | EXEMPT_ROUTES.keys()
    # Django's admin has five routes for each of its other tables, none of which knows memories.
    other_routes = re.compile(r"admin:((?!memories_)\w+_(add|change|changelist|delete|history)|(?!memories_)\w+)$")

    url_names = set(route_names(get_resolver()))
    assert (
        url_names
        - covered_routes
        - {name for name in url_names if other_routes.match(name) and not name.startswith("admin:memories")}
        == set()
    )
    assert endpoint_routes <= url_names, "an endpoint that is no route any more"


PROTECTION_LAYERS = {
    "both layers": (True, True),
    "query filter alone": (True, False),
    "row security alone": (False, True),
}


@pytest.fixture(params=PROTECTION_LAYERS)
def row_security(request, monkeypatch) -> bool:
    """Whether row security is on; where the query filter shall be off, it is taken out."""
    has_query_filter, has_row_security = PROTECTION_LAYERS[request.param]
    if not has_query_filter:
        monkeypatch.setattr(firewall_querysets, "visible_rows_q", lambda _: Q())
        monkeypatch.setattr(DecisionQuerySet, "visible_to", lambda decisions, _: decisions)
    return has_row_security


@pytest.fixture
def layers(request, row_security) -> str:
    """Which layers protect. What one of them lets through shows where it is alone: with both, less is asked.

    Row security is the same for every query of a table, the query filter is not.
    """
    return "" if SOAK else request.node.callspec.params["row_security"]


@pytest.fixture(scope="module")
def worlds(django_db_blocker) -> Iterator[PairedWorlds]:
    with django_db_blocker.unblock(), time_machine.travel(NOW, tick=False), create_paired_worlds() as paired_worlds:
        yield paired_worlds


def compare_worlds(
    worlds: PairedWorlds,
    steps: list[WorldStep],
    query: str,
    endpoints: list[Endpoint] = ENDPOINTS,
    *,
    row_security: bool = True,
) -> int:
    """Ask every endpoint in both worlds; the number of rows that one world had and the other had not."""
    with worlds.run_steps(worlds.world_with_hidden, steps, row_security=row_security):
        with as_unrestricted_reader():
            rows = list(Memory.objects.current())
            stored_keys = set(Memory.objects.values_list("subject", "collection"))
            other_ids = {
                "decisions": list(Decision.objects.order_by("id").values_list("decision_id", flat=True)),
                "policies": list(Policy.objects.values_list("policy_id", flat=True)),
                "runs": list(PolicyRun.objects.values_list("run_id", flat=True)),
            }
        hidden = [row.memory_id for row in rows if not LOW.shows(row)]
        visible = [row.memory_id for row in rows if LOW.shows(row)]
        # Those that some memory is about, and one that none is about in either world.
        keys = [key for key in KEYS if SOAK or key[:2] in stored_keys or key == KEYS[-1]]
        inputs = EndpointInputs(query=query, visible_ids=visible[:1], hidden_ids=hidden[:1], keys=keys, **other_ids)
        responses_with_hidden = collect_responses(worlds, inputs, endpoints)
    responses_without = collect_responses_without_hidden(worlds, steps, inputs, endpoints, row_security=row_security)

    assert responses_with_hidden.keys() == responses_without.keys()
    for path, response in responses_without.items():
        assert responses_with_hidden[path] == response, path
        assert response.status < 500, path
    return len(hidden)


_baselines: dict[tuple[Any, ...], dict[str, RecordedResponse]] = {}


def collect_responses_without_hidden(
    worlds: PairedWorlds,
    steps: list[WorldStep],
    inputs: EndpointInputs,
    endpoints: list[Endpoint],
    *,
    row_security: bool,
) -> dict[str, RecordedResponse]:
    """What the endpoints answer in the world without hidden rows.

    It does not depend on which layer protects rows that do not exist, so the stories of the module, which run once for
    each set of layers, are asked once in that world. In soak they are asked each time.
    """
    is_shared_story = steps is STORY_STEPS or steps is DECISION_STEPS
    key = (id(steps), repr(inputs), tuple(map(id, endpoints)))
    if not SOAK and is_shared_story and key in _baselines:
        return _baselines[key]
    with worlds.run_steps(worlds.world_without, steps, row_security=row_security):
        responses = collect_responses(worlds, inputs, endpoints)
    if is_shared_story:
        _baselines[key] = responses
    return responses


def endpoints_using(query: str) -> list[Endpoint]:
    """The endpoints whose paths depend on the query."""
    sample_ids = [uuid.UUID(int=0)]
    base_inputs = EndpointInputs(
        query="",
        visible_ids=sample_ids,
        hidden_ids=sample_ids,
        decisions=sample_ids,
        policies=sample_ids,
        runs=sample_ids,
    )
    return [
        endpoint
        for endpoint in ENDPOINTS
        if endpoint.paths(replace(base_inputs, query=query)) != endpoint.paths(base_inputs)
    ]


# For stories in which nothing is decided.
ENDPOINTS_WITHOUT_DECISIONS = [
    endpoint
    for endpoint in ENDPOINTS
    if SOAK or not ("decision" in endpoint.route or ("conflict" in endpoint.route and endpoint.post is not None))
]


def endpoints_of_route(route: str) -> list[Endpoint]:
    return [endpoint for endpoint in ENDPOINTS if endpoint.route == route]


def test_hidden_rows_change_nothing_that_a_low_caller_sees(worlds, row_security):
    """Three times: with both layers, and with each of them alone."""
    example_statistics: list[ExampleStatistics] = []
    run_state_machine_as_test(
        partial(NoninterferenceMachine, worlds, row_security=row_security, statistics=example_statistics),  # type: ignore[arg-type]  # whatever makes one
        settings=settings(example_settings(3, soak_examples=3_400), stateful_step_count=12),
    )
    assert sum(statistics.hidden_count > 0 for statistics in example_statistics) > len(example_statistics) // 3, (
        "most examples do have hidden rows"
    )
    # So few examples may miss them by chance; the story of decisions, below, has them in every run.
    if SOAK:
        assert sum(statistics.decided_count > 0 for statistics in example_statistics) > len(example_statistics) // 20, (
            "some examples do have decisions"
        )
        assert any(statistics.decided_above for statistics in example_statistics), (
            "and some of them are on what is hidden"
        )


def test_a_hundred_hidden_rows_between_two_change_nothing_at_any_endpoint(worlds, row_security, layers):
    """FW-19: not even when one of the layers is taken out."""
    queries = [
        "label=eu",
        "from=2026-03-01T12:00:00Z",
        "tier=restricted",
        f"as_of=2026-03-06&known_at={INSTANT_BETWEEN_STEPS}&q=a",
    ]
    if SOAK:
        queries += ["as_of=2026-03-06&q=a", f"as_of=2026-03-06&known_at={INSTANT_BETWEEN_STEPS}"]
    # The story of decisions, below, has these rows too, and there every endpoint is asked.
    if layers == "row security alone":
        queries = ["q=canary", *queries[:2], queries[-1]]
    elif layers == "both layers":
        queries = queries[-1:]
    else:
        endpoints = [*ENDPOINTS, *RARE_ENDPOINTS] if SOAK else ENDPOINTS_WITHOUT_DECISIONS
        assert compare_worlds(worlds, STORY_STEPS, "q=canary", endpoints, row_security=row_security) > 100
    for query in queries:
        assert compare_worlds(worlds, STORY_STEPS, query, endpoints_using(query), row_security=row_security) > 100


def test_decisions_on_what_is_hidden_change_nothing_at_any_endpoint(worlds, row_security, layers):
    """FW-12: not who decided, not what lost, not that somebody is about to decide."""
    endpoints = [*ENDPOINTS, *RARE_ENDPOINTS, *STATIC_ENDPOINTS]
    queries = ["status=retired", "known_at=2100-01-01T00:00:06.5Z"]
    if layers == "row security alone":
        queries = queries[1:]
    elif layers == "both layers":
        endpoints, queries = endpoints[::3], []
    assert compare_worlds(worlds, DECISION_STEPS, "", endpoints, row_security=row_security) > 100
    for query in queries:
        compare_worlds(worlds, DECISION_STEPS, query, endpoints_using(query), row_security=row_security)


def test_the_endpoints_do_answer(worlds):
    """Two worlds that answer nothing would be equal as well."""
    with worlds.run_steps(worlds.world_with_hidden, DECISION_STEPS):
        with as_unrestricted_reader():
            visible_rows = list(Memory.objects.visible_to(LOW).current())
            *hidden, visible_decision = Decision.objects.order_by("id")
            assert list(Decision.objects.visible_to(LOW)) == [visible_decision]
            assert [(bool(decision.retired_ids), bool(decision.still_active_ids)) for decision in hidden] == [
                (True, True),
                (False, True),
            ]
            # What was rejected came again twice; low sees one of them.
            retired = Memory.objects.current().filter(status="retired", decision_id=visible_decision.decision_id)
            assert (retired.count(), retired.visible_to(LOW).count()) == (4, 3)
            policy_ids = list(Policy.objects.values_list("policy_id", flat=True))
            runs = list(PolicyRun.objects.values_list("run_id", flat=True))
        inputs = EndpointInputs(
            query="",
            visible_ids=[next(row.memory_id for row in visible_rows if row.version == version) for version in (1, 2)],
            hidden_ids=[],
            decisions=[visible_decision.decision_id],
            keys=[*KEYS[:2], KEYS[-1]],
            policies=policy_ids,
            runs=runs,
        )
        responses = collect_responses(worlds, inputs, [*ENDPOINTS, *RARE_ENDPOINTS])

    assert len(visible_rows) == 8
    for endpoint in [*ENDPOINTS, *RARE_ENDPOINTS]:
        statuses = {response.status for path, response in responses.items() if path.startswith(f"{endpoint.route} ")}
        expected = {"": {404}, "inspector:sign-in": {302}, "inspector:memory-classify": {302}}
        # Of the objects that are requested by name, some exist.
        expected |= {
            "api:conflict-detail": {200, 404},
            "api:conflict-claim": {200, 404},
            "inspector:subject-detail": {200, 404},
        }
        expected |= {"api:conflict-resolve": {404, 409}, "api:decision-undo": {201}}
        expected |= {"inspector:conflict-detail": {200, 404}, "inspector:conflict-claim": {302, 404}}
        expected |= {"inspector:conflict-resolve": {409, 404}, "inspector:conflict-similar": {200, 404}}
        # A run of who sees more is hidden.
        expected |= {"api:policy-run-detail": {404}, "inspector:policy-run-detail": {404}}
        # So is a policy of who sees more.
        for of_policy in (
            "api:policy-detail",
            "api:policy-dry-run",
            "inspector:policy-detail",
            "inspector:policy-dry-run",
        ):
            expected[of_policy] = {200, 404}
        # One has a version already that retired it.
        expected |= {"api:memory-classify": {200, 409}}
        assert statuses == expected.get(endpoint.route, {200}), endpoint
    assert b"London" in responses["inspector:memory-list /?limit=4"].body
    assert json.loads(responses["api:status /api/status"].body)["memories_total"] == 5


def test_a_reclassified_memory_is_gone_as_if_it_had_never_been(worlds):
    """FW-13: what was low and is high now. The world without it never had it at all."""
    low = prepare_memory(payload_id="p-9", source="other", content="Then low.", timestamp=DAYS[1])
    high = prepare_memory(payload_id="p-9", source="other", content="Now high.", timestamp=DAYS[1], tier="restricted")
    for classified_draft in (high, replace(high, classification_tier="public", normalized_labels=("pii",))):
        labels = ["pii"] if classified_draft.normalized_labels else []
        envelope = classified_draft.envelope.model_copy(update={"sensitivity_labels": labels})
        after = replace(classified_draft, envelope=envelope)
        # status.writes_total counts what was ever written, the low version too.
        endpoints = [endpoint for endpoint in ENDPOINTS_WITHOUT_DECISIONS if endpoint.route != "api:status"]
        steps = [
            STORY_STEPS[0],
            WorldStep(drafts=[low], is_hidden=True),
            WorldStep(drafts=[after], is_hidden=True),
            STORY_STEPS[2],
        ]
        # All endpoints once; for the other queries, the endpoints whose paths depend on the query.
        queries = ("source=other", f"source=other&known_at={INSTANT_BETWEEN_STEPS}", "source=other&as_of=2026-03-09")
        for query in queries if SOAK else queries[:2] if classified_draft is high else queries[2:]:
            reached_endpoints = [endpoint for endpoint in endpoints_using(query) if endpoint in endpoints]
            checks_all = SOAK or query == "source=other"
            assert compare_worlds(worlds, steps, query, endpoints if checks_all else reached_endpoints) == 1


def test_what_is_in_quarantine_is_missing_for_who_does_not_judge_memories(worlds, row_security, layers):
    """The key may not; and at every earlier instant, when it was in force, it is missing, too."""
    subject_fields = {"subject": "user:ada", "collection": "city", "timestamp": DAYS[1]}
    rows = [
        prepare_memory(
            payload_id=f"p-{index}", source="other", content=f"Quarantined canary {index}.", **subject_fields
        )
        for index in range(3)
    ]
    steps = [
        STORY_STEPS[0],
        WorldStep(drafts=rows, is_hidden=True),
        WorldStep(is_hidden=True, action=quarantine_current),
        STORY_STEPS[2],
    ]
    # status.writes_total counts what was ever written, and it was not in quarantine then.
    endpoints = [endpoint for endpoint in ENDPOINTS if endpoint.caller == "key" and endpoint.route != "api:status"]
    assert compare_worlds(worlds, steps, "", endpoints, row_security=row_security) == 3
    queries = [
        "status=quarantined", f"source=other&known_at={INSTANT_BETWEEN_STEPS}", "q=canary", "source=other",
        "status=active", "as_of=2026-03-09",
    ]  # fmt: skip
    for query in queries[: {"both layers": 1, "row security alone": 2}.get(layers)]:
        reached_endpoints = [endpoint for endpoint in endpoints_using(query) if endpoint in endpoints]
        assert compare_worlds(worlds, steps, query, reached_endpoints, row_security=row_security) == 3


def quarantine_current() -> None:
    filters = MemoryFilterSet(QueryDict("q=Quarantined"), clearance=HIGH.clearance)
    classify.apply_plan(classify.plan_for_filter(filters, ClassificationChange(status="quarantined"), principal=HIGH))


def test_an_export_holds_what_its_reader_may_see_and_nothing_else(worlds, row_security):
    """FW-14, FW-22: not even what was hidden of a memory that may be seen by now."""
    hidden_draft = prepare_memory(payload_id="p-9", content="Hidden canary.", tier="restricted")
    steps = [
        *STORY_STEPS,
        WorldStep(drafts=[hidden_draft]),
        WorldStep(drafts=[prepare_memory(payload_id="p-9", content="Rome")]),
    ]
    instants = ("", "known_at=2100-01-01T00:00:03.5Z", "as_of=2026-03-02")
    cases = list(itertools.product(instants, (False, True)))
    exports = []
    for world in (worlds.world_without, worlds.world_with_hidden):
        with worlds.run_steps(world, steps, row_security=row_security):
            exports.append([_export(instant_params, include_history=history) for instant_params, history in cases])

    for case, export, export_with_hidden in zip(cases, *exports, strict=True):
        assert export == export_with_hidden, case
        assert (b"Rome" in export) == (not case[0].startswith("known_at")), case
        assert b"Paris" in export, case
        assert b"canary" not in export, case


def _export(instant_params: str, *, include_history: bool) -> bytes:
    filters = MemoryFilterSet(QueryDict(instant_params), clearance=LOW)
    return b"".join(iter_jsonl(filters, include_history=include_history))


def test_an_etag_from_one_world_is_fresh_in_the_other(worlds):
    """FW-15: hidden rows come and go, and what a caller keeps stays current."""
    with worlds.run_steps(worlds.world_without, STORY_STEPS):
        first = worlds.key.get("/api/memories")
    tag = dict(first.headers)["ETag"]
    with worlds.run_steps(worlds.world_with_hidden, STORY_STEPS):
        repeated = worlds.key.get("/api/memories", **{"If-None-Match": tag})

    assert (repeated.status, repeated.body) == (304, b"")


def test_a_write_under_the_id_and_with_the_content_of_a_hidden_memory_is_answered_as_if_there_were_none(worlds):
    """FW-09: the identity of a write is its own source's, so nothing that others wrote can answer for it."""
    body = {"payload_id": "p-3", "content": "Hidden canary.", "classification_tier": "internal"}
    bodies = [body, body, {**body, "content": "Other."}]
    responses_by_world = []
    for world in (worlds.world_without, worlds.world_with_hidden):
        with worlds.run_steps(world, STORY_STEPS), deterministic_ids("a writer"):
            responses_by_world.append([worlds.key.post("/api/memories", sent_body) for sent_body in bodies])

    assert responses_by_world[0] == responses_by_world[1]
    assert [response.status for response in responses_by_world[0]] == [201, 200, 409]


def test_an_endpoint_that_counts_without_the_firewall_is_caught(worlds, monkeypatch):
    monkeypatch.setattr(memories, "get_status", lambda _: {"memories_total": Memory.objects.count()})

    with pytest.raises(AssertionError, match="api:status"):
        compare_worlds(worlds, STORY_STEPS, "", endpoints_of_route("api:status"), row_security=False)


def test_an_endpoint_that_pages_before_it_looks_is_caught(worlds, monkeypatch):
    """The classic: LIMIT first, the firewall afterwards."""

    def page_before_filter(filters: Any, **_: Any) -> Any:
        newest = Memory.objects.order_by("-timestamp", "-memory_id")[:5]
        return pagination.Page(
            records=[{"memory_id": row.memory_id} for row in newest if LOW.permits(row)], next_cursor=None
        )

    monkeypatch.setattr(pagination, "list_page", page_before_filter)

    with pytest.raises(AssertionError, match="api:memory-list"):
        compare_worlds(
            worlds,
            STORY_STEPS,
            "",
            endpoints_of_route("api:memory-list"),
            row_security=False,
        )


def test_a_missing_memory_that_differs_from_a_hidden_one_is_caught(worlds, monkeypatch):
    def get_with_difference(_view: Any, _request: Any, memory_id: uuid.UUID) -> Any:
        raise ProblemError(403 if Memory.objects.filter(memory_id=memory_id).exists() else 404, "no", "No.")

    monkeypatch.setattr(memories.MemoryView, "get", get_with_difference)

    with pytest.raises(AssertionError, match="api:memory-detail"):
        compare_worlds(
            worlds,
            STORY_STEPS,
            "",
            endpoints_of_route("api:memory-detail"),
            row_security=False,
        )
