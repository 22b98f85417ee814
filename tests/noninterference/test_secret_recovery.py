"""What is masked cannot be searched out: every route is asked for pieces of a secret, right ones and wrong ones.

Routes come from the URL conf. A parameter is asked at every route that knows it; a route to which something is posted
is in POST_BODIES or in ROUTES_WITHOUT_TEXT, or a test fails.
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

from memoryhub.access_log import read_log
from memoryhub.access_log.audit_filters import FILTER_PARAMS as AUDIT_PARAMS
from memoryhub.conflicts.decisions import resolve
from memoryhub.conflicts.decisions.decision_queries import FILTERS as DECISION_PARAMS
from memoryhub.conflicts.decisions.resolution_requests import Resolution, ResolutionRequest
from memoryhub.conflicts.groups.group_keys import encode_id
from memoryhub.conflicts.groups.groups import GROUP_PARAMS, GroupFilterSet
from memoryhub.memories import clock
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.search.options import OPTION_PARAMS
from memoryhub.timetravel.diff import DiffFilterSet
from tests.authorization_matrix import CALLERS as ALL_CALLERS
from tests.authorization_matrix import POST_CELLS, ROUTES, Route, matrix_row
from tests.authorization_scenario import Scenario, roll_back_after
from tests.factories import WRITER, make_clearance, make_memory
from tests.harness.strategies import SOAK
from tests.noninterference.worlds import RecordedResponse
from tests.route_actions import group_evidence

pytestmark = pytest.mark.django_db

SECRET = "AKIA" + "IOSFODNN7EXAMPLE"
DISGUISED_SECRET = "".join("\u200b" + letter for letter in SECRET)
# Among them the letters that come next in the secret; one whose answer is another one stands out among six as well.
GUESSED_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" if SOAK else "AIOZ09"
# A piece that stands in the secret, and one of the same length that does not. A parameter of a route is asked for one
# of the pairs, the next parameter for the next one; by make soak for all.
PIECE_PAIRS = (("AKIAI", "AKIAX"), ("NN7E", "NX7E"), ("AKIAI*", "AKIAX*"))
# No text: a piece is no instant, and some pages answer with the present one instead.
INSTANTS = {"as_of", "known_at", "since", "until", "from", "to"}
PARAMETERS = sorted(
    (
        {*MemoryFilterSet.base_filters, *DiffFilterSet.base_filters, *GroupFilterSet.base_filters}
        | MemoryFilterSet.repeatable_params()
        | {
            *DECISION_PARAMS,
            *GROUP_PARAMS,
            *AUDIT_PARAMS,
            "query",
            "as",
            "back",
            "full",
            "cursor",
            "limit",
            "next",
            "view",
        }
    )
    - INSTANTS
)
# Texts that are posted, with a piece in the place of {}.
POST_BODIES: dict[str, dict[str, Any]] = {
    "api:memories-classify": {"filter": {"q": "{}", "status": "active"}, "add_labels": ["x"], "dry_run": True},
    "api:search": {"filter": {"q": "{}"}, "explain": True},
    "api:secret-search": {"text": "{}"},
    "inspector:secret-search": {"text": "{}"},
    "inspector:memories-classify": {"q": "{}", "add_labels": "x"},
}
# What is posted here is stored, or names something as a whole: nothing is looked for by a part of it.
ROUTES_WITHOUT_TEXT = {
    "api:memory-list": "identities and values are compared as a whole",
    "api:memory-classify": "by id", "inspector:memory-classify": "by id", "inspector:memory-unmask": "by id",
    "api:conflict-claim": "by id", "inspector:conflict-claim": "by id",
    "api:conflict-resolve": "by id", "inspector:conflict-resolve": "by id", "inspector:conflict-similar": "by id",
    "api:decision-undo": "by id", "inspector:decision-undo": "by id", "inspector:classification-undo": "by token",
    "api:policy-list": "stored", "api:policy-detail": "stored", "inspector:policy-create": "stored",
    "inspector:policy-detail": "stored",
    "api:policy-dry-run": "by id", "api:policy-run-create": "by id", "api:policy-run-advance": "by id",
    "api:policy-run-undo": "by id", "inspector:policy-run-create": "by id", "inspector:policy-run-advance": "by id",
    "inspector:policy-run-undo": "by id", "inspector:view-as": "by name", "inspector:view-as-stop": "nothing",
    "inspector:sign-in": "by name", "inspector:sign-out": "nothing", "inspector:theme": "a choice",
}  # fmt: skip
GET_ROUTES = [
    route
    for route in ROUTES
    if matrix_row("GET", route) and not route.pattern.startswith("admin") and route.name != "health"
]
CALLERS = ("analyst", "steward", "read")


@pytest.fixture(scope="module")
def shared_world(django_db_setup: None, django_db_blocker: Any) -> Iterator[Scenario]:
    """A world for all tests here: made once, in a transaction around those of the tests."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield _make_world()
        transaction.set_rollback(True)


@pytest.fixture
def world(shared_world: Scenario, db: None) -> Iterator[Scenario]:
    """What a test does in it is undone after the test."""
    with time_machine.travel(timezone.now(), tick=False):
        yield shared_world


def _make_world() -> Scenario:
    """Everything that a route may name, and a secret in everything that a page shows masked."""
    world_ = Scenario()
    subject_fields: dict[str, Any] = {"subject": f"team {SECRET}", "collection": f"of {SECRET}"}
    memory_fields: dict[str, Any] = {
        "source": f"crm {SECRET}",
        "actor_id": SECRET,
        "labels": [f"label {SECRET}"],
        "metadata": {"key": SECRET},
    }
    for content in ("Paris", "Berlin"):
        make_memory(content=content, **subject_fields)
    make_memory(payload_id=f"id {SECRET}", content=f"The key is {SECRET}.", role=SECRET, model=SECRET, **memory_fields)
    make_memory(content=f"The hidden key is {DISGUISED_SECRET}.", subject="user:ada")
    make_memory(payload_id="once", content=f"Once it was {SECRET}.", subject="user:ada", collection="token")
    make_memory(payload_id="once", content="It is no more.", subject="user:ada", collection="token")
    for content in (f"Ada has {SECRET} on her list.", "Ada has a list."):
        make_memory(content=content, subject="user:dora", collection="token")
    make_clearance(name=f"clearance {SECRET}", max_tier="public")
    choice = Resolution.model_validate({"outcome": "not_a_conflict", "reason": f"Both have {SECRET}."})
    request = ResolutionRequest(key=("user:eve", "city"), evidence=group_evidence(), resolution=choice)
    assert resolve.resolve_many([request], principal=WRITER)[0].decision_id
    world_.path_values |= {
        "<uuid:memory_id>": str(Memory.objects.get(content__startswith="The key").memory_id),
        "<str:conflict_id>": encode_id("user:dora", "token"),
        "<str:group_id>": encode_id("user:dora", "token"),
        "api/timetravel": "api/timetravel?view=list&as_of=2999-01-01&known_at=" + _current_instant(),
        "api/diff": "api/diff?since=2000-01-01&until=" + _current_instant(),
        "api/replay": "api/replay?as=clearance:internal&as_of=2999-01-01&known_at=" + _current_instant(),
    }
    return world_


def _current_instant() -> str:
    return clock.stable_record_time(clock.database_now()).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def route_path(world: Scenario, route: Route) -> str:
    path = world.path(route)
    return f"{path}?since=2000-01-01&until={_current_instant()}" if route.name == "inspector:diff" else path


def send_request(client: Client, path: str, body: dict[str, Any] | None = None) -> RecordedResponse:
    """An answer of which nothing stays, not even that it was read."""
    headers = {"X-Request-ID": "the-same"}
    if body is None:
        call = partial(client.get, path, headers=headers)
    elif path.startswith("/api/"):
        call = partial(client.post, path, body, content_type="application/json", headers=headers)
    else:
        call = partial(client.post, path, body, headers=headers)
    response = RecordedResponse.from_response(roll_back_after(call))
    read_log._writer.reset()
    return response


def without_piece(response: RecordedResponse, piece: str) -> tuple[Any, ...]:
    """What an answer reveals besides the piece itself, which it may repeat, and what is signed together with it."""
    piece = piece.removesuffix("*")  # which addresses encode
    body = response.body.decode()
    # JSON repeats no parameter; for a key it has the stored texts, and pieces of them.
    body = body if body.startswith("{") else re.sub(re.escape(piece), "<piece>", body, flags=re.IGNORECASE)
    headers = [pair for pair in response.headers if pair[0] not in ("ETag", "Set-Cookie")]
    # An instant that lies ahead is clipped to now, which is another one each time.
    body = re.sub(r'"(as_of|known_at|until)":"[^"]+"', "", body)
    # How long a stage took is another number each time, and how a search was read repeats what was asked.
    body, times_count = re.subn(r'"milliseconds":[0-9.e-]+', "", body)
    body = re.sub(r'"reading":"(?:[^"\\]|\\.)*"', "", body)
    headers = [pair for pair in headers if not times_count or pair[0] != "Content-Length"]
    return response.status, [(name, value.replace(piece, "<piece>")) for name, value in headers], body


def _path_with_value(path: str, parameters: list[str], value: str) -> str:
    """`path` with the parameters, or with another value of those that it has; a query within it asks for a text."""
    path, _, query = path.partition("?")
    pairs = [part for part in query.split("&") if part and part.partition("=")[0] not in parameters]
    values = {name: f"q={value}" if name in ("query", "back") else value for name in parameters}
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


def _documented_parameters(pattern: str) -> set[str] | None:
    return _query_parameters().get(re.sub(r"<\w+:\w+>", "{}", pattern))


def test_every_text_of_the_api_is_asked_here():
    names = set().union(*_query_parameters().values())

    assert len(names) > 20
    assert names <= {*PARAMETERS, *INSTANTS, *OPTION_PARAMS, "on_conflict"}


def test_every_route_that_is_posted_to_is_thought_of():
    posted_routes = {route.name for _, route in POST_CELLS}

    assert {name for name in posted_routes if not name.startswith("admin:")} == {
        *POST_BODIES
    } | ROUTES_WITHOUT_TEXT.keys()


@pytest.mark.parametrize("caller", CALLERS)
def test_no_parameter_of_any_route_reveals_a_piece_of_a_secret(world, caller):
    client = world.make_client(caller)
    for route in GET_ROUTES:
        # What an analyst may ask is asked as an analyst; a steward besides what an analyst may not.
        if caller == "steward" and 200 in (matrix_row("GET", route) or ())[1:2]:
            continue
        path = route_path(world, route)
        is_allowed = dict(zip(ALL_CALLERS, matrix_row("GET", route) or (), strict=True))[caller] == 200
        # A caller without the right to a route is refused before the search begins.
        candidates, is_known = _candidate_parameters(client, route, path) if is_allowed else ([PARAMETERS], True)
        for index, parameters in enumerate(candidates):
            for right_piece, wrong_piece in PIECE_PAIRS if SOAK else (PIECE_PAIRS[index % len(PIECE_PAIRS)],):
                wrong_response = send_request(client, _path_with_value(path, parameters, wrong_piece))
                if not is_known and wrong_response.status != 200:
                    break
                right_response = send_request(client, _path_with_value(path, parameters, right_piece))
                assert without_piece(right_response, right_piece) == without_piece(wrong_response, wrong_piece), (
                    route,
                    parameters,
                )


def _candidate_parameters(client: Client, route: Route, path: str) -> tuple[list[list[str]], bool]:
    """The parameters that a route may know, each by itself, and whether it is certain that it knows them.

    All at once, if it takes what it does not know.
    """
    if route.name.startswith("api:") and (documented := _documented_parameters(f"/{route.pattern}")) is not None:
        return [[name] for name in PARAMETERS if name in documented], True
    if send_request(client, _path_with_value(path, ["nonsense"], "zzz")).status == 200:
        return [[name for name in PARAMETERS if name not in path]], True
    names = set(PARAMETERS)
    # Most pages name some of those that they do not know, and the others need not be tried one by one.
    while refused_names := names & _refused_parameters(client, path, names):
        names -= refused_names
    return [[name] for name in sorted(names)], False


def _refused_parameters(client: Client, path: str, names: set[str]) -> set[str]:
    page = send_request(client, _path_with_value(path, sorted(names), "zzz")).body.decode()
    return set(re.findall(r"(\w+!?) is not a parameter of this route", page))


# A steward finds secrets by the search in secrets: only a caller who may unmask them may use it.
POST_CASES = [
    (name, caller)
    for name in POST_BODIES
    for caller in CALLERS
    if (name.partition(":")[2], caller) != ("secret-search", "steward")
]


@pytest.mark.parametrize(("name", "caller"), POST_CASES)
def test_no_posted_value_reveals_a_piece_of_a_secret(world, name, caller):
    (route,) = [route for _, route in POST_CELLS if route.name == name]
    client = world.make_client(caller)
    for right_piece, wrong_piece in PIECE_PAIRS:
        responses = [
            without_piece(send_request(client, world.path(route), _fill_template(POST_BODIES[name], piece)), piece)
            for piece in (right_piece, wrong_piece)
        ]
        assert responses[0] == responses[1]


def _fill_template(body: Any, piece: str) -> Any:
    if isinstance(body, dict):
        return {name: _fill_template(value, piece) for name, value in body.items()}
    return body.replace("{}", piece) if isinstance(body, str) else body


SEARCH_PATHS = [
    "/api/memories?q={}", "/api/memories?q=contains:{}&status=active", "/api/facets?q=contains:{}",
    "/api/histogram?q=contains:{}", "/api/memories?q=-contains:{}", "/api/memories?q=role:{}*",
    "/api/timetravel?as_of=2999-01-01&q={}", "/api/timetravel?view=state&as_of=2999-01-01&q={}",
    "/api/timetravel?view=history&subject=user:ada&as_of=2999-01-01&q={}", "/api/diff?since=2000-01-01&until=NOW&q={}",
    "/api/diff?axis=event&since=2000-01-01&until=2026-12-01&known_at=NOW&q={}", "/api/memories?known_at=NOW&q={}",
    "/api/conflicts?status=all&subject_contains={}", "/api/decisions?q={}", "/?q={}",
    "/api/memories?actor_id={}*", "/api/facets?source=crm%20{}*", "/api/memories?role!={}*&status=active",
    "/?subject=team%20{}*", "/?model!={}*", "/api/search?q={}", "/api/search?mode=keyword&q=contains:{}",
    "/diff?since=2000-01-01&until=NOW&q={}", "/conflicts?class=all&status=all&subject_contains={}", "/decisions?q={}",
]  # fmt: skip


# A key opens no page.
SEARCH_CASES = [
    (search, caller)
    for search in SEARCH_PATHS
    for caller in ("analyst", "read")
    if caller == "analyst" or search.startswith("/api/")
]


@pytest.mark.parametrize(("search", "caller"), SEARCH_CASES)
def test_a_brute_force_of_every_next_letter_learns_none(world, search, caller):
    client, search = world.make_client(caller), search.replace("NOW", _current_instant())

    assert _recover_secret(lambda guess: without_piece(send_request(client, search.replace("{}", guess)), guess)) == ""


def _recover_secret(response_for: Callable[[str], Any]) -> str:
    """What an attacker who knows the kind of a secret makes of the answers: the letters whose answer is another one.

    Two are enough: the other characters can be recovered in the same way.
    """
    known_prefix = SECRET[:4]
    while len(known_prefix) < 6:
        responses = [response_for(known_prefix + letter) for letter in GUESSED_LETTERS]
        usual_response = max(responses, key=responses.count)
        differing_letters = [
            letter for letter, response in zip(GUESSED_LETTERS, responses, strict=True) if response != usual_response
        ]
        if not differing_letters:
            break
        known_prefix += differing_letters[0]
    return known_prefix[4:]


def test_the_attack_reads_what_is_not_masked(world):
    """Else it would prove nothing."""
    make_memory(content="The word is AKIAZ9.")
    client = world.make_client("analyst")

    assert (
        _recover_secret(lambda guess: without_piece(send_request(client, f"/api/facets?q=contains:{guess}"), guess))
        == "Z9"
    )
