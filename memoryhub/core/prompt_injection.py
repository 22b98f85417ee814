"""Detect what reads like an instruction to the machine that reads a text.

Nothing here changes what is stored. The detector is a list of known forms: it proves nothing and misses new forms. It
runs on megabytes that anybody may write, so it takes linear time: a cheap keyword decides whether a pattern is tried at
all, and no pattern can start twice on the same stretch.
"""

import re
from collections.abc import Callable

from memoryhub.core.storable_text import INVISIBLE_CHARACTERS

# Unicode tag characters spell invisible ASCII and are read as ASCII. All other invisible characters are removed.
_INVISIBLE_TRANSLATION: dict[int, int | None] = dict.fromkeys(map(ord, INVISIBLE_CHARACTERS), None) | {
    0xE0000 + code: code for code in range(0x20, 0x7F)
}

_GAP = r"(?:\W++\w++)"
_INSTRUCTION_FORMS: tuple[tuple[str, tuple[str, ...], str], ...] = (
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
_COMPILED_INSTRUCTIONS = tuple(
    (reason, keywords, re.compile(pattern, re.MULTILINE)) for reason, keywords, pattern in _INSTRUCTION_FORMS
)
# One long run of base64, or lines of it as tools wrap them. `_is_encoded` excludes hexadecimal, such as a digest, which
# does not mix upper and lower case.
_ENCODED_TEXT = re.compile(
    r"(?<![\w+/-])(?:[\w+/-]{120,}+|[\w+/]{60,76}+(?:\r?\n[\w+/]{60,76}+)+)(?![\w+/-])={0,2}", re.ASCII
)


def injection_reason(text: str) -> str:
    """Describe in a few words what reads like an instruction to a machine in `text`; "" if nothing does."""
    normalized_text = text.translate(_INVISIBLE_TRANSLATION).lower()
    for reason, keywords, pattern in _COMPILED_INSTRUCTIONS:
        if any(keyword in normalized_text for keyword in keywords) and pattern.search(normalized_text):
            return reason
    return "holds a long encoded text" if any(map(_is_encoded, _ENCODED_TEXT.finditer(text))) else ""


def _is_encoded(match: re.Match[str]) -> bool:
    character_classes: tuple[Callable[[str], bool], ...] = (str.isupper, str.islower, str.isdigit)
    return all(any(map(is_in_class, match.group()[:2_000])) for is_in_class in character_classes)
