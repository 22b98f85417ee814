"""What is written into the two worlds and asked of them: values that both have, and values of hidden rows alone."""

import itertools
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from hypothesis import strategies as st

from memoryhub.conflicts import claims, decide, policies, runs
from memoryhub.conflicts.choices import Choice, Wish
from memoryhub.conflicts.keys import Key, evidence_of
from memoryhub.conflicts.models import Policy
from memoryhub.firewall.types import Principal, Scope
from memoryhub.memories.envelope import Draft
from tests.conflicts.runs import CLASSES
from tests.harness.generated import planted
from tests.harness.worlds import CLOCK, HIGH, LOW, Step

DAYS = ("2026-03-01T06:00:00Z", "2026-03-01T18:00:00Z", "2026-03-02T00:00:00Z", "2026-03-05T09:00:00Z")
# Pages mask it, and a search of its own looks for it.
SECRET = "AKIA" + "IOSFODNN7EXAMPLE"
# Values that occur on hidden rows alone, so that their very existence would tell.
ONLY_HIDDEN: dict[str, tuple[str, ...]] = {
    "source": ("hidden-source",),
    "subject": ("hidden-subject",),
    "collection": ("hidden-collection",),
    "content": ("Hidden canary.", "Paris hidden canary", f"{SECRET} hidden canary"),
    "timestamp": ("0001-01-01T00:00:00Z", "1999-12-31T00:00:00Z", "2026-03-03T12:00:00Z", "9999-12-31T23:59:59Z"),
    "actor_type": ("system",),
    "actor_id": ("hidden-actor",),
    "kind": ("checkpoint",),
    "model": ("hidden-model",),
}
SHARED: dict[str, tuple[Any, ...]] = {
    "source": ("crm", "mail"),
    "subject": ("user:ada", "user:bob"),
    "collection": ("city", ""),
    "content": ("Paris", "London", "paris, in other words", f"Paris, {SECRET}"),
    "timestamp": DAYS,
    "actor_type": ("agent", "user"),
    "actor_id": ("a-1", ""),
    "kind": ("fact", "summary"),
    "model": ("", "m-1"),
    "expires_at": (None, "2001-01-01T00:00:00Z", "9999-01-01T00:00:00Z"),
    "tier": ("", "public", "internal"),
    "namespace": ("", "team"),
    "labels": ([], ["eu"], ["EU", "hr"]),
}
ALWAYS = ("payload_id", "source", "content", "timestamp")
# Few, so that the same one is written again, under the same source and under others.
PAYLOADS = ("p-1", "p-2", "p-3", "p-4")
Fields = dict[str, Any]
# For good, or for a time: those are in no tally.
LASTING: tuple[Fields, ...] = ({}, {"expires_at": "9999-01-01T00:00:00Z"})
# Each of these hides a row by itself: by tier, unknown tier, label in whatever spelling, namespace.
HIDING: tuple[dict[str, Any], ...] = (
    {"tier": "confidential"},
    {"tier": "restricted"},
    {"tier": "top-secret"},
    {"labels": ["pii"]},
    {"labels": ["eu", "PII", "hidden-label"]},
    {"labels": [" p\u200bi\u00ad\uff29\u00a0"]},
    {"namespace": "hidden-namespace"},
    {"namespace": "Team"},
)


def rows(**values: tuple[Any, ...]) -> st.SearchStrategy[Fields]:
    """The fields of one memory; of those that need not be given, some."""
    chosen = {name: st.sampled_from(choices) for name, choices in ({"payload_id": PAYLOADS} | values).items()}
    given = {name: chosen.pop(name) for name in ALWAYS if name in chosen}
    return st.fixed_dictionaries(given, optional=chosen)


def seen_rows() -> st.SearchStrategy[Fields]:
    return rows(**SHARED)


def hidden_rows() -> st.SearchStrategy[Fields]:
    """Rows like the low ones, with values of their own, the same payload ids under other sources, other contents."""
    values = {name: (*choices, *ONLY_HIDDEN.get(name, ())) for name, choices in SHARED.items()}
    # The source is another one: under a writer's own identity the versions are its own history, hidden or not.
    values["source"] = ("hidden-source", "other-source")
    return st.builds(lambda row, why: row | why, rows(**values), st.sampled_from(HIDING))


def envelopes() -> st.SearchStrategy[Fields]:
    """What the low key sends: as itself, now and then as others, or something that it may not see itself."""
    values = {name: choices for name, choices in SHARED.items() if name not in ("source", "tier", "labels")}
    return rows(
        **(values | {"content": ("Paris", *ONLY_HIDDEN["content"])}),
        sensitivity_labels=(*SHARED["labels"], ["pii"]),
        classification_tier=("public", "internal", "confidential", "no such tier"),
    )


def queries() -> st.SearchStrategy[str]:
    """Query strings over values that are shared and values that only hidden rows have."""
    names = {
        **{name: (*SHARED[name], *ONLY_HIDDEN[name]) for name in ("source", "subject", "collection", "actor_type")},
        "kind": ("fact", "checkpoint"),
        "namespace": ("team", "hidden-namespace", "Team"),
        "label": ("eu", "pii", "hidden-label"),
        "tier": ("public", "internal", "restricted"),
        "actor_id": ("a-1", "hidden-actor"),
        "payload_id": ("p-1", "p-2"),
        "q": ("paris", "canary", "a", "LONDON"),
        "from": ("2026-03-01", "2026-03-01T12:00:00Z", "0001-01-01"),
        "to": ("2026-03-06", "9999-12-31", "2026-03-03T06:00:00Z"),
        "status": ("active", "retired", "expired"),
        "as_of": (DAYS[1], "2026-03-01T20:00:00Z", "2026-03-04T00:00:00Z", "0001-01-01T00:00:00Z"),
        # Between the steps, within one of them, and, mostly, after the last: that one is clipped.
        "known_at": tuple(
            (CLOCK + timedelta(seconds=step, microseconds=2)).isoformat() for step in (1, 2, 3, 5, 8, 13, 1_000)
        ),
    }
    one = st.one_of(*(st.tuples(st.just(n), st.sampled_from(vs)) for n, vs in names.items()))
    return st.lists(one, max_size=3, unique_by=lambda pair: pair[0]).map(urlencode)


ABOUT = {"subject": "user:ada", "collection": "city"}
BETWEEN_ITS_STEPS = "2100-01-01T00:00:01.5Z"
STORY = [
    Step(drafts=[planted(payload_id="p-1", content="Paris", namespace="team", timestamp=DAYS[0], **ABOUT)]),
    Step(
        drafts=[
            # The last events of all are hidden ones, so that each would be what is believed.
            planted(
                payload_id=f"p-{number}",
                source="hidden-source",
                content="Hidden canary.",
                **ABOUT | lasting | why | ({"timestamp": DAYS[3]} if number < len(HIDING) else {}),
            )
            for number, (lasting, why) in enumerate(itertools.product(LASTING, HIDING * 10))
        ],
        is_hidden=True,
    ),
    Step(drafts=[planted(payload_id="p-2", content="London", labels=["eu"], timestamp=DAYS[2], **ABOUT)]),
]
BOB = ("user:bob", "city")
JOB = ("user:ada", "job")
ABOVE = {"source": "hidden-source", "tier": "restricted"}
# What there is to decide on, open or decided, in one world or in both.
KEYS: tuple[Key, ...] = (
    ("user:ada", "city"), BOB, JOB, ("user:ada", ""), ("user:ada", "city", "team"), ("user:bob", "city", ""),
    ("hidden-subject", "hidden-collection"),
)  # fmt: skip
OUTCOMES = ("keep_one", "keep_several", "merge", "not_a_conflict", "defer")

# So that there is something to decide on from the beginning: by low, and by who sees more of it.
DISPUTED: list[Fields] = [
    {"payload_id": f"p-{content}", "content": content, "subject": subject, "collection": collection}
    for (subject, collection), content in ((BOB, "Rome"), (BOB, "Oslo"), (JOB, "Baker"))
]
DISPUTED_ABOVE: list[Fields] = [{**DISPUTED[2], "payload_id": "p-Cook", "content": "Cook", **ABOVE}]


def chosen(outcome: str, members: list[str], place: int) -> Fields:
    """A choice about a group of these memories."""
    rest: dict[str, Fields] = {
        "keep_one": {"keep": [members[place % len(members)]] if members else []},
        "keep_several": {"keep": members[: 2 + place]},
        "merge": {"content": "Both of them."},
    }
    return {"outcome": outcome, "reason": "Looked at.", **rest.get(outcome, {})}


def decide_above(key: Key, outcome: str, place: int = 0, *, content: str = "") -> UUID | None:
    """What the high steward makes of a group, as that one sees it: a decision, if it comes to one."""
    found = decide.members(key, HIGH)
    if content:
        wanted = sha256(content.encode()).digest()
        place = next(place for place, member in enumerate(found) if member.content_sha256 == wanted)
    if not found:
        return None
    evidence = evidence_of((member.memory_id, member.version) for member in found)
    wished = Choice.model_validate(chosen(outcome, [str(member.memory_id) for member in found], place))
    return decide.decide_all([Wish(key=key, evidence=evidence, choice=wished)], by=HIGH)[0].decision_id


def said(key: Key, *contents: str, **fields: Any) -> list[Draft]:
    """Memories about a key."""
    about = {"subject": key[0], "collection": key[1], "timestamp": DAYS[1], **fields}
    return [planted(payload_id=f"p-{content}", content=content, **about) for content in contents]


LOW_ADMIN = Principal(name="user:low-admin", clearance=LOW, scopes=frozenset({Scope.ADMIN}))


def make_policy(name: str, source: str, *, by: Principal) -> None:
    rules = [{"rule": "trusted_sources", "sources": [source]}, {"rule": "latest_event"}]
    policies.save(policies.read({"name": name, "rules": rules, "classes": list(CLASSES)}), by=by)


def start_run(name: str, *, by: Principal) -> None:
    runs.start(Policy.objects.get(name=name).policy_id, by=by)


DECIDED = [
    *STORY,
    # Decided on above: a hidden value is kept, one is retired, and what is seen below is left.
    Step(drafts=said(JOB, "Baker")),
    Step(drafts=said(JOB, "Cook", "Pilot", **ABOVE), is_hidden=True),
    Step(is_hidden=True, deed=partial(decide_above, JOB, "keep_one", content="Cook")),
    Step(is_hidden=True, deed=partial(decide_above, ("user:ada", "city"), "keep_one", content="Hidden canary.")),
    Step(drafts=said(JOB, "Pilot", timestamp=DAYS[3])),
    # Decided on where all can see it; what was rejected comes again, hidden and seen.
    Step(drafts=said(BOB, "Rome", "Oslo", "Bonn")),
    Step(deed=partial(decide_above, BOB, "keep_one", content="Rome")),
    Step(drafts=said(BOB, "Oslo", "Lima", **ABOVE), is_hidden=True),
    Step(drafts=said(BOB, "Oslo", source="mail")),
    Step(is_hidden=True, deed=partial(claims.claim, BOB, by=HIGH)),
    # The second one decides the same groups, by whatever its maker can see.
    Step(is_hidden=True, deed=partial(make_policy, "Hidden policy", "hidden-source", by=HIGH)),
    Step(deed=partial(make_policy, "Newest", "crm", by=LOW_ADMIN)),
    Step(is_hidden=True, deed=partial(start_run, "Newest", by=HIGH)),
    Step(is_hidden=True, deed=partial(start_run, "Hidden policy", by=HIGH)),
]
"""The same, and decisions."""
