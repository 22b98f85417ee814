"""Whichever way a substring is found, the memories are the same."""

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext

from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.memories import facets, pagination, text_search
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.sql.search_conditions import SearchTerms
from memoryhub.memories.text_search import newest_matching
from memoryhub.memories.writes import write
from tests.factories import WRITER, envelope

pytestmark = pytest.mark.django_db

ROW_COUNT = 120
WORD_INTERVALS = {"everywhere": 1, "often": 3, "seldom": 17, "lately": None, "once": None, "nowhere": None}


def content_of(index: int) -> str:
    words = [word for word, interval in WORD_INTERVALS.items() if interval and index % interval == 0]
    words += ["lately"] * (index >= ROW_COUNT - 6) + ["once"] * (index == 7)
    return f"Fact {index} says {' '.join(words)}."


@pytest.fixture(autouse=True)
def small_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rules as for a million memories, with numbers that a hundred can meet."""
    monkeypatch.setattr(text_search, "SAMPLE_SIZE", 10)
    monkeypatch.setattr(pagination, "MAX_SCANNED", 40)
    monkeypatch.setattr(facets, "MAX_TEXT_SCANNED", 50)
    write.write_memories(
        [
            envelope(content=content_of(index), timestamp=f"2026-03-01T12:{index // 60:02}:{index % 60:02}Z")
            for index in range(ROW_COUNT)
        ],
        principal=WRITER,
    )


def filter_for(text: str) -> MemoryFilterSet:
    return MemoryFilterSet(QueryDict(f"q={text}"), clearance=unrestricted_clearance())


@pytest.mark.parametrize("word", WORD_INTERVALS)
def test_a_walk_finds_exactly_the_memories_that_contain_the_text(word):
    found_contents, cursor = [], ""
    while True:
        page = pagination.list_page(filter_for(word), principal=WRITER, params={"limit": "5", "cursor": cursor})
        found_contents += [record["content"] for record in page.records]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor

    assert found_contents == [content_of(index) for index in reversed(range(ROW_COUNT)) if word in content_of(index)]


@pytest.mark.parametrize(
    ("word", "expected_count", "is_scan", "is_truncated", "uses_index"),
    [
        ("everywhere", 6, 40, True, False),
        ("often", 6, 40, True, False),
        ("nowhere", 6, 40, False, True),
        ("often", 6, 500, True, False),
        ("often", 600, 500, False, False),
    ],
)
def test_a_common_text_is_read_for_and_a_rare_one_looked_up(word, expected_count, is_scan, is_truncated, uses_index):
    matches = newest_matching(
        filter_for(word).candidates, SearchTerms(literals=(word,)), target_count=expected_count, max_scanned=is_scan
    )

    assert matches.is_truncated is is_truncated
    assert bool(matches.rows.index_lookups) is uses_index


def test_a_count_that_looked_at_the_newest_only_says_so():
    common_counts, rare_counts = facets.count_facets(filter_for("everywhere")), facets.count_facets(filter_for("once"))

    assert (common_counts.total, common_counts.is_capped) == (50, True)
    assert (rare_counts.total, rare_counts.is_capped) == (1, False)


def test_the_end_of_a_stretch_is_one_row_however_many_follow():
    with CaptureQueriesContext(connection) as queries:
        stretch = filter_for("often").candidates.newest_range(5)

    assert stretch is not None
    assert stretch.count() == 5
    assert "LIMIT 1 OFFSET 4" in queries[0]["sql"]
