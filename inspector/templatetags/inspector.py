"""How values look. What is true about them is decided elsewhere."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime

from django import template
from django.http import HttpRequest
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from inspector import text
from inspector.moment import Standpoint, stand
from inspector.search import life_of
from memoryhub.firewall.types import ACTOR_TYPES, Scope, tier_order
from memoryhub.memories.suspicion import masked, why_instructing
from memoryhub.timetravel.text import Piece

register = template.Library()

THEMES = ("auto", "light", "dark")
EXCERPT = 420
STEPS = (("year", 31_557_600), ("month", 2_629_800), ("day", 86_400), ("hour", 3_600), ("minute", 60))


register.filter("hides_characters", text.hides_characters)
register.filter("imitates_letters", text.imitates_letters)
register.filter("why_instructing", why_instructing)
register.filter("life_of", life_of)


@register.filter
def reveal(value: str, secrets_too: bool = False) -> SafeString:
    """A text with nothing hidden in it but secrets, which are masked unless the page was asked for them."""
    return text.reveal(value if secrets_too else masked(value))


@register.filter
def brief(value: str, limit: int = 120) -> str:
    """The beginning of a name, for places of which a page has many. A secret in it is masked before it is cut."""
    return text.shorten(masked(value), limit)


@register.simple_tag
def excerpt(content: str, sought: str = "") -> SafeString:
    """The part of a content that a row shows, with what was sought for marked."""
    return text.highlight(text.around(masked(content), sought, EXCERPT), sought)


@register.simple_tag
def reveal_example(codes: str) -> SafeString:
    """Characters given by their numbers, as the inspector shows them."""
    return text.reveal("".join(chr(int(code, 16)) for code in codes.split()))


@register.filter
def shown_plainly(value: str) -> SafeString:
    """A short form for places that hold no markup, such as a page's title."""
    return format_html("{}", text.without_hidden(text.shorten(masked(value), 120)))


@register.simple_tag(takes_context=True)
def theme(context: template.Context) -> str:
    """The theme of this browser. A cookie keeps it, so that the page comes in it from the first byte."""
    request = context.get("request")
    chosen = request.COOKIES.get("theme", "auto") if isinstance(request, HttpRequest) else "auto"
    return chosen if chosen in THEMES else "auto"


@register.simple_tag(takes_context=True)
def may(context: template.Context, scope: str) -> bool:
    """Whether whoever the page is made for may do that; a page that asks nobody anything is for nobody."""
    principal = getattr(context.get("request"), "principal", None)
    return principal is not None and bool(principal.may(Scope(scope)))


@register.simple_tag(takes_context=True)
def standpoint(context: template.Context) -> Standpoint:
    """Where in time the page stands."""
    request = context.get("request")
    return stand(request) if isinstance(request, HttpRequest) else Standpoint(asked={})


@register.filter
def at(here: Standpoint, url: str) -> str:
    """`url`, looked at from here in time."""
    return here.keep(url)


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """A symbol of the sprite. With a label it is read out, without it is an ornament."""
    href = f"{static('img/icons.svg')}#{name}"
    shown = format_html('<svg class="icon" aria-hidden="true"><use href="{}"/></svg>', href)
    return format_html('{}<span class="visually-hidden">{}</span>', shown, label) if label else shown


@register.filter
def tier_level(tier: str) -> int:
    """How closed a tier is, from 0 to 3, however many tiers the operator has."""
    order = tier_order()
    if tier not in order or len(order) == 1:
        return 0
    return math.ceil(order.index(tier) / (len(order) - 1) * 3)


@register.simple_tag
def icon_of_tier(tier: str) -> SafeString:
    return icon(f"tier-{tier_level(tier)}")


@register.simple_tag
def icon_of_actor(actor_type: str) -> SafeString:
    return icon(actor_type if actor_type in ACTOR_TYPES else "help")


@register.simple_tag
def swap(url: str, show: str = "") -> SafeString:
    """An `href` that htmx follows by swapping the list alone."""
    scroll = " show:window:top" if show else ""
    return format_html(
        'href="{0}" hx-get="{0}" hx-target="#results" hx-swap="outerHTML{1}" hx-push-url="true"'
        ' hx-indicator="#progress"',
        url,
        scroll,
    )


@register.simple_tag
def copy_button(label: str, text: str = "", *, from_url: str = "", secrets_too: bool = False) -> SafeString:
    """Copies `text`, or the content of the memory at `from_url`. It needs JavaScript, and without is not there."""
    text = text if secrets_too else masked(text)
    # A parser turns CR into LF unless it is written as a reference.
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
def exact(moment: datetime) -> str:
    return f"{moment.day} {moment:%b} {moment.year:04d}, {moment:%H:%M}"


@register.simple_tag
def relative(moment: datetime) -> SafeString:
    """How long ago, with the exact instant for machines and for who points at it."""
    utc = moment.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{} UTC" data-relative>{}</time>',
        utc.isoformat().replace("+00:00", "Z"),
        utc.isoformat(sep=" ").replace("+00:00", ""),
        _ago((datetime.now(UTC) - utc).total_seconds()),
    )


@register.filter
def alphabetical(values: Iterable[str]) -> list[str]:
    """Sets of names in an order that is the same in every process."""
    return sorted(values)


@register.filter
def thousands(number: int) -> str:
    return f"{number:,}"


@register.simple_tag
def diff(pieces: Iterable[Piece]) -> SafeString:
    return format_html_join("", "{}", ((_piece(piece),) for piece in pieces))


@register.simple_tag
def differing(pieces: Iterable[Piece]) -> SafeString:
    """A value with what sets it apart from another one marked: neither of them is the older one."""
    return format_html_join("", "{}", ((_apart(piece),) for piece in pieces))


def _apart(piece: Piece) -> SafeString:
    return format_html("<mark>{}</mark>", text.reveal(piece.text)) if piece.kind == "new" else _piece(piece)


def _piece(piece: Piece) -> SafeString:
    match piece.kind:
        case "new":
            return format_html("<ins>{}</ins>", text.reveal(piece.text))
        case "gone":
            return format_html("<del>{}</del>", text.reveal(piece.text))
        case "skipped":
            return format_html('<span class="diff__skipped">{}</span>', piece.text)
        case _:
            return text.reveal(piece.text)


def _ago(seconds: float) -> str:
    unit, length = next(((unit, length) for unit, length in STEPS if abs(seconds) >= length), ("", 1))
    number = int(abs(seconds) // length)
    if not unit:
        return "just now"
    if unit == "day" and number == 1:
        return "yesterday" if seconds > 0 else "tomorrow"
    words = f"{number} {unit}{'s' if number > 1 else ''}"
    return f"{words} ago" if seconds > 0 else f"in {words}"
