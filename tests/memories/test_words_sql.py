"""The words of a text in SQL: split as in Python, stemmed, and found by queries for words and phrases."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.core.storable_text import unstorable_reason
from memoryhub.core.words import APOSTROPHES, LIGATURES, MARKED_LETTERS, split_words
from tests.harness.characters import characters_to_try
from tests.harness.strategies import example_settings
from tests.memories.raw_rows import execute

pytestmark = pytest.mark.django_db

# What the Unicode of this Python knows; PostgreSQL's is newer and folds letters that stand for nothing here.
ASSIGNED = st.characters(exclude_categories=("Cs", "Cn"), exclude_characters="\x00")
NASTY_TEXTS = st.sampled_from([
    *"aAbsS '\"`-.*\\\n", "'s", "'s ", "''", "' ", " '", *APOSTROPHES, "\u00b4", "\u1fbd", "\uff07", "\u0149",
    *MARKED_LETTERS, *LIGATURES, "\u00d8", "\u1e9e", "\u0130", "\u03a3", "\u03c2", "\u017f", "\u1e9b", "\u1c80",
    "1", "1e5", "e", "\u00bd", "\u00b2", "\u0660", "\u2460", "\u3392", "\ufb01", "\ufdfa",
    "\u00e9", "e\u0301", "\u0301", "\u20e3", "\u0345", "\u0489", "\u093f", "\u0654", "\u3099", "\u064e",
    "\u4e2d", "\u3042", "\u304c", "\uff76", "\uff9e", "\uac00", "\u1100", "\u1161", "\u0e44", "\u0e17", "\u1780",
    "\U0001f600", "\U0001f468\u200d\U0001f469", "\u200b", "\u00ad", "\ufe0f", "\u202e", "\u034f", "\u1160",
])  # fmt: skip
LONG_TEXTS = {
    "sentences": ("Ada's colleague lives in Paris, and doesn't work on Tuesdays. ") * 16_000,
    "different words": " ".join(f"{number:x}" for number in range(180_000)),
    "different words of few letters": " ".join(chr(0x400 + n % 99) + chr(0x400 + n // 99) for n in range(9_800)) * 20,
    "different letters": " ".join(chr(0xAC00 + number % 11_000) for number in range(250_000)),
    "one word": "x" * 1_000_000,
    "one word and more": "x" * 3_000 + " y",
    "a word of an alphabet": "\u0439" * 500_000,
    "characters that grow": "\ufdfa" * 30_000,
    "apostrophes": "'" * 1_000_000,
    "possessives": "'s" * 500_000,
}


def call_in_sql(function: str, texts: Iterable[str]) -> list[Any]:
    rows = execute(
        f"SELECT {function}(value) FROM unnest(%s::text[]) WITH ORDINALITY AS texts(value, position) ORDER BY position",
        list(texts),
    )
    return [value for (value,) in rows]


def split_in_sql(texts: Iterable[str]) -> list[list[str]]:
    return [words.split(" ") if words else [] for words in call_in_sql("memory_word_text", texts)]


def text_strategy(max_pieces: int) -> st.SearchStrategy[str]:
    return st.lists(st.one_of(NASTY_TEXTS, NASTY_TEXTS, ASSIGNED), max_size=max_pieces).map("".join)


def stems(words: Iterable[str]) -> list[str]:
    rows = execute(
        "SELECT ts_lexize('memoryhub_english', left(word, 511)) FROM unnest(%s::text[]) WITH ORDINALITY AS w(word, n)"
        " ORDER BY n",
        list(words),
    )
    assert all(len(lexemes) == 1 for (lexemes,) in rows), "the dictionary has no stop word and no synonym"
    return [lexemes[0] for (lexemes,) in rows]


def stem_positions(vector: str) -> list[tuple[int, str]]:
    entries = re.findall(r"'([^']+)':([0-9,]+)", vector)
    return sorted((int(position), stem) for stem, positions in entries for position in positions.split(","))


def matches(text: str, query: str) -> bool:
    ((is_match,),) = execute("SELECT memory_words(%s) @@ memory_word_query(%s)", text, query)
    return bool(is_match)


def test_every_character_is_split_alike_but_for_those_that_are_newer_than_python():
    characters = [character for character in characters_to_try() if not unstorable_reason(character)]
    different = set()
    for start in range(0, len(characters), 20_000):
        part = characters[start : start + 20_000]
        words_of_sql = split_in_sql(f"x{character}Y" for character in part)
        different |= {
            character
            for character, words in zip(part, words_of_sql, strict=True)
            if words != split_words(f"x{character}Y")
        }

    assert len(characters) > 140_000
    assert {character for character in different if unicodedata.category(character) != "Cn"} == set()


@given(texts=st.lists(text_strategy(12), min_size=1, max_size=20))
@example_settings(200)
def test_sql_splits_as_python_does(texts):
    assert split_in_sql(texts) == [split_words(text) for text in texts]


@given(text=st.one_of(text_strategy(30), st.text("abe019 ", max_size=40)))
@example_settings(200)
def test_every_word_has_one_stem_and_one_position(text):
    ((vector,),) = execute("SELECT memory_words(%s)", text)

    assert stem_positions(vector) == list(enumerate(stems(split_words(text)), 1))


@given(words=st.lists(st.text("abcdefghijklmnopqrstuvwxyz0123456789e1", min_size=1, max_size=30), max_size=30))
@example_settings(200)
def test_the_fast_way_for_ascii_gives_what_the_other_one_gives(words):
    assert call_in_sql("memory_words", [" ".join(words)]) == call_in_sql("memory_stems", [" ".join(words)])


@pytest.mark.parametrize("text", ["1e5", "1e5x", "deadbe1e5f", "0e0e0", "12e", "e12", "1x1", "v1", "1" * 30, "a" * 300])
def test_numbers_and_identifiers_are_one_word_each(text):
    ((vector,),) = execute("SELECT memory_words(%s)", f"x {text} y")

    assert [position for position, _ in stem_positions(vector)] == [1, 2, 3]
    assert matches(f"x {text} y", text)


@given(text=text_strategy(20), data=st.data())
@example_settings(200)
def test_any_row_of_words_of_a_text_is_a_phrase_of_it(text, data):
    words = split_words(text)
    start = data.draw(st.integers(0, len(words)))
    phrase = words[start : start + data.draw(st.integers(1, 4))]

    assert matches(text, " ".join(phrase)) == bool(phrase)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Ada lives in Paris.", "lives in Paris"),
        ("Ada lives in Paris.", "LIVING"),
        ("Ada lives in Paris.", "in"),
        ("Ada's cats don't sleep", "ada cat"),
        ("Ada\u2019s cats don\u2019t sleep", "cats dont"),
        ("O'Brien", "o\u2019brien's"),
        ("the Caf\u00e9 de Flore", "cafe\u0301 DE flore"),
        ("the cafe", "caf\u00e9"),
        ("Fu\u00dfg\u00e4nger in der Stra\u00dfe", "FUSSG\u00c4NGER IN DER STRASSE"),
        ("\u0130zmir'de \u0131\u015f\u0131k", "izmirde isik"),
        ("\u0130zmir, \u0131\u015f\u0131k", "IZMIR I\u015eIK"),
        ("\u0435\u0449\u0451 \u0438 \u0401\u043b\u043a\u0430", "\u0415\u0429\u0415 \u0418 \u0415\u041b\u041a\u0410"),
        ("\u1f41 \u03ba\u03cc\u03c3\u03bc\u03bf\u03c2", "\u039f \u039a\u039f\u03a3\u039c\u039f\u03a3"),
        ("\u0645\u062f\u064a\u0646\u0629 \u0628\u0627\u0631\u064a\u0633", "\u0628\u0627\u0631\u064a\u0633"),
        ("\u092e\u0948\u0902 \u0939\u093f\u0928\u094d\u0926\u0940", "\u0939\u093f\u0928\u094d\u0926\u0940"),
        ("good \U0001f600 morning", "good morning"),
        ("good \U0001f600 morning", "good \U0001f64f morning"),
        ("version 1.2.3-rc1 of ada@example.com", "1.2.3-rc1"),
        ("version 1.2.3-rc1 of ada@example.com", "Ada@Example.com"),
        ("say \uff21\uff44\uff41", "ada"),
    ],
)  # fmt: skip
def test_a_phrase_is_found_in_whatever_spelling(text, query):
    assert matches(text, query)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Ada lives in Paris.", "Paris in"),
        ("Ada lives in Paris.", "lives Paris"),
        ("Ada lives in Paris.", "Par"),
        ("Ada lives in Paris.", ""),
        ("Ada lives in Paris.", "!?"),
        ("", ""),
        ("resume", "resum\u00e9s today"),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", "\u0939\u093f\u0928\u094d\u0926"),
    ],
)
def test_words_that_are_not_there_in_this_order_are_not_found(text, query):
    assert not matches(text, query)


@pytest.mark.parametrize("name", LONG_TEXTS)
def test_a_long_text_is_taken_in_and_its_beginning_is_found(name):
    text = LONG_TEXTS[name]
    words = split_words(text)

    ((vector,),) = execute("SELECT memory_words(%s)", text)

    found_stems = {stem for _, stem in stem_positions(vector)}
    assert set(stems(words[:16_383])) == found_stems or set(stems(words[:16_383])) < found_stems
    assert matches(text, " ".join(words[:3])) == bool(words)


def test_of_a_long_text_all_words_are_found_if_they_fit():
    assert matches(LONG_TEXTS["sentences"] * 2 + "zebra", "zebra")
    assert not matches(LONG_TEXTS["different words"] + " zebra", "zebra")


def test_stems_are_those_of_english_without_stop_words():
    assert execute("SELECT memory_words('The houses were running')") == [("'hous':2 'run':4 'the':1 'were':3",)]
    assert execute("SELECT memory_word_query('Were the cats')") == [("'were' <-> 'the' <-> 'cat'",)]


def test_the_functions_find_the_dictionary_whatever_a_session_looks_up_first():
    execute("CREATE SCHEMA other")
    execute("CREATE TEXT SEARCH DICTIONARY other.memoryhub_english (TEMPLATE = simple)")
    execute("CREATE TEXT SEARCH CONFIGURATION other.memoryhub_words (COPY = simple)")
    long_text = LONG_TEXTS["different letters"] + " houses"
    execute("SET LOCAL search_path = other, public")

    assert matches("houses", "house")
    assert matches("\u00e9 houses", "house")
    assert matches(long_text, "\uac00 \uac01")
    execute("SET LOCAL search_path = other")
    assert execute("SELECT public.memory_words('houses')") == [("'hous':1",)]
    assert execute("SELECT length(public.memory_words(%s)) > 10_000", long_text) == [(True,)]


def test_an_index_on_the_words_is_built_though_postgresql_then_looks_nothing_up_in_the_schema():
    execute("CREATE TABLE texts (content text)")
    execute("INSERT INTO texts VALUES ('one house'), ('caf\u00e9'), (%s)", LONG_TEXTS["different letters"])
    execute("CREATE INDEX ON texts USING gin (memory_words(content))")
    execute("SET LOCAL enable_seqscan = off")

    assert execute("SELECT content FROM texts WHERE memory_words(content) @@ memory_word_query('houses')") == [
        ("one house",)
    ]
