"""The canonical form of a value: what is the same, what is not, and what holds of every text."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.core.canonical import COMBINING_MARKS, MAX_MARKS, canonicalize_text, compute_canonical_digest

pytestmark = pytest.mark.unit

SAME_VALUES = [
    ("Lead is Tom", variant)
    for variant in (
        "Lead is Tom.", "Lead is Tom. ", "Lead is Tom!", "Lead is Tom!!", "Lead is Tom...", "Lead is Tom\u2026",
        "Lead is Tom\u3002", "lead is tom", "lead is tom.", "Lead Is Tom", "LEAD IS TOM", "LEAD IS TOM!", "lead is Tom",
        " Lead is Tom", "Lead is Tom ", "Lead  is Tom", "Lead is\tTom", "Lead is\nTom\n", "Lead\u00a0is Tom",
        "\ufeffLead is Tom\u200b",
    )
] + [
    ("The caf\u00e9 is open", "The cafe\u0301 is open"), ("\u212bngstr\u00f6m", "\u00e5ngstro\u0308m"),
    ("a, b, c", "A, B, C"), ("(Tom)", "(tom)"), ("Don\u2019t", "don\u2019t"), ("Note: late", "note: late"),
    ("Costs 5 %", "Costs 5 %."), ("Uses C++", "Uses C++."), ("feels \U0001f600", "Feels \U0001f600."), ("5", "5."),
    ("\u1f48\u03b4\u03c5\u03c3\u03c3\u03b5\u03cd\u03c2", "\u1f40\u03b4\u03c5\u03c3\u03c3\u03b5\u03cd\u03c3"),
    ("\u5f7c\u306f\u533b\u8005\u3067\u3059\u3002", "\u5f7c\u306f\u533b\u8005\u3067\u3059"),
    ("", " \n"),
]  # fmt: skip
DIFFERENT_VALUES = [
    ("x=1", "x!=1"), ("5 %", "5"), ("/etc/Passwd", "/etc/passwd"), ("-v", "v"), ("-v", "-V"), ("a/b", "a*b"),
    ("*.py", ".py"), ("$5", "$-5"), ("1e5", "1e-5"), ("$5", "\u20ac5"), ("5", "-5"), ("5", "+5"), ("<5", ">5"),
    ("1.5", "15"), ("1 2", "12"), ("1,000", "1000"), ("C", "C++"), ("v1.2", "v1.3"), ("v1", "V1"), ("~/a", "/a"),
    ("10 MB", "10 Mb"), ("10 MB", "10 mb"), ("10MB", "10Mb"), ("5 m", "5 M"), ("10 kg", "10 g"),
    ("iPhone", "iphone"), ("The API is up", "The Api is up"), ("user@Example.com", "user@example.com"),
    ("5!", "5"), ("n!", "n"), ("int?", "int"), ("Lead is Tom?", "Lead is Tom"), ("main..", "main"), ("..", "."),
    ("*.", "*"), ("git add .", "git add"), ("No table", "Notable"), ("Tom, Ann", "Tom Ann"), ("a-b", "a_b"),
    ("Ada left. Bob came", "Ada left Bob came"), ("x\u00b2", "x2"), ("\u00bd", "1/2"), ("\uff21", "A"),
    ("Ma\u00dfe", "Masse"), ("\u2764", "\u2764\ufe0f"), ("\U0001f44d", "\U0001f44d\U0001f3fd"), ("caf\u00e9", "cafe"),
    ("\u4e00", "\u4e8c"), ("", "."), ("!", "!!"),
]  # fmt: skip
PIECES = st.sampled_from([text for pair in (*SAME_VALUES, *DIFFERENT_VALUES) for text in pair])
TEXTS = st.one_of(st.text(), st.lists(st.one_of(PIECES, st.text(max_size=3))).map(" ".join))
WORDS = st.lists(st.text("abcdefghijklmnopqrstuvwxyz\u00e4\u00f6\u0436\u03c9", min_size=1, max_size=8), min_size=1)


@pytest.mark.parametrize(("first", "second"), SAME_VALUES)
def test_composition_white_space_closing_punctuation_and_case_of_words_make_no_second_value(first: str, second: str):
    assert canonicalize_text(first) == canonicalize_text(second)
    assert compute_canonical_digest(first) == compute_canonical_digest(second)


@pytest.mark.parametrize(("first", "second"), DIFFERENT_VALUES)
def test_every_other_difference_is_content(first: str, second: str):
    assert canonicalize_text(first) != canonicalize_text(second)
    assert compute_canonical_digest(first) != compute_canonical_digest(second)


@given(TEXTS)
def test_a_form_is_its_own_form(text: str):
    assert canonicalize_text(canonicalize_text(text)) == canonicalize_text(text)


@given(TEXTS)
def test_composition_makes_no_difference(text: str):
    assert canonicalize_text(unicodedata.normalize("NFD", text)) == canonicalize_text(text)
    assert canonicalize_text(unicodedata.normalize("NFC", text)) == canonicalize_text(text)


@given(TEXTS, st.text(" \n\t\u00a0\u2003\u200b", min_size=1))
def test_more_white_space_makes_no_difference(text: str, space: str):
    assert canonicalize_text(f"{space}{text}{space}") == canonicalize_text(text)
    assert canonicalize_text(text.replace(" ", f" {space}")) == canonicalize_text(text)


@given(WORDS, st.data())
def test_a_word_may_be_capitalized_and_a_text_be_in_capitals(words: list[str], data: st.DataObject):
    written_words = [word.capitalize() if data.draw(st.booleans()) else word for word in words]

    assert canonicalize_text(" ".join(written_words)) == canonicalize_text(" ".join(words))
    assert canonicalize_text(" ".join(words).upper()) == canonicalize_text(" ".join(words))


@given(WORDS, st.sampled_from((".", "!", "...", "\u2026", "\u3002")))
def test_a_mark_that_closes_a_text_of_words_makes_no_difference(words: list[str], mark: str):
    text = " ".join([*words, "indeed"])

    assert canonicalize_text(text + mark) == canonicalize_text(text)


@given(TEXTS, TEXTS)
def test_nothing_but_letters_case_white_space_and_closing_marks_is_ever_taken_away(first: str, second: str):
    if canonicalize_text(first) == canonicalize_text(second):
        assert _without_marks(first) == _without_marks(second)


def _without_marks(text: str) -> str:
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower()).replace("\u03c2", "\u03c3")
    return "".join(folded.replace("\u200b", " ").replace("\ufeff", " ").split()).rstrip(
        ".!\u2026\u3002\uff0e\uff61\uff01"
    )


def test_other_sequences_of_marks_than_a_script_needs_are_compared_as_they_are_written():
    mark_pile = "a" + COMBINING_MARKS[:2] * MAX_MARKS

    assert canonicalize_text(mark_pile) == mark_pile


@pytest.mark.large_input
@pytest.mark.parametrize("part", ["a\u0300\u0345", "\u0f73", "\u0130", ".!", "A' ", "\u200b", "\u4e00", "5 MB "])
def test_megabytes_of_whatever_is_written_are_read_in_seconds(part: str):
    text = (part * 1_000_000)[:1_000_000]
    start_time = time.process_time()

    compute_canonical_digest(text)

    assert time.process_time() - start_time < 5
