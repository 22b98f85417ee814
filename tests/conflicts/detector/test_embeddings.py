"""Values that came with embeddings are compared by them, too."""

import pytest
from django.http import QueryDict

from memoryhub.conflicts.groups import groups
from memoryhub.conflicts.groups.group_keys import encode_id
from memoryhub.conflicts.groups.groups import GroupFilterSet
from memoryhub.firewall.clearance import unrestricted_clearance
from tests.factories import make_memory

pytestmark = pytest.mark.django_db

KEY = ("user:ada", "likes")


def features_by_name() -> dict[str, float]:
    """The features of the one pair, by name."""
    group = groups.get_group(GroupFilterSet(QueryDict(), clearance=unrestricted_clearance()), encode_id(*KEY))
    assert group is not None
    ((_, _, verdict),) = group.pair_verdicts
    return {feature.name: feature.value for feature in verdict.features}


def make_value(content: str, *direction: float) -> None:
    vector = [*direction, *[0.0] * (384 - len(direction))] if direction else None
    make_memory(subject=KEY[0], collection=KEY[1], content=content, embedding=vector)


def test_the_angle_between_two_embeddings_is_a_feature():
    make_value("She is fond of tea.", 1.0, 0.0)
    make_value("She drinks coffee.", 3.0, 4.0)

    assert features_by_name()["cosine"] == pytest.approx(0.6 - 0.7)


def test_it_says_nothing_of_bare_values():
    make_value("open", 1.0, 0.0)
    make_value("tombstone", 0.0, 1.0)

    assert "cosine" not in features_by_name()


def test_without_an_embedding_on_one_side_there_is_none():
    make_value("She is fond of tea.", 1.0, 0.0)
    make_value("She drinks coffee.")

    assert "cosine" not in features_by_name()
