"""Memories with words and vectors, and a reader who searches them over the API."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import ApiClient
from tests.factories import make_key


@pytest.fixture
def reader(api: Callable[[str | None], ApiClient]) -> ApiClient:
    return api(make_key(clearance={"max_tier": "internal"}))


def search(reader: ApiClient, text: str, **params: Any) -> dict[str, Any]:
    response = reader.get("/api/search", q=text, **params)
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer


def contents(answer: dict[str, Any]) -> list[str]:
    return [result["memory"]["content"] for result in answer["results"]]
