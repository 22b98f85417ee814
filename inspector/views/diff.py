"""What changed between two instants, side by side."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from inspector import fields
from inspector.access import PageRequest, reader
from inspector.search import LABELS, NONE, WORDS, asked, empty
from memoryhub.memories.facets import FacetValue
from memoryhub.memories.filters import FORM, BadQuery
from memoryhub.memories.records import Record
from memoryhub.ops import reads
from memoryhub.timetravel import diff as diffs
from memoryhub.timetravel import text
from memoryhub.timetravel.diff import Change, Diff

INPUTS = ("since", "until", "subject", "source", "q")
NAMES = {"since": "Since (UTC)", "until": "Until (UTC)", "q": "Content contains"}
HINTS = {"since": "2026-10-03", "until": "now", "subject": "any", "source": "any"}
AXES = {
    "known": ("Record time", "What the hub knew: each memory as it stood at both instants."),
    "event": ("Event time", "What had happened: the value believed of each subject and collection at both instants."),
}
PRESETS = (
    ("the last hour", timedelta(hours=1)),
    ("the last day", timedelta(days=1)),
    ("the last 7 days", timedelta(days=7)),
)
EVER = {"known": "1970-01-01", "event": "0001-01-01"}


@require_safe
@reader
def diff(request: PageRequest) -> HttpResponse:
    params = asked(request.GET)
    if FORM in request.GET and not request.htmx:
        return HttpResponseRedirect(_address(params))
    if "since" not in params:
        return _answer(request, params, {})
    try:
        found = diffs.diff(params, reader=request.principal)
    except BadQuery as error:
        return _answer(request, params, {"errors": error.errors})
    reads.asked(request, by=request.principal, memory_ids=found.memory_ids)
    return _answer(request, params, _shown(found, params))


def _answer(request: PageRequest, params: QueryDict, context: dict[str, Any]) -> HttpResponse:
    """The whole page, or for htmx the part that it swaps: that one with its errors inside, for htmx drops a 400."""
    errors: Mapping[str, list[str]] = context.get("errors", {})
    axis = params.get("axis", "known")
    context = {
        "section": "diff",
        "asked": params,
        "empty": empty(params),
        "is_deep": "cursor" in params,
        "newest_url": _address(params),
        "json_url": _address(params, "api:diff"),
        "inputs": [_input(name, params, errors) for name in INPUTS],
        "axes": [(name, *words, name == axis) for name, words in AXES.items()],
        "hidden": [(name, value) for name, values in params.lists() if _is_hidden(name) for value in values if value],
        "presets": _presets(params),
        "chips": _chips(params),
        "sentences": [f"{name} {' '.join(said)}" for name, said in errors.items()],
        **context,
    }
    whole = not request.htmx or request.htmx.history_restore_request
    status = HTTPStatus.BAD_REQUEST if errors and whole else HTTPStatus.OK
    return render(request, "diff/page.html" if whole else "diff/page.html#results", context, status=status)


def _shown(found: Diff, params: QueryDict) -> dict[str, Any]:
    counts = found.counts.for_people()
    return {
        "is_answered": True,
        "since": found.question.since,
        "until": found.question.until,
        "is_until_now": "until" not in params,
        "clipped": found.question.moment.clipped,
        "changes": [_change(change, found) for change in found.changes],
        "older_url": _address(params, cursor=found.next_cursor) if found.next_cursor else "",
        "total": counts.total,
        "capped": counts.capped,
        "groups": [
            _group("change", "Kinds", [FacetValue(kind, number) for kind, number in counts.kinds.items()], params),
            _group("subject", "Subjects", counts.subjects, params),
            _group("source", "Sources", counts.sources, params),
        ],
    }


def _change(change: Change, found: Diff) -> dict[str, Any]:
    before, after = (end and fields.shown(end) for end in (change.before, change.after))
    told = fields.changes_between(before, after) if before and after else []
    pieces: list[text.Piece] = []
    if before and after and before["content"] != after["content"]:
        pieces = fields.short(text.words_changed(before["content"], after["content"], most=found.most_words))
    said = {change.label for change in told} | {"content"}
    return {
        "kinds": change.kinds,
        "at": change.at,
        "memory": after or before,
        "url": _memory_url(after or before or {}, found, is_before=after is None),
        "ends": [_end("Before", before, pieces, "new", found), _end("After", after, pieces, "gone", found)],
        "fields": told,
        "besides": [name for name in change.fields if name not in said],
        "has_secrets": any(end and end["has_secrets"] for end in (before, after)),
    }


def _end(title: str, memory: Record | None, pieces: list[text.Piece], hidden: str, found: Diff) -> dict[str, Any]:
    return {
        "title": title,
        "memory": memory,
        "pieces": [piece for piece in pieces if piece.kind != hidden],
        "url": _memory_url(memory, found, is_before=title == "Before") if memory else "",
    }


def _memory_url(memory: Record, found: Diff, *, is_before: bool) -> str:
    """The memory's page as of that end."""
    axis = "as_of" if found.question.filters.is_of_events else "known_at"
    instant = found.question.since if is_before else found.question.until
    query = urlencode({axis: instant.astimezone(UTC).isoformat().replace("+00:00", "Z")})
    return f"{reverse('inspector:memory', args=[memory['memory_id']])}?{query}"


def _group(name: str, title: str, values: list[FacetValue], params: QueryDict) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "values": [
            {
                "value": one.value,
                "count": one.count,
                "is_active": params.get(name) == one.value,
                "url": _with(params, name, None if params.get(name) == one.value else one.value),
            }
            for one in values
        ],
    }


def _presets(params: QueryDict) -> list[tuple[str, str]]:
    now = datetime.now(UTC)
    lately = [(words, (now - ago).strftime("%Y-%m-%dT%H:%M:%SZ")) for words, ago in PRESETS]
    ever = EVER.get(params.get("axis", "known"), EVER["known"])
    until_now = params.copy()
    until_now.pop("until", None)
    return [(words, _address(until_now, since=since)) for words, since in [*lately, ("everything", ever)]]


def _chips(params: QueryDict) -> list[dict[str, str]]:
    chips = []
    for name, values in params.lists():
        for value in values if name not in ("since", "until", "axis", *diffs.PARAMETERS) else ():
            left = params.copy()
            left.setlist(name, [held for held in values if held != value])
            words = "kind is" if name == "change" else WORDS.get(name, f"{name} is")
            chips.append({"words": words, "value": value or NONE, "url": _address(left)})
    return chips


def _is_hidden(name: str) -> bool:
    return name not in (*INPUTS, "axis", "cursor")


def _input(name: str, params: QueryDict, errors: Mapping[str, list[str]]) -> dict[str, Any]:
    return {
        "name": name,
        "label": NAMES.get(name) or LABELS.get(name, name.capitalize()),
        "value": params.get(name, ""),
        "hint": NONE if name in empty(params) else HINTS.get(name, ""),
        "error": " ".join(errors.get(name, [])),
    }


def _with(params: QueryDict, name: str, value: str | None) -> str:
    """The first page of this diff with another value of one parameter; None leaves it out."""
    found = params.copy()
    found.setlist(name, [] if value is None else [value])
    return _address(found)


def _address(params: QueryDict, view: str = "inspector:diff", **changed: str) -> str:
    """The first page of this diff, with some of what it asks for in another way."""
    found = params.copy()
    found.pop("cursor", None)
    for name, value in changed.items():
        found[name] = value
    query = found.urlencode()
    return reverse(view) + (f"?{query}" if query else "")
