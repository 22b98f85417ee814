"""What is masked cannot be searched out: every route is asked for pieces of a secret, right ones and wrong ones.

Routes come from the URL conf. A parameter is asked at every route that knows it; a route to which something is posted
stands in POSTED or in TEXTLESS, or a test fails.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any
from urllib.parse import urlencode

import pytest
import time_machine
from django.db import transaction
from django.test import Client
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator

from memoryhub.conflicts import decide
from memoryhub.conflicts.choices import Choice, Wish
from memoryhub.conflicts.decisions import FILTERS as OF_DECISIONS
from memoryhub.conflicts.groups import PARAMETERS as OF_GROUPS
from memoryhub.conflicts.groups import GroupFilterSet
from memoryhub.conflicts.keys import id_of
from memoryhub.memories import clock
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.ops import reads
from memoryhub.ops.trail_query import FILTERS as OF_THE_LEDGER
from memoryhub.timetravel.diff import DiffFilterSet
from tests.builders import WRITER, make_clearance, make_memory
from tests.harness.generated import SOAK
from tests.harness.worlds import Answer
from tests.test_authorization import ROUTES, SENDING, Route, World, evidence, row, undone

pytestmark = pytest.mark.django_db

SECRET = "AKIA" + "IOSFODNN7EXAMPLE"
HIDDEN = "".join("\u200b" + letter for letter in SECRET)
# Among them the letters that come next in the secret; one whose answer is another one stands out among six as well.
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" if SOAK else "AIOZ09"
# A piece that stands in the secret, and one of the same length that does not. A parameter of a route is asked for one
# of the pairs, the next parameter for the other one; by make soak for both.
PIECES = (("AKIAI", "AKIAX"), ("NN7E", "NX7E"))
# No text: a piece is no instant, and some pages answer with the present one instead.
INSTANTS = {"as_of", "known_at", "since", "until", "from", "to"}
PARAMETERS = sorted(
    (
        {*MemoryFilterSet.base_filters, *DiffFilterSet.base_filters, *GroupFilterSet.base_filters}
        | {*OF_DECISIONS, *OF_GROUPS, *OF_THE_LEDGER, "query", "as", "list", "whole", "cursor", "limit", "next", "view"}
    )
    - INSTANTS
)
# Texts that are posted, with a piece in the place of {}.
POSTED: dict[str, dict[str, Any]] = {
    "api:labels": {"filter": {"q": "{}", "status": "active"}, "add_labels": ["x"], "dry_run": True},
    "api:memory-secrets": {"text": "{}"},
    "inspector:memory-secrets": {"text": "{}"},
    "inspector:labels": {"q": "{}", "add_labels": "x"},
}
# What is posted here is stored, or names something as a whole: nothing is looked for by a part of it.
TEXTLESS = {
    "api:memories": "identities and values are compared as a whole",
    "api:memory-labels": "by id", "inspector:memory-labels": "by id", "inspector:memory-reveal": "by id",
    "api:conflict-claim": "by id", "inspector:conflict-claim": "by id",
    "api:conflict-decisions": "by id", "inspector:conflict-decide": "by id", "inspector:conflict-similar": "by id",
    "api:decision-undo": "by id", "inspector:decisions-undo": "by id", "inspector:labels-undo": "by token",
    "api:policies": "stored", "api:policy": "stored", "inspector:policy-new": "stored", "inspector:policy": "stored",
    "api:policy-dry-run": "by id", "api:policy-run": "by id", "api:policy-run-go": "by id",
    "api:policy-run-undo": "by id", "inspector:policy-start": "by id", "inspector:policy-run-go": "by id",
    "inspector:policy-run-undo": "by id", "inspector:view-as": "by name", "inspector:view-as-stop": "nothing",
    "inspector:sign-in": "by name", "inspector:sign-out": "nothing", "inspector:theme": "a choice",
}  # fmt: skip
GETS = [
    route for route in ROUTES if row("GET", route) and not route.pattern.startswith("admin") and route.name != "health"
]
CALLERS = ("analyst", "steward", "read")


@pytest.fixture(scope="module")
def one_world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """A world for all tests here: made once, in a transaction around those of the tests."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield _world()
        transaction.set_rollback(True)


@pytest.fixture
def world(one_world: World, db: None) -> Iterator[World]:
    """What a test does in it is undone after the test."""
    with time_machine.travel(timezone.now(), tick=False):
        yield one_world


def _world() -> World:
    """Everything that a route may name, and a secret in everything that a page shows masked."""
    made = World()
    about: dict[str, Any] = {"subject": f"team {SECRET}", "collection": f"of {SECRET}"}
    shown: dict[str, Any] = {
        "source": f"crm {SECRET}",
        "actor_id": SECRET,
        "labels": [f"label {SECRET}"],
        "metadata": {"key": SECRET},
    }
    for content in ("Paris", "Berlin"):
        make_memory(content=content, **about)
    make_memory(payload_id=f"id {SECRET}", content=f"The key is {SECRET}.", role=SECRET, model=SECRET, **shown)
    make_memory(content=f"The hidden key is {HIDDEN}.", subject="user:ada")
    make_memory(payload_id="once", content=f"Once it was {SECRET}.", subject="user:ada", collection="token")
    make_memory(payload_id="once", content="It is no more.", subject="user:ada", collection="token")
    for content in (f"Ada has {SECRET} on her list.", "Ada has a list."):
        make_memory(content=content, subject="user:dora", collection="token")
    make_clearance(name=f"clearance {SECRET}", max_tier="public")
    choice = Choice.model_validate({"outcome": "not_a_conflict", "reason": f"Both have {SECRET}."})
    wish = Wish(key=("user:eve", "city"), evidence=evidence(), choice=choice)
    assert decide.decide_all([wish], by=WRITER)[0].decision_id
    made.places |= {
        "<uuid:memory_id>": str(Memory.objects.get(content__startswith="The key").memory_id),
        "<str:conflict_id>": id_of("user:dora", "token"),
        "<str:group_id>": id_of("user:dora", "token"),
        "api/timetravel": "api/timetravel?view=list&as_of=2999-01-01&known_at=" + _now(),
        "api/diff": "api/diff?since=2000-01-01&until=" + _now(),
        "api/replay": "api/replay?as=clearance:internal&as_of=2999-01-01&known_at=" + _now(),
    }
    return made


def _now() -> str:
    return clock.settle(clock.now()).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def path_of(world: World, route: Route) -> str:
    path = world.path(route)
    return f"{path}?since=2000-01-01&until={_now()}" if route.name == "inspector:diff" else path


def ask(client: Client, path: str, body: dict[str, Any] | None = None) -> Answer:
    """An answer of which nothing stays, not even that it was read."""
    headers = {"X-Request-ID": "the-same"}
    if body is None:
        call = partial(client.get, path, headers=headers)
    elif path.startswith("/api/"):
        call = partial(client.post, path, body, content_type="application/json", headers=headers)
    else:
        call = partial(client.post, path, body, headers=headers)
    answer = Answer.of(undone(call))
    reads._queue.start_anew()
    return answer


def without(answer: Answer, piece: str) -> tuple[Any, ...]:
    """What an answer tells besides the piece itself, which it may repeat, and what is signed together with it."""
    body = answer.body.decode()
    # JSON repeats nothing of what is asked; to a key it holds what was written, and pieces of that.
    body = body if body.startswith("{") else re.sub(re.escape(piece), "<piece>", body, flags=re.IGNORECASE)
    headers = [pair for pair in answer.headers if pair[0] not in ("ETag", "Set-Cookie")]
    # An instant that lies ahead is clipped to now, which is another one each time.
    body = re.sub(r'"(as_of|known_at|until)":"[^"]+"', "", body)
    return answer.status, [(name, value.replace(piece, "<piece>")) for name, value in headers], body


def _asked(path: str, parameters: list[str], value: str) -> str:
    """`path` with the parameters, or with another value of those that it has; a query within it asks for a text."""
    path, _, query = path.partition("?")
    pairs = [part for part in query.split("&") if part and part.partition("=")[0] not in parameters]
    values = {name: f"q={value}" if name in ("query", "list") else value for name in parameters}
    return f"{path}?" + "&".join([*pairs, urlencode(values)])


@cache
def _query_parameters() -> dict[str, set[str]]:
    """The parameters of every query string of the API, by path, as they are documented."""
    schema = SchemaGenerator().get_schema(request=None, public=True)
    return {
        re.sub(r"{\w+}", "{}", path): {
            parameter["name"]
            for method in methods.values()
            for parameter in method.get("parameters", ())
            if parameter["in"] == "query"
        }
        for path, methods in schema["paths"].items()
    }


def _documented(pattern: str) -> set[str] | None:
    return _query_parameters().get(re.sub(r"<\w+:\w+>", "{}", pattern))


def test_every_text_of_the_api_is_asked_here():
    names = set().union(*_query_parameters().values())

    assert len(names) > 20
    assert names <= {*PARAMETERS, *INSTANTS, "on_conflict"}


def test_every_route_that_is_posted_to_is_thought_of():
    sent = {route.name for _, route in SENDING}

    assert {name for name in sent if not name.startswith("admin:")} == {*POSTED} | TEXTLESS.keys()


@pytest.mark.parametrize("who", CALLERS)
def test_no_parameter_of_any_route_tells_a_piece_of_a_secret(world, who):
    client = world.client(who)
    for route in GETS:
        # What an analyst may ask is asked as an analyst; a steward besides what an analyst may not.
        if who == "steward" and 200 in (row("GET", route) or ())[1:2]:
            continue
        path = path_of(world, route)
        for number, parameters in enumerate(_known_at(client, route, path)):
            for right, wrong in PIECES if SOAK else (PIECES[number % len(PIECES)],):
                told = [without(ask(client, _asked(path, parameters, piece)), piece) for piece in (right, wrong)]
                assert told[0] == told[1], (route, parameters)


def _known_at(client: Client, route: Route, path: str) -> list[list[str]]:
    """The parameters that a route knows, each by itself; all at once, if it takes what it does not know."""
    if route.name.startswith("api:") and (documented := _documented(f"/{route.pattern}")) is not None:
        return [[name] for name in PARAMETERS if name in documented]
    if ask(client, _asked(path, ["nonsense"], "zzz")).status == 200:
        return [[name for name in PARAMETERS if name not in path]]
    return [[name] for name in PARAMETERS if ask(client, _asked(path, [name], "zzz")).status == 200]


# A steward finds secrets by the search in secrets: that one is for who may reveal them.
POSTERS = [
    (name, who) for name in POSTED for who in CALLERS if (name.partition(":")[2], who) != ("memory-secrets", "steward")
]


@pytest.mark.parametrize(("name", "who"), POSTERS)
def test_nothing_that_is_posted_tells_a_piece_of_a_secret(world, name, who):
    (route,) = [route for _, route in SENDING if route.name == name]
    client = world.client(who)
    for right, wrong in PIECES:
        told = [
            without(ask(client, world.path(route), _filled(POSTED[name], piece)), piece) for piece in (right, wrong)
        ]
        assert told[0] == told[1]


def _filled(body: Any, piece: str) -> Any:
    if isinstance(body, dict):
        return {name: _filled(value, piece) for name, value in body.items()}
    return body.replace("{}", piece) if isinstance(body, str) else body


SEARCHES = [
    "/api/memories?q={}", "/api/memories?q={}&status=active", "/api/facets?q={}", "/api/histogram?q={}",
    "/api/timetravel?as_of=2999-01-01&q={}", "/api/timetravel?view=state&as_of=2999-01-01&q={}",
    "/api/timetravel?view=history&subject=user:ada&as_of=2999-01-01&q={}", "/api/diff?since=2000-01-01&until=NOW&q={}",
    "/api/diff?axis=event&since=2000-01-01&until=2026-12-01&known_at=NOW&q={}", "/api/memories?known_at=NOW&q={}",
    "/api/conflicts?status=all&subject_contains={}", "/api/decisions?q={}", "/?q={}",
    "/diff?since=2000-01-01&until=NOW&q={}", "/conflicts?class=all&status=all&subject_contains={}", "/decisions?q={}",
]  # fmt: skip


# A key opens no page.
SEARCHERS = [
    (search, who)
    for search in SEARCHES
    for who in ("analyst", "read")
    if who == "analyst" or search.startswith("/api/")
]


@pytest.mark.parametrize(("search", "who"), SEARCHERS)
def test_a_brute_force_of_every_next_letter_learns_none(world, search, who):
    client, search = world.client(who), search.replace("NOW", _now())

    assert _recovered(lambda guess: without(ask(client, search.replace("{}", guess)), guess)) == ""


def _recovered(told: Callable[[str], Any]) -> str:
    """What an attacker who knows the kind of a secret makes of the answers: the letters whose answer is another one.

    Two are enough: whoever has these has the others in the same way.
    """
    known = SECRET[:4]
    while len(known) < 6:
        answers = [told(known + letter) for letter in LETTERS]
        usual = max(answers, key=answers.count)
        other = [letter for letter, answer in zip(LETTERS, answers, strict=True) if answer != usual]
        if not other:
            break
        known += other[0]
    return known[4:]


def test_the_attack_reads_what_is_not_masked(world):
    """Else it would prove nothing."""
    make_memory(content="The word is AKIAZ9.")
    client = world.client("analyst")

    assert _recovered(lambda guess: without(ask(client, f"/api/facets?q={guess}"), guess)) == "Z9"
