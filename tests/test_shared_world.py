"""A test sees the rows of its shared world, and leaves none of its own to the next test."""

from collections.abc import Iterator

import pytest

from memoryhub.memories.models import Memory
from tests.factories import make_memory
from tests.shared_world import shared_world

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest) -> Iterator[Memory]:
    with shared_world(request):
        yield make_memory(payload_id="shared")


@pytest.mark.parametrize("payload_id", ["first", "second"])
def test_each_test_finds_the_world_and_nothing_of_another_test(world: Memory, payload_id: str) -> None:
    make_memory(payload_id=payload_id)

    assert set(Memory.objects.values_list("payload_id", flat=True)) == {"shared", payload_id}


def test_a_test_that_has_begun_cannot_ask_for_one(request: pytest.FixtureRequest) -> None:
    with pytest.raises(AssertionError, match="has begun"), shared_world(request):
        pass
