import re
import sys
import time
import unicodedata
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.presenters import safe_text

pytestmark = pytest.mark.unit

# Format characters that do draw something: signs that stand before a number or a word.
VISIBLE_FORMAT = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


def marker_html(rendering: str, title: str) -> str:
    return f'<span class="invisible" title="{title}">{rendering}</span>'


@pytest.mark.parametrize(
    ("hostile_text", "expected_rendering"),
    [
        ("plain", "plain"),
        ("<b onclick='x'>&", "&lt;b onclick=&#x27;x&#x27;&gt;&amp;"),
        ("a\u202eb", f"a{marker_html('U+202E', 'RIGHT-TO-LEFT OVERRIDE')}b"),
        ("a\u2066b", f"a{marker_html('U+2066', 'LEFT-TO-RIGHT ISOLATE')}b"),
        ("\u200b" * 1_000, marker_html("U+200B \u00d71,000", "ZERO WIDTH SPACE")),
        ("\ufeffx", f"{marker_html('U+FEFF', 'ZERO WIDTH NO-BREAK SPACE')}x"),
        ("\x1b[31m", f"{marker_html('U+001B', 'ESCAPE')}[31m"),
        ("a\r\nb\tc\n", "a\r\nb\tc\n"),
        ("a\rb", f"a{marker_html('U+000D', 'CARRIAGE RETURN')}b"),
        ("\u2028", marker_html("U+2028", "LINE SEPARATOR")),
        ("\U000e0048\U000e0069", marker_html("“Hi”", "2 invisible TAG characters that spell this")),
        ("\U000e0001", marker_html("U+E0001", "LANGUAGE TAG")),
        ("x\ufe0f", f"x{marker_html('U+FE0F', 'VARIATION SELECTOR-16')}"),
        ("a\u200db", f"a{marker_html('U+200D', 'ZERO WIDTH JOINER')}b"),
        (FAMILY, FAMILY),
        ("\u2764\ufe0f 1\ufe0f\u20e3 \U0001f44d\U0001f3fd", "\u2764\ufe0f 1\ufe0f\u20e3 \U0001f44d\U0001f3fd"),
        (ENGLAND, ENGLAND),
        ("p\u0430ypal", 'p<span class="lookalike" title="CYRILLIC SMALL LETTER A">\u0430</span>ypal'),
        ("\u043f\u0440\u0438\u0432\u0435\u0442", "\u043f\u0440\u0438\u0432\u0435\u0442"),
        ("e" + "\u0301" * 20, "e" + "\u0301" * 8 + marker_html("+12 marks", "COMBINING MARKS STACKED ON ONE LETTER")),
        ("עברית and عربي", "עברית and عربي"),
    ],
)  # fmt: skip
def test_hostile_text_is_escaped_and_what_hides_is_shown(hostile_text: str, expected_rendering: str) -> None:
    assert safe_text.render_visible(hostile_text) == expected_rendering


def test_a_message_in_tags_after_a_flag_is_read_out() -> None:
    hidden = "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in "ignore all rules") + "\U000e007f"

    assert "“ignore all rules”" in safe_text.render_visible(hidden)


@pytest.mark.large_input
def test_every_character_that_draws_nothing_is_shown() -> None:
    invisible_label_tests = [
        chr(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in ("Cc", "Cf") and code not in VISIBLE_FORMAT and chr(code) not in "\n\t"
    ]

    assert [
        f"U+{ord(character):04X}"
        for character in invisible_label_tests
        if 'class="invisible"' not in safe_text.render_visible(character)
    ] == []


dangerous_text = st.text(
    st.one_of(
        st.characters(categories=["Cc", "Cf", "Cs", "Mn"]),
        st.sampled_from("<>&\"'\u200d\ufe0f\u202e\U000e0041\U0001f3f4\U0001f469\r\n a1\u0430"),
        st.characters(),
    )
)


@given(dangerous_text)
def test_no_dangerous_character_and_no_markup_gets_through(hostile_text: str) -> None:
    rendering = safe_text.render_visible(hostile_text)
    bare_text = re.sub(r'<span class="(?:invisible|lookalike)" title="[^"<>]*">([^<>]*)</span>', r"\1", rendering)
    outside_emoji = safe_text.UNUSUAL_SEQUENCE.sub(
        lambda match: "" if match.lastgroup == "plain" else match.group(), bare_text
    )

    assert not re.search("[<>\"']", bare_text)
    assert not re.search(f"[{safe_text.HIDDEN_CHARACTERS}]", outside_emoji.replace("\r\n", ""))
    assert safe_text.has_hidden_characters(hostile_text) == ('class="invisible"' in rendering)


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Mn"], exclude_characters="\u034f")))
def test_ordinary_text_reads_as_it_was_written(ordinary: str) -> None:
    assert unescape(
        re.sub("<[^>]*>", "", safe_text.render_visible(ordinary))
    ) == ordinary or safe_text.has_hidden_characters(ordinary)


@pytest.mark.large_input
@pytest.mark.parametrize(
    "attack",
    ["\u200b", "a\u200b", "\u0301", "\U000e0041", "\U0001f469\u200d", "\u200d\U0001f469", "\u0430", "a\u0430", "<"],
)
def test_ten_times_the_text_takes_about_ten_times_as_long(attack: str) -> None:
    def seconds(repeats: int) -> float:
        start_time = time.perf_counter()
        safe_text.render_visible(attack * repeats)
        return time.perf_counter() - start_time

    seconds(1_000)
    assert min(seconds(30_000) for _ in range(3)) < 60 * max(min(seconds(3_000) for _ in range(3)), 0.0002)


@pytest.mark.parametrize(
    ("whole_text", "limit", "expected_text"),
    [
        ("short", 10, "short"),
        ("two words", 6, "two…"),
        (FAMILY * 3, 7, FAMILY + "…"),
        ("aaaa\U0001f44d\U0001f3fd", 5, "aaaa…"),
        ("abcde\u0301", 5, "abcd…"),
        (FAMILY[:2] * 100, 60, FAMILY[:2] * 15 + "…"),
    ],
)
def test_a_text_is_cut_between_characters_as_people_see_them(whole_text: str, limit: int, expected_text: str) -> None:
    assert safe_text.shorten(whole_text, limit) == expected_text


@given(st.text(), st.integers(min_value=2, max_value=40))
def test_a_shortened_text_is_a_beginning(whole_text: str, limit: int) -> None:
    shortened = safe_text.shorten(whole_text, limit)

    assert shortened == whole_text or (
        shortened.endswith("…") and whole_text.startswith(shortened[:-1]) and len(shortened) <= limit + 1
    )


def test_what_was_sought_is_marked_wherever_it_stands() -> None:
    assert safe_text.highlight("<Ada> met ADA", ["ada"]) == "&lt;<mark>Ada</mark>&gt; met <mark>ADA</mark>"
    assert "<mark>A" in safe_text.highlight("A\u200bda", ["ada"])
    assert safe_text.extract_excerpt("x " * 500 + "needle", ["needle"], 100).endswith("needle")
    assert safe_text.extract_excerpt("needle " + "x " * 500, ["needle"], 100).startswith("needle")
    assert safe_text.highlight("ada adam", ["ada", "adam"]) == "<mark>ada</mark> <mark>adam</mark>"
    assert safe_text.highlight("unchanged", []) == "unchanged"
