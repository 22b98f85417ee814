"""What is written into the two worlds and asked of them: values that both have, and values of hidden rows alone."""

import itertools
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from hypothesis import strategies as st

from memoryhub.conflicts.decisions import claims, resolve
from memoryhub.conflicts.decisions.resolution_requests import Resolution, ResolutionRequest
from memoryhub.conflicts.groups.group_keys import GroupKey, compute_evidence
from memoryhub.conflicts.models import Policy
from memoryhub.conflicts.policies import policies, policy_runs
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.writes.envelope import MemoryDraft
from tests.conflicts.policies.policy_factories import DECIDED_CLASSES
from tests.harness.strategies import prepare_memory
from tests.noninterference.worlds import HIGH, LOW, START_INSTANT, WorldStep

DAYS = ("2026-03-01T06:00:00Z", "2026-03-01T18:00:00Z", "2026-03-02T00:00:00Z", "2026-03-05T09:00:00Z")
# Pages mask it, and a search of its own looks for it.
SECRET = "AKIA" + "IOSFODNN7EXAMPLE"
# Values that occur on hidden rows alone, so that their very existence would reveal them.
HIDDEN_VALUES: dict[str, tuple[str, ...]] = {
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
SHARED_VALUES: dict[str, tuple[Any, ...]] = {
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
REQUIRED_FIELDS = ("payload_id", "source", "content", "timestamp")
# Few, so that the same one is written again, under the same source and under others.
PAYLOADS = ("p-1", "p-2", "p-3", "p-4")
Fields = dict[str, Any]
# For good, or for a time: those are in no tally.
EXPIRY_FIELDS: tuple[Fields, ...] = ({}, {"expires_at": "9999-01-01T00:00:00Z"})
# Each of these hides a row by itself: by tier, unknown tier, label in whatever spelling, namespace.
HIDING_FIELDS: tuple[dict[str, Any], ...] = (
    {"tier": "confidential"},
    {"tier": "restricted"},
    {"tier": "top-secret"},
    {"labels": ["pii"]},
    {"labels": ["eu", "PII", "hidden-label"]},
    {"labels": [" p\u200bi\u00ad\uff29\u00a0"]},
    {"namespace": "hidden-namespace"},
    {"namespace": "Team"},
)


def row_strategy(**values: tuple[Any, ...]) -> st.SearchStrategy[Fields]:
    """The fields of one memory; of those that need not be given, some."""
    value_strategies = {name: st.sampled_from(choices) for name, choices in ({"payload_id": PAYLOADS} | values).items()}
    required = {name: value_strategies.pop(name) for name in REQUIRED_FIELDS if name in value_strategies}
    return st.fixed_dictionaries(required, optional=value_strategies)


def visible_row_strategy() -> st.SearchStrategy[Fields]:
    return row_strategy(**SHARED_VALUES)


def hidden_row_strategy() -> st.SearchStrategy[Fields]:
    """Rows like the low ones, with values of their own, the same payload ids under other sources, other contents."""
    values = {name: (*choices, *HIDDEN_VALUES.get(name, ())) for name, choices in SHARED_VALUES.items()}
    # The source is another one: under a writer's own identity the versions are its own history, hidden or not.
    values["source"] = ("hidden-source", "other-source")
    return st.builds(
        lambda row, hiding_fields: row | hiding_fields, row_strategy(**values), st.sampled_from(HIDING_FIELDS)
    )


def envelope_strategy() -> st.SearchStrategy[Fields]:
    """What the low key sends: as itself, now and then as others, or something that it may not see itself."""
    values = {name: choices for name, choices in SHARED_VALUES.items() if name not in ("source", "tier", "labels")}
    return row_strategy(
        **(values | {"content": ("Paris", *HIDDEN_VALUES["content"])}),
        sensitivity_labels=(*SHARED_VALUES["labels"], ["pii"]),
        classification_tier=("public", "internal", "confidential", "no such tier"),
    )


def query_strategy() -> st.SearchStrategy[str]:
    """Query strings over values that are shared and values that only hidden rows have."""
    names = {
        **{
            name: (*SHARED_VALUES[name], *HIDDEN_VALUES[name])
            for name in ("source", "subject", "collection", "actor_type")
        },
        "kind": ("fact", "checkpoint"),
        "namespace": ("team", "hidden-namespace", "Team"),
        "label": ("eu", "pii", "hidden-label"),
        "tier": ("public", "internal", "restricted"),
        "actor_id": ("a-1", "hidden-actor", "a*", "hidden*"),
        "source!": (*SHARED_VALUES["source"], *HIDDEN_VALUES["source"]),
        "namespace!": ("hidden*", "team"),
        "label!": ("pii", "eu"),
        "status!": ("active", "expired"),
        "payload_id": ("p-1", "p-2"),
        "q": ("paris", "canary", "a", "LONDON"),
        "from": ("2026-03-01", "2026-03-01T12:00:00Z", "0001-01-01"),
        "to": ("2026-03-06", "9999-12-31", "2026-03-03T06:00:00Z"),
        "status": ("active", "retired", "expired"),
        "as_of": (DAYS[1], "2026-03-01T20:00:00Z", "2026-03-04T00:00:00Z", "0001-01-01T00:00:00Z"),
        # Between the steps, within one of them, and, mostly, after the last: that one is clipped.
        "known_at": tuple(
            (START_INSTANT + timedelta(seconds=step, microseconds=2)).isoformat() for step in (1, 2, 3, 5, 8, 13, 1_000)
        ),
    }
    pair_strategy = st.one_of(*(st.tuples(st.just(n), st.sampled_from(vs)) for n, vs in names.items()))
    return st.lists(pair_strategy, max_size=3, unique_by=lambda pair: pair[0]).map(urlencode)


ADA_CITY = {"subject": "user:ada", "collection": "city"}
INSTANT_BETWEEN_STEPS = "2100-01-01T00:00:01.5Z"
STORY_STEPS = [
    WorldStep(
        drafts=[prepare_memory(payload_id="p-1", content="Paris", namespace="team", timestamp=DAYS[0], **ADA_CITY)]
    ),
    WorldStep(
        drafts=[
            # The last events of all are hidden ones, so that each would be what is believed.
            prepare_memory(
                payload_id=f"p-{index}",
                source="hidden-source",
                content="Hidden canary.",
                **ADA_CITY | expiry | hiding | ({"timestamp": DAYS[3]} if index < len(HIDING_FIELDS) else {}),
            )
            for index, (expiry, hiding) in enumerate(itertools.product(EXPIRY_FIELDS, HIDING_FIELDS * 10))
        ],
        is_hidden=True,
    ),
    WorldStep(
        drafts=[prepare_memory(payload_id="p-2", content="London", labels=["eu"], timestamp=DAYS[2], **ADA_CITY)]
    ),
]
BOB_CITY = ("user:bob", "city")
ADA_JOB = ("user:ada", "job")
HIDDEN_FIELDS = {"source": "hidden-source", "tier": "restricted"}
# What there is to decide on, open or decided, in one world or in both.
KEYS: tuple[GroupKey, ...] = (
    ("user:ada", "city"), BOB_CITY, ADA_JOB, ("user:ada", ""), ("user:ada", "city", "team"), ("user:bob", "city", ""),
    ("hidden-subject", "hidden-collection"),
)  # fmt: skip
OUTCOMES = ("keep_one", "keep_several", "merge", "not_a_conflict", "defer")

# So that there is something to decide on from the beginning: by low, and by who sees more of it.
DISPUTED_ROWS: list[Fields] = [
    {"payload_id": f"p-{content}", "content": content, "subject": subject, "collection": collection}
    for (subject, collection), content in ((BOB_CITY, "Rome"), (BOB_CITY, "Oslo"), (ADA_JOB, "Baker"))
]
DISPUTED_HIDDEN_ROWS: list[Fields] = [{**DISPUTED_ROWS[2], "payload_id": "p-Cook", "content": "Cook", **HIDDEN_FIELDS}]


def resolution_body(outcome: str, members: list[str], index: int) -> Fields:
    """A choice about a group of these memories."""
    rest: dict[str, Fields] = {
        "keep_one": {"keep": [members[index % len(members)]] if members else []},
        "keep_several": {"keep": members[: 2 + index]},
        "merge": {"content": "Both of them."},
    }
    return {"outcome": outcome, "reason": "Looked at.", **rest.get(outcome, {})}


def resolve_as_high(key: GroupKey, outcome: str, index: int = 0, *, content: str = "") -> UUID | None:
    """What the high steward makes of a group, as that one sees it: a decision, if it comes to one."""
    members = resolve.list_members(key, HIGH)
    if content:
        content_hash = sha256(content.encode()).digest()
        index = next(index for index, member in enumerate(members) if member.content_sha256 == content_hash)
    if not members:
        return None
    evidence = compute_evidence((member.memory_id, member.version) for member in members)
    resolution = Resolution.model_validate(
        resolution_body(outcome, [str(member.memory_id) for member in members], index)
    )
    return resolve.resolve_many([ResolutionRequest(key=key, evidence=evidence, resolution=resolution)], principal=HIGH)[
        0
    ].decision_id


def prepare_values(key: GroupKey, *contents: str, **fields: Any) -> list[MemoryDraft]:
    """Memories about a key."""
    subject_fields = {"subject": key[0], "collection": key[1], "timestamp": DAYS[1], **fields}
    return [prepare_memory(payload_id=f"p-{content}", content=content, **subject_fields) for content in contents]


LOW_ADMIN = Principal(name="user:low-admin", clearance=LOW, scopes=frozenset({Scope.ADMIN}))


def make_source_policy(name: str, source: str, *, principal: Principal) -> None:
    rules = [{"rule": "trusted_sources", "sources": [source]}, {"rule": "latest_event"}]
    policies.save_version(
        policies.parse_input({"name": name, "rules": rules, "classes": list(DECIDED_CLASSES)}), principal=principal
    )


def start_policy_run(name: str, *, principal: Principal) -> None:
    policy_runs.start_run(Policy.objects.get(name=name).policy_id, principal=principal)


DECISION_STEPS = [
    *STORY_STEPS,
    # Decided on above: a hidden value is kept, one is retired, and what is seen below is left.
    WorldStep(drafts=prepare_values(ADA_JOB, "Baker")),
    WorldStep(drafts=prepare_values(ADA_JOB, "Cook", "Pilot", **HIDDEN_FIELDS), is_hidden=True),
    WorldStep(is_hidden=True, action=partial(resolve_as_high, ADA_JOB, "keep_one", content="Cook")),
    WorldStep(
        is_hidden=True, action=partial(resolve_as_high, ("user:ada", "city"), "keep_one", content="Hidden canary.")
    ),
    WorldStep(drafts=prepare_values(ADA_JOB, "Pilot", timestamp=DAYS[3])),
    # Decided on where all can see it; what was rejected comes again, hidden and seen.
    WorldStep(drafts=prepare_values(BOB_CITY, "Rome", "Oslo", "Bonn")),
    WorldStep(action=partial(resolve_as_high, BOB_CITY, "keep_one", content="Rome")),
    WorldStep(drafts=prepare_values(BOB_CITY, "Oslo", "Lima", **HIDDEN_FIELDS), is_hidden=True),
    WorldStep(drafts=prepare_values(BOB_CITY, "Oslo", source="mail")),
    WorldStep(is_hidden=True, action=partial(claims.take_claim, BOB_CITY, principal=HIGH)),
    # The second one decides the same groups, by whatever its maker can see.
    WorldStep(is_hidden=True, action=partial(make_source_policy, "Hidden policy", "hidden-source", principal=HIGH)),
    WorldStep(action=partial(make_source_policy, "Newest", "crm", principal=LOW_ADMIN)),
    WorldStep(is_hidden=True, action=partial(start_policy_run, "Newest", principal=HIGH)),
    WorldStep(is_hidden=True, action=partial(start_policy_run, "Hidden policy", principal=HIGH)),
]
"""The same, and decisions."""
