"""The life of one subject."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.core.exceptions import BadRequest
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from inspector import decided, fields, lanes, moment
from inspector.access import PageRequest, reader
from inspector.moment import Standpoint
from inspector.search import address, kept, known
from memoryhub.memories.filters import BadQuery, MomentFilterSet
from memoryhub.memories.text import why_not_storable
from memoryhub.ops import reads
from memoryhub.timetravel.life import MOST_KEYS, MOST_VERSIONS, Life, Spell, life

FIRST_OF_A_TABLE = 50


@require_safe
@reader
def subject(request: PageRequest, subject: str) -> HttpResponse:
    try:
        filters = MomentFilterSet(request.GET, clearance=request.principal.clearance, besides=("list", "whole"))
    except BadQuery as error:
        raise BadRequest(str(error)) from error
    here = moment.stand(request, filters.moment)
    found = None if why_not_storable(subject) else life(subject, filters)
    if found is None:
        raise Http404
    told = {spell.record["memory_id"]: None for spell in found.spells}
    reads.asked(request, by=request.principal, memory_ids=list(told))
    deeds = decided.deeds(found, request.principal.clearance, filters.moment.known_at)
    found = _masked(found)
    listed = known(QueryDict(request.GET.get("list", "")))
    spells = found.spells
    is_whole = "whole" in request.GET
    held = found.held_at(filters.moment.as_of)
    rows = _rows(spells if is_whole else spells[:FIRST_OF_A_TABLE], filters, here, listed, decided.by_their_ids(deeds))
    context = {
        "section": "memories",
        "here": here,
        "subject": subject,
        "life": found,
        "deeds": deeds,
        "rows": [{**row, **_standing(row["spell"], held)} for row in rows],
        "number": len(spells),
        "is_cut": not is_whole and len(spells) > FIRST_OF_A_TABLE,
        "most": MOST_VERSIONS,
        "most_keys": MOST_KEYS,
        "drawing": None if found.is_empty else lanes.draw(found, filters.moment.as_of, decided.instants(deeds)),
        "as_of": filters.moment.as_of,
        "kept": kept(listed, here.asked),
        "is_listed": bool(listed),
        "list_url": here.keep(address(listed)),
        "all_url": here.keep(address(_about(subject))),
        "json_url": _as_json(subject, here),
        "whole_url": "?" + urlencode({"list": listed.urlencode(), "whole": "1", **here.asked}),
        **_steps(found, filters, here),
    }
    return render(request, "subjects/page.html", context)


def _rows(
    spells: Sequence[Spell],
    filters: MomentFilterSet,
    here: Standpoint,
    listed: QueryDict,
    decisions: Mapping[UUID | None, UUID],
) -> list[dict[str, Any]]:
    as_of = filters.moment.as_of
    rows = []
    for spell in spells:
        is_later = as_of is not None and spell.start > as_of
        at_its_start = _as_of(here, moment.as_parameter(spell.start))
        rows.append(
            {
                "spell": spell,
                "memory": spell.record,
                "url": moment.changed(here.here, at_its_start),
                "is_later": is_later,
                # Where it was not there yet, its page is that of its own beginning.
                "kept": kept(listed, at_its_start if is_later else here.asked),
                "is_linked": spell.kind != "replaced",
                "decision": decisions.get(spell.decision),
            }
        )
    return rows


def _standing(spell: Spell, held: Set[tuple[UUID, int]]) -> dict[str, Any]:
    """What a version is at the moment, and until when it was what its kind says: of a key one value is believed."""
    if spell.kind == "believed" and spell.key not in held:
        return {"standing": "superseded", "until": spell.end or spell.spans[0][1]}
    return {"standing": spell.kind, "until": spell.end}


def _as_of(here: Standpoint, instant: str) -> dict[str, str]:
    """The instants of this page with another one of event time; without one, up to the latest event."""
    known_at = {name: value for name, value in here.asked.items() if name == "known_at"}
    return {**({"as_of": instant} if instant else {}), **known_at}


def _steps(found: Life, filters: MomentFilterSet, here: Standpoint) -> dict[str, Any]:
    steps = lanes.steps(found.events, filters.moment.as_of)

    def url(instant: str | None) -> str | None:
        return None if instant is None else moment.changed(here.here, _as_of(here, instant))

    return {"steps": steps, "previous_url": url(steps.previous), "following_url": url(steps.following)}


def _masked(found: Life) -> Life:
    """The same as pages show it: without its secrets."""
    keys = [
        replace(key, spells=[replace(spell, record=fields.shown(spell.record)) for spell in key.spells])
        for key in found.keys
    ]
    return replace(found, keys=keys, believed=list(map(fields.shown, found.believed)))


def _about(subject: str) -> QueryDict:
    params = QueryDict(mutable=True)
    params["subject"] = subject
    return params


def _as_json(subject: str, here: Standpoint) -> str:
    if here.is_now:
        return f"{reverse('api:memories')}?{urlencode({'subject': subject})}"
    return f"{reverse('api:timetravel')}?{urlencode({'view': 'state', 'subject': subject, **here.asked})}"
