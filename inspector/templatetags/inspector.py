"""Template tags and filters that format values."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

from django import template
from django.http import HttpRequest
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from inspector.presenters import safe_text
from inspector.presenters.memory_search import build_subject_url
from inspector.time_context import TimeContext, get_time_context
from memoryhub.core.prompt_injection import injection_reason
from memoryhub.core.secrets import mask_secrets
from memoryhub.firewall.clearance import get_tier_order
from memoryhub.firewall.principal import ACTOR_TYPES, Scope
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.query_language import parse_query
from memoryhub.timetravel.text_diff import DiffSegment

register = template.Library()

THEME_COOKIE = "theme"
THEMES = ("auto", "light", "dark")
MAX_EXCERPT_CHARS = 420
TIME_UNITS = (("year", 31_557_600), ("month", 2_629_800), ("day", 86_400), ("hour", 3_600), ("minute", 60))


register.filter("has_hidden_characters", safe_text.has_hidden_characters)
register.filter("has_homoglyphs", safe_text.has_homoglyphs)
register.filter("injection_reason", injection_reason)
register.filter("subject_url", build_subject_url)


@register.filter
def render_visible(value: str, is_unmasked: bool = False) -> SafeString:
    """Render a text with hidden characters visible. Secrets are masked unless `is_unmasked`."""
    return safe_text.render_visible(value if is_unmasked else mask_secrets(value))


@register.filter
def truncate_masked(value: str, limit: int = 120) -> str:
    """Return the beginning of a name. Secrets are masked before the text is cut."""
    return safe_text.shorten(mask_secrets(value), limit)


@register.simple_tag
def excerpt(content: str, query_text: str = "") -> SafeString:
    """Return the part of a content that a row shows, with the words, phrases and texts of a query marked."""
    needles = _searched_texts(query_text)
    return safe_text.highlight(safe_text.extract_excerpt(mask_secrets(content), needles, MAX_EXCERPT_CHARS), needles)


@lru_cache(maxsize=64)
def _searched_texts(query_text: str) -> tuple[str, ...]:
    query = parse_query(query_text, accepts=lambda name, *_: name in MemoryFilterSet.base_filters, now=timezone.now())
    return tuple(term.text for term in query.terms if not term.is_excluded)


@register.simple_tag
def render_visible_example(codes: str) -> SafeString:
    """Render characters, given by their hexadecimal code points, like in a memory."""
    return safe_text.render_visible("".join(chr(int(code, 16)) for code in codes.split()))


@register.filter
def plain_text(value: str) -> SafeString:
    """Return a short form for places without markup, such as a page title."""
    return format_html("{}", safe_text.replace_hidden(safe_text.shorten(mask_secrets(value), 120)))


@register.simple_tag(takes_context=True)
def theme(context: template.Context) -> str:
    """Return the theme from the browser's cookie, so that the server already renders the page in it."""
    request = context.get("request")
    cookie_theme = request.COOKIES.get(THEME_COOKIE, "auto") if isinstance(request, HttpRequest) else "auto"
    return cookie_theme if cookie_theme in THEMES else "auto"


@register.simple_tag(takes_context=True)
def has_scope(context: template.Context, scope: str) -> bool:
    """Whether the request's principal has the scope; False on pages without a principal."""
    principal = getattr(context.get("request"), "principal", None)
    return principal is not None and bool(principal.has_scope(Scope(scope)))


@register.simple_tag(takes_context=True)
def page_time(context: template.Context) -> TimeContext:
    """Return the time context of the page."""
    request = context.get("request")
    return get_time_context(request) if isinstance(request, HttpRequest) else TimeContext(instant_params={})


@register.filter
def at_time(context: TimeContext, url: str) -> str:
    """Add the instants of the page to `url`."""
    return context.add_to_url(url)


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """Return an icon of the sprite. A screen reader reads its label, and ignores it without one."""
    href = f"{static('img/icons.svg')}#{name}"
    svg = format_html('<svg class="icon" aria-hidden="true"><use href="{}"/></svg>', href)
    return format_html('{}<span class="visually-hidden">{}</span>', svg, label) if label else svg


@register.filter
def tier_level(tier: str) -> int:
    """Return the position of a tier from 0 (most open) to 3 (most closed), for any number of tiers."""
    order = get_tier_order()
    if tier not in order or len(order) == 1:
        return 0
    return math.ceil(order.index(tier) / (len(order) - 1) * 3)


@register.simple_tag
def tier_icon(tier: str) -> SafeString:
    return icon(f"tier-{tier_level(tier)}")


@register.simple_tag
def actor_icon(actor_type: str) -> SafeString:
    return icon(actor_type if actor_type in ACTOR_TYPES else "help")


@register.simple_tag
def htmx_link(url: str, scroll_to: str = "") -> SafeString:
    """Return an `href` that htmx follows by swapping the list only."""
    scroll = " show:window:top" if scroll_to else ""
    return format_html(
        'href="{0}" hx-get="{0}" hx-target="#results" hx-swap="outerHTML{1}" hx-push-url="true"'
        ' hx-indicator="#progress"',
        url,
        scroll,
    )


@register.simple_tag
def copy_button(label: str, text: str = "", *, from_url: str = "", is_unmasked: bool = False) -> SafeString:
    """Return a button that copies `text`, or the content at `from_url`. It is hidden without JavaScript."""
    text = text if is_unmasked else mask_secrets(text)
    # HTML parsers turn a literal CR into LF, but not a character reference.
    raw = format_html_join(format_html("&#{};", 13), "{}", ((line,) for line in text.split("\r")))
    source = format_html('data-copy-from="{}"', from_url) if from_url else format_html('data-copy="{}"', raw)
    sprite = static("img/icons.svg")
    return format_html(
        '<button type="button" class="button button--quiet button--small copy needs-script" aria-label="{0}"'
        ' title="{0}" {1} data-idle="{2}#copy" data-done="{2}#check">{3}</button>',
        label,
        source,
        sprite,
        icon("copy"),
    )


@register.filter
def format_datetime(instant: datetime) -> str:
    return f"{instant.day} {instant:%b} {instant.year:04d}, {instant:%H:%M}"


@register.simple_tag
def relative_time(instant: datetime) -> SafeString:
    """Return how long ago an instant was, with the exact instant in `datetime` and `title`."""
    utc = instant.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{} UTC" data-relative>{}</time>',
        utc.isoformat().replace("+00:00", "Z"),
        utc.isoformat(sep=" ").replace("+00:00", ""),
        _format_ago((datetime.now(UTC) - utc).total_seconds()),
    )


@register.filter
def alphabetical(values: Iterable[str]) -> list[str]:
    """Sort a set of names, so that the order is the same in every process."""
    return sorted(values)


@register.filter
def thousands(count: int) -> str:
    return f"{count:,}"


@register.simple_tag
def render_diff(segments: Iterable[DiffSegment]) -> SafeString:
    return format_html_join("", "{}", ((_render_segment(segment),) for segment in segments))


@register.simple_tag
def mark_differences(segments: Iterable[DiffSegment]) -> SafeString:
    """Mark the differences to another value without deletions: neither value is older."""
    return format_html_join("", "{}", ((_render_marked_segment(segment),) for segment in segments))


def _render_marked_segment(segment: DiffSegment) -> SafeString:
    return (
        format_html("<mark>{}</mark>", safe_text.render_visible(segment.text))
        if segment.kind == "inserted"
        else _render_segment(segment)
    )


def _render_segment(segment: DiffSegment) -> SafeString:
    match segment.kind:
        case "inserted":
            return format_html("<ins>{}</ins>", safe_text.render_visible(segment.text))
        case "deleted":
            return format_html("<del>{}</del>", safe_text.render_visible(segment.text))
        case "elided":
            return format_html('<span class="diff__elided">{}</span>', segment.text)
        case _:
            return safe_text.render_visible(segment.text)


def _format_ago(seconds: float) -> str:
    unit, length = next(((unit, length) for unit, length in TIME_UNITS if abs(seconds) >= length), ("", 1))
    count = int(abs(seconds) // length)
    if not unit:
        return "just now"
    if unit == "day" and count == 1:
        return "yesterday" if seconds > 0 else "tomorrow"
    duration = f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{duration} ago" if seconds > 0 else f"in {duration}"
