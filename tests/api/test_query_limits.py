"""A request that asks for too much is refused in few words, and leaves nothing in the log."""

import logging
from typing import Any

import pytest
from django.test import Client

from memoryhub.memories.filters import MAX_SEARCH_LENGTH
from memoryhub.middleware import MAX_QUERY_BYTES, MAX_QUERY_PARAMS
from tests.api.responses import assert_problem
from tests.factories import make_key

pytestmark = pytest.mark.django_db
LONG_QUERY = "q=" + "x" * (MAX_QUERY_BYTES - 1)
MANY_PARAMETERS = "&".join(f"canary{index}=1" for index in range(MAX_QUERY_PARAMS + 1))


def read_body(path: str) -> Any:
    return Client(raise_request_exception=False).get(path, headers={"Authorization": f"Bearer {make_key()}"})


@pytest.mark.parametrize("path", ["/api/memories", "/api/nothing", "/ready"])
@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        (LONG_QUERY, 414, "query_too_long"),
        (MANY_PARAMETERS, 400, "bad_request"),
        ("&" * 60_000, 400, "bad_request"),
        ("&".join(f"canary{number}" for number in range(5_000)), 400, "bad_request"),
        ("q=" + "%F0%9F%98%80" * 5_000, 414, "query_too_long"),
    ],
    ids=["long", "many", "empty", "60 kB of many", "60 kB of one"],
)
def test_a_long_query_string_is_a_short_problem(path, query, status, code, caplog):
    response = read_body(f"{path}?{query}")

    assert_problem(response, status, code)
    assert len(response.content) < 400
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("path", ["/", "/sign-in", "/admin/", "/static/css/memoryhub.css"])
@pytest.mark.parametrize(("query", "status"), [(LONG_QUERY, 414), (MANY_PARAMETERS, 400)], ids=["long", "many"])
def test_a_long_query_string_of_a_page_is_a_short_answer(path, query, status, caplog):
    response = Client().get(f"{path}?{query}")

    assert response.status_code == status
    assert len(response.content) < 200
    assert b"canary" not in response.content
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_the_longest_search_in_any_script_is_answered():
    assert read_body("/api/memories?q=" + "%F0%9F%98%80" * (MAX_QUERY_BYTES // 12 - 1)).status_code == 200
    assert read_body("/api/search?q=" + "word+" * (MAX_SEARCH_LENGTH // 5)).status_code == 200


def test_of_many_unknown_parameters_a_few_are_named():
    query = "&".join("x" * 60 + str(index) for index in range(MAX_QUERY_PARAMS))

    response = read_body(f"/api/memories?{query}")

    assert len(assert_problem(response, 400, "invalid_parameter")["errors"]) == 20
    assert len(response.content) < 4_000


def test_a_form_of_too_many_fields_leaves_no_traceback(caplog):
    response = Client(raise_request_exception=False).post(
        "/sign-in", "&".join(["canary"] * 5_000), content_type="application/x-www-form-urlencoded"
    )

    assert response.status_code == 400
    assert "canary" not in response.content.decode()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_an_array_of_too_many_items_is_too_large():
    secret = make_key(scopes="write")
    for body in ("[" + "{}," * 1_000 + "{}]", "[" + "{}," * 5_000_000 + "{}]"):
        response = Client().post(
            "/api/memories", body, content_type="application/json", headers={"Authorization": f"Bearer {secret}"}
        )

        assert_problem(response, 413, "too_large")
        assert len(response.content) < 400
