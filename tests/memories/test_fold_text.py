"""Substring search: what SQL and Python fold, and that the index finds what a reading of every row finds."""

import unicodedata
from collections.abc import Iterable
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.core.sql import fetch_dicts
from memoryhub.core.storable_text import (
    INVISIBLE_CHARACTERS,
    PLAIN_LETTERS,
    VARIANT_LETTERS,
    fold_text,
    unstorable_reason,
)
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import MemoryQuerySet
from memoryhub.memories.sql.search_conditions import SearchTerms
from tests.factories import store_drafts
from tests.harness.characters import characters_to_try
from tests.harness.databases import mark_leakproof_functions
from tests.harness.strategies import example_settings, prepare_memory, roll_back
from tests.memories.raw_rows import execute

pytestmark = pytest.mark.django_db

# PostgreSQL lowers one character into one. Python's lower() makes two of this one.
DOTTED_I = "\u0130"
# What the Unicode of this Python knows; PostgreSQL's is newer and has letters that stand for nothing here.
ASSIGNED = st.characters(exclude_categories=("Cs", "Cn"), exclude_characters="\x00")
NASTY_TEXTS = st.sampled_from([
    "%", "_", "\\", "\\%", "%%", "'", '"', "{}", "a", "A", "b", " ", "\n", "i", "I", "k", "SS", "FI",
    # Composed, decomposed, ligatures, letters that stand twice in Unicode
    "\u00e9", "e\u0301", "E\u0301", "\u0301", "\u00df", "\u1e9e", "\ufb01", "\u212b", "\u00c5", "A\u030a", "\u0131",
    "\u212a", "\u03c3", "\u03c2",
    # CJK, kana, Hangul whole and in parts, emoji with a joiner, Arabic, Thai
    "\u4e2d", "\u6587", "\u6f22\u5b57", "\u3042", "\u304c", "\u304b\u3099", "\uac00", "\u1100\u1161", "\U0001f600",
    "\U0001f468\u200d\U0001f469", "\u0646\u0635", "\u0e44\u0e17\u0e22",
    *INVISIBLE_CHARACTERS[:20], "\ufe0f", "\U000e0041",
])  # fmt: skip


def fold_in_sql(texts: Iterable[str]) -> list[str]:
    text_list, folded_texts = list(texts), []
    # All characters that there are would take as long as a statement may.
    for start in range(0, len(text_list), 200_000):
        folded_texts += execute(
            "SELECT memory_fold(value) FROM unnest(%s::text[]) WITH ORDINALITY AS texts(value, position)"
            " ORDER BY position",
            text_list[start : start + 200_000],
        )
    return [value for (value,) in folded_texts]


def text_strategy(max_pieces: int) -> st.SearchStrategy[str]:
    parts = st.one_of(NASTY_TEXTS, NASTY_TEXTS, ASSIGNED.filter(lambda c: c != DOTTED_I))
    return st.lists(parts, max_size=max_pieces).map("".join)


@cache
def folded_characters() -> dict[str, str]:
    """What SQL makes of each character that can be stored."""
    characters = [c for c in {*characters_to_try(), *INVISIBLE_CHARACTERS} if not unstorable_reason(c)]
    return dict(zip(characters, fold_in_sql(characters), strict=True))


def test_every_character_is_folded_alike_but_for_one_and_for_those_that_are_newer_than_python():
    """The domain of agreement, exactly."""
    assert len(folded_characters()) > 140_000
    different = {character for character, sql in folded_characters().items() if sql != fold_text(character)}

    assert {c for c in different if unicodedata.category(c) != "Cn"} <= {DOTTED_I}


@given(texts=st.lists(text_strategy(12), min_size=1, max_size=20))
@example_settings(100)
def test_sql_folds_as_python_does(texts):
    assert fold_in_sql(texts) == [fold_text(text) for text in texts]


@given(text=text_strategy(20))
@example_settings(100)
def test_what_is_folded_once_stays_as_it_is_for_sql_as_well(text):
    (folded_text,) = fold_in_sql([text])

    assert fold_in_sql([folded_text.lower()]) == [fold_text(folded_text)]
    assert not set(folded_text) & set(INVISIBLE_CHARACTERS)


@pytest.mark.parametrize(
    ("text_a", "text_b"),
    [
        ("PARIS", "paris"),
        ("\u00c9", "e\u0301"),
        ("E\u0301", "\u00e9"),
        ("\u212b", "\u00e5"),
        ("pa\u200bris", "Paris"),
        ("\ufeffparis\u2060", "Paris"),
        ("p\u00ada\u202er\u2066is", "Paris"),
        ("".join(chr(0xE0000 + ord(c)) for c in "hidden") + "Paris", "paris"),
        ("\u304b\u3099", "\u304c"),
        ("\u1100\u1161", "\uac00"),
        ("\u03a3", "\u03c3"),
        ("\u03c2", "\u03c3"),
        ("\u03bf\u03b4\u03cc\u03c2", "\u039f\u0394\u038c\u03a3"),
        ("\u017f\u0323", "\u1e62"),
        *zip(VARIANT_LETTERS, VARIANT_LETTERS.upper(), strict=True),
    ],
)
def test_two_spellings_that_a_reader_takes_for_one_are_one(text_a, text_b):
    first, second = fold_in_sql([text_a, text_b])

    assert first == second


@pytest.mark.parametrize(
    ("text_a", "text_b"),
    [("e", "\u00e9"), ("ss", "\u00df"), ("fi", "\ufb01"), ("\u0131", "i"), ("l", "I")],
)
def test_two_spellings_that_differ_for_a_reader_stay_two(text_a, text_b):
    first, second = fold_in_sql([text_a, text_b])

    assert first != second


def test_every_letter_that_has_a_capital_of_another_one_is_folded_to_that_one():
    """Of those that Python knows as one letter in another case; it composes one and keeps one that is a mark."""
    variants = {
        letter
        for letter in characters_to_try()
        if len(folded_letter := letter.casefold()) == 1 and folded_letter.lower() not in (letter, letter.lower())
    }

    assert {letter for letter in variants if fold_text(letter) != letter.casefold()} == {"\u0345"}
    assert set(VARIANT_LETTERS) == variants - {"\u0345", "\u1fbe"} | {"\u03a3"}
    assert all(
        fold_text(letter) == folded_letter for letter, folded_letter in zip(VARIANT_LETTERS, PLAIN_LETTERS, strict=True)
    )


def test_the_invisible_characters_of_sql_are_those_of_python():
    assert {c for c, sql in folded_characters().items() if sql == ""} == set(INVISIBLE_CHARACTERS)


OTHERS_SQL = """
    SELECT string_agg(quote_ident(indexname), ', ') FROM pg_indexes
    WHERE tablename = 'memories' AND indexname NOT IN ('memories_trigrams', 'memories_pkey', 'memories_version')
"""


@pytest.fixture
def gram_index_only():
    """Until the test's transaction is rolled back, the planner has no other way to a few rows."""
    mark_leakproof_functions()
    ((other_characters,),) = execute(OTHERS_SQL)
    execute(f"DROP INDEX {other_characters}")
    execute("SET LOCAL enable_seqscan = off")
    execute("SET LOCAL enable_indexscan = off")


def search_payload_ids(search_terms: str) -> set[str]:
    return payload_id_set(current_memories().matching_by_index(SearchTerms(literals=(search_terms,))))


def payload_id_set(rows: MemoryQuerySet) -> set[str]:
    return {row["payload_id"] for row in fetch_dicts(*rows.newest_sql(100, "payload_id"))}


def current_memories() -> MemoryQuerySet:
    current: MemoryQuerySet = Memory.objects.visible_to(unrestricted_clearance()).current()
    return current


@pytest.mark.soak
@given(data=st.data())
@example_settings(50)
def test_the_index_finds_what_a_reading_of_every_row_finds(data, gram_index_only):
    contents = data.draw(st.lists(text_strategy(15).filter(str.strip), min_size=1, max_size=8))
    start = data.draw(st.integers(0, 20))
    # Mostly something that is there, in another spelling; sometimes something that is not.
    part = data.draw(st.sampled_from(contents))[start : start + data.draw(st.integers(1, 8))]
    spelled_text = data.draw(
        st.sampled_from([part, part.upper(), unicodedata.normalize("NFD", part), f"\u200b{part}\u2060"])
    )
    search_terms = data.draw(
        st.one_of(st.just(spelled_text), text_strategy(3)).filter(lambda text: text != "" and DOTTED_I not in text)
    )
    with roll_back():
        store_drafts([prepare_memory(payload_id=f"{index}", content=content) for index, content in enumerate(contents)])

        expected = {
            f"{index}" for index, content in enumerate(contents) if fold_text(search_terms) in fold_text(content)
        }
        assert search_payload_ids(search_terms) == expected
        assert payload_id_set(current_memories().matching_by_scan(SearchTerms(literals=(search_terms,)))) == expected
        if len(fold_text(search_terms).encode()) >= 3:
            assert (
                "Bitmap Index Scan on memories_trigrams"
                in current_memories()
                .matching_by_index(SearchTerms(literals=(search_terms,)))
                .as_id_subquery()
                .explain()
            )


@pytest.mark.parametrize("search_terms", ["%", "_", "\\", "100%", "a_b", "c:\\x", "\\%", "%%"])
def test_a_wildcard_means_itself(search_terms):
    contents = ["100% sure", "1000 sure", "a_b", "axb", "c:\\x", "c:yx", "\\%", "%%", "_"]
    store_drafts([prepare_memory(payload_id=content, content=content) for content in contents])

    assert search_payload_ids(search_terms) == {content for content in contents if search_terms in content}


def test_nothing_that_is_seen_is_sought_by_an_invisible_character_alone():
    """It folds to nothing, and nothing is contained in everything."""
    store_drafts([prepare_memory(payload_id="p", content="Paris")])

    assert search_payload_ids("\u200b") == {"p"}


def test_a_text_longer_than_an_index_key_is_found():
    content = "".join(f"{index:x} \u4e2d" for index in range(60_000))
    store_drafts([prepare_memory(payload_id="long", content=content), prepare_memory(payload_id="other")])

    assert search_payload_ids("EA5E \u4e2d") == {"long"}
    assert search_payload_ids("ea5e \u4e2dea5f") == {"long"}


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\ud800", "a\udfff"])
def test_an_unstorable_character_is_named_by_its_code_point(text):
    reason = unstorable_reason(text)

    assert reason is not None
    assert "U+" in reason


@given(text=st.text())
@example_settings(200)
def test_whatever_is_called_storable_is_stored_as_it_is(text):
    """UN-02: byte for byte, in whatever script."""
    if unstorable_reason(text) is None:
        assert execute("SELECT %s::text", text) == [(text,)]
    else:
        assert "\x00" in text
