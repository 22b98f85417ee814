"""Ways to spell a label so that it looks like another one and is not the same text."""

from collections.abc import Callable

from hypothesis import strategies as st

LABEL = "pre-paid caf\u00e9"


def _inside(character: str) -> Callable[[str], str]:
    return lambda label: label[:2] + character + label[2:]


def _full_width(label: str) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in label)


EVASIONS: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "a space after it": lambda label: label + " ",
    "a space before it": lambda label: " " + label,
    "a no-break space after it": lambda label: label + "\u00a0",
    "an ideographic space before it": lambda label: "\u3000" + label,
    "a line feed after it": lambda label: label + "\n",
    "two spaces for one": lambda label: label.replace(" ", "  "),
    "a thin space for a space": lambda label: label.replace(" ", "\u2009"),
    "a Braille blank for a space": lambda label: label.replace(" ", "\u2800"),
    "a zero-width space": _inside("\u200b"),
    "a zero-width joiner": _inside("\u200d"),
    "a word joiner": _inside("\u2060"),
    "a soft hyphen": _inside("\u00ad"),
    "a byte order mark": _inside("\ufeff"),
    "a bidirectional control": _inside("\u202e"),
    "a bidirectional isolate": _inside("\u2066"),
    "a combining grapheme joiner": _inside("\u034f"),
    "a variation selector": _inside("\ufe0f"),
    "a supplementary variation selector": _inside("\U000e0101"),
    "a tag": _inside("\U000e0041"),
    "a Hangul filler": _inside("\u3164"),
    "a half-width Hangul filler": _inside("\uffa0"),
    "a Mongolian vowel separator": _inside("\u180e"),
    "an unassigned character that is ignored": _inside("\ufff0"),
    "an annotation anchor": _inside("\ufff9"),
    "a control character": _inside("\x01"),
    "a noncharacter": _inside("\ufdd0"),
    "a non-breaking hyphen": lambda label: label.replace("-", "\u2011"),
    "an en dash": lambda label: label.replace("-", "\u2013"),
    "a minus sign": lambda label: label.replace("-", "\u2212"),
    "a hyphen bullet": lambda label: label.replace("-", "\u2043"),
    "a small hyphen": lambda label: label.replace("-", "\ufe63"),
    "full-width letters": _full_width,
    "mathematical letters": lambda label: label.replace("p", "\U0001d429"),
    "double-struck capitals": lambda label: label.replace("p", "\u2119"),
    "enclosed letters": lambda label: label.replace("p", "\u24df"),
    "superscript letters": lambda label: label.replace("p", "\u1d56"),
    "an accent of its own": lambda label: label.replace("\u00e9", "e\u0301"),
    "an accent that is held apart": lambda label: label.replace("\u00e9", "e\u200d\u0301"),
}


def evasions() -> st.SearchStrategy[Callable[[str], str]]:
    """Some of them, one after the other."""

    def spelled(chosen: list[str]) -> Callable[[str], str]:
        def spell(label: str) -> str:
            for name in chosen:
                label = EVASIONS[name](label)
            return label

        return spell

    return st.lists(st.sampled_from(sorted(EVASIONS)), min_size=1, max_size=4).map(spelled)
