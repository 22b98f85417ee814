"""Entries of the ledger in words: who did what, to which memories, and how."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.http import QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from inspector.search import NONE, WORDS, asked
from memoryhub.ops.trail import SEEN, Entry

MEMORIES_SHOWN = 5
# What was done, and the detail that names to whom, where it is no memory.
DEEDS = {
    "memory.read": ("read", ""),
    "memory.reveal": ("looked at the secrets of", ""),
    "memory.export": ("exported", ""),
    "memory.write": ("wrote", ""),
    "memory.relabel": ("classified", ""),
    "memory.quarantine": ("quarantined", ""),
    "memory.release": ("released", ""),
    "key.create": ("made the key", "key"),
    "key.change": ("changed the key", "key"),
    "key.rotate": ("rotated the key", "key"),
    "key.revoke": ("revoked the key", "key"),
    "clearance.change": ("changed the clearance", "clearance"),
    "user.change": ("changed the user", "user"),
    "conflict.decide": ("decided a conflict of", ""),
    "conflict.undo": ("undid a decision about", ""),
    "conflict.import": ("imported decisions about", ""),
    "policy.change": ("changed the policy", "name"),
    "policy.run": ("started a run of the policy", "name"),
    "policy.import": ("imported policies", ""),
    "session.sign_in": ("signed in", ""),
    "session.refused": ("was refused at the sign-in for", "account"),
    "session.sign_out": ("signed out", ""),
    "view_as.start": ("began to look as", "view_as"),
    "view_as.stop": ("no longer looked as", "view_as"),
    "reads.lost": ("could not keep all reads", ""),
}
ROUTES = {
    "inspector:memories": "the list",
    "inspector:memories-list": "the list",
    "inspector:memory": "a memory's page",
    "inspector:memory-reveal": "a memory's page",
    "inspector:subject": "a subject's page",
    "inspector:replay": "a replay",
    "inspector:conflicts": "the queue of conflicts",
    "inspector:conflict": "a conflict's page",
    "inspector:conflict-decide": "a conflict's page",
    "inspector:conflict-similar": "a preview of similar conflicts",
    "inspector:decisions": "the decisions",
    "inspector:decision": "a decision's page",
    "inspector:ledger": "the ledger",
    "inspector:ledger-principal": "the ledger",
    "api:memories": "the API's list",
    "api:memory": "the API's record of a memory",
    "api:memory-versions": "the API's versions of a memory",
    "api:facets": "the API's counts",
    "api:histogram": "the API's histogram",
    "api:status": "the API's status",
    "api:conflicts": "the API's conflicts",
    "api:conflict": "the API's record of a conflict",
    "api:decisions": "the API's decisions",
    "api:decision": "the API's record of a decision",
    "api:replay": "the API's replay",
    "api:ledger": "the API's ledger",
}
# How a page was shown, and not what was asked for.
_MANNERS = {"limit", "list", "whole", "queue", "came_from"}
_FILTERS = {**WORDS, "cursor": "a later page"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that an entry says besides: a value, or what it was before and after."""

    name: str
    value: str = ""
    before: str = ""
    is_change: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One entry as a page shows it."""

    at: datetime
    principal: str
    principal_url: str
    deed: str
    whom: str
    memories: list[UUID]
    number: int
    through: str
    view_as: str
    filters: list[tuple[str, str]]
    facts: list[Fact]
    request_id: str
    url: str

    @property
    def more(self) -> int:
        return self.number - len(self.memories)


def lines(entries: Iterable[Entry]) -> list[Line]:
    return [_line(entry) for entry in entries]


def page_of(principal: str) -> str:
    return reverse("inspector:ledger-principal", args=[principal])


def _line(entry: Entry) -> Line:
    deed, named_by = DEEDS.get(entry.action, (entry.action, ""))
    details = dict(entry.details)
    whom = details.pop(named_by, None) if named_by else None
    is_read = entry.action == "memory.read"
    return Line(
        at=entry.at,
        principal=entry.principal,
        principal_url=page_of(entry.principal),
        deed="asked" if is_read and not entry.memory_ids else deed,
        whom="nobody's account" if named_by == "account" and not whom else _plain(whom),
        memories=entry.memory_ids[:MEMORIES_SHOWN],
        number=len(entry.memory_ids),
        through=ROUTES.get(entry.route, entry.route) if entry.action in SEEN else "",
        view_as="" if named_by == "view_as" else _plain(details.pop("view_as", "")),
        filters=_filters(entry.query) if entry.action.startswith("memory.") else [],
        facts=list(_facts(details)),
        request_id=entry.request_id,
        url=_address(entry),
    )


def _address(entry: Entry) -> str:
    """What keeps leading to this entry: its request, and where it had none its instant."""
    if entry.request_id:
        asked = {"request_id": entry.request_id}
    else:
        until = entry.at + timedelta(microseconds=1)
        asked = {"principal": entry.principal, "from": _instant(entry.at), "to": _instant(until)}
    return f"{reverse('inspector:ledger')}?{urlencode(asked)}"


def _instant(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _filters(query: str) -> list[tuple[str, str]]:
    found = asked(QueryDict(query))
    return [
        (_FILTERS.get(name, f"{name} is"), "" if name == "cursor" else value or NONE)
        for name, values in found.lists()
        if name not in _MANNERS
        for value in values
    ]


def _facts(details: Mapping[str, Any]) -> Iterable[Fact]:
    was, now = details.get("before"), details.get("after")
    if isinstance(was, dict) and isinstance(now, dict):
        details = {name: value for name, value in details.items() if name not in ("before", "after", "asked")}
        yield from _changes({name: [was.get(name), now.get(name)] for name in {**was, **now}})
    for name, value in details.items():
        if name == "changed" and isinstance(value, dict):
            yield from _changes(value)
        elif value not in ("", None, [], {}):
            yield Fact(name=_words(name), value=_plain(value))


def _changes(changed: Mapping[str, Any]) -> Iterable[Fact]:
    for name, (before, after) in changed.items():
        if before != after:
            yield Fact(name=_words(name), value=_plain(after), before=_plain(before), is_change=True)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _plain(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(_plain, value))
        case dict():
            return ", ".join(f"{_words(name)} {_plain(inner)}" for name, inner in value.items())
        case _:
            return str(value)
