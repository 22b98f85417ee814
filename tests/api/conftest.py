"""Callers of the API that many tests ask as."""

from typing import Any

import pytest

from tests.api.receipts import make_writer_key
from tests.factories import make_key


@pytest.fixture
def reader(api: Any) -> Any:
    return api(make_key(clearance={"max_tier": "restricted"}))


@pytest.fixture
def outsider(api: Any) -> Any:
    """A caller without clearance."""
    return api(make_key())


@pytest.fixture
def writer(api: Any) -> Any:
    return api(make_writer_key())


@pytest.fixture
def steward(api: Any) -> Any:
    return api(make_key(scopes="read curate", clearance={"max_tier": "restricted"}))


@pytest.fixture
def low(api: Any) -> Any:
    """A steward without clearance."""
    return api(make_key(scopes="read curate"))
