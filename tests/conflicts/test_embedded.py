"""Values that came with embeddings are compared by them, too."""

import pytest
from django.http import QueryDict

from memoryhub.conflicts import groups
from memoryhub.conflicts.groups import GroupFilterSet
from memoryhub.conflicts.keys import id_of
from memoryhub.firewall.types import everything
from tests.builders import make_memory

pytestmark = pytest.mark.django_db

KEY = ("user:ada", "likes")


def bars() -> dict[str, float]:
    """The features of the one pair, by name."""
    found = groups.group(GroupFilterSet(QueryDict(), clearance=everything()), id_of(*KEY))
    assert found is not None
    ((_, _, verdict),) = found.verdicts
    return {feature.name: feature.value for feature in verdict.features}


def say(content: str, *direction: float) -> None:
    vector = [*direction, *[0.0] * (384 - len(direction))] if direction else None
    make_memory(subject=KEY[0], collection=KEY[1], content=content, embedding=vector)


def test_the_angle_between_two_embeddings_is_a_feature():
    say("She is fond of tea.", 1.0, 0.0)
    say("She drinks coffee.", 3.0, 4.0)

    assert bars()["cosine"] == pytest.approx(0.6 - 0.7)


def test_it_says_nothing_of_bare_values():
    say("open", 1.0, 0.0)
    say("tombstone", 0.0, 1.0)

    assert "cosine" not in bars()


def test_without_an_embedding_on_one_side_there_is_none():
    say("She is fond of tea.", 1.0, 0.0)
    say("She drinks coffee.")

    assert "cosine" not in bars()
