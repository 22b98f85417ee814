"""A page costs the same number of queries however many rows it shows, and however many there are."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from memoryhub.conflicts import decide
from memoryhub.conflicts.choices import Choice, Wish
from memoryhub.conflicts.keys import evidence_of, id_of
from memoryhub.memories import ingest
from tests.builders import WRITER, make_key, make_user, store
from tests.harness.generated import planted

pytestmark = pytest.mark.django_db

# A page asks who is asking, what the filters find, and what is counted beside it; the wall is five more in a test.
MOST = 18
DOORS = [
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
    f"/api/conflicts/{id_of('user:ada', 'city')}",
    "/api/status",
    "/?limit=200",
    "/?limit=200&subject=user:ada&label=eu&q=paris",
    "/?limit=200&known_at=2999-01-01&as_of=2999-01-01",
    "/memories/{memory_id}",
    "/memories/{memory_id}?known_at=2999-01-01",
    "/subjects/user:ada",
]


@pytest.fixture
def visit() -> Callable[[str], list[str]]:
    """The queries that a reader's visit takes."""
    key = make_key(clearance={"max_tier": "internal"})
    person = Client()
    person.force_login(make_user("ada", max_tier="internal"), backend="django.contrib.auth.backends.ModelBackend")
    machine = Client(headers={"Authorization": f"Bearer {key}"})

    def ask(path: str) -> list[str]:
        client: Any = machine if path.startswith("/api/") else person
        with CaptureQueriesContext(
            connection,
        ) as queries:
            response = client.get(path)
            body = b"".join(response) if response.streaming else response.content
        assert response.status_code == 200, body
        return [query["sql"] for query in queries.captured_queries]

    return ask


def plant(number: int) -> str:
    """`number` memories of one subject, each with two versions; the memory_id of one of them."""
    for turn in ("first", "then"):
        receipts = store(
            [
                planted(
                    payload_id=f"p-{row}",
                    content=f"Paris {row}, {turn}",
                    subject="user:ada",
                    collection="city",
                    labels=["eu"],
                )
                for row in range(number)
            ],
            on_conflict=ingest.OnConflict.REPLACE,
        )
    return str(receipts[0].memory_id)


def test_twenty_rows_and_two_hundred_take_as_many_queries(visit):
    memory_id = plant(20)
    paths = [door.format(memory_id=memory_id) for door in DOORS]
    few = {path: settled(visit, path) for path in paths}

    plant(200)
    many = {path: settled(visit, path) for path in paths}

    assert_as_many(few, many)


def settled(visit: Callable[[str], list[str]], path: str) -> list[str]:
    """The queries of a second visit: some are asked once for each process, or each change of a group."""
    visit(path)
    return visit(path)


def assert_as_many(few: dict[str, list[str]], many: dict[str, list[str]]) -> None:
    for path, queries in many.items():
        assert len(queries) == len(few[path]), (path, queries)
        assert 0 < len(queries) <= MOST, (path, queries)


OF_DECISIONS = [
    "/api/conflicts?limit=200&status=decided",
    "/api/conflicts?limit=200&status=all",
    f"/api/conflicts/{id_of('user:ada', 'city-0')}",
    "/api/decisions?limit=200",
    "/api/decisions?limit=200&in_force=true&q=both",
    "/api/decisions/{decision_id}",
    "/api/decisions/export",
]


def decide_on(number: int) -> str:
    """`number` groups, of each of which one of two values was kept; one of the decisions."""
    drafts = [
        planted(payload_id=f"{content}-{row}", content=content, subject="user:ada", collection=f"city-{row}")
        for row in range(number)
        for content in ("Paris", "Berlin")
    ]
    kept = [receipt.memory_id for receipt in store(drafts, on_conflict=ingest.OnConflict.REPLACE)][::2]
    wishes = []
    for row, memory_id in enumerate(kept):
        key = ("user:ada", f"city-{row}")
        found = decide.members(key, WRITER)
        evidence = evidence_of((member.memory_id, member.version) for member in found)
        choice = Choice.model_validate({"outcome": "keep_one", "keep": [memory_id], "reason": "Both said so."})
        wishes += [Wish(key=key, evidence=evidence, choice=choice)] if len(found) > 1 else []
    outcomes = decide.decide_all(wishes, by=WRITER)
    return str(outcomes[0].decision_id)


def test_twenty_decisions_and_a_hundred_and_fifty_take_as_many_queries(visit):
    decision_id = decide_on(20)
    paths = [door.format(decision_id=decision_id) for door in OF_DECISIONS]
    few = {path: settled(visit, path) for path in paths}

    decide_on(150)
    many = {path: settled(visit, path) for path in paths}

    assert_as_many(few, many)


def test_a_list_of_two_hundred_does_show_two_hundred(visit):
    plant(200)
    client = Client(headers={"Authorization": f"Bearer {make_key()}"})

    assert len(client.get("/api/memories?limit=200").json()["records"]) == 200
