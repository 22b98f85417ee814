"""Groups are those that GROUP BY finds over the rows a caller may see, whatever way they are found."""

from base64 import b64decode
from collections import defaultdict
from random import Random
from typing import Any
from urllib.parse import urlencode

import pytest
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.conflicts.decisions import resolve
from memoryhub.conflicts.decisions.resolve import Resolution, ResolutionRequest
from memoryhub.conflicts.groups import groups
from memoryhub.conflicts.groups.group_keys import GroupKey, compute_evidence, decode_id, encode_id
from memoryhub.conflicts.groups.groups import GroupFilterSet
from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories import clock
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import MemoryQuerySet
from tests.factories import make_memory, store_drafts
from tests.harness.strategies import (
    KNOWN_TIERS,
    SOAK,
    classification_strategy,
    clearance_strategy,
    example_settings,
    prepare_memory,
    roll_back,
)
from tests.memories.raw_rows import execute

pytestmark = pytest.mark.django_db


def list_all_groups(query: str = "", *, clearance: Clearance | None = None, limit: int = 7) -> list[groups.Group]:
    """All groups, walked page by page."""
    effective_clearance = clearance or unrestricted_clearance()
    principal = Principal(name="key:walker", source="", scopes=frozenset(), clearance=effective_clearance)
    group_list, cursor = [], ""
    while True:
        filters = GroupFilterSet(QueryDict(query), clearance=effective_clearance)
        page = groups.list_page(filters, principal=principal, params={"limit": str(limit), "cursor": cursor})
        group_list += page.groups
        if page.next_cursor is None:
            return group_list
        cursor = page.next_cursor


STEWARD = Principal(
    name="user:steward", scopes=frozenset({Scope.READ, Scope.CURATE}), clearance=unrestricted_clearance()
)


def make_conflict(subject: str) -> list[Memory]:
    return [make_memory(subject=subject, collection="city", content=content) for content in ("Paris", "Berlin")]


def resolve_group(
    subject: str, *key_rest: str, principal: Principal = STEWARD, **choice: Any
) -> resolve.ResolutionResult:
    key = (subject, *(key_rest or ("city",)))
    evidence = compute_evidence([(member.memory_id, member.version) for member in resolve.list_members(key, principal)])
    return resolve.resolve(
        ResolutionRequest(key=key, evidence=evidence, resolution=Resolution(reason="Asked her.", **choice)),
        principal=principal,
    )


def contents_by_key(group_list: list[groups.Group]) -> dict[GroupKey, frozenset[str]]:
    assert len({group.id for group in group_list}) == len(group_list)
    return {group.key: frozenset(value.content for value in group.values) for group in group_list}


def expected_groups(visible_memories: MemoryQuerySet, **fields: str) -> dict[GroupKey, frozenset[str]]:
    """What GROUP BY subject, collection HAVING count(DISTINCT content) > 1 finds."""
    contents = defaultdict(set)
    rows = visible_memories.current().active().filter(**fields).exclude(subject="").exclude(collection="")
    for subject, collection, content in rows.values_list("subject", "collection", "content"):
        contents[subject, collection].add(content)
    return {key: frozenset(values) for key, values in contents.items() if len(values) > 1}


KEY_STRATEGY = st.fixed_dictionaries(
    {
        "subject": st.sampled_from(["", "user:ada", "user:ADA", "caf\u00e9"]),
        "collection": st.sampled_from(["", "city", "job"]),
        "content": st.sampled_from(["Paris", "Berlin", "paris"]),
    }
)


@example_settings(15, soak_examples=2_000)
@given(
    rows=st.lists(st.tuples(KEY_STRATEGY, classification_strategy()), min_size=1, max_size=25),
    clearance=clearance_strategy(),
    subject=st.sampled_from(["", "user:ada"]),
)
def test_the_groups_are_those_of_the_plain_question(rows, clearance, subject):
    with roll_back():
        store_drafts([prepare_memory(**key, **firewalled) for key, firewalled in rows])

        fields = {"subject": subject} if subject else {}
        group_list = list_all_groups(urlencode(fields), clearance=clearance, limit=2)

        assert contents_by_key(group_list) == expected_groups(Memory.objects.visible_to(clearance), **fields)


def test_many_memories_hold_the_groups_of_the_plain_question():
    rng = Random(5)
    batch_count = 100 if SOAK else 2
    for _ in range(batch_count):
        store_drafts(
            [
                prepare_memory(
                    subject=f"user:{rng.randrange(300 * batch_count)}",
                    collection=f"c-{rng.randrange(3)}",
                    content=f"It is {rng.randrange(3)}.",
                    tier=rng.choice(KNOWN_TIERS),
                    namespace=rng.choice(["", "team"]),
                    labels=rng.choice([[], [], ["pii"]]),
                )
                for _ in range(1_000)
            ]
        )
    # As autovacuum does, a moment after so many memories.
    execute("ANALYZE memories")
    for clearance in (
        unrestricted_clearance(),
        Clearance(max_tier="internal"),
        Clearance(max_tier="restricted", blocked_labels=frozenset({"PII"}), namespaces=frozenset({"team"})),
        Clearance(max_tier="nothing-like-it"),
    ):
        visible_memories = Memory.objects.visible_to(clearance)

        assert contents_by_key(list_all_groups(clearance=clearance, limit=200)) == expected_groups(visible_memories)
        assert contents_by_key(list_all_groups("subject=user:7", clearance=clearance)) == expected_groups(
            visible_memories, subject="user:7"
        )


class TestMembers:
    def test_are_never_cut_by_a_filter(self):
        make_memory(subject="user:ada", collection="city", content="Paris", source="crm", actor_type="agent")
        make_memory(subject="user:ada", collection="city", content="Berlin", source="mail", actor_type="user")

        for query in ("source=crm", "source=mail", "actor_type=user", "source=crm&actor_type=agent"):
            assert contents_by_key(list_all_groups(query)) == {("user:ada", "city"): {"Paris", "Berlin"}}
        assert list_all_groups("source=chat") == []
        assert list_all_groups("source=crm&actor_type=user") == []

    def test_that_say_the_same_support_one_value(self):
        for content in ("Paris", "Paris", "Berlin"):
            make_memory(subject="user:ada", collection="city", content=content)
        make_memory(subject="user:bob", collection="city", content="Paris")
        make_memory(subject="user:bob", collection="city", content="Paris")

        (group,) = list_all_groups()

        assert (group.value_count, group.memory_count) == (2, 3)
        assert {value.content: len(value.memories) for value in group.values} == {"Paris": 2, "Berlin": 1}

    def test_who_are_hidden_dispute_nothing(self):
        visible_memory = make_memory(subject="user:ada", collection="city", content="Paris")
        make_memory(subject="user:ada", collection="city", content="Berlin", tier="restricted")
        (group,) = list_all_groups()

        filters = GroupFilterSet(QueryDict(), clearance=Clearance())

        assert list_all_groups(clearance=Clearance()) == []
        assert groups.get_group(filters, group.id) is None
        assert visible_memory.memory_id in {memory["memory_id"] for memory in group.members}

    def test_of_an_earlier_instant_are_those_of_then(self):
        first = make_memory(subject="user:ada", collection="city", content="Paris")
        make_memory(subject="user:ada", collection="city", content="Berlin")
        known_at = clock.stable_record_time()
        make_memory(payload_id=first.payload_id, subject="user:ada", collection="city", content="Berlin")

        assert list_all_groups() == []
        (group,) = list_all_groups(f"known_at={known_at.isoformat().replace('+', '%2B')}")
        assert {value.content for value in group.values} == {"Paris", "Berlin"}


class TestKeys:
    def test_may_hold_the_namespace(self):
        for namespace, content in (("a", "Paris"), ("b", "Berlin"), ("b", "Rome")):
            make_memory(subject="user:ada", collection="city", namespace=namespace, content=content)

        assert contents_by_key(list_all_groups("scope=namespace")) == {("user:ada", "city", "b"): {"Berlin", "Rome"}}
        assert contents_by_key(list_all_groups()) == {("user:ada", "city"): {"Paris", "Berlin", "Rome"}}

    def test_are_needed_unless_asked_otherwise(self):
        make_memory(subject="", content="Paris")
        make_memory(subject="", content="Berlin")

        assert list_all_groups() == []
        assert contents_by_key(list_all_groups("include_keyless=true")) == {("", ""): {"Paris", "Berlin"}}

    def test_with_an_empty_part_are_listed_for_who_asks_for_them(self):
        for subject, collection in (("user:ada", "city"), ("user:ada", ""), ("", "city"), ("", "")):
            for content in ("Paris", "Berlin"):
                make_memory(subject=subject, collection=collection, content=content)

        def list_keys(query: str) -> list[GroupKey]:
            return [group.key for group in list_all_groups(query)]

        assert list_keys("") == [("user:ada", "city")]
        assert list_keys("include_keyless=true") == [("", ""), ("", "city"), ("user:ada", ""), ("user:ada", "city")]
        assert list_keys("collection=") == [("user:ada", "")]
        assert list_keys("subject=") == [("", "city")]
        assert list_keys("subject=&collection=") == [("", "")]
        assert list_keys("status=all&collection=") == [("user:ada", "")]

    def test_lead_back_to_their_group(self):
        for content in ("Paris", "Berlin"):
            make_memory(subject="user:\u00e9\U0001f600/?&", collection="", content=content)
        (group,) = list_all_groups("collection=")

        keyless_group = groups.get_group(
            GroupFilterSet(QueryDict("include_keyless=true"), clearance=unrestricted_clearance()), group.id
        )

        assert keyless_group == group
        assert group.id.startswith("cf_")
        assert group.id.replace("-", "").replace("_", "").isalnum()

    @pytest.mark.parametrize(
        "nonsense", ["cf_", "cf_!!!", "cf_W10", "cf_WzEsMl0", "cf_WyJhIl0", "cf_Im5vIg", "\u00e9", "x" * 9]
    )
    def test_that_are_none_lead_nowhere(self, nonsense):
        assert groups.get_group(GroupFilterSet(QueryDict(), clearance=unrestricted_clearance()), nonsense) is None


class TestDecidedGroups:
    def test_groups_leave_the_open_ones(self):
        make_conflict("user:ada")
        make_conflict("user:bob")
        resolve_group("user:ada", outcome="not_a_conflict")

        assert [group.key[0] for group in list_all_groups()] == ["user:bob"]
        assert [group.key[0] for group in list_all_groups("status=decided")] == ["user:ada"]
        assert [(group.key[0], group.status) for group in list_all_groups("status=all", limit=1)] == [
            ("user:ada", "decided"),
            ("user:bob", "open"),
        ]

    def test_groups_show_what_was_retired(self):
        paris, _ = make_conflict("user:ada")
        outcome = resolve_group("user:ada", outcome="keep_one", keep=[paris.memory_id])

        (group,) = list_all_groups("status=decided")

        assert {member["content"]: member["status"] for member in group.members} == {
            "Paris": "active",
            "Berlin": "retired",
        }
        assert (group.value_count, group.memory_count) == (2, 2)
        assert group.evidence == compute_evidence([(paris.memory_id, 1)])
        assert group.decision is not None
        assert group.decision.decision_id == outcome.decision_id
        assert groups.get_group(GroupFilterSet(QueryDict(), clearance=unrestricted_clearance()), group.id) == group

    def test_groups_are_open_again_when_a_value_joins(self):
        make_conflict("user:ada")
        outcome = resolve_group("user:ada", outcome="not_a_conflict")
        make_memory(subject="user:ada", collection="city", content="Paris")
        assert list_all_groups() == []
        make_memory(subject="user:ada", collection="city", content="Rome")

        (group,) = list_all_groups()

        assert (group.status, group.is_reopened, group.value_count) == ("open", True, 3)
        assert group.decision is not None
        assert group.decision.decision_id == outcome.decision_id
        assert list_all_groups("status=decided") == []

    def test_groups_are_open_again_after_an_undo(self):
        paris, _ = make_conflict("user:ada")
        outcome = resolve_group("user:ada", outcome="keep_one", keep=[paris.memory_id])
        assert list_all_groups() == []
        assert outcome.decision_id is not None

        resolve.undo_decisions([outcome.decision_id], principal=STEWARD, reason="It was wrong.")

        (group,) = list_all_groups()
        assert (group.status, group.is_reopened, group.decision) == ("open", False, None)
        assert list_all_groups("status=decided") == []

    def test_groups_are_decided_from_then_on(self):
        make_conflict("user:ada")
        before = clock.stable_record_time()
        resolve_group("user:ada", outcome="not_a_conflict")

        known_at_param = f"known_at={before.isoformat().replace('+', '%2B')}"

        assert [group.key[0] for group in list_all_groups(known_at_param)] == ["user:ada"]
        assert list_all_groups(f"status=decided&{known_at_param}") == []
        assert list_all_groups() == []

    def test_groups_of_hidden_members_stay_open_for_who_cannot_see_them(self):
        make_conflict("user:ada")
        make_memory(subject="user:ada", collection="city", content="Rome", tier="restricted")

        resolve_group("user:ada", outcome="not_a_conflict")

        (group,) = list_all_groups(clearance=Clearance())
        assert (group.status, group.decision, group.value_count) == ("open", None, 2)
        assert list_all_groups("status=decided", clearance=Clearance()) == []
        assert [group.value_count for group in list_all_groups("status=decided")] == [3]

    def test_keys_are_those_of_the_decision(self):
        for content in ("Paris", "Berlin"):
            make_memory(subject="user:ada", collection="city", namespace="team", content=content)

        resolve_group("user:ada", "city", "team", outcome="not_a_conflict")

        assert len(list_all_groups()) == 1
        assert list_all_groups("scope=namespace") == []
        (group,) = list_all_groups("scope=namespace&status=decided")
        filters = GroupFilterSet(QueryDict(), clearance=unrestricted_clearance())
        assert groups.get_group(filters, encode_id("user:ada", "city", "team")) == group
        assert groups.get_group(filters, encode_id("user:ada", "city")) == list_all_groups()[0]

    def test_groups_are_found_by_what_was_retired(self):
        paris = make_memory(subject="user:ada", collection="city", content="Paris", source="crm")
        make_memory(subject="user:ada", collection="city", content="Berlin", source="mail")
        resolve_group("user:ada", outcome="keep_one", keep=[paris.memory_id])

        assert len(list_all_groups("status=decided&source=mail")) == 1
        assert list_all_groups("status=decided&source=chat") == []
        assert len(list_all_groups("status=decided&min_values=2&subject_contains=ADA")) == 1
        assert list_all_groups("status=decided&min_values=3") == []
        assert list_all_groups("status=decided&subject=user:bob") == []


class TestLists:
    def test_list_some_members_of_each_value(self):
        for index in range(30):
            make_memory(subject="user:ada", collection="city", content="Paris", payload_id=f"p-{index}")
        oldest = make_memory(subject="user:ada", collection="city", content="Berlin", timestamp="1999-01-01T00:00:00Z")

        (group,) = list_all_groups()

        assert (group.value_count, group.memory_count) == (2, 31)
        assert [len(value.memories) for value in group.values] == [groups.MAX_LISTED_MEMORIES - 1, 1]
        assert group.values[1].memories[0]["memory_id"] == oldest.memory_id
        whole_group = groups.get_group(GroupFilterSet(QueryDict(), clearance=unrestricted_clearance()), group.id)
        assert whole_group is not None
        assert len(whole_group.members) == 31
        assert whole_group.evidence == group.evidence

    def test_name_the_evidence_that_a_decision_is_made_on(self):
        memories = [make_memory(subject="user:ada", collection="city", content=f"City {index}.") for index in range(25)]

        (group,) = list_all_groups()

        assert group.evidence == compute_evidence([(memory.memory_id, memory.version) for memory in memories])
        assert group.evidence == compute_evidence(
            [(member.memory_id, member.version) for member in resolve.list_members(group.key, STEWARD)]
        )


def test_one_class_can_be_asked_for():
    make_memory(subject="user:ada", collection="city", content="Paris")
    make_memory(subject="user:ada", collection="city", content="paris.")
    make_memory(subject="user:bob", collection="pet", content="Bob has a dog.")
    make_memory(subject="user:bob", collection="pet", content="Bob does not have a dog.", actor_id="another")

    assert [group.key for group in list_all_groups("class=duplicate")] == [("user:ada", "city")]
    assert [group.key for group in list_all_groups("class=contradiction")] == [("user:bob", "pet")]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("class=disputed", "class"), ("scope=all", "scope"), ("min_values=0", "min_values"),
        ("include_keyless=yes", "include_keyless"), ("status=closed", "status"), ("class=", "class"),
        ("actor_type=", "actor_type"),
        ("from=", "from"), ("subject_contains=%E2%80%8B", "subject_contains"),
        ("from=yesterday", "from"), ("known_at=2026-03-01T12:00:00", "known_at"), ("colour=red", "colour"),
    ],
)  # fmt: skip
def test_a_bad_question_is_named(query, parameter):
    with pytest.raises(InvalidQueryError) as exc_info:
        GroupFilterSet(QueryDict(query), clearance=unrestricted_clearance())

    assert set(exc_info.value.errors) == {parameter}


def test_a_cursor_is_good_for_its_own_list_alone():
    for index in range(3):
        for content in ("Paris", "Berlin"):
            make_memory(subject=f"user:{index}", collection="city", content=content)
    reader = Principal(name="key:a", source="", scopes=frozenset(), clearance=unrestricted_clearance())
    filters = GroupFilterSet(QueryDict(), clearance=unrestricted_clearance())
    cursor = groups.list_page(filters, principal=reader, params={"limit": "1"}).next_cursor
    assert cursor is not None

    for query_text, principal_name in (
        (QueryDict("source=test"), "key:a"),
        (QueryDict(), "key:b"),
        (QueryDict("min_values=3"), "key:a"),
    ):
        other_principal = Principal(
            name=principal_name, source="", scopes=frozenset(), clearance=unrestricted_clearance()
        )
        with pytest.raises(InvalidQueryError, match="cursor"):
            groups.list_page(
                GroupFilterSet(query_text, clearance=unrestricted_clearance()),
                principal=other_principal,
                params={"cursor": cursor},
            )


def test_an_id_does_not_spell_out_a_key_that_pages_mask():
    secret = "AKIA" + "IOSFODNN7EXAMPLE"
    (first_id, second_id), other_id = (encode_id(f"team {secret}", "city") for _ in range(2)), encode_id("team", "city")

    assert first_id == second_id
    assert decode_id(first_id) == (f"team {secret}", "city")
    assert b"AKIA" not in b64decode(first_id.removeprefix("cf_") + "==", altchars=b"-_")
    assert b"team" in b64decode(other_id.removeprefix("cf_") + "==", altchars=b"-_")
    for broken_id in (first_id[:-4], first_id[:-1] + ("A" if first_id[-1] != "A" else "B"), "cf_AAAA", "cf_AA"):
        with pytest.raises(ValueError, match="sealed"):
            decode_id(broken_id)
