"""A page costs the same number of queries however many rows it shows, and however many there are."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from memoryhub.conflicts.decisions import resolve
from memoryhub.conflicts.decisions.resolution_requests import Resolution, ResolutionRequest
from memoryhub.conflicts.groups.group_keys import compute_evidence, encode_id
from memoryhub.memories.writes.identity import OnConflict
from tests.factories import WRITER, make_key, make_user, store_drafts
from tests.harness.strategies import SOAK, prepare_memory

pytestmark = pytest.mark.django_db

# A page asks who is asking, what the filters find, and what is counted beside it; row security is five more in a test.
MAX_QUERIES = 18
FEW_ROWS, MANY_ROWS = (20, 200) if SOAK else (5, 100)
FEW_DECISIONS, MANY_DECISIONS = (20, 150) if SOAK else (5, 50)
PAGE_PATHS = [
    "/api/memories?limit=200",
    "/api/memories?limit=200&subject=user:ada&label=eu&q=paris",
    "/api/facets",
    "/api/facets?subject=user:ada",
    "/api/histogram",
    "/api/histogram?from=2026-03-01T12:00:00Z",
    "/api/memories/{memory_id}",
    "/api/memories/{memory_id}/versions",
    "/api/memories?limit=200&known_at=2999-01-01&as_of=2999-01-01",
    "/api/facets?known_at=2999-01-01",
    "/api/histogram?known_at=2999-01-01",
    "/api/memories/{memory_id}?known_at=2999-01-01",
    "/api/memories/{memory_id}/versions?known_at=2999-01-01",
    "/api/timetravel?limit=200&as_of=2999-01-01",
    "/api/timetravel?limit=200&as_of=2999-01-01&view=state",
    "/api/timetravel?limit=200&view=history&subject=user:ada",
    "/api/diff?limit=200&since=2000-01-01",
    "/api/diff?limit=200&since=2000-01-01&axis=event",
    "/diff?limit=200&since=2000-01-01",
    "/api/conflicts?limit=200",
    "/api/conflicts?limit=200&status=all",
    f"/api/conflicts/{encode_id('user:ada', 'city')}",
    "/api/status",
    "/?limit=200",
    "/?limit=200&subject=user:ada&label=eu&q=paris",
    "/?limit=200&known_at=2999-01-01&as_of=2999-01-01",
    "/memories/{memory_id}",
    "/memories/{memory_id}?known_at=2999-01-01",
    "/subjects/user:ada",
]


@pytest.fixture
def capture_queries() -> Callable[[str], list[str]]:
    """The queries that a reader's visit takes."""
    key = make_key(clearance={"max_tier": "internal"})
    user_client = Client()
    user_client.force_login(make_user("ada", max_tier="internal"), backend="django.contrib.auth.backends.ModelBackend")
    key_client = Client(headers={"Authorization": f"Bearer {key}"})

    def request_page(path: str) -> list[str]:
        client: Any = key_client if path.startswith("/api/") else user_client
        with CaptureQueriesContext(
            connection,
        ) as queries:
            response = client.get(path)
            body = b"".join(response) if response.streaming else response.content
        assert response.status_code == 200, body
        return [query["sql"] for query in queries.captured_queries]

    return request_page


def store_versions(count: int) -> str:
    """`count` memories of one subject, each with two versions; the memory_id of one of them."""
    for turn in ("first", "then"):
        receipts = store_drafts(
            [
                prepare_memory(
                    payload_id=f"p-{row}",
                    content=f"Paris {row}, {turn}",
                    subject="user:ada",
                    collection="city",
                    labels=["eu"],
                )
                for row in range(count)
            ],
            on_conflict=OnConflict.REPLACE,
        )
    return str(receipts[0].memory_id)


def test_few_rows_and_many_take_as_many_queries(capture_queries):
    memory_id = store_versions(FEW_ROWS)
    paths = [endpoint.format(memory_id=memory_id) for endpoint in PAGE_PATHS]
    small_queries = {path: warm_queries(capture_queries, path) for path in paths}

    store_versions(MANY_ROWS)
    # The classes of groups are computed once after each change, which is no query of the page.
    capture_queries("/api/conflicts?limit=200")
    large_queries = {path: capture_queries(path) for path in paths}

    assert_same_counts(small_queries, large_queries)


def warm_queries(capture_queries: Callable[[str], list[str]], path: str) -> list[str]:
    """The queries of a second visit: some are asked once for each process, or each change of a group."""
    capture_queries(path)
    return capture_queries(path)


def assert_same_counts(small_queries: dict[str, list[str]], large_queries: dict[str, list[str]]) -> None:
    for path, queries in large_queries.items():
        assert len(queries) == len(small_queries[path]), (path, queries)
        assert 0 < len(queries) <= MAX_QUERIES, (path, queries)


DECISION_PATHS = [
    "/api/conflicts?limit=200&status=decided",
    "/api/conflicts?limit=200&status=all",
    f"/api/conflicts/{encode_id('user:ada', 'city-0')}",
    "/api/decisions?limit=200",
    "/api/decisions?limit=200&in_force=true&q=both",
    "/api/decisions/{decision_id}",
    "/api/decisions/export",
]


def make_decisions(count: int) -> str:
    """`count` groups, of each of which one of two values was kept; one of the decisions."""
    drafts = [
        prepare_memory(payload_id=f"{content}-{row}", content=content, subject="user:ada", collection=f"city-{row}")
        for row in range(count)
        for content in ("Paris", "Berlin")
    ]
    kept_ids = [receipt.memory_id for receipt in store_drafts(drafts, on_conflict=OnConflict.REPLACE)][::2]
    requests = []
    for row, memory_id in enumerate(kept_ids):
        key = ("user:ada", f"city-{row}")
        members = resolve.list_members(key, WRITER)
        evidence = compute_evidence((member.memory_id, member.version) for member in members)
        choice = Resolution.model_validate({"outcome": "keep_one", "keep": [memory_id], "reason": "Both said so."})
        requests += [ResolutionRequest(key=key, evidence=evidence, resolution=choice)] if len(members) > 1 else []
    outcomes = resolve.resolve_many(requests, principal=WRITER)
    return str(outcomes[0].decision_id)


def test_few_decisions_and_many_take_as_many_queries(capture_queries):
    decision_id = make_decisions(FEW_DECISIONS)
    paths = [endpoint.format(decision_id=decision_id) for endpoint in DECISION_PATHS]
    small_queries = {path: warm_queries(capture_queries, path) for path in paths}

    make_decisions(MANY_DECISIONS)
    large_queries = {path: warm_queries(capture_queries, path) for path in paths}

    assert_same_counts(small_queries, large_queries)


def test_a_list_of_two_hundred_does_show_two_hundred(capture_queries):
    store_versions(200)
    client = Client(headers={"Authorization": f"Bearer {make_key()}"})

    assert len(client.get("/api/memories?limit=200").json()["records"]) == 200
