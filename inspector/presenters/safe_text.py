"""Render hostile text safely: markup is escaped, and invisible characters become visible.

Anybody can write memories through an agent. Markup in them is inert, and characters that hide, reorder or imitate
others are named, so that an analyst reads the same text as a machine. All functions take linear time.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby, islice

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from memoryhub.core.confusables import LATIN_LOOKALIKES

# Characters that draw nothing or move their neighbours. Tab, line feed and CR LF are ordinary.
HIDDEN_CHARACTERS = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1 controls: ESC begins what drives a terminal
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f"  # zero width, bidirectional controls
    "\u3164\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"  # tags, which spell ASCII unseen, and variation selectors, which carry bytes
    "\ud800-\udfff"
)
PICTOGRAM = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u24c2\u25aa-\u27bf"
    "\u2934\u2935\u2b05-\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
EMOJI = f"{PICTOGRAM}[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]?"
FLAG_SEQUENCES = "|".join(  # the three flags that Unicode recommends; any other tag sequence may carry a message
    "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in region) + "\U000e007f"
    for region in ("gbeng", "gbsct", "gbwls")
)
COMBINING_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"

UNUSUAL_SEQUENCE = re.compile(
    rf"(?P<plain>\r\n|{FLAG_SEQUENCES}|[0-9#*]\ufe0f\u20e3|{EMOJI}(?:\u200d{EMOJI})*+)"
    rf"|(?P<hidden>[{HIDDEN_CHARACTERS}]++)"
    rf"|(?<=[{COMBINING_MARKS}]{{8}})(?P<stacked>[{COMBINING_MARKS}]++)"
)

JOINING_CHARACTER = re.compile("[\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff]")

LOOKALIKE = re.compile(f"[{LATIN_LOOKALIKES}]")
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
MAX_MARKERS_PER_RUN = 12
MAX_SEARCHED_CHARS = 100_000


def render_visible(text: str) -> SafeString:
    """Return `text` as HTML without active markup or hidden characters."""
    return _join_escaped(_iter_parts(text))


def has_hidden_characters(text: str) -> bool:
    """Whether `render_visible` would mark invisible or stacked characters in `text`."""
    return any(match.lastgroup != "plain" for match in UNUSUAL_SEQUENCE.finditer(text))


def has_homoglyphs(text: str) -> bool:
    """Whether a Latin word in `text` contains lookalike letters of another script."""
    return LOOKALIKE.search(text) is not None and any(_mixes_scripts(word.group()) for word in WORD.finditer(text))


def replace_hidden(text: str) -> str:
    """Replace hidden characters by U+FFFD, for places without markup."""
    return UNUSUAL_SEQUENCE.sub(lambda match: match.group() if match.lastgroup == "plain" else "�", text)


def shorten(text: str, limit: int) -> str:
    """Cut `text` to `limit` characters, between words if possible, and not inside an emoji sequence or accent."""
    if len(text) <= limit:
        return text
    end = limit
    while end > max(limit - 64, limit // 2) and not _is_safe_cut(text, end):
        end -= 1
    space = max(text.rfind(" ", end - 24, end), text.rfind("\n", end - 24, end))
    return text[: space if space > 0 else end].rstrip() + "…"


def extract_excerpt(text: str, needles: Sequence[str], limit: int) -> str:
    """Return the part of `text` around the first match of one of `needles`, or its beginning."""
    match = _build_search_pattern(needles).search(text, 0, MAX_SEARCHED_CHARS) if needles else None
    if match is None or match.end() < limit:
        return shorten(text, limit)
    start = max(match.start() - limit // 4, 0)
    while start < match.start() and not _is_safe_cut(text, start):
        start += 1
    return "…" + shorten(text[start : start + limit * 2], limit)


def highlight(text: str, needles: Sequence[str], *, max_matches: int = 50) -> SafeString:
    """`render_visible(text)` with the first `max_matches` occurrences of `needles`, none of them empty, marked."""
    if not needles:
        return render_visible(text)
    return _join_escaped(_iter_highlighted(text, islice(_build_search_pattern(needles).finditer(text), max_matches)))


def _iter_highlighted(text: str, matches: Iterable[re.Match[str]]) -> Iterator[str]:
    position = 0
    for match in matches:
        yield render_visible(text[position : match.start()])
        yield format_html("<mark>{}</mark>", render_visible(match.group()))
        position = match.end()
    yield render_visible(text[position:])


def _build_search_pattern(needles: Sequence[str]) -> re.Pattern[str]:
    """Build a pattern that ignores case and hidden characters between the letters, like the database's search."""
    # Of two needles that begin alike the longer one is marked.
    return re.compile("|".join(map(_needle_pattern, sorted(needles, key=len, reverse=True))), re.IGNORECASE)


def _needle_pattern(needle: str) -> str:
    visible_characters = [character for character in replace_hidden(needle) if character != "�"] or list(needle)
    return f"[{HIDDEN_CHARACTERS}]*+".join(map(re.escape, visible_characters))


def _join_escaped(parts: Iterable[str]) -> SafeString:
    """Join the parts; those that are not SafeString are escaped."""
    return format_html_join("", "{}", ((part,) for part in parts))


def _iter_parts(text: str) -> Iterator[str]:
    has_lookalikes = LOOKALIKE.search(text) is not None
    position = 0
    for match in UNUSUAL_SEQUENCE.finditer(text):
        yield from _iter_marked_lookalikes(text[position : match.start()], has_lookalikes=has_lookalikes)
        position = match.end()
        if match.lastgroup == "plain":
            yield match.group()
        elif match.lastgroup == "hidden":
            yield from _iter_markers(match.group())
        else:
            yield _render_marker(f"+{len(match.group()):,} marks", "COMBINING MARKS STACKED ON ONE LETTER")
    yield from _iter_marked_lookalikes(text[position:], has_lookalikes=has_lookalikes)


def _iter_marked_lookalikes(text: str, *, has_lookalikes: bool) -> Iterator[str]:
    position = 0
    for match in WORD.finditer(text) if has_lookalikes else ():
        if _mixes_scripts(match.group()):
            yield text[position : match.start()]
            yield from (_render_lookalike(letter) if letter in LATIN_LOOKALIKES else letter for letter in match.group())
            position = match.end()
    yield text[position:]


def _mixes_scripts(word: str) -> bool:
    return LOOKALIKE.search(word) is not None and any("A" <= letter <= "z" for letter in word)


def _iter_markers(run: str) -> Iterator[str]:
    """Yield one marker per character; repetitions are counted, and tag characters are shown as their ASCII text."""
    tag_text = "".join(chr(ord(tag) - 0xE0000) for tag in run if _is_tag(tag))
    if len(tag_text) > 1:
        yield _render_marker(
            f"“{shorten(tag_text, 200)}”", f"{len(tag_text):,} invisible TAG characters that spell this"
        )
        run = "".join(character for character in run if not _is_tag(character))
    groups = [(character, len(list(repetitions))) for character, repetitions in groupby(run)]
    for character, count in groups[:MAX_MARKERS_PER_RUN]:
        yield _render_marker(
            f"U+{ord(character):04X}" + (f" \u00d7{count:,}" if count > 1 else ""), _get_character_name(character)
        )
    if len(groups) > MAX_MARKERS_PER_RUN:
        hidden_count = sum(count for _, count in groups[MAX_MARKERS_PER_RUN:])
        yield _render_marker(f"+{hidden_count:,} more", "MORE INVISIBLE CHARACTERS")


def _is_tag(character: str) -> bool:
    """Whether the character is the invisible tag form of an ASCII character."""
    return "\U000e0020" <= character <= "\U000e007e"


@lru_cache(maxsize=256)
def _render_lookalike(letter: str) -> SafeString:
    return format_html('<span class="lookalike" title="{}">{}</span>', _get_character_name(letter), letter)


@lru_cache(maxsize=4096)
def _render_marker(label: str, title: str) -> SafeString:
    return format_html('<span class="invisible" title="{}">{}</span>', title, label)


def _get_character_name(character: str) -> str:
    return unicodedata.name(character, CONTROL_NAMES.get(ord(character), "UNNAMED CONTROL CHARACTER"))


def _is_safe_cut(text: str, index: int) -> bool:
    """Whether a cut before `text[index]` splits no grapheme."""
    return (
        JOINING_CHARACTER.match(text, index) is None
        and not unicodedata.combining(text[index])
        and text[index - 1] != "\u200d"
    )
