"""Letters of one script that pass for letters of another."""

import unicodedata
from functools import lru_cache

from memoryhub.core.text import INVISIBLE

# Letters of other scripts that look like Latin ones. Alone they are honest; inside a Latin word they imitate.
LOOKALIKES = "АВЕЅІЈКМНОРСТУХаеорсухѕіјԁһӏԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧοανρ"  # noqa: RUF001 - that is the point
_LOOKALIKES = frozenset(LOOKALIKES)

# Scripts that are written together (UTS #39, "Highly Restrictive"): Japanese, Chinese and Korean, each with Latin.
_WRITTEN_TOGETHER = (
    frozenset({"Latin", "Han", "Hiragana", "Katakana"}),
    frozenset({"Latin", "Han", "Bopomofo"}),
    frozenset({"Latin", "Han", "Hangul"}),
)
_LETTERS = ("Lu", "Ll", "Lt", "Lo")
# First words of names that are not the name of a script.
_SCRIPTS = {"CJK": "Han", "HENTAIGANA": "Hiragana", "IDEOGRAPHIC": "Han", "ROMAN": "Latin", "TURNED": "Latin"}
_MANY_SCRIPTS = ("MASU", "MODIFIER", "VEDIC")


def imitation_warning(text: str) -> str | None:
    """What a reader may mistake in `text`, as a sentence without its subject; None if nothing was found.

    Found are letters of several scripts in one text ("password" with one Cyrillic letter), but for scripts that are
    written together, and texts whose every letter is a Cyrillic or Greek one of LOOKALIKES ("pii" without one Latin
    letter). The script of a letter is the first word of its Unicode name, for Python knows no other. Not found are
    whole texts in lookalike letters of other scripts, lookalikes within one script (a dotless i), digits, punctuation,
    and symbols that show a letter: that takes the tables of UTS #39.
    """
    letters = [letter for letter in _composed(text) if unicodedata.category(letter) in _LETTERS]
    scripts = {script for letter in letters if (script := _script(letter))}
    if len(scripts) > 1 and not any(scripts <= together for together in _WRITTEN_TOGETHER):
        *others, last = sorted(scripts)
        return f"mixes {', '.join(others)} and {last} letters: policies compare it letter by letter, not by its looks."
    if letters and _LOOKALIKES.issuperset(letters):
        return f"has {scripts.pop()} letters that all look like Latin ones: policies take it for no Latin label."
    return None


def _composed(text: str) -> str:
    """Full-width and other compatibility forms are compared as the letters that they stand for."""
    return unicodedata.normalize("NFKC", "".join(character for character in text if character not in INVISIBLE))


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    """The script of a letter, as "Latin"; "" if it belongs to several, or to none that this Python knows."""
    first = unicodedata.name(letter, "").partition(" ")[0]
    return "" if first in _MANY_SCRIPTS else _SCRIPTS.get(first, first.capitalize())
