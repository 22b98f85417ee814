"""Callers that many tests of time travel ask as; a module with a caller of its own defines it again."""

from typing import Any

import pytest

from tests.factories import make_key


@pytest.fixture
def reader(api: Any) -> Any:
    return api(make_key(scopes="read curate", clearance={"max_tier": "restricted"}))


@pytest.fixture
def outsider(api: Any) -> Any:
    return api(make_key())
