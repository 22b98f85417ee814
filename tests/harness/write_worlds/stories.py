"""How hypothesis makes stories: small vocabularies, so that ids, texts and keys collide."""

import functools
from typing import Any

from django.conf import settings
from hypothesis import strategies as st

from tests.harness.write_worlds.steps import (
    DecideAbove,
    Fields,
    Hide,
    HideOverApi,
    Import,
    Move,
    Read,
    Reclassify,
    Step,
    Story,
    Write,
    WriteAgain,
    WriteBeyond,
)
from tests.harness.write_worlds.writers import SOURCES, USUAL, WRITERS

PAYLOADS = ("p-1", "p-2", "p-3")
IMPORTED = ("i-1", "i-2")
"""Ids that the operator imports in both worlds. No hidden row has them."""
# The second one is what hidden rows say; the third one was rejected by a decision that everybody may see.
CONTENTS = ("Paris.", "Hidden canary.", "Oslo.", "London.")
KEYS: tuple[Fields, ...] = (
    {"subject": "user:ada", "collection": "city"},
    {"subject": "user:bob", "collection": "city"},
    {"subject": "hidden-subject", "collection": "hidden-collection"},
)


class Axis(list[float]):
    """An embedding along one axis, which prints as what it is."""

    def __init__(self, place: int) -> None:
        super().__init__(float(at == place) for at in range(settings.MEMORYHUB.embedding_dimensions))
        self.place = place

    def __repr__(self) -> str:
        return f"Axis({self.place})"


# One label in the spellings by which a blocked label could be evaded, and others.
SPELLINGS = (
    "sealed",
    "SEALED",
    "sealed ",
    "sea\u200bled",
    "sea\u00adled",
    "\uff53ealed",
    "s\u0435aled",
    "Pii",
    "h\u2011r",
)
LABELS: tuple[list[str], ...] = (
    [], ["eu"], ["EU", "hr"], ["eu", "hr"], ["hr"], ["h-r"], ["eu", "pii"], *([spelling] for spelling in SPELLINGS),
    *(["eu", spelling] for spelling in SPELLINGS),
)  # fmt: skip
TIERS = ("public", "internal", "confidential", "restricted")
CHANGES: dict[str, tuple[Any, ...]] = {
    "classification_tier": (*TIERS, "public", "internal", None, "", "no-such-tier"),
    "sensitivity_labels": (*LABELS, None, []),
    "namespace": ("", "alpha", "beta", "omega", None),
    "content": (*CONTENTS, None, ""),
    "role": ("assistant", "", None),
    "kind": ("summary", None),
    "pinned": (True, False, None),
    "metadata": ({"n": 1}, {}, None),
    "timestamp": ("2026-03-01T06:00:00Z", None),
    "expires_at": ("2001-01-01T00:00:00Z", "9999-01-01T00:00:00Z", None),
    "embedding": (Axis(0), Axis(1), [], None),
    "request_id": ("try-2",),
    "idempotency_key": ("k-1", ""),
    "actor_type": ("user", "system", "agent", ""),
    "actor_id": ("crm-bot", "somebody-else", ""),
    "source": ("mail", "crm", "duo", "desk", "vault", "nobody", ""),
    "no_such_field": (1,),
}
# What decides whether a write reveals or lowers anything changes more often than the rest.
NAMES = (*CHANGES, *("classification_tier", "sensitivity_labels", "namespace", "content") * 3)
MODES = ("", "refuse", "update", "update", "update", "replace")
PATHS = (
    "/api/memories?limit=50", "/api/memories?limit=2&payload_id=p-1", "/api/memories?q=canary", "/api/facets",
    "/api/memories/{}", "/api/memories/{}/versions", "/api/memories/{}", "/api/memories/{}/versions",
    "/api/status", "/api/conflicts?limit=5",
)  # fmt: skip

# Each of these hides a row of another source from everybody but root, save the last two, which hide it from some.
HIDING: tuple[Fields, ...] = (
    {"classification_tier": "restricted"},
    {"sensitivity_labels": ["Sealed"]},
    {"classification_tier": "restricted", "sensitivity_labels": ["eu"], "namespace": "alpha"},
    {"sensitivity_labels": ["eu", "SEALED"], "namespace": "beta"},
    {"namespace": "omega"},
    {"classification_tier": "confidential", "sensitivity_labels": ["pii"]},
)
# Each of these is beyond the clearance of one source.
BEYOND: dict[str, tuple[Fields, ...]] = {
    "mail": (
        {},
        {"sensitivity_labels": ["pii"]},
        {"classification_tier": "confidential", "sensitivity_labels": ["eu"]},
    ),
    "crm": ({"namespace": "omega"}, {}, {"namespace": "alpha", "classification_tier": "confidential"}),
    "duo": ({"classification_tier": "confidential"}, {"sensitivity_labels": ["sealed"]}),
    "desk": ({"classification_tier": "restricted"}, {"sensitivity_labels": ["sealed"]}),
}
# What a steward may make of a writer's memory: raised, lowered, labelled, put away.
RECLASSIFIED: tuple[Fields, ...] = (
    {"classification_tier": "internal"},
    {"classification_tier": "confidential"},
    {"classification_tier": "restricted"},
    {"classification_tier": "public"},
    {"add_labels": ["sealed"]},
    {"add_labels": ["hr"]},
    {"add_labels": ["eu", "pii"]},
    {"remove_labels": ["eu"]},
    {"remove_labels": ["hr", "pii"], "classification_tier": "restricted"},
    {"status": "quarantined"},
    {"status": "active"},
)
MOVED: tuple[Fields, ...] = (
    {"namespace": "omega"},
    {"namespace": "alpha"},
    {"namespace": "beta"},
    {"namespace": "omega", "classification_tier": "restricted"},
    {"namespace": "beta", "sensitivity_labels": ["eu", "hr"]},
)


def changes(most: int = 2) -> st.SearchStrategy[Fields]:
    """A few fields with values that matter."""
    one = st.sampled_from(NAMES).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(CHANGES[name])))
    return st.lists(one, max_size=most).map(dict)


@st.composite
def envelopes(draw: st.DrawFn, writer: str, sources: tuple[str, ...]) -> Fields:
    """What a writer sends: mostly what its clearance allows. An admin without a source names one of `sources`."""
    sent: dict[str, Any] = {"payload_id": draw(st.sampled_from((*PAYLOADS, *PAYLOADS, *IMPORTED)))}
    if draw(st.sampled_from((*[True] * 7, False))):
        sent["content"] = draw(st.sampled_from(CONTENTS))
    usual = WRITERS[writer].usual
    if not WRITERS[writer].source:
        sent["source"] = draw(st.sampled_from(sources))
        usual = USUAL[sent["source"]]
    if draw(st.sampled_from((*[True] * 7, False))):
        sent |= usual
    if draw(st.booleans()):
        # What is sent as the lowest of all can only be raised.
        sent["classification_tier"] = "internal"
    if draw(st.booleans()):
        sent |= draw(st.sampled_from(KEYS))
    changed = draw(changes())
    if not WRITERS[writer].source and changed.get("source") not in sources:
        # Root sees whether another source exists, and may learn it from an answer.
        changed = {name: value for name, value in changed.items() if name != "source"}
    return {**sent, **changed}


@st.composite
def writes(draw: st.DrawFn, writers: tuple[str, ...], sources: tuple[str, ...]) -> Write:
    writer = draw(st.sampled_from(writers))
    on_conflict = draw(st.sampled_from(MODES))
    if draw(st.sampled_from((False, True, True))):
        items = draw(st.lists(envelopes(writer, sources), min_size=2, max_size=6))
        return Write(writer, tuple(items), on_conflict, batch=True)
    return Write(writer, (draw(envelopes(writer, sources)),), on_conflict)


@st.composite
def hidden_rows(draw: st.DrawFn, sources: tuple[str, ...], payloads: tuple[str, ...] = PAYLOADS) -> Fields:
    source = draw(st.sampled_from(sources))
    why = draw(st.sampled_from(BEYOND.get(source, HIDING)))
    row = {"source": source, "payload_id": draw(st.sampled_from(payloads))}
    content = draw(st.sampled_from((*CONTENTS, "Hidden canary.")))
    return {**row, "content": content, **draw(st.sampled_from(KEYS)), **why}


# Who may reach a source whose clearance is lower than its own, and might store there what the source may not meet.
REACHING: dict[str, tuple[str, ...]] = {
    "mail": ("desk", "root"),
    "crm": ("desk", "root"),
    "duo": ("duo-high", "duo-high", "desk", "root"),
    "desk": ("root",),
}


@st.composite
def writes_beyond(draw: st.DrawFn, sources: tuple[str, ...]) -> WriteBeyond:
    source = draw(st.sampled_from(sources))
    return WriteBeyond(draw(st.sampled_from(REACHING[source])), draw(hidden_rows((source,))))


@st.composite
def imports(draw: st.DrawFn, sources: tuple[str, ...]) -> Import:
    source = draw(st.sampled_from(sources))
    line = {"source": source, "payload_id": draw(st.sampled_from(IMPORTED)), "content": draw(st.sampled_from(CONTENTS))}
    return Import((line | dict(USUAL[source]),))


@functools.cache
def steps(writers: tuple[str, ...], sources: tuple[str, ...]) -> st.SearchStrategy[Step]:
    """One step of a story about these writers, in which somebody hides rows of these sources and of others."""
    places = st.integers(0, 3)
    in_vault = hidden_rows(("vault",), (*PAYLOADS, *IMPORTED))
    other = changes(1).filter(lambda changed: "source" not in changed)
    again = st.builds(WriteAgain, st.sampled_from(writers), places, other, st.sampled_from(MODES))
    weighted: tuple[tuple[int, st.SearchStrategy[Step]], ...] = (
        (9, writes(writers, sources)),
        (5, again),
        (3, st.builds(Read, st.sampled_from(writers), st.sampled_from(PATHS), places)),
        (1, imports(sources)),
        (3, st.builds(Hide, several(hidden_rows((*sources, *sources, "vault", "attic"))))),
        (1, st.builds(HideOverApi, several(in_vault))),
        (2, writes_beyond(sources)),
        (5, st.builds(Reclassify, st.sampled_from(RECLASSIFIED), places, over_api=st.booleans())),
        (2, st.builds(Move, st.sampled_from(MOVED), places)),
        (2, st.sampled_from(KEYS).flatmap(lambda key: st.builds(DecideAbove, st.just(tuple(key.values())), places))),
    )
    kinds = [kind for weight, kind in weighted for _ in range(weight)]
    return st.sampled_from(range(len(kinds))).flatmap(kinds.__getitem__)


def several(rows: st.SearchStrategy[Fields]) -> st.SearchStrategy[tuple[Fields, ...]]:
    return st.lists(rows, min_size=1, max_size=3).map(tuple)


@st.composite
def stories(draw: st.DrawFn, most: int = 16) -> Story:
    """A story of a few writers, so that what they do meets what is hidden from them."""
    writers = tuple(draw(st.lists(st.sampled_from(tuple(WRITERS)), min_size=1, max_size=3, unique=True)))
    sources = tuple(sorted({WRITERS[name].source for name in writers if WRITERS[name].source})) or tuple(SOURCES)
    taken = draw(st.lists(steps(writers, sources), min_size=4, max_size=most))
    return Story(tuple(taken), second_wall=draw(st.sampled_from((True, True, False))))
