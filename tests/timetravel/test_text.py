import time
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.timetravel.text import Piece, words_changed


def told(before: str, after: str) -> str:
    """A diff as `[-gone-]{+new+}`."""
    frames = {"same": "{}", "gone": "[-{}-]", "new": "{{+{}+}}", "skipped": "<{}>"}
    return "".join(frames[piece.kind].format(piece.text) for piece in words_changed(before, after))


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
def test_changes_are_told_word_by_word(before: str, after: str, diff: str) -> None:
    assert told(before, after) == diff


@given(st.text("ab \n", max_size=60), st.text("ab \n", max_size=60))
def test_both_texts_can_be_read_off_a_diff(before: str, after: str) -> None:
    pieces = words_changed(before, after)

    assert "".join(piece.text for piece in pieces if piece.kind != "new") == before
    assert "".join(piece.text for piece in pieces if piece.kind != "gone") == after


def test_a_long_repetitive_text_is_told_as_a_whole_in_time() -> None:
    dice = Random(1)
    before, after = (" ".join(dice.choices("ab", k=200_000)) for _ in range(2))
    started = time.perf_counter()

    pieces = words_changed(before, after)

    assert {piece.kind for piece in pieces} >= {"gone", "new"}
    assert time.perf_counter() - started < 5


def test_long_texts_are_compared_by_lines() -> None:
    lines = [f"line {number} says something" for number in range(500)]
    changed = [*lines[:100], "another line", *lines[101:300], *lines[301:]]

    gone = [piece.text for piece in words_changed("\n".join(lines), "\n".join(changed)) if piece.kind == "gone"]

    assert gone == ["line 100 says something\n", "line 300 says something\n"]


def test_equal_texts_are_one_piece() -> None:
    assert words_changed("word " * 500, "word " * 500) == [Piece("same", "word " * 500)]
