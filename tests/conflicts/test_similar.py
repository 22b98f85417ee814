"""Groups like one that is being decided, and the way from one group to the next."""

from typing import Any

import pytest
from django.http import QueryDict

from memoryhub.conflicts import groups, similar
from memoryhub.conflicts.choices import Choice
from memoryhub.conflicts.groups import Group, GroupFilterSet
from memoryhub.conflicts.keys import id_of
from memoryhub.conflicts.neighbours import following
from memoryhub.firewall import wall
from memoryhub.firewall.types import Clearance, Principal, Scope, everything
from memoryhub.memories.envelope import Rejected
from tests.builders import at, make_memory

pytestmark = pytest.mark.django_db

SUE = Principal(name="user:sue", scopes=frozenset(Scope), clearance=everything())


def says(subject: str, city: str, source: str, day: int, **fields: Any) -> None:
    make_memory(
        subject=subject, content=f"She lives in {city}.", source=source, timestamp=at(f"2026-03-0{day} 12:00"),
        **{"collection": "city", **fields},
    )  # fmt: skip


def group(subject: str, collection: str = "city", *, by: Principal = SUE) -> Group:
    filters = GroupFilterSet(QueryDict("unkeyed=true"), clearance=by.clearance)
    found = groups.group(filters, id_of(subject, collection))
    assert found is not None
    return found


def keep(of: Group, place: int) -> Choice:
    return Choice(outcome="keep_one", keep=[of.values[place].memories[0]["memory_id"]], reason="x")


def alike(of: Group, choice: Choice, *, by: Principal = SUE) -> dict[str, str]:
    """The subjects of the groups that are like it, each with what would be kept of it."""
    with wall.behind(by.clearance):
        found = similar.like(of, choice, by=by).found
    return {one.group.key[0]: one.kept.content if one.kept else "all" for one in found}


def test_the_same_source_wins_whatever_is_newer() -> None:
    for subject, first in (("a", "crm"), ("b", "crm"), ("c", "bot")):
        says(subject, "Paris", first, 1)
        says(subject, "London", "bot" if first == "crm" else "crm", 2)

    found = group("a")

    assert alike(found, keep(found, 1)) == {"b": "She lives in Paris.", "c": "She lives in London."}


def test_of_values_from_one_source_the_one_as_new_is_kept() -> None:
    for subject in ("a", "b"):
        says(subject, "Paris", "crm", 1)
        says(subject, "London", "crm", 2)

    found = group("a")

    assert alike(found, keep(found, 0)) == {"b": "She lives in London."}
    assert alike(found, keep(found, 1)) == {"b": "She lives in Paris."}


def test_another_collection_number_of_values_or_source_is_not_alike() -> None:
    for subject, source, collection in (("a", "bot", ""), ("b", "bot", "town"), ("c", "scout", ""), ("d", "bot", "")):
        says(subject, "Paris", "crm", 1, collection=collection)
        says(subject, "London", source, 2, collection=collection)
    says("d", "Rome", "bot", 3, collection="")

    found = group("a", "")

    assert alike(found, keep(found, 0)) == {}
    assert alike(found, Choice(outcome="not_a_conflict", reason="x")) == {}


def test_what_may_not_be_seen_is_not_found() -> None:
    low = Principal(name="user:low", scopes=frozenset(Scope), clearance=Clearance())
    for subject, tier in (("a", "public"), ("b", "restricted"), ("c", "public")):
        says(subject, "Paris", "crm", 1)
        says(subject, "London", "bot", 2, tier=tier)

    found = group("a", by=low)

    assert alike(found, Choice(outcome="not_a_conflict", reason="x"), by=low) == {"c": "all"}


def test_a_memory_that_is_not_of_the_group_is_refused() -> None:
    for subject in ("a", "b"):
        says(subject, "Paris", "crm", 1)
        says(subject, "London", "bot", 2)

    with pytest.raises(Rejected) as refused:
        alike(group("a"), keep(group("b"), 0))
    assert "keep" in refused.value.errors


def test_the_way_leads_through_all_groups_of_a_class_and_ends() -> None:
    for subject in ("a", "b", "c"):
        says(subject, "Paris", "crm", 1)
        says(subject, "London", "bot", 2, collection="city")
    filters = GroupFilterSet(QueryDict("class=contradiction"), clearance=SUE.clearance)
    met, key = [], None

    with wall.behind(SUE.clearance):
        while (found := following(filters, key, reader=SUE)) is not None:
            met.append(found)
            key = ("abc"[len(met) - 1], "city")

    assert met == [id_of(subject, "city") for subject in "abc"]
