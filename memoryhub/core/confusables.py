"""Letters of one script that look like letters of another."""

import unicodedata
from functools import lru_cache

from memoryhub.core.normalization import INVISIBLE_CHARACTERS

# Letters of other scripts that look like Latin ones. They are normal in a word of their own script, but imitate a Latin
# letter inside a Latin word.
LATIN_LOOKALIKES = "АВЕЅІЈКМНОРСТУХаеорсухѕіјԁһӏԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧοανρ"  # noqa: RUF001 - that is the point
_LATIN_LOOKALIKE_SET = frozenset(LATIN_LOOKALIKES)

# Scripts that are written together (UTS #39, "Highly Restrictive"): Japanese, Chinese and Korean, each with Latin.
_COMPATIBLE_SCRIPTS = (
    frozenset({"Latin", "Han", "Hiragana", "Katakana"}),
    frozenset({"Latin", "Han", "Bopomofo"}),
    frozenset({"Latin", "Han", "Hangul"}),
)
_LETTER_CATEGORIES = ("Lu", "Ll", "Lt", "Lo")
# First words of Unicode character names that are not the name of the script.
_SCRIPT_BY_NAME_PREFIX = {
    "CJK": "Han",
    "HENTAIGANA": "Hiragana",
    "IDEOGRAPHIC": "Han",
    "ROMAN": "Latin",
    "TURNED": "Latin",
}
_SHARED_NAME_PREFIXES = ("MASU", "MODIFIER", "VEDIC")


def describe_confusable_text(text: str) -> str | None:
    """Describe what a reader may mistake in `text`, as a sentence without its subject; None if there is nothing.

    Reported are texts with letters of several scripts ("password" with one Cyrillic letter), unless these scripts are
    usually written together, and texts whose letters are all Cyrillic or Greek ones of LATIN_LOOKALIKES ("pii" without
    a Latin letter). The script of a letter is the first word of its Unicode name, because Python has no script
    property. Not reported are whole texts in lookalike letters of other scripts, lookalikes within one script (a
    dotless i), digits, punctuation, and symbols that show a letter: these need the tables of UTS #39.
    """
    letters = [
        letter for letter in _resolve_compatibility_forms(text) if unicodedata.category(letter) in _LETTER_CATEGORIES
    ]
    scripts = {script for letter in letters if (script := _script_of_letter(letter))}
    if len(scripts) > 1 and not any(scripts <= compatible_scripts for compatible_scripts in _COMPATIBLE_SCRIPTS):
        *first_scripts, last_script = sorted(scripts)
        return (
            f"mixes {', '.join(first_scripts)} and {last_script} letters: policies compare it letter by letter,"
            " not by its looks."
        )
    if letters and _LATIN_LOOKALIKE_SET.issuperset(letters):
        return f"has {scripts.pop()} letters that all look like Latin ones: policies take it for no Latin label."
    return None


def _resolve_compatibility_forms(text: str) -> str:
    """Replace full-width and other compatibility forms by the letters they stand for, and drop invisible characters."""
    return unicodedata.normalize(
        "NFKC", "".join(character for character in text if character not in INVISIBLE_CHARACTERS)
    )


@lru_cache(maxsize=4096)
def _script_of_letter(letter: str) -> str:
    """Return the script of a letter, such as "Latin"; "" if several scripts share it or this Python knows none."""
    name_prefix = unicodedata.name(letter, "").partition(" ")[0]
    return (
        ""
        if name_prefix in _SHARED_NAME_PREFIXES
        else _SCRIPT_BY_NAME_PREFIX.get(name_prefix, name_prefix.capitalize())
    )
