"""Classes of groups: counted, and kept under what they were computed from."""

from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection, transaction
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext

from memoryhub.conflicts.detector import compare
from memoryhub.conflicts.groups import class_counts, groups
from memoryhub.conflicts.groups.class_counts import ClassCounts
from memoryhub.conflicts.groups.groups import GroupFilterSet
from memoryhub.conflicts.models import GroupClassCache
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.principal import Principal
from tests.conflicts.groups.test_groups import list_all_groups, resolve_group
from tests.factories import make_memory

pytestmark = pytest.mark.django_db

CONTRADICTION = ("Bob has a dog.", "Bob does not have a dog.")
DUPLICATE = ("Paris", "paris.")


def make_group(subject: str, *contents: str, **fields: Any) -> None:
    for index, content in enumerate(contents):
        make_memory(subject=subject, collection="pet", content=content, actor_id=f"actor-{index}", **fields)


def counts_by_class(query: str = "", clearance: Clearance | None = None) -> ClassCounts:
    return class_counts.count_by_class(
        GroupFilterSet(QueryDict(query), clearance=clearance or unrestricted_clearance())
    )


class TestClassCounts:
    def test_are_of_every_class(self):
        make_group("user:ada", *CONTRADICTION)
        make_group("user:bob", *CONTRADICTION)
        make_group("user:eve", *DUPLICATE)

        assert counts_by_class() == ClassCounts(
            by_class={"contradiction": 2, "update": 0, "paraphrase": 0, "duplicate": 1, "unrelated": 0},
            total=3,
            is_capped=False,
        )
        assert counts_by_class("class=duplicate&subject=user:ada").by_class["contradiction"] == 1

    def test_are_of_what_is_open_to_the_reader(self):
        make_group("user:ada", *CONTRADICTION)
        make_group("user:bob", *CONTRADICTION, tier="restricted")
        resolve_group("user:ada", "pet", outcome="not_a_conflict")

        assert counts_by_class().total == 1
        assert counts_by_class(clearance=Clearance()).total == 0
        assert counts_by_class("status=decided", Clearance()).total == 1

    def test_say_that_there_are_more(self, monkeypatch):
        for index in range(3):
            make_group(f"user:{index}", *DUPLICATE)
        monkeypatch.setattr(class_counts, "MAX_COUNTED", 2)

        assert (counts_by_class().total, counts_by_class().is_capped) == (2, True)

    def test_are_of_as_many_groups_after_another_reader_looked(self, monkeypatch):
        for index in range(5):
            make_group(f"user:{index}", "One.", "Two.", "Three.")
        monkeypatch.setattr(class_counts, "MAX_PAIRS_COMPARED", 6)

        # Three values make three pairs.
        assert (counts_by_class().total, counts_by_class().is_capped) == (2, True)
        assert len(list_all_groups()) == 5
        assert (counts_by_class().total, counts_by_class().is_capped) == (2, True)

    def test_take_one_group_at_least(self, monkeypatch):
        make_group("user:ada", *CONTRADICTION)
        monkeypatch.setattr(class_counts, "MAX_PAIRS_COMPARED", 0)

        assert (counts_by_class().total, counts_by_class().is_capped) == (1, False)


class TestClassCache:
    def test_classes_are_not_computed_again(self):
        make_group("user:ada", *CONTRADICTION)
        make_group("user:bob", *DUPLICATE)
        before = list_all_groups()

        with patch.object(compare, "compare", side_effect=AssertionError):
            assert list_all_groups() == before
            assert counts_by_class().total == 2
            assert [group.key[0] for group in list_all_groups("class=duplicate")] == ["user:bob"]

    def test_classes_are_computed_again_for_other_members(self):
        make_group("user:ada", *DUPLICATE)
        assert [group.conflict_class for group in list_all_groups()] == ["duplicate"]

        make_group("user:ada", *CONTRADICTION)

        assert [group.conflict_class for group in list_all_groups()] == ["contradiction"]

    def test_classes_of_another_detector_are_computed_again(self):
        make_group("user:ada", *DUPLICATE)
        assert len(list_all_groups()) == 1
        GroupClassCache.objects.update(model_version="long ago", conflict_class="unrelated")

        assert [group.conflict_class for group in list_all_groups()] == ["duplicate"]
        assert GroupClassCache.objects.get().conflict_class == "duplicate"

    def test_classes_are_those_of_what_a_reader_sees(self):
        make_group("user:ada", *DUPLICATE)
        make_group("user:ada", *CONTRADICTION, tier="restricted")

        assert [group.conflict_class for group in list_all_groups()] == ["contradiction"]
        assert [group.conflict_class for group in list_all_groups(clearance=Clearance())] == ["duplicate"]

    def test_classes_are_not_needed(self):
        make_group("user:ada", *DUPLICATE)

        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            assert [group.conflict_class for group in list_all_groups()] == ["duplicate"]
            assert not GroupClassCache.objects.exists()
            transaction.set_rollback(True)


def test_a_page_of_a_class_goes_on_behind_those_that_it_passed(monkeypatch):
    for index in range(6):
        make_group(f"user:{index}", "One.", "Two.", "Three.")
    make_group("user:9", *DUPLICATE)
    monkeypatch.setattr(groups, "MAX_PAIRS_COMPARED", 6)

    assert [group.key[0] for group in list_all_groups("class=duplicate")] == ["user:9"]


def test_a_page_of_many_groups_takes_as_many_queries_as_one_of_few():
    for index in range(20):
        make_group(f"user:{index:02}", *CONTRADICTION)
    resolve_group("user:03", "pet", outcome="not_a_conflict")
    make_group("user:03", "Bob has a cat.")
    reader = Principal(name="key:a", clearance=unrestricted_clearance())

    def count_queries(limit: int) -> int:
        filters = GroupFilterSet(QueryDict(), clearance=unrestricted_clearance())
        with CaptureQueriesContext(connection) as query_log:
            assert len(groups.list_page(filters, principal=reader, params={"limit": str(limit)}).groups) == limit
        return len(query_log)

    assert len(list_all_groups()) == 20
    assert count_queries(20) == count_queries(5) == 3
