"""How hypothesis makes stories: small vocabularies, so that ids, texts and keys collide."""

import functools
from typing import Any

from django.conf import settings
from hypothesis import strategies as st

from tests.noninterference.writes.steps import (
    Fields,
    Import,
    ImportHidden,
    Move,
    Read,
    Reclassify,
    RepeatWrite,
    ResolveHidden,
    Step,
    Story,
    Write,
    WriteHidden,
    WriteOutsideClearance,
)
from tests.noninterference.writes.writers import SOURCE_CLEARANCES, USUAL_FIELDS, WRITERS

PAYLOAD_IDS = ("p-1", "p-2", "p-3")
IMPORTED_IDS = ("i-1", "i-2")
"""Ids that the operator imports in both worlds. No hidden row has them."""
# The second one is what hidden rows say; the third one was rejected by a decision that everybody may see.
CONTENTS = ("Paris.", "Hidden canary.", "Oslo.", "London.")
KEYS: tuple[Fields, ...] = (
    {"subject": "user:ada", "collection": "city"},
    {"subject": "user:bob", "collection": "city"},
    {"subject": "hidden-subject", "collection": "hidden-collection"},
)


class AxisVector(list[float]):
    """An embedding along one axis, which prints as what it is."""

    def __init__(self, index: int) -> None:
        super().__init__(float(position == index) for position in range(settings.APP_CONFIG.embedding_dimensions))
        self.axis = index

    def __repr__(self) -> str:
        return f"Axis({self.axis})"


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
    "embedding": (AxisVector(0), AxisVector(1), [], None),
    "request_id": ("try-2",),
    "idempotency_key": ("k-1", ""),
    "actor_type": ("user", "system", "agent", ""),
    "actor_id": ("crm-bot", "somebody-else", ""),
    "source": ("mail", "crm", "duo", "desk", "vault", "nobody", ""),
    "no_such_field": (1,),
}
# What decides whether a write reveals or lowers anything changes more often than the rest.
FIELD_NAMES = (*CHANGES, *("classification_tier", "sensitivity_labels", "namespace", "content") * 3)
CONFLICT_MODES = ("", "refuse", "update", "update", "update", "replace")
PATHS = (
    "/api/memories?limit=50", "/api/memories?limit=2&payload_id=p-1", "/api/memories?q=canary", "/api/facets",
    "/api/memories/{}", "/api/memories/{}/versions", "/api/memories/{}", "/api/memories/{}/versions",
    "/api/status", "/api/conflicts?limit=5",
)  # fmt: skip

# Each of these hides a row of another source from everybody but root, save the last two, which hide it from some.
HIDING_FIELDS: tuple[Fields, ...] = (
    {"classification_tier": "restricted"},
    {"sensitivity_labels": ["Sealed"]},
    {"classification_tier": "restricted", "sensitivity_labels": ["eu"], "namespace": "alpha"},
    {"sensitivity_labels": ["eu", "SEALED"], "namespace": "beta"},
    {"namespace": "omega"},
    {"classification_tier": "confidential", "sensitivity_labels": ["pii"]},
)
# Each of these is beyond the clearance of one source.
BEYOND_FIELDS: dict[str, tuple[Fields, ...]] = {
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
CLASSIFICATION_CHANGES: tuple[Fields, ...] = (
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
MOVE_CHANGES: tuple[Fields, ...] = (
    {"namespace": "omega"},
    {"namespace": "alpha"},
    {"namespace": "beta"},
    {"namespace": "omega", "classification_tier": "restricted"},
    {"namespace": "beta", "sensitivity_labels": ["eu", "hr"]},
)


def change_strategy(max_size: int = 2) -> st.SearchStrategy[Fields]:
    """A few fields with values that matter."""
    pair_strategy = st.sampled_from(FIELD_NAMES).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(CHANGES[name]))
    )
    return st.lists(pair_strategy, max_size=max_size).map(dict)


@st.composite
def envelope_strategy(draw: st.DrawFn, writer: str, sources: tuple[str, ...]) -> Fields:
    """What a writer sends: mostly what its clearance allows. An admin without a source names one of `sources`."""
    fields: dict[str, Any] = {"payload_id": draw(st.sampled_from((*PAYLOAD_IDS, *PAYLOAD_IDS, *IMPORTED_IDS)))}
    if draw(st.sampled_from((*[True] * 7, False))):
        fields["content"] = draw(st.sampled_from(CONTENTS))
    usual_fields = WRITERS[writer].usual_fields
    if not WRITERS[writer].source:
        fields["source"] = draw(st.sampled_from(sources))
        usual_fields = USUAL_FIELDS[fields["source"]]
    if draw(st.sampled_from((*[True] * 7, False))):
        fields |= usual_fields
    if draw(st.booleans()):
        # What is sent as the lowest of all can only be raised.
        fields["classification_tier"] = "internal"
    if draw(st.booleans()):
        fields |= draw(st.sampled_from(KEYS))
    changed_fields = draw(change_strategy())
    if not WRITERS[writer].source and changed_fields.get("source") not in sources:
        # Root sees whether another source exists, and may learn it from an answer.
        changed_fields = {name: value for name, value in changed_fields.items() if name != "source"}
    return {**fields, **changed_fields}


@st.composite
def write_strategy(draw: st.DrawFn, writers: tuple[str, ...], sources: tuple[str, ...]) -> Write:
    writer = draw(st.sampled_from(writers))
    on_conflict = draw(st.sampled_from(CONFLICT_MODES))
    if draw(st.sampled_from((False, True, True))):
        items = draw(st.lists(envelope_strategy(writer, sources), min_size=2, max_size=6))
        return Write(writer, tuple(items), on_conflict, is_batch=True)
    return Write(writer, (draw(envelope_strategy(writer, sources)),), on_conflict)


@st.composite
def hidden_row_strategy(draw: st.DrawFn, sources: tuple[str, ...], payloads: tuple[str, ...] = PAYLOAD_IDS) -> Fields:
    source = draw(st.sampled_from(sources))
    hiding_fields = draw(st.sampled_from(BEYOND_FIELDS.get(source, HIDING_FIELDS)))
    row = {"source": source, "payload_id": draw(st.sampled_from(payloads))}
    content = draw(st.sampled_from((*CONTENTS, "Hidden canary.")))
    return {**row, "content": content, **draw(st.sampled_from(KEYS)), **hiding_fields}


# Who may reach a source whose clearance is lower than its own, and might store there what the source may not meet.
REACHING_WRITERS: dict[str, tuple[str, ...]] = {
    "mail": ("desk", "root"),
    "crm": ("desk", "root"),
    "duo": ("duo-high", "duo-high", "desk", "root"),
    "desk": ("root",),
}


@st.composite
def write_outside_strategy(draw: st.DrawFn, sources: tuple[str, ...]) -> WriteOutsideClearance:
    source = draw(st.sampled_from(sources))
    return WriteOutsideClearance(draw(st.sampled_from(REACHING_WRITERS[source])), draw(hidden_row_strategy((source,))))


@st.composite
def import_strategy(draw: st.DrawFn, sources: tuple[str, ...]) -> Import:
    source = draw(st.sampled_from(sources))
    line = {
        "source": source,
        "payload_id": draw(st.sampled_from(IMPORTED_IDS)),
        "content": draw(st.sampled_from(CONTENTS)),
    }
    return Import((line | dict(USUAL_FIELDS[source]),))


@functools.cache
def step_strategy(writers: tuple[str, ...], sources: tuple[str, ...]) -> st.SearchStrategy[Step]:
    """One step of a story about these writers, in which somebody hides rows of these sources and of others."""
    index_strategy = st.integers(0, 3)
    in_vault = hidden_row_strategy(("vault",), (*PAYLOAD_IDS, *IMPORTED_IDS))
    changes_strategy = change_strategy(1).filter(lambda field_changes: "source" not in field_changes)
    repeat_strategy = st.builds(
        RepeatWrite, st.sampled_from(writers), index_strategy, changes_strategy, st.sampled_from(CONFLICT_MODES)
    )
    weighted: tuple[tuple[int, st.SearchStrategy[Step]], ...] = (
        (9, write_strategy(writers, sources)),
        (5, repeat_strategy),
        (3, st.builds(Read, st.sampled_from(writers), st.sampled_from(PATHS), index_strategy)),
        (1, import_strategy(sources)),
        (3, st.builds(ImportHidden, row_tuples(hidden_row_strategy((*sources, *sources, "vault", "attic"))))),
        (1, st.builds(WriteHidden, row_tuples(in_vault))),
        (2, write_outside_strategy(sources)),
        (5, st.builds(Reclassify, st.sampled_from(CLASSIFICATION_CHANGES), index_strategy, over_api=st.booleans())),
        (2, st.builds(Move, st.sampled_from(MOVE_CHANGES), index_strategy)),
        (
            2,
            st.sampled_from(KEYS).flatmap(
                lambda key: st.builds(ResolveHidden, st.just(tuple(key.values())), index_strategy)
            ),
        ),
    )
    kinds = [kind for weight, kind in weighted for _ in range(weight)]
    return st.sampled_from(range(len(kinds))).flatmap(kinds.__getitem__)


def row_tuples(rows: st.SearchStrategy[Fields]) -> st.SearchStrategy[tuple[Fields, ...]]:
    return st.lists(rows, min_size=1, max_size=3).map(tuple)


@st.composite
def story_strategy(draw: st.DrawFn, max_steps: int = 16) -> Story:
    """A story of a few writers, so that what they do meets what is hidden from them."""
    writers = tuple(draw(st.lists(st.sampled_from(tuple(WRITERS)), min_size=1, max_size=3, unique=True)))
    sources = tuple(sorted({WRITERS[name].source for name in writers if WRITERS[name].source})) or tuple(
        SOURCE_CLEARANCES
    )
    drawn_steps = draw(st.lists(step_strategy(writers, sources), min_size=4, max_size=max_steps))
    return Story(tuple(drawn_steps), row_security=draw(st.sampled_from((True, True, False))))
