"""Which labels are said to imitate others, and which are not."""

import pytest

from memoryhub.core.confusables import describe_confusable_text
from tests.core.label_evasions import EVASIONS, LABEL

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "expected_warning"),
    [
        ("p\u0430ssword", "mixes Cyrillic and Latin letters"),
        ("p\u200b\u0430ss", "mixes Cyrillic and Latin letters"),
        ("\uff50\u0430ss", "mixes Cyrillic and Latin letters"),
        ("PI\u0399", "mixes Greek and Latin letters"),
        ("\ua4d1II", "mixes Latin and Lisu letters"),
        ("\u13a2BM", "mixes Cherokee and Latin letters"),
        ("\u0440\u03b1y", "mixes Cyrillic, Greek and Latin letters"),
        ("\ud55c\u304b", "mixes Hangul and Hiragana letters"),
        ("\u0440\u0456\u0456", "has Cyrillic letters that all look like Latin ones"),
        ("\u0391\u0392", "has Greek letters that all look like Latin ones"),
    ],
)
def test_letters_that_imitate_others_are_found(text, expected_warning):
    assert str(describe_confusable_text(text)).startswith(expected_warning)


@pytest.mark.parametrize(
    "text",
    [
        "", "pii", "caf\u00e9", "stra\u00dfe", "na\u00efve 2-3", "\uff50\uff49i", "\u212b", "\u2170",
        "\u0434\u0430\u043d\u043d\u044b\u0435", "\u03b4\u03b5\u03b4\u03bf\u03bc\u03ad\u03bd\u03b1",
        "\u6771\u4eac\u30bf\u30ef\u30fctower", "\u6f22\u5b57\u304b\u306a\u3005", "\ud55c\uad6d\u8a9e pii",
        "\u6ce8\u97f3\u3105", "\u02bbokina", "\u0e44\u0e17\u0e22", "12", "\U0001f600",
    ],
)  # fmt: skip
def test_honest_labels_are_not(text):
    assert describe_confusable_text(text) is None


@pytest.mark.parametrize("evade", EVASIONS.values(), ids=EVASIONS)
def test_a_spelling_that_policies_see_through_needs_no_warning(evade):
    assert describe_confusable_text(evade(LABEL)) is None
