"""Ways to spell a label so that it looks like another one and is not the same text."""

from collections.abc import Callable

from hypothesis import strategies as st

LABEL = "pre-paid caf\u00e9"


def _insert_inside(character: str) -> Callable[[str], str]:
    return lambda label: label[:2] + character + label[2:]


def _to_full_width(label: str) -> str:
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
    "a zero-width space": _insert_inside("\u200b"),
    "a zero-width joiner": _insert_inside("\u200d"),
    "a word joiner": _insert_inside("\u2060"),
    "a soft hyphen": _insert_inside("\u00ad"),
    "a byte order mark": _insert_inside("\ufeff"),
    "a bidirectional control": _insert_inside("\u202e"),
    "a bidirectional isolate": _insert_inside("\u2066"),
    "a combining grapheme joiner": _insert_inside("\u034f"),
    "a variation selector": _insert_inside("\ufe0f"),
    "a supplementary variation selector": _insert_inside("\U000e0101"),
    "a tag": _insert_inside("\U000e0041"),
    "a Hangul filler": _insert_inside("\u3164"),
    "a half-width Hangul filler": _insert_inside("\uffa0"),
    "a Mongolian vowel separator": _insert_inside("\u180e"),
    "an unassigned character that is ignored": _insert_inside("\ufff0"),
    "an annotation anchor": _insert_inside("\ufff9"),
    "a control character": _insert_inside("\x01"),
    "a noncharacter": _insert_inside("\ufdd0"),
    "a non-breaking hyphen": lambda label: label.replace("-", "\u2011"),
    "an en dash": lambda label: label.replace("-", "\u2013"),
    "a minus sign": lambda label: label.replace("-", "\u2212"),
    "a hyphen bullet": lambda label: label.replace("-", "\u2043"),
    "a small hyphen": lambda label: label.replace("-", "\ufe63"),
    "full-width letters": _to_full_width,
    "mathematical letters": lambda label: label.replace("p", "\U0001d429"),
    "double-struck capitals": lambda label: label.replace("p", "\u2119"),
    "enclosed letters": lambda label: label.replace("p", "\u24df"),
    "superscript letters": lambda label: label.replace("p", "\u1d56"),
    "an accent of its own": lambda label: label.replace("\u00e9", "e\u0301"),
    "an accent that is held apart": lambda label: label.replace("\u00e9", "e\u200d\u0301"),
}


def evasion_strategy() -> st.SearchStrategy[Callable[[str], str]]:
    """Some of them, one after the other."""

    def combine_evasions(names: list[str]) -> Callable[[str], str]:
        def evade_label(label: str) -> str:
            for name in names:
                label = EVASIONS[name](label)
            return label

        return evade_label

    return st.lists(st.sampled_from(sorted(EVASIONS)), min_size=1, max_size=4).map(combine_evasions)
