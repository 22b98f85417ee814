"""Substring search: what SQL and Python fold, and that the index finds what a reading of every row finds."""

import unicodedata
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.firewall.types import everything
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import MemoryQuerySet, Sought, fetched
from memoryhub.memories.text import INVISIBLE, PLAIN_LETTERS, VARIANT_LETTERS, fold, why_not_storable
from tests.builders import store
from tests.harness.databases import no_leaks
from tests.harness.generated import examples, planted, rolled_back
from tests.memories.rows import execute

pytestmark = pytest.mark.django_db

# PostgreSQL lowers one character into one. Python's lower() makes two of this one.
DOTTED_I = "\u0130"
# What the Unicode of this Python knows; PostgreSQL's is newer and has letters that stand for nothing here.
ASSIGNED = st.characters(exclude_categories=("Cs", "Cn"), exclude_characters="\x00")
NASTY = st.sampled_from([
    "%", "_", "\\", "\\%", "%%", "'", '"', "{}", "a", "A", "b", " ", "\n", "i", "I", "k", "SS", "FI",
    # Composed, decomposed, ligatures, letters that stand twice in Unicode
    "\u00e9", "e\u0301", "E\u0301", "\u0301", "\u00df", "\u1e9e", "\ufb01", "\u212b", "\u00c5", "A\u030a", "\u0131",
    "\u212a", "\u03c3", "\u03c2",
    # CJK, kana, Hangul whole and in parts, emoji with a joiner, Arabic, Thai
    "\u4e2d", "\u6587", "\u6f22\u5b57", "\u3042", "\u304c", "\u304b\u3099", "\uac00", "\u1100\u1161", "\U0001f600",
    "\U0001f468\u200d\U0001f469", "\u0646\u0635", "\u0e44\u0e17\u0e22",
    *INVISIBLE[:20], "\ufe0f", "\U000e0041",
])  # fmt: skip


def folded_by_sql(texts: Iterable[str]) -> list[str]:
    whole, folded = list(texts), []
    # All characters that there are would take as long as a statement may.
    for start in range(0, len(whole), 200_000):
        folded += execute(
            "SELECT memory_fold(value) FROM unnest(%s::text[]) WITH ORDINALITY AS given(value, place) ORDER BY place",
            whole[start : start + 200_000],
        )
    return [value for (value,) in folded]


def pieces(most: int) -> st.SearchStrategy[str]:
    parts = st.one_of(NASTY, NASTY, ASSIGNED.filter(lambda c: c != DOTTED_I))
    return st.lists(parts, max_size=most).map("".join)


def test_every_character_is_folded_alike_but_for_one_and_for_those_that_are_newer_than_python():
    """The domain of agreement, exactly: asked of all 1,112,063 characters that can be stored."""
    characters = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code <= 0xDFFF]

    told = zip(characters, folded_by_sql(characters), strict=True)
    different = {character for character, sql in told if sql != fold(character)}

    assert {c for c in different if unicodedata.category(c) != "Cn"} <= {DOTTED_I}


@given(texts=st.lists(pieces(12), min_size=1, max_size=20))
@examples(200)
def test_sql_folds_as_python_does(texts):
    assert folded_by_sql(texts) == [fold(text) for text in texts]


@given(text=pieces(20))
@examples(200)
def test_what_is_folded_once_stays_as_it_is_for_sql_as_well(text):
    (once,) = folded_by_sql([text])

    assert folded_by_sql([once.lower()]) == [fold(once)]
    assert not set(once) & set(INVISIBLE)


@pytest.mark.parametrize(
    ("one", "other"),
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
def test_two_spellings_that_a_reader_takes_for_one_are_one(one, other):
    first, second = folded_by_sql([one, other])

    assert first == second


@pytest.mark.parametrize(
    ("one", "other"),
    [("e", "\u00e9"), ("ss", "\u00df"), ("fi", "\ufb01"), ("\u0131", "i"), ("l", "I")],
)
def test_two_spellings_that_differ_for_a_reader_stay_two(one, other):
    first, second = folded_by_sql([one, other])

    assert first != second


def test_every_letter_that_has_a_capital_of_another_one_is_folded_to_that_one():
    """Of those that Python knows as one letter in another case; it composes one and keeps one that is a mark."""
    letters = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
    variants = {
        letter
        for letter in letters
        if len(plain := letter.casefold()) == 1 and plain.lower() not in (letter, letter.lower())
    }

    assert {letter for letter in variants if fold(letter) != letter.casefold()} == {"\u0345"}
    assert set(VARIANT_LETTERS) == variants - {"\u0345", "\u1fbe"} | {"\u03a3"}
    assert all(fold(letter) == plain for letter, plain in zip(VARIANT_LETTERS, PLAIN_LETTERS, strict=True))


def test_the_invisible_characters_of_sql_are_those_of_python():
    everything = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code <= 0xDFFF]

    stripped = {c for c, sql in zip(everything, folded_by_sql(everything), strict=True) if sql == ""}

    assert stripped == set(INVISIBLE)


OTHERS = """
    SELECT string_agg(quote_ident(indexname), ', ') FROM pg_indexes
    WHERE tablename = 'memories' AND indexname NOT IN ('memories_grams', 'memories_pkey', 'memories_version')
"""


@pytest.fixture
def only_the_gram_index():
    """Until the test's transaction is rolled back, the planner has no other way to a few rows."""
    no_leaks()
    ((others,),) = execute(OTHERS)
    execute(f"DROP INDEX {others}")
    execute("SET LOCAL enable_seqscan = off")
    execute("SET LOCAL enable_indexscan = off")


def found(sought: str) -> set[str]:
    return payloads(current().looked_up(Sought(text=sought)))


def payloads(rows: MemoryQuerySet) -> set[str]:
    return {row["payload_id"] for row in fetched(*rows.newest(100, "payload_id"))}


def current() -> MemoryQuerySet:
    current: MemoryQuerySet = Memory.objects.visible_to(everything()).current()
    return current


@pytest.mark.soak
@given(data=st.data())
@examples(120)
def test_the_index_finds_what_a_reading_of_every_row_finds(data, only_the_gram_index):
    contents = data.draw(st.lists(pieces(15).filter(str.strip), min_size=1, max_size=8))
    start = data.draw(st.integers(0, 20))
    # Mostly something that is there, in another spelling; sometimes something that is not.
    part = data.draw(st.sampled_from(contents))[start : start + data.draw(st.integers(1, 8))]
    spelled = data.draw(
        st.sampled_from([part, part.upper(), unicodedata.normalize("NFD", part), f"\u200b{part}\u2060"])
    )
    sought = data.draw(st.one_of(st.just(spelled), pieces(3)).filter(lambda text: text != "" and DOTTED_I not in text))
    with rolled_back():
        store([planted(payload_id=f"{place}", content=content) for place, content in enumerate(contents)])

        expected = {f"{place}" for place, content in enumerate(contents) if fold(sought) in fold(content)}
        assert found(sought) == expected
        assert payloads(current().read_for(Sought(text=sought))) == expected
        if len(fold(sought).encode()) >= 3:
            assert "Bitmap Index Scan on memories_grams" in current().looked_up(Sought(text=sought)).at_once().explain()


@pytest.mark.parametrize("sought", ["%", "_", "\\", "100%", "a_b", "c:\\x", "\\%", "%%"])
def test_a_wildcard_means_itself(sought):
    contents = ["100% sure", "1000 sure", "a_b", "axb", "c:\\x", "c:yx", "\\%", "%%", "_"]
    store([planted(payload_id=content, content=content) for content in contents])

    assert found(sought) == {content for content in contents if sought in content}


def test_nothing_that_is_seen_is_sought_by_an_invisible_character_alone():
    """It folds to nothing, and nothing is contained in everything."""
    store([planted(payload_id="p", content="Paris")])

    assert found("\u200b") == {"p"}


def test_a_text_longer_than_an_index_key_is_found():
    content = "".join(f"{number:x} \u4e2d" for number in range(60_000))
    store([planted(payload_id="long", content=content), planted(payload_id="other")])

    assert found("EA5E \u4e2d") == {"long"}
    assert found("ea5e \u4e2dea5f") == {"long"}


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\ud800", "a\udfff"])
def test_what_cannot_be_stored_is_told_with_its_number(text):
    reason = why_not_storable(text)

    assert reason is not None
    assert "U+" in reason


@given(text=st.text())
@examples(200)
def test_whatever_is_called_storable_is_stored_as_it_is(text):
    """UN-02: byte for byte, in whatever script."""
    if why_not_storable(text) is None:
        assert execute("SELECT %s::text", text) == [(text,)]
    else:
        assert "\x00" in text
