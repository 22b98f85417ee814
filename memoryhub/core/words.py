"""Split a text into the words that a search compares, as the SQL function `memory_word_text` does.

A change needs a migration that replaces that function and computes the stored words anew; a test compares the two.
"""

import re
import unicodedata

from memoryhub.core.storable_text import INVISIBLE_CHARACTERS, PLAIN_LETTERS, VARIANT_LETTERS

# Character classes for regular expressions, which Python and PostgreSQL read alike.
# All characters but letters, digits, marks and the apostrophe, in Unicode 18. Unassigned ones count as letters.
SEPARATORS_CLASS = (
    r"\u0000-\u0026\u0028-\u002F\u003A-\u0040\u005B-\u0060\u007B-\u00A9\u00AB-\u00B1\u00B4\u00B6-\u00B8\u00BB\u00BF"
    r"\u00D7\u00F7\u02C2-\u02C5\u02D2-\u02DF\u02E5-\u02EB\u02ED\u02EF-\u02FF\u0375\u037E\u0384\u0385\u0387\u03F6"
    r"\u0482\u055A-\u055F\u0589\u058A\u058D-\u058F\u05BE\u05C0\u05C3\u05C6\u05F3-\u060F\u061B-\u061F\u066A-\u066D"
    r"\u06D4\u06DD\u06DE\u06E9\u06FD\u06FE\u0700-\u070F\u07F6-\u07F9\u07FE\u07FF\u0830-\u083E\u085E\u0888\u0890\u0891"
    r"\u08E2\u0964\u0965\u0970\u09F2\u09F3\u09FA\u09FB\u09FD\u0A76\u0AF0\u0AF1\u0B70\u0BF3-\u0BFA\u0C77\u0C7F\u0C84"
    r"\u0D4F\u0D79\u0DF4\u0E3F\u0E4F\u0E5A\u0E5B\u0F01-\u0F17\u0F1A-\u0F1F\u0F34\u0F36\u0F38\u0F3A-\u0F3D\u0F85"
    r"\u0FBE-\u0FC5\u0FC7-\u0FDA\u104A-\u104F\u109E\u109F\u10FB\u1360-\u1368\u1390-\u1399\u1400\u166D\u166E\u1680"
    r"\u169B\u169C\u16EB-\u16ED\u1735\u1736\u17D4-\u17D6\u17D8-\u17DB\u1800-\u180A\u180E\u1940-\u1945\u19DE-\u19FF"
    r"\u1A1E\u1A1F\u1AA0-\u1AA6\u1AA8-\u1AAD\u1B4E\u1B4F\u1B5A-\u1B6A\u1B74-\u1B7F\u1BFC-\u1BFF\u1C3B-\u1C3F\u1C7E"
    r"\u1C7F\u1CC0-\u1CC7\u1CD3\u1FBD\u1FBF-\u1FC1\u1FCD-\u1FCF\u1FDD-\u1FDF\u1FED-\u1FEF\u1FFD-\u206F\u207A-\u207E"
    r"\u208A-\u208E\u20A0-\u20C4\u2100\u2101\u2103-\u2106\u2108\u2109\u2114\u2116-\u2118\u211E-\u2123\u2125\u2127"
    r"\u2129\u212E\u213A\u213B\u2140-\u2144\u214A-\u214D\u214F\u218A-\u244A\u249C-\u24E9\u2500-\u2775\u2794-\u2BFF"
    r"\u2CE5-\u2CEA\u2CF9-\u2CFC\u2CFE\u2CFF\u2D70\u2E00-\u2E2E\u2E30-\u3004\u3008-\u3020\u3030\u3036\u3037"
    r"\u303D-\u303F\u309B\u309C\u30A0\u30FB\u3190\u3191\u3196-\u319F\u31C0-\u31EF\u3200-\u321E\u322A-\u3247\u3250"
    r"\u3260-\u327F\u328A-\u32B0\u32C0-\u33FF\u4DC0-\u4DFF\uA490-\uA4C6\uA4FE\uA4FF\uA60D-\uA60F\uA673\uA67E"
    r"\uA6F2-\uA716\uA720\uA721\uA789\uA78A\uA828-\uA82B\uA836-\uA839\uA874-\uA877\uA8CE\uA8CF\uA8F8-\uA8FA\uA8FC"
    r"\uA92E\uA92F\uA95F\uA9C1-\uA9CD\uA9DE\uA9DF\uAA5C-\uAA5F\uAA77-\uAA79\uAADE\uAADF\uAAF0\uAAF1\uAB5B\uAB6A\uAB6B"
    r"\uABEB\uD800-\uF8FF\uFB29\uFBB2-\uFBD2\uFD3E-\uFD4F\uFD90\uFD91\uFDC8-\uFDCF\uFDFC-\uFDFF\uFE10-\uFE19"
    r"\uFE30-\uFE6B\uFEFF-\uFF0F\uFF1A-\uFF20\uFF3B-\uFF40\uFF5B-\uFF65\uFFE0-\uFFFD"
)
SUPPLEMENTARY_SEPARATORS_CLASS = (
    r"\U00010100-\U00010102"
    r"\U00010137-\U0001013F\U00010179-\U00010189\U0001018C-\U000101FC\U0001039F\U000103D0\U0001056F\U00010857"
    r"\U00010877\U00010878\U0001091F\U0001093F\U00010A50-\U00010A58\U00010A7F\U00010AC8\U00010AF0-\U00010AF6"
    r"\U00010B39-\U00010B3F\U00010B99-\U00010B9C\U00010D6E\U00010D8E\U00010D8F\U00010EAD\U00010EC9\U00010ECA"
    r"\U00010ED0-\U00010ED8\U00010F55-\U00010F59\U00010F86-\U00010F89\U00011047-\U0001104D\U000110BB-\U000110C1"
    r"\U000110CD\U00011140-\U00011143\U00011174\U00011175\U000111C5-\U000111C8\U000111CD\U000111DB"
    r"\U000111DD-\U000111DF\U00011238-\U0001123D\U000112A9\U000113D4-\U000113D8\U0001144B-\U0001144F"
    r"\U0001145A-\U0001145D\U000114C6\U000115C1-\U000115D7\U00011641-\U00011643\U00011660-\U0001166C\U000116B9"
    r"\U0001173C-\U0001173F\U0001183B\U00011944-\U00011946\U000119E2\U00011A3F-\U00011A46\U00011A9A-\U00011A9C"
    r"\U00011A9E-\U00011AA2\U00011B00-\U00011B09\U00011BE1\U00011C41-\U00011C45\U00011C70\U00011C71\U00011EF7"
    r"\U00011EF8\U00011F43-\U00011F4F\U00011FD5-\U00011FFF\U00012470-\U00012474\U00012FF1\U00012FF2"
    r"\U00013430-\U0001343F\U00016A6E\U00016A6F\U00016AF5\U00016B37-\U00016B3F\U00016B44\U00016B45"
    r"\U00016D6D-\U00016D6F\U00016E97-\U00016E9A\U00016FE2\U0001BC9C\U0001BC9F-\U0001CCEF\U0001CCFA-\U0001CEFD"
    r"\U0001CF50-\U0001D126\U0001D129-\U0001D164\U0001D16A-\U0001D16C\U0001D173-\U0001D17A\U0001D183\U0001D184"
    r"\U0001D18C-\U0001D1A9\U0001D1AE-\U0001D241\U0001D245\U0001D253-\U0001D25A\U0001D25D\U0001D25E"
    r"\U0001D260-\U0001D27F\U0001D300-\U0001D356\U0001D6C1\U0001D6DB\U0001D6FB\U0001D715\U0001D735\U0001D74F"
    r"\U0001D76F\U0001D789\U0001D7A9\U0001D7C3\U0001D800-\U0001D9FF\U0001DA37-\U0001DA3A\U0001DA6D-\U0001DA74"
    r"\U0001DA76-\U0001DA83\U0001DA85-\U0001DA8B\U0001DB00-\U0001DB1C\U0001E14F\U0001E2FF\U0001E5FF\U0001E95E"
    r"\U0001E95F\U0001ECAC\U0001ECB0\U0001ED2E\U0001EEF0-\U0001F0F5\U0001F10D-\U0001FBEF\U0001FBFA"
    r"\U000E0001-\U000E007F\U000F0000-\U0010FFFD"
)
# Marks for the letters of any script: accents, which people leave out when they type. The marks of one script, such as
# the vowel signs of Hindi, make another word.
DIACRITICS_CLASS = r"\u0300-\u036F\u1AB0-\u1AFF\u1DC0-\u1DFF\u20D0-\u20FF\uFE20-\uFE2F"
# Scripts that are written without spaces: Thai, Lao, Myanmar, Khmer, Tai Le, New Tai Lue, Tai Tham, Balinese, Javanese,
# Tai Viet, Han, Hiragana, Katakana, Bopomofo, Tangut.
UNSPACED_LETTERS_CLASS = (
    r"\u0E00-\u0EFF\u1000-\u109F\u1780-\u17FF\u1950-\u19FF\u1A20-\u1AAF\u1B00-\u1B7F\u2E80-\u2FDF\u3005-\u3007"
    r"\u3021-\u3029\u3031-\u303C\u3040-\u312F\u31A0-\u31BF\u31F0-\u31FF\u3400-\u4DBF\u4E00-\u9FFF\uA980-\uA9FF"
    r"\uAA60-\uAADF\uF900-\uFAFF\U00017000-\U00018DFF\U0001AFF0-\U0001B16F\U00020000-\U0003FFFF"
)
# Characters that are typed as apostrophes. The first two, an acute accent and a koronis, have a decomposition.
DECOMPOSED_APOSTROPHES = "\u00b4\u1fbd"
APOSTROPHES = "\u0060\u02b9\u02bb\u02bc\u02bd\u02be\u02bf\u055a\u05f3\u2018\u2019\u201b\u2032"
# Unicode does not compose these of a letter and a mark, but people type them without it, too.
MARKED_LETTERS, BARE_LETTERS = "\u00f8\u0142\u0111\u0127\u0167\u0131\u0237", "oldhtij"
LIGATURES = {"\u00df": "ss", "\u00e6": "ae", "\u0153": "oe"}

_PREPARATION: dict[int, str | None] = {
    **dict.fromkeys(map(ord, INVISIBLE_CHARACTERS)),
    **dict.fromkeys(map(ord, DECOMPOSED_APOSTROPHES), "'"),
}
_LETTERS: dict[int, str] = {
    **dict(zip(map(ord, VARIANT_LETTERS + MARKED_LETTERS), PLAIN_LETTERS + BARE_LETTERS, strict=True)),
    **dict.fromkeys(map(ord, APOSTROPHES), "'"),
    **{ord(ligature): letters for ligature, letters in LIGATURES.items()},
}
_DIACRITICS = re.compile(f"[{DIACRITICS_CLASS}]+")
# Python tries ranges beyond U+FFFF one by one: only characters there are looked up in them.
_SEPARATORS = re.compile(f"(?:[{SEPARATORS_CLASS}]|(?![\\0-\\uFFFF])[{SUPPLEMENTARY_SEPARATORS_CLASS}])+")
_UNSPACED_LETTERS = re.compile(f"([{UNSPACED_LETTERS_CLASS}]+)")
_APOSTROPHES = re.compile("'+")


def split_words(text: str) -> list[str]:
    """Return the words of `text`, folded: spellings that a reader takes for one word are equal.

    A word is a run of letters, digits and marks. Case, accents, apostrophes within a word, a possessive `'s` at its end
    and invisible characters are left out. Letters of a script without spaces form words of their own.
    """
    decomposed_text = _DIACRITICS.sub("", unicodedata.normalize("NFKD", text.translate(_PREPARATION)))
    # Python lowers a capital sigma to one of two letters, PostgreSQL always to the same.
    lower_text = decomposed_text.replace("\u03a3", "\u03c3").lower()
    folded_text = unicodedata.normalize("NFC", lower_text.translate(_LETTERS))
    words_text = _remove_apostrophes(f" {_SEPARATORS.sub(' ', folded_text)} ")
    return _UNSPACED_LETTERS.sub(r" \1 ", words_text).split()


def holds_unspaced_letters(text: str) -> bool:
    """Whether `text` holds letters of a script without spaces, whose words no simple rule can separate."""
    return not text.isascii() and any(_UNSPACED_LETTERS.match(word) for word in split_words(text))


def _remove_apostrophes(text: str) -> str:
    """Return `text`, words between spaces, without apostrophes and without a possessive `'s` at the end of a word."""
    single_apostrophes = _APOSTROPHES.sub("'", text)
    return single_apostrophes.replace("' ", " ").replace(" '", " ").replace("'s ", " ").replace("'", "")
