"""What a text should make its reader careful of: words meant for the machine that reads it, and secrets.

Nothing here changes what is stored. Both detectors are lists of known forms: they prove nothing, and overlook what is
new. Each is asked of megabytes that anybody may write, so each takes linear time: a cheap word decides first whether a
pattern is tried at all, and no pattern can start twice on the same stretch.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from memoryhub.memories.text import INVISIBLE

MASK = "••••••••"

# ---- Instructions

# Tags spell ASCII unseen: what they spell is read, and everything else that hides is looked through.
_PLAIN: dict[int, int | None] = dict.fromkeys(map(ord, INVISIBLE), None) | {
    0xE0000 + code: code for code in range(0x20, 0x7F)
}

_GAP = r"(?:\W++\w++)"
_FORMS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "asks to ignore instructions",
        ("ignore", "disregard", "forget", "override", "bypass"),
        rf"\b(?:ignore|disregard|forget|override|bypass){_GAP}{{0,3}}?\W++"
        rf"(?:previous|prior|above|earlier|preceding|foregoing|all|any|your|these|those|other){_GAP}{{0,3}}?\W++"
        r"(?:instructions?|rules|prompts?|guidelines|directives|constraints|safeguards|training)\b"
        r"|\b(?:ignore|disregard|forget)\W++(?:all|everything|anything)\W++(?:of\W++)?"
        r"(?:that\W++)?(?:the\W++)?(?:above|before|previous|came\W++before|you\W++(?:were|have\W++been|know))\b",
    ),
    (
        "gives a machine another role",
        ("you are now", "from now on", "pretend", "jailbr"),
        r"\byou are now (?:an? )?(?:\w++ )?(?:dan|root|unrestricted|jailbroken|assistant|ai|model|bot|system|"
        r"developer mode|in developer mode)\b|\bfrom now on,? you (?:must|will|shall|are|have to|obey)\b"
        r"|\bpretend (?:to be|that you are|you are) (?:an? )?(?:\w++ )?(?:ai|assistant|model|bot|system|admin\w*)\b"
        r"|\bjailbr(?:eak|oken)\W++mode\b",
    ),
    (
        "asks for a machine's own instructions",
        ("system prompt", "hidden prompt", "initial prompt", "system instructions", "hidden instructions"),
        r"\b(?:reveal|print|repeat|show|leak|output|tell)\b[^\n.]{0,40}?"
        r"\b(?:system prompt|hidden prompt|initial prompt|system instructions|hidden instructions)\b",
    ),
    (
        "asks a machine to keep a secret from its user",
        ("the user", "your user"),
        r"\b(?:do not|don['’]t|never) (?:ever )?(?:tell|inform|notify|alert|warn|ask|mention)\b[^\n.]{0,60}?"
        r"\b(?:the|your) user\b|\bwithout (?:telling|informing|notifying|alerting|asking) (?:the|your) user\b",
    ),
    (
        "asks to call a tool",
        (" the tool", " this tool", " your tool"),
        r"\b(?:call|invoke|execute|trigger) (?:the|this|your) tools?\b",
    ),
    (
        "imitates a system or tool block",
        ("<|", "<system", "</system", "<tool", "</tool", "<function", "</function", "<invoke", "<instruction",
         "</instruction", "<<sys", "[inst]", "[/inst]", "[system]", "<assistant", "</assistant", "<start_of_turn"),
        r"<\|[a-z_]{2,40}\|>|<</?sys>>|\[/?inst\]|\[system\]"
        r"|</?(?:system|system[-_]\w{1,20}|tool|tool_\w{1,20}|function|functions|function_\w{1,20}|invoke"
        r"|instructions?|assistant|start_of_turn)(?:\s[^<>]{0,200})?>",
    ),
    (
        "imitates a message with a role",
        ("system", "assistant", "developer", "tool"),
        r"^[ \t>*#]{0,8}(?:system|assistant|developer|tool)"
        r"(?: (?:message|prompt|override|notice|note|instructions?|update|output|result))?[ \t*]{0,4}:"
        r"|\"(?:role)\"\s{0,4}:\s{0,4}\"(?:system|assistant|developer|tool)\"|\"tool_calls?\"\s{0,4}:",
    ),
)  # fmt: skip
_INSTRUCTIONS = tuple((why, words, re.compile(pattern, re.MULTILINE)) for why, words, pattern in _FORMS)
# A run of it, or lines of it as tools wrap them. Hexadecimal, such as a digest, has no capitals beside small letters.
_ENCODED = re.compile(
    r"(?<![\w+/-])(?:[\w+/-]{120,}+|[\w+/]{60,76}+(?:\r?\n[\w+/]{60,76}+)+)(?![\w+/-])={0,2}", re.ASCII
)


def why_instructing(text: str) -> str:
    """What reads like an instruction to a machine in `text`, in a few words; "" if nothing does."""
    seen = text.translate(_PLAIN).lower()
    for why, words, pattern in _INSTRUCTIONS:
        if any(word in seen for word in words) and pattern.search(seen):
            return why
    return "holds a long encoded text" if any(map(_is_encoded, _ENCODED.finditer(text))) else ""


def _is_encoded(found: re.Match[str]) -> bool:
    kinds: tuple[Callable[[str], bool], ...] = (str.isupper, str.islower, str.isdigit)
    return all(any(map(is_kind, found.group()[:2_000])) for is_kind in kinds)


# ---- Secrets

# The beginning of a word; in a document, also after an escaped control character, whose letter is none of the text's.
_START = r"(?:(?<![\w-])|(?<=\\[nrtbf])|(?<=\\u00[01][0-9a-f]))"
_MIXED = r"(?=[\w-]*?[0-9])(?=[\w-]*?[A-Za-z])"
# What makes a form worth trying, and the form. Its group stays to be seen: it names the kind, and opens nothing.
# Whoever changes this fills the stored masked texts anew, in a migration like 0011.
SECRET_FORMS = (
    (
        "PRIVATE KEY",
        r"(-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)(?!•)"
        r"(?:[^\"-]++|-(?!----(?:BEGIN|END) ))*+(?:-----END [A-Z0-9 ]{0,40}(?: BLOCK)?-----)?",
    ),
    ("eyJ", rf"{_START}(eyJ)[\w-]{{8,}}+\.eyJ[\w-]{{8,}}+\.[\w-]*+"),
    ("AKIA", rf"{_START}(AKIA)[0-9A-Z]{{16}}(?![\w-])"),
    ("ASIA", rf"{_START}(ASIA)[0-9A-Z]{{16}}(?![\w-])"),
    ("sk-", rf"{_START}(sk-){_MIXED}[\w-]{{20,}}+"),
    ("_live_", rf"{_START}([spr]k_live_)[A-Za-z0-9]{{16,}}+"),
    ("_test_", rf"{_START}([spr]k_test_)[A-Za-z0-9]{{16,}}+"),
    ("gh", rf"{_START}(gh[pousr]_)[A-Za-z0-9]{{30,}}+"),
    ("github_pat_", rf"{_START}(github_pat_)\w{{22,}}+"),
    ("glpat-", rf"{_START}(glpat-)[\w-]{{20,}}+"),
    ("xox", rf"{_START}(xox[a-z]-)(?=[\w-]*?[0-9])[A-Za-z0-9-]{{10,}}+"),
    ("AIza", rf"{_START}(AIza)[\w-]{{35}}(?![\w-])"),
    ("mh_", rf"{_START}(mh_)[A-Za-z0-9]{{32,}}+"),
)
_SECRETS = tuple((word, re.compile(pattern, re.ASCII)) for word, pattern in SECRET_FORMS)


def _lookalikes() -> Iterator[tuple[int, int]]:
    """Characters that stand for one of ASCII, such as full-width letters (NFKC), and the dashes."""
    for code in chain(
        range(0xA0, 0x3400), range(0xF900, 0x1_0000), range(0x1_D400, 0x1_D800), range(0x1_F100, 0x1_FC00)
    ):
        plain = unicodedata.normalize("NFKC", chr(code))
        if len(plain) == 1 and plain.isascii():
            yield code, ord(plain)
    yield from dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), ord("-")).items()


_HIDDEN: dict[int, int | None] = dict(_lookalikes()) | dict.fromkeys(map(ord, INVISIBLE), None)
DISGUISES: tuple[Mapping[int, int | None], ...] = (
    _HIDDEN,
    _HIDDEN | {0xE0000 + code: code for code in range(0x20, 0x7F)},
)
"""Two ways in which a reader undoes what hides a secret: without what cannot be seen, and with tags read as ASCII."""


def _as_ranges(codes: Iterable[int]) -> str:
    """The code points as the inside of a bracket expression, to Python and to PostgreSQL alike."""
    ranges: list[list[int]] = []
    for code in sorted(codes):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\U{first:08X}-\\U{last:08X}" for first, last in ranges)


DISGUISING = _as_ranges(_HIDDEN)
"""The characters that may hide a secret, as the inside of a bracket expression."""
_DISGUISING = re.compile(f"[{DISGUISING}]")


def masked(text: str) -> str:
    """`text` with a mask in the place of each secret, also of one that invisible or full-width characters disguise.

    What is masked once stays as it is.
    """
    for word, pattern in _SECRETS:
        if word in text:
            text = pattern.sub(rf"\1{MASK}", text)
    if text.isascii() or not _DISGUISING.search(text):
        return text
    for disguise in DISGUISES:
        text = _masked_through(text, disguise)
    return text


def masked_or_none(text: str) -> str | None:
    """`masked(text)` as it is stored beside `text`: None if there is nothing to mask."""
    shown = masked(text)
    return None if shown == text else shown


def _masked_through(text: str, disguise: Mapping[int, int | None]) -> str:
    """`text` with a mask in the place of each secret that is read once `disguise` is undone."""
    plain = text.translate(disguise)
    for word, pattern in _SECRETS:
        if word not in plain or not (found := list(pattern.finditer(plain))):
            continue
        # Where each character of the plain text stands in the disguised one.
        places = [at for at, letter in enumerate(text) if disguise.get(ord(letter), 0) is not None]
        done, parts = 0, []
        for match in found:
            shown, end = places[match.end(1) - 1] + 1, places[match.end() - 1] + 1
            parts += [text[done:shown], MASK]
            done = end
        text = "".join([*parts, text[done:]])
        plain = text.translate(disguise)
    return text
