"""How a text is split into words."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.core.storable_text import INVISIBLE_CHARACTERS
from memoryhub.core.words import APOSTROPHES, holds_unspaced_letters, split_words
from tests.harness.characters import characters_to_try
from tests.harness.strategies import example_settings

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \n\t ", []),
        ("Ada lives in Paris.", ["ada", "lives", "in", "paris"]),
        ("1.2.3 v2 1e5 3,14", ["1", "2", "3", "v2", "1e5", "3", "14"]),
        ("ada@example.com snake_case foo-bar", ["ada", "example", "com", "snake", "case", "foo", "bar"]),
        # Accents, as one character or two; letters with a stroke; ligatures
        ("caf\u00e9 cafe\u0301 CAFE\u0301", ["cafe"] * 3),
        ("\u0141\u00f3d\u017a \u00d8rsted \u0111\u00e0 N\u0101", ["lodz", "orsted", "da", "na"]),
        ("\u00c6sop \u0153uvre \ufb01n", ["aesop", "oeuvre", "fin"]),
        ("z\u0335\u0321a\u0489lgo \ufe20x", ["za\u0489lgo", "x"]),
        # Case
        ("Stra\u00dfe STRASSE STRA\u1e9eE", ["strasse"] * 3),
        ("\u0130stanbul \u0131stanbul ISTANBUL istanbul", ["istanbul"] * 4),
        ("\u039f\u0394\u038c\u03a3 \u03bf\u03b4\u03cc\u03c2", ["\u03bf\u03b4\u03bf\u03c3"] * 2),
        ("\u0401\u043b\u043a\u0430 \u0435\u043b\u043a\u0430", ["\u0435\u043b\u043a\u0430"] * 2),
        ("\U0001d4d0\U0001d4ed\U0001d4ea \uff21\uff44\uff41", ["ada", "ada"]),
        # Apostrophes
        ("don't don\u2019t don`t don\u00b4t don\u02bct don\uff07t dont", ["dont"] * 7),
        ("O'Brien O\u2019Brien's", ["obrien", "obrien"]),
        ("Ada's James' 'quoted' rock'n'roll '90s", ["ada", "james", "quoted", "rocknroll", "90s"]),
        ("'s ''s it''s s' ' '' a's's", ["s", "s", "it", "s", "as"]),
        ("\u05e6\u05d4\u05f4\u05dc \u05d2\u05f3\u05d9", ["\u05e6\u05d4", "\u05dc", "\u05d2\u05d9"]),
        # Marks that belong to a word
        ("\u0939\u093f\u0928\u094d\u0926\u0940", ["\u0939\u093f\u0928\u094d\u0926\u0940"]),
        ("\u0623\u0628 \u0627\u0654\u0628", ["\u0623\u0628"] * 2),
        ("\u1112\u1161\u11ab \ud55c", ["\ud55c", "\ud55c"]),
        # Scripts without spaces
        ("\u6211\u7528iPhone\u624b\u673a", ["\u6211\u7528", "iphone", "\u624b\u673a"]),
        ("\uff76\uff9e\u30fc 5\u6708", ["\u30ac\u30fc", "5", "\u6708"]),
        ("\u0e44\u0e17\u0e22Thai's", ["\u0e44\u0e17\u0e22", "thai"]),
        # What is no letter separates, what cannot be seen does not
        ("a\U0001f600b a\u2028b a\x00b a\ud800b a\ue000b", ["a", "b"] * 5),
        ("pa\u200bris p\u00adaris \u202eparis", ["paris"] * 3),
        ("1\ufe0f\u20e3 \u00bd m\u00b2 \u2460", ["1", "1", "2", "m2", "1"]),
        ("\u0301 \u20e3 \ufe0f", []),
    ],
)  # fmt: skip
def test_a_text_is_split_into_its_words(text, words):
    assert split_words(text) == words


@pytest.mark.large_input
def test_letters_digits_and_marks_form_words_and_all_else_separates_them():
    for character in characters_to_try():
        category = unicodedata.category(character)
        if category in ("Cn", "Mn", "Me") or character in INVISIBLE_CHARACTERS:
            continue
        if unicodedata.normalize("NFKD", character) == character and character not in "'" + APOSTROPHES:
            words = split_words(f"x{character}x")
            expected_count = 3 if holds_unspaced_letters(character) else 1 if category[0] in "LNM" else 2
            assert len(words) == expected_count, hex(ord(character))


@given(text=st.text())
@example_settings(300)
def test_a_word_is_split_into_itself(text):
    words = split_words(text)

    assert split_words(" ".join(words)) == words
    assert all(words)


@given(text=st.text(), other_text=st.text())
@example_settings(200)
def test_words_do_not_depend_on_the_words_beside_them(text, other_text):
    assert split_words(f"{text}\n{other_text}") == split_words(text) + split_words(other_text)


@pytest.mark.parametrize("text", ["\u6f22", "a\u3042", "\u0e01", "\uff76", "\u1780x", "\U00020000"])
def test_a_script_without_spaces_is_recognized(text):
    assert holds_unspaced_letters(text)


@pytest.mark.parametrize("text", ["", "ada", "\u0430", "\u0639", "\u0915\u093f", "\ud55c", "\u3001", "\U0001f600"])
def test_other_scripts_are_written_with_spaces(text):
    assert not holds_unspaced_letters(text)
