import time
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.timetravel.text_diff import DiffSegment, diff_for_display

pytestmark = pytest.mark.unit


def format_diff(before: str, after: str) -> str:
    """A diff as `[-deleted-]{+inserted+}`."""
    frames = {"equal": "{}", "deleted": "[-{}-]", "inserted": "{{+{}+}}", "elided": "<{}>"}
    return "".join(frames[segment.kind].format(segment.text) for segment in diff_for_display(before, after))


@pytest.mark.parametrize(
    ("before", "after", "diff"),
    [
        ("same", "same", "same"),
        ("", "new", "{+new+}"),
        ("Ada lives in Paris.", "Ada lives in Berlin.", "Ada lives in [-Paris-]{+Berlin+}."),
        ("red car", "blue bus", "[-red car-]{+blue bus+}"),
        ("a b c", "a c", "a [-b -]c"),
        ("one two", "one two three", "one two{+ three+}"),
        ("Berlin", "Bern", "[-Berlin-]{+Bern+}"),
        ("w " * 100 + "x", "w " * 100 + "y", "<85 unchanged words>" + "w " * 15 + "[-x-]{+y+}"),
    ],
)
def test_changes_are_shown_word_by_word(before: str, after: str, diff: str) -> None:
    assert format_diff(before, after) == diff


@given(st.text("ab \n", max_size=60), st.text("ab \n", max_size=60))
def test_both_texts_can_be_read_off_a_diff(before: str, after: str) -> None:
    segments = diff_for_display(before, after)

    assert "".join(segment.text for segment in segments if segment.kind != "inserted") == before
    assert "".join(segment.text for segment in segments if segment.kind != "deleted") == after


def test_a_long_repetitive_text_is_shown_as_a_whole_in_time() -> None:
    rng = Random(1)
    before, after = (" ".join(rng.choices("ab", k=200_000)) for _ in range(2))
    start_time = time.perf_counter()

    segments = diff_for_display(before, after)

    assert {segment.kind for segment in segments} >= {"deleted", "inserted"}
    assert time.perf_counter() - start_time < 5


def test_long_texts_are_compared_by_lines() -> None:
    lines = [f"line {index} says something" for index in range(500)]
    changed_lines = [*lines[:100], "another line", *lines[101:300], *lines[301:]]

    deleted_texts = [
        segment.text
        for segment in diff_for_display("\n".join(lines), "\n".join(changed_lines))
        if segment.kind == "deleted"
    ]

    assert deleted_texts == ["line 100 says something\n", "line 300 says something\n"]


def test_equal_texts_are_one_segment() -> None:
    assert diff_for_display("word " * 500, "word " * 500) == [DiffSegment("equal", "word " * 500)]
