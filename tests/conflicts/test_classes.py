"""Classes of groups: counted, and kept under what they were computed from."""

from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection, transaction
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext

from memoryhub.conflicts import classes, detector, groups
from memoryhub.conflicts.classes import Counts
from memoryhub.conflicts.groups import GroupFilterSet
from memoryhub.conflicts.models import GroupClass
from memoryhub.firewall.types import Clearance, Principal, everything
from tests.builders import make_memory
from tests.conflicts.test_groups import decide_about, found

pytestmark = pytest.mark.django_db

CONTRADICTION = ("Bob has a dog.", "Bob does not have a dog.")
DUPLICATE = ("Paris", "paris.")


def say(subject: str, *contents: str, **fields: Any) -> None:
    for number, content in enumerate(contents):
        make_memory(subject=subject, collection="pet", content=content, actor_id=f"actor-{number}", **fields)


def counted(query: str = "", clearance: Clearance | None = None) -> Counts:
    return classes.counts(GroupFilterSet(QueryDict(query), clearance=clearance or everything()))


class TestCounts:
    def test_are_of_every_class(self):
        say("user:ada", *CONTRADICTION)
        say("user:bob", *CONTRADICTION)
        say("user:eve", *DUPLICATE)

        assert counted() == Counts(
            numbers={"contradiction": 2, "update": 0, "paraphrase": 0, "duplicate": 1, "unrelated": 0},
            total=3,
            capped=False,
        )
        assert counted("class=duplicate&subject=user:ada").numbers["contradiction"] == 1

    def test_are_of_what_is_open_to_the_reader(self):
        say("user:ada", *CONTRADICTION)
        say("user:bob", *CONTRADICTION, tier="restricted")
        decide_about("user:ada", "pet", outcome="not_a_conflict")

        assert counted().total == 1
        assert counted(clearance=Clearance()).total == 0
        assert counted("status=decided", Clearance()).total == 1

    def test_say_that_there_are_more(self, monkeypatch):
        for number in range(3):
            say(f"user:{number}", *DUPLICATE)
        monkeypatch.setattr(classes, "MOST_COUNTED", 2)

        assert (counted().total, counted().capped) == (2, True)

    def test_are_of_as_many_groups_whoever_looked_before(self, monkeypatch):
        for number in range(5):
            say(f"user:{number}", "One.", "Two.", "Three.")
        monkeypatch.setattr(classes, "MOST_COMPARED", 6)

        # Three values make three pairs.
        assert (counted().total, counted().capped) == (2, True)
        assert len(found()) == 5
        assert (counted().total, counted().capped) == (2, True)

    def test_take_one_group_at_least(self, monkeypatch):
        say("user:ada", *CONTRADICTION)
        monkeypatch.setattr(classes, "MOST_COMPARED", 0)

        assert (counted().total, counted().capped) == (1, False)


class TestKept:
    def test_classes_are_not_computed_again(self):
        say("user:ada", *CONTRADICTION)
        say("user:bob", *DUPLICATE)
        before = found()

        with patch.object(detector, "compare", side_effect=AssertionError):
            assert found() == before
            assert counted().total == 2
            assert [group.key[0] for group in found("class=duplicate")] == ["user:bob"]

    def test_classes_are_computed_again_for_other_members(self):
        say("user:ada", *DUPLICATE)
        assert [group.klass for group in found()] == ["duplicate"]

        say("user:ada", *CONTRADICTION)

        assert [group.klass for group in found()] == ["contradiction"]

    def test_classes_of_another_detector_are_computed_again(self):
        say("user:ada", *DUPLICATE)
        assert len(found()) == 1
        GroupClass.objects.update(version="long ago", klass="unrelated")

        assert [group.klass for group in found()] == ["duplicate"]
        assert GroupClass.objects.get().klass == "duplicate"

    def test_classes_are_those_of_what_a_reader_sees(self):
        say("user:ada", *DUPLICATE)
        say("user:ada", *CONTRADICTION, tier="restricted")

        assert [group.klass for group in found()] == ["contradiction"]
        assert [group.klass for group in found(clearance=Clearance())] == ["duplicate"]

    def test_classes_are_not_needed(self):
        say("user:ada", *DUPLICATE)

        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            assert [group.klass for group in found()] == ["duplicate"]
            assert not GroupClass.objects.exists()
            transaction.set_rollback(True)


def test_a_page_of_a_class_goes_on_behind_those_that_it_passed(monkeypatch):
    for number in range(6):
        say(f"user:{number}", "One.", "Two.", "Three.")
    say("user:9", *DUPLICATE)
    monkeypatch.setattr(groups, "MOST_COMPARED", 6)

    assert [group.key[0] for group in found("class=duplicate")] == ["user:9"]


def test_a_page_of_many_groups_takes_as_many_queries_as_one_of_few():
    for number in range(20):
        say(f"user:{number:02}", *CONTRADICTION)
    decide_about("user:03", "pet", outcome="not_a_conflict")
    say("user:03", "Bob has a cat.")
    reader = Principal(name="key:a", clearance=everything())

    def queries(limit: int) -> int:
        filters = GroupFilterSet(QueryDict(), clearance=everything())
        with CaptureQueriesContext(connection) as captured:
            assert len(groups.page(filters, reader=reader, parameters={"limit": str(limit)}).groups) == limit
        return len(captured)

    assert len(found()) == 20
    assert queries(20) == queries(5) == 3
