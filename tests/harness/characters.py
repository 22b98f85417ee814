"""The characters that a test of a rule for each of them tries."""

import sys
import unicodedata
from functools import cache

from tests.harness.strategies import SOAK

CHARACTERS = [chr(code) for code in range(sys.maxunicode + 1)]
# Unassigned, private, and half of a surrogate pair: six of seven characters, which only their code tells apart.
NAMELESS_CATEGORIES = ("Cn", "Co", "Cs")


@cache
def characters_to_try() -> list[str]:
    """All that Unicode has named; of the others, the first and the last of each run and some more, or all to soak."""
    is_nameless = [unicodedata.category(character) in NAMELESS_CATEGORIES for character in CHARACTERS]
    return [
        character
        for code, character in enumerate(CHARACTERS)
        if SOAK or not all(is_nameless[max(code - 1, 0) : code + 2]) or code % 101 == 0
    ]
