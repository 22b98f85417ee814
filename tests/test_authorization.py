"""Who may call which route: one table over every route of the URL conf and every kind of caller (AZ-01).

A new route is one line in AUTHORIZATION_MATRIX (authorization_matrix.py) for each of its methods, and for a method that
sends something also one in ROUTE_ACTIONS (route_actions.py). A route or a method that is in neither fails a test.
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import partial
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.db import transaction

from memoryhub.audit.models import AuditEntry
from tests.api.responses import assert_any_problem, comparable_response
from tests.authorization_matrix import (
    AUTHORIZATION_MATRIX,
    CALLERS,
    CELLS,
    LISTED_CELLS,
    METHODS,
    POST_CELLS,
    ROUTES,
    matrix_row,
)
from tests.authorization_scenario import Scenario, roll_back_after, send_request
from tests.route_actions import ROUTE_ACTIONS

pytestmark = pytest.mark.django_db

# The last one with a token of its own, which the browser has for this site as well.
FORGED_HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"HX-Request": "true"},
    {"X-CSRFToken": "a" * 32, "Origin": "https://evil.example"},
)


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
        if response.status_code >= 400 and route.pattern.startswith(("api/", "ready", "health", "metrics")):
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
