"""The compared form of a label: what it takes for the same, and what it keeps apart."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memoryhub.core.normalization import BRAILLE_BLANK, HYPHENS, INVISIBLE_CHARACTERS, MAX_KEY_BYTES, normalize_text
from memoryhub.core.storable_text import INVISIBLE_CHARACTERS as NOT_SEARCHED
from tests.core.label_evasions import EVASIONS, LABEL, evasion_strategy
from tests.harness.characters import CHARACTERS, characters_to_try
from tests.harness.strategies import example_settings

pytestmark = pytest.mark.unit

# Default_Ignorable_Code_Point, as Unicode's DerivedCoreProperties lists it.
DEFAULT_IGNORABLE = (
    "00AD 034F 061C 115F-1160 17B4-17B5 180B-180D 180E 180F 200B-200F 202A-202E 2060-2064 2065 2066-206F 3164 "
    "FE00-FE0F FEFF FFA0 FFF0-FFF8 1BCA0-1BCA3 1D173-1D17A E0000-E0FFF"
)
# What meets within one label: marks, what is composed of several, what casefolds into several.
ODD_CHARACTERS = st.sampled_from([
    "a", "B", " ", "-", "\u0345", "\u0301", "\u03b9", "\u00a8", "\u00df", "\u0130", "\u1fb4", "\ufdfa", "\u2011",
    "\u2212", "\u207b", "\u200d", "\u00ad", "\u3164", "\u2800", "\u0338", "\u1100", "\u1161", "\u11a8", "\u304b",
    "\u3099", "\uff76",
])  # fmt: skip
TEXTS = st.one_of(
    st.text(), st.lists(ODD_CHARACTERS, max_size=8).map("".join), st.lists(st.sampled_from(CHARACTERS)).map("".join)
)


@pytest.mark.parametrize("evade", EVASIONS.values(), ids=EVASIONS)
def test_another_spelling_is_the_same_label(evade):
    assert evade(LABEL) != LABEL
    assert normalize_text(evade(LABEL)) == normalize_text(LABEL) == LABEL


@given(evade=evasion_strategy())
@example_settings(300)
def test_evasions_add_up_to_the_same_label(evade):
    assert normalize_text(evade(LABEL)) == LABEL


@given(text=TEXTS, ignored_character=st.sampled_from(INVISIBLE_CHARACTERS), position=st.integers(0, 20))
@example(text="\u0345\u0301", ignored_character="\u200b", position=1)
@example_settings(300)
def test_an_invisible_character_makes_no_difference_anywhere(text, ignored_character, position):
    assert normalize_text(text[:position] + ignored_character + text[position:]) == normalize_text(text)


@given(text=TEXTS)
# Folded to ss, whose last letter then takes the accent.
@example(text="\u00df\u0301")
@example_settings(200)
def test_a_key_is_its_own_key(text):
    key = normalize_text(text)

    assert normalize_text(key) == key
    assert key == key.strip()
    assert not set(key) & {*INVISIBLE_CHARACTERS, *HYPHENS[1:], BRAILLE_BLANK}


@pytest.mark.large_input
def test_the_key_of_every_character_is_its_own_key():
    keys = {normalize_text(character) for character in characters_to_try()}

    assert {key for key in keys if normalize_text(key) != key} == set()
    assert not set("".join(keys)) & {*INVISIBLE_CHARACTERS, *HYPHENS[1:], BRAILLE_BLANK}


@pytest.mark.large_input
def test_what_unicode_ignores_is_invisible():
    bounds = [part.partition("-")[::2] for part in DEFAULT_IGNORABLE.split()]
    ignorable = {chr(code) for first, last in bounds for code in range(int(first, 16), int(last or first, 16) + 1)}
    formats = {c for c in characters_to_try() if unicodedata.category(c) == "Cf"}
    controls = {c for c in characters_to_try() if unicodedata.category(c) == "Cc" and not c.isspace()}

    assert ignorable | formats | controls | set(NOT_SEARCHED) <= set(INVISIBLE_CHARACTERS)
    assert not any(c.isspace() or unicodedata.category(c)[0] in "LN" for c in set(INVISIBLE_CHARACTERS) - ignorable)


def test_every_dash_is_a_hyphen():
    assert {c for c in characters_to_try() if unicodedata.category(c) == "Pd"} <= set(HYPHENS)


@pytest.mark.parametrize(
    ("first", "second"), [("pii", "pi"), ("a b", "ab"), ("a-b", "ab"), ("a_b", "a-b"), ("e", "\u00e9")]
)
def test_what_looks_different_is_another_label(first, second):
    assert normalize_text(first) != normalize_text(second)


@pytest.mark.parametrize("text", ["", " ", "\u200b", "\u00ad\u2060 \u3164", "\u2800", "\ufe0f", "\x01"])
def test_nothing_is_left_of_what_cannot_be_seen(text):
    assert normalize_text(text) == ""


@pytest.mark.parametrize("character", ["\ufdfa", "\u33c2", "\u1d161", "\U0001d161", "\u4e2d", "\U0001f600"])
def test_a_long_key_is_cut_so_that_it_can_be_stored_and_stays_one_of_its_own(character):
    long_label, longer_label = character * 255, character * 254 + "x"

    for key in (normalize_text(long_label), normalize_text(longer_label)):
        assert len(key.encode()) <= MAX_KEY_BYTES
        assert normalize_text(key) == key
    assert normalize_text(long_label) != normalize_text(longer_label)
