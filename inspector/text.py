"""Hostile text made safe to look at: escaped, and with everything in it that cannot be seen made visible.

Memories are written by agents, and through them by anybody. Markup in them is inert; characters that hide, reorder or
imitate are named, so that what an analyst reads is what a machine reads. Everything here takes linear time.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby, islice

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from memoryhub.core.scripts import LOOKALIKES

# What draws nothing, or moves what is drawn around it. Tab and line feed are ordinary; so is CR LF.
HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1 controls: ESC begins what drives a terminal
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f"  # zero width, bidirectional controls
    "\u3164\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"  # tags, which spell ASCII unseen, and variation selectors, which carry bytes
    "\ud800-\udfff"
)
PICTURE = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u24c2\u25aa-\u27bf"
    "\u2934\u2935\u2b05-\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
EMOJI = f"{PICTURE}[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]?"
FLAGS = "|".join(  # the three flags that Unicode recommends; any other tag sequence may carry a message
    "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in region) + "\U000e007f"
    for region in ("gbeng", "gbsct", "gbwls")
)
MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"

UNUSUAL = re.compile(
    rf"(?P<plain>\r\n|{FLAGS}|[0-9#*]\ufe0f\u20e3|{EMOJI}(?:\u200d{EMOJI})*+)"
    rf"|(?P<hidden>[{HIDDEN}]++)"
    rf"|(?<=[{MARKS}]{{8}})(?P<stacked>[{MARKS}]++)"
)

JOINED = re.compile("[\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff]")

LOOKALIKE = re.compile(f"[{LOOKALIKES}]")
WORD = re.compile(r"[^\W\d_]++")

CONTROL_NAMES = {
    0x00: "NULL",
    0x07: "BELL",
    0x08: "BACKSPACE",
    0x0B: "VERTICAL TABULATION",
    0x0C: "FORM FEED",
    0x0D: "CARRIAGE RETURN",
    0x1B: "ESCAPE",
    0x7F: "DELETE",
    0x85: "NEXT LINE",
    0x9B: "CONTROL SEQUENCE INTRODUCER",
    0x9D: "OPERATING SYSTEM COMMAND",
}
MARKERS_PER_RUN = 12
SEARCHED = 100_000


def reveal(text: str) -> SafeString:
    """`text` as HTML in which nothing acts and nothing hides."""
    return _joined(_parts(text))


def hides_characters(text: str) -> bool:
    """Whether `reveal` would show markers for characters that otherwise cannot be seen."""
    return any(match.lastgroup != "plain" for match in UNUSUAL.finditer(text))


def imitates_letters(text: str) -> bool:
    """Whether a Latin word in `text` contains letters of another script that look alike."""
    return LOOKALIKE.search(text) is not None and any(_is_mixed(word.group()) for word in WORD.finditer(text))


def without_hidden(text: str) -> str:
    """`text` with a replacement character for what hides, for places that hold no markup."""
    return UNUSUAL.sub(lambda match: match.group() if match.lastgroup == "plain" else "�", text)


def shorten(text: str, limit: int) -> str:
    """The beginning of `text`, cut between words where possible and never within a character as people see it."""
    if len(text) <= limit:
        return text
    end = limit
    while end > max(limit - 64, limit // 2) and not _may_cut(text, end):
        end -= 1
    space = max(text.rfind(" ", end - 24, end), text.rfind("\n", end - 24, end))
    return text[: space if space > 0 else end].rstrip() + "…"


def around(text: str, needle: str, limit: int) -> str:
    """The part of `text` in which `needle` first occurs, or its beginning."""
    found = _sought(needle).search(text, 0, SEARCHED) if needle else None
    if found is None or found.end() < limit:
        return shorten(text, limit)
    start = max(found.start() - limit // 4, 0)
    while start < found.start() and not _may_cut(text, start):
        start += 1
    return "…" + shorten(text[start : start + limit * 2], limit)


def highlight(text: str, needle: str, *, most: int = 50) -> SafeString:
    """`reveal(text)` with the first `most` occurrences of `needle` marked."""
    if not needle:
        return reveal(text)
    return _joined(_highlighted(text, islice(_sought(needle).finditer(text), most)))


def _highlighted(text: str, matches: Iterable[re.Match[str]]) -> Iterator[str]:
    done = 0
    for match in matches:
        yield reveal(text[done : match.start()])
        yield format_html("<mark>{}</mark>", reveal(match.group()))
        done = match.end()
    yield reveal(text[done:])


def _sought(needle: str) -> re.Pattern[str]:
    """`needle` as the search finds it: without regard to case, and through characters that hide inside it."""
    visible = [character for character in without_hidden(needle) if character != "�"] or list(needle)
    return re.compile(f"[{HIDDEN}]*+".join(map(re.escape, visible)), re.IGNORECASE)


def _joined(parts: Iterable[str]) -> SafeString:
    """The parts as one; those that are not markup of ours are escaped."""
    return format_html_join("", "{}", ((part,) for part in parts))


def _parts(text: str) -> Iterator[str]:
    imitating = LOOKALIKE.search(text) is not None
    done = 0
    for match in UNUSUAL.finditer(text):
        yield from _visible(text[done : match.start()], imitating=imitating)
        done = match.end()
        if match.lastgroup == "plain":
            yield match.group()
        elif match.lastgroup == "hidden":
            yield from _markers(match.group())
        else:
            yield _marker(f"+{len(match.group()):,} marks", "COMBINING MARKS STACKED ON ONE LETTER")
    yield from _visible(text[done:], imitating=imitating)


def _visible(text: str, *, imitating: bool) -> Iterator[str]:
    done = 0
    for match in WORD.finditer(text) if imitating else ():
        if _is_mixed(match.group()):
            yield text[done : match.start()]
            yield from (_lookalike(letter) if letter in LOOKALIKES else letter for letter in match.group())
            done = match.end()
    yield text[done:]


def _is_mixed(word: str) -> bool:
    return LOOKALIKE.search(word) is not None and any("A" <= letter <= "z" for letter in word)


def _markers(run: str) -> Iterator[str]:
    """One marker per character, a repeated character told once, and a run of tags read out."""
    spelled = "".join(chr(ord(tag) - 0xE0000) for tag in run if _is_tag(tag))
    if len(spelled) > 1:
        yield _marker(f"“{shorten(spelled, 200)}”", f"{len(spelled):,} invisible TAG characters that spell this")
        run = "".join(character for character in run if not _is_tag(character))
    groups = [(character, len(list(same))) for character, same in groupby(run)]
    for character, times in groups[:MARKERS_PER_RUN]:
        yield _marker(f"U+{ord(character):04X}" + (f" \u00d7{times:,}" if times > 1 else ""), _name(character))
    if len(groups) > MARKERS_PER_RUN:
        more = sum(times for _, times in groups[MARKERS_PER_RUN:])
        yield _marker(f"+{more:,} more", "MORE INVISIBLE CHARACTERS")


def _is_tag(character: str) -> bool:
    """Whether it is an ASCII character's unseen twin."""
    return "\U000e0020" <= character <= "\U000e007e"


@lru_cache(maxsize=256)
def _lookalike(letter: str) -> SafeString:
    return format_html('<span class="lookalike" title="{}">{}</span>', _name(letter), letter)


@lru_cache(maxsize=4096)
def _marker(shown: str, title: str) -> SafeString:
    return format_html('<span class="invisible" title="{}">{}</span>', title, shown)


def _name(character: str) -> str:
    return unicodedata.name(character, CONTROL_NAMES.get(ord(character), "UNNAMED CONTROL CHARACTER"))


def _may_cut(text: str, at: int) -> bool:
    """Whether a cut before `text[at]` leaves both sides whole."""
    return JOINED.match(text, at) is None and not unicodedata.combining(text[at]) and text[at - 1] != "\u200d"
