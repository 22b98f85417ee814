"""What a text should make its reader careful of: words meant for the machine that reads it, and secrets.

Nothing here changes what is stored. Both detectors are lists of known forms: they prove nothing, and overlook what is
new. Each is asked of megabytes that anybody may write, so each takes linear time: a cheap word decides first whether a
pattern is tried at all, and no pattern can start twice on the same stretch.
"""

import re
from collections.abc import Callable

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
_SECRETS = tuple(
    (word, re.compile(pattern, re.ASCII))
    for word, pattern in (
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
)


def masked(text: str) -> str:
    """`text` with a mask in the place of each secret. What is masked once stays as it is."""
    for word, pattern in _SECRETS:
        if word in text:
            text = pattern.sub(rf"\1{MASK}", text)
    return text
