"""Whichever way a substring is found, the memories are the same."""

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext

from memoryhub.firewall.types import everything
from memoryhub.memories import facets, ingest, pages, substring
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.querysets import Sought
from memoryhub.memories.substring import newest_matches
from tests.builders import WRITER, envelope

pytestmark = pytest.mark.django_db

ROWS = 120
WORDS = {"everywhere": 1, "often": 3, "seldom": 17, "lately": None, "once": None, "nowhere": None}


def content(number: int) -> str:
    words = [word for word, every in WORDS.items() if every and number % every == 0]
    words += ["lately"] * (number >= ROWS - 6) + ["once"] * (number == 7)
    return f"Fact {number} says {' '.join(words)}."


@pytest.fixture(autouse=True)
def small_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rules as for a million memories, with numbers that a hundred can meet."""
    monkeypatch.setattr(substring, "SAMPLE", 10)
    monkeypatch.setattr(pages, "MAX_SCAN", 40)
    monkeypatch.setattr(facets, "TEXT_CAP", 50)
    ingest.write(
        [
            envelope(content=content(number), timestamp=f"2026-03-01T12:{number // 60:02}:{number % 60:02}Z")
            for number in range(ROWS)
        ],
        by=WRITER,
    )


def asked(text: str) -> MemoryFilterSet:
    return MemoryFilterSet(QueryDict(f"q={text}"), clearance=everything())


@pytest.mark.parametrize("word", WORDS)
def test_a_walk_finds_exactly_the_memories_that_contain_the_text(word):
    found, cursor = [], ""
    while True:
        page = pages.page(asked(word), reader=WRITER, parameters={"limit": "5", "cursor": cursor})
        found += [record["content"] for record in page.records]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor

    assert found == [content(number) for number in reversed(range(ROWS)) if word in content(number)]


@pytest.mark.parametrize(
    ("word", "wanted", "scan", "cut", "by_index"),
    [
        ("everywhere", 6, 40, True, False),
        ("often", 6, 40, True, False),
        ("nowhere", 6, 40, False, True),
        ("often", 6, 500, True, False),
        ("often", 600, 500, False, False),
    ],
)
def test_a_common_text_is_read_for_and_a_rare_one_looked_up(word, wanted, scan, cut, by_index):
    matches = newest_matches(asked(word).candidates, Sought(text=word), wanted=wanted, scan=scan)

    assert matches.cut is cut
    assert bool(matches.rows.lookups) is by_index


def test_a_count_that_looked_at_the_newest_only_says_so():
    everywhere, once = facets.count(asked("everywhere")), facets.count(asked("once"))

    assert (everywhere.total, everywhere.capped) == (50, True)
    assert (once.total, once.capped) == (1, False)


def test_the_end_of_a_stretch_is_one_row_however_many_follow():
    with CaptureQueriesContext(connection) as asked_for:
        found = asked("often").candidates.stretch(5)

    assert found is not None
    assert found.count() == 5
    assert "LIMIT 1 OFFSET 4" in asked_for[0]["sql"]
