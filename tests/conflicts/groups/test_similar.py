"""Groups like one that is being decided, and the way from one group to the next."""

from typing import Any

import pytest
from django.http import QueryDict

from memoryhub.conflicts.decisions.resolution_requests import Resolution
from memoryhub.conflicts.groups import groups, similar
from memoryhub.conflicts.groups.group_keys import encode_id
from memoryhub.conflicts.groups.groups import Group, GroupFilterSet, find_next_group_id
from memoryhub.firewall import rls
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.writes.envelope import OperationRejectedError
from tests.factories import make_memory, utc

pytestmark = pytest.mark.django_db

SUE = Principal(name="user:sue", scopes=frozenset(Scope), clearance=unrestricted_clearance())


def make_statement(subject: str, city: str, source: str, day: int, **fields: Any) -> None:
    make_memory(
        subject=subject, content=f"She lives in {city}.", source=source, timestamp=utc(f"2026-03-0{day} 12:00"),
        **{"collection": "city", **fields},
    )  # fmt: skip


def get_group(subject: str, collection: str = "city", *, principal: Principal = SUE) -> Group:
    filters = GroupFilterSet(QueryDict("include_keyless=true"), clearance=principal.clearance)
    group_summary = groups.get_group(filters, encode_id(subject, collection))
    assert group_summary is not None
    return group_summary


def keep_value(of_group: Group, index: int) -> Resolution:
    return Resolution(outcome="keep_one", keep=[of_group.values[index].memories[0]["memory_id"]], reason="x")


def similar_subjects(of_group: Group, choice: Resolution, *, principal: Principal = SUE) -> dict[str, str]:
    """The subjects of the groups that are like it, each with what would be kept of it."""
    with rls.as_reader(principal.clearance):
        similar_groups = similar.find_similar(of_group, choice, principal=principal).groups
    return {
        similar_group.group.key[0]: similar_group.kept_value.content if similar_group.kept_value else "all"
        for similar_group in similar_groups
    }


def test_the_same_source_wins_whatever_is_newer() -> None:
    for subject, first in (("a", "crm"), ("b", "crm"), ("c", "bot")):
        make_statement(subject, "Paris", first, 1)
        make_statement(subject, "London", "bot" if first == "crm" else "crm", 2)

    group_a = get_group("a")

    assert similar_subjects(group_a, keep_value(group_a, 1)) == {
        "b": "She lives in Paris.",
        "c": "She lives in London.",
    }


def test_of_values_from_one_source_the_one_as_new_is_kept() -> None:
    for subject in ("a", "b"):
        make_statement(subject, "Paris", "crm", 1)
        make_statement(subject, "London", "crm", 2)

    group_a = get_group("a")

    assert similar_subjects(group_a, keep_value(group_a, 0)) == {"b": "She lives in London."}
    assert similar_subjects(group_a, keep_value(group_a, 1)) == {"b": "She lives in Paris."}


def test_another_collection_number_of_values_or_source_is_not_alike() -> None:
    for subject, source, collection in (("a", "bot", ""), ("b", "bot", "town"), ("c", "scout", ""), ("d", "bot", "")):
        make_statement(subject, "Paris", "crm", 1, collection=collection)
        make_statement(subject, "London", source, 2, collection=collection)
    make_statement("d", "Rome", "bot", 3, collection="")

    group_a = get_group("a", "")

    assert similar_subjects(group_a, keep_value(group_a, 0)) == {}
    assert similar_subjects(group_a, Resolution(outcome="not_a_conflict", reason="x")) == {}


def test_what_may_not_be_seen_is_not_found() -> None:
    low = Principal(name="user:low", scopes=frozenset(Scope), clearance=Clearance())
    for subject, tier in (("a", "public"), ("b", "restricted"), ("c", "public")):
        make_statement(subject, "Paris", "crm", 1)
        make_statement(subject, "London", "bot", 2, tier=tier)

    group_a = get_group("a", principal=low)

    assert similar_subjects(group_a, Resolution(outcome="not_a_conflict", reason="x"), principal=low) == {"c": "all"}


def test_a_memory_that_is_not_of_the_group_is_refused() -> None:
    for subject in ("a", "b"):
        make_statement(subject, "Paris", "crm", 1)
        make_statement(subject, "London", "bot", 2)

    with pytest.raises(OperationRejectedError) as exc_info:
        similar_subjects(get_group("a"), keep_value(get_group("b"), 0))
    assert "keep" in exc_info.value.errors


def test_the_way_leads_through_all_groups_of_a_class_and_ends() -> None:
    for subject in ("a", "b", "c"):
        make_statement(subject, "Paris", "crm", 1)
        make_statement(subject, "London", "bot", 2, collection="city")
    filters = GroupFilterSet(QueryDict("class=contradiction"), clearance=SUE.clearance)
    visited_ids, key = [], None

    with rls.as_reader(SUE.clearance):
        while (next_id := find_next_group_id(filters, key)) is not None:
            visited_ids.append(next_id)
            key = ("abc"[len(visited_ids) - 1], "city")

    assert visited_ids == [encode_id(subject, "city") for subject in "abc"]
