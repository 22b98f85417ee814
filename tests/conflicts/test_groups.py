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

from memoryhub.conflicts import decide, groups
from memoryhub.conflicts.decide import Choice, Wish
from memoryhub.conflicts.groups import GroupFilterSet
from memoryhub.conflicts.keys import Key, evidence_of, id_of, key_of
from memoryhub.firewall.types import Clearance, Principal, Scope, everything
from memoryhub.memories import clock
from memoryhub.memories.filters import BadQuery
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import MemoryQuerySet
from tests.builders import make_memory, store
from tests.harness.generated import KNOWN_TIERS, SOAK, classified, clearances, examples, planted, rolled_back
from tests.memories.rows import execute

pytestmark = pytest.mark.django_db


def found(query: str = "", *, clearance: Clearance | None = None, limit: int = 7) -> list[groups.Group]:
    """All groups, walked page by page."""
    held = clearance or everything()
    reader = Principal(name="key:walker", source="", scopes=frozenset(), clearance=held)
    walked, cursor = [], ""
    while True:
        filters = GroupFilterSet(QueryDict(query), clearance=held)
        page = groups.page(filters, reader=reader, parameters={"limit": str(limit), "cursor": cursor})
        walked += page.groups
        if page.next_cursor is None:
            return walked
        cursor = page.next_cursor


STEWARD = Principal(name="user:steward", scopes=frozenset({Scope.READ, Scope.INSPECT}), clearance=everything())


def dispute(subject: str) -> list[Memory]:
    return [make_memory(subject=subject, collection="city", content=content) for content in ("Paris", "Berlin")]


def decide_about(subject: str, *rest: str, by: Principal = STEWARD, **choice: Any) -> decide.Outcome:
    key = (subject, *(rest or ("city",)))
    evidence = evidence_of([(member.memory_id, member.version) for member in decide.members(key, by)])
    return decide.decide(Wish(key=key, evidence=evidence, choice=Choice(reason="Asked her.", **choice)), by=by)


def as_set(walked: list[groups.Group]) -> dict[Key, frozenset[str]]:
    assert len({group.id for group in walked}) == len(walked)
    return {group.key: frozenset(value.content for value in group.values) for group in walked}


def reference(seen: MemoryQuerySet, **fields: str) -> dict[Key, frozenset[str]]:
    """What GROUP BY subject, collection HAVING count(DISTINCT content) > 1 finds."""
    contents = defaultdict(set)
    rows = seen.current().active().filter(**fields).exclude(subject="").exclude(collection="")
    for subject, collection, content in rows.values_list("subject", "collection", "content"):
        contents[subject, collection].add(content)
    return {key: frozenset(said) for key, said in contents.items() if len(said) > 1}


KEYS = st.fixed_dictionaries(
    {
        "subject": st.sampled_from(["", "user:ada", "user:ADA", "caf\u00e9"]),
        "collection": st.sampled_from(["", "city", "job"]),
        "content": st.sampled_from(["Paris", "Berlin", "paris"]),
    }
)


@examples(30, soak=2_000)
@given(
    rows=st.lists(st.tuples(KEYS, classified()), min_size=1, max_size=25),
    clearance=clearances(),
    subject=st.sampled_from(["", "user:ada"]),
)
def test_the_groups_are_those_of_the_plain_question(rows, clearance, subject):
    with rolled_back():
        store([planted(**key, **firewalled) for key, firewalled in rows])

        fields = {"subject": subject} if subject else {}
        walked = found(urlencode(fields), clearance=clearance, limit=2)

        assert as_set(walked) == reference(Memory.objects.visible_to(clearance), **fields)


def test_many_memories_hold_the_groups_of_the_plain_question():
    dice = Random(5)
    for _ in range(100_000 // 1_000 if SOAK else 10):
        store(
            [
                planted(
                    subject=f"user:{dice.randrange(3_000)}",
                    collection=f"c-{dice.randrange(3)}",
                    content=f"It is {dice.randrange(3)}.",
                    tier=dice.choice(KNOWN_TIERS),
                    namespace=dice.choice(["", "team"]),
                    labels=dice.choice([[], [], ["pii"]]),
                )
                for _ in range(1_000)
            ]
        )
    # As autovacuum does, a moment after so many memories.
    execute("ANALYZE memories")
    for clearance in (
        everything(),
        Clearance(max_tier="internal"),
        Clearance(max_tier="restricted", blocked_labels=frozenset({"PII"}), namespaces=frozenset({"team"})),
        Clearance(max_tier="nothing-like-it"),
    ):
        asked = Memory.objects.visible_to(clearance)

        assert as_set(found(clearance=clearance, limit=200)) == reference(asked)
        assert as_set(found("subject=user:7", clearance=clearance)) == reference(asked, subject="user:7")


class TestMembers:
    def test_are_never_cut_by_a_filter(self):
        make_memory(subject="user:ada", collection="city", content="Paris", source="crm", actor_type="agent")
        make_memory(subject="user:ada", collection="city", content="Berlin", source="mail", actor_type="user")

        for query in ("source=crm", "source=mail", "actor_type=user", "source=crm&actor_type=agent"):
            assert as_set(found(query)) == {("user:ada", "city"): {"Paris", "Berlin"}}
        assert found("source=chat") == []
        assert found("source=crm&actor_type=user") == []

    def test_that_say_the_same_support_one_value(self):
        for content in ("Paris", "Paris", "Berlin"):
            make_memory(subject="user:ada", collection="city", content=content)
        make_memory(subject="user:bob", collection="city", content="Paris")
        make_memory(subject="user:bob", collection="city", content="Paris")

        (group,) = found()

        assert (group.value_count, group.memory_count) == (2, 3)
        assert {value.content: len(value.memories) for value in group.values} == {"Paris": 2, "Berlin": 1}

    def test_who_are_hidden_dispute_nothing(self):
        shown = make_memory(subject="user:ada", collection="city", content="Paris")
        make_memory(subject="user:ada", collection="city", content="Berlin", tier="restricted")
        (group,) = found()

        filters = GroupFilterSet(QueryDict(), clearance=Clearance())

        assert found(clearance=Clearance()) == []
        assert groups.group(filters, group.id) is None
        assert shown.memory_id in {memory["memory_id"] for memory in group.members}

    def test_of_an_earlier_instant_are_those_of_then(self):
        first = make_memory(subject="user:ada", collection="city", content="Paris")
        make_memory(subject="user:ada", collection="city", content="Berlin")
        then = clock.settle()
        make_memory(payload_id=first.payload_id, subject="user:ada", collection="city", content="Berlin")

        assert found() == []
        (group,) = found(f"known_at={then.isoformat().replace('+', '%2B')}")
        assert {value.content for value in group.values} == {"Paris", "Berlin"}


class TestKeys:
    def test_may_hold_the_namespace(self):
        for namespace, content in (("a", "Paris"), ("b", "Berlin"), ("b", "Rome")):
            make_memory(subject="user:ada", collection="city", namespace=namespace, content=content)

        assert as_set(found("scope=namespace")) == {("user:ada", "city", "b"): {"Berlin", "Rome"}}
        assert as_set(found()) == {("user:ada", "city"): {"Paris", "Berlin", "Rome"}}

    def test_are_needed_unless_asked_otherwise(self):
        make_memory(subject="", content="Paris")
        make_memory(subject="", content="Berlin")

        assert found() == []
        assert as_set(found("unkeyed=true")) == {("", ""): {"Paris", "Berlin"}}

    def test_with_an_empty_part_are_listed_for_who_asks_for_them(self):
        for subject, collection in (("user:ada", "city"), ("user:ada", ""), ("", "city"), ("", "")):
            for content in ("Paris", "Berlin"):
                make_memory(subject=subject, collection=collection, content=content)

        def keys(query: str) -> list[Key]:
            return [group.key for group in found(query)]

        assert keys("") == [("user:ada", "city")]
        assert keys("unkeyed=true") == [("", ""), ("", "city"), ("user:ada", ""), ("user:ada", "city")]
        assert keys("collection=") == [("user:ada", "")]
        assert keys("subject=") == [("", "city")]
        assert keys("subject=&collection=") == [("", "")]
        assert keys("status=all&collection=") == [("user:ada", "")]

    def test_lead_back_to_their_group(self):
        for content in ("Paris", "Berlin"):
            make_memory(subject="user:\u00e9\U0001f600/?&", collection="", content=content)
        (group,) = found("collection=")

        again = groups.group(GroupFilterSet(QueryDict("unkeyed=true"), clearance=everything()), group.id)

        assert again == group
        assert group.id.startswith("cf_")
        assert group.id.replace("-", "").replace("_", "").isalnum()

    @pytest.mark.parametrize(
        "nonsense", ["cf_", "cf_!!!", "cf_W10", "cf_WzEsMl0", "cf_WyJhIl0", "cf_Im5vIg", "\u00e9", "x" * 9]
    )
    def test_that_are_none_lead_nowhere(self, nonsense):
        assert groups.group(GroupFilterSet(QueryDict(), clearance=everything()), nonsense) is None


class TestDecided:
    def test_groups_leave_the_open_ones(self):
        dispute("user:ada")
        dispute("user:bob")
        decide_about("user:ada", outcome="not_a_conflict")

        assert [group.key[0] for group in found()] == ["user:bob"]
        assert [group.key[0] for group in found("status=decided")] == ["user:ada"]
        assert [(group.key[0], group.status) for group in found("status=all", limit=1)] == [
            ("user:ada", "decided"),
            ("user:bob", "open"),
        ]

    def test_groups_tell_what_was_retired(self):
        paris, _ = dispute("user:ada")
        outcome = decide_about("user:ada", outcome="keep_one", keep=[paris.memory_id])

        (group,) = found("status=decided")

        assert {member["content"]: member["status"] for member in group.members} == {
            "Paris": "active",
            "Berlin": "retired",
        }
        assert (group.value_count, group.memory_count) == (2, 2)
        assert group.evidence == evidence_of([(paris.memory_id, 1)])
        assert group.decision is not None
        assert group.decision.decision_id == outcome.decision_id
        assert groups.group(GroupFilterSet(QueryDict(), clearance=everything()), group.id) == group

    def test_groups_are_open_again_when_a_value_joins(self):
        dispute("user:ada")
        outcome = decide_about("user:ada", outcome="not_a_conflict")
        make_memory(subject="user:ada", collection="city", content="Paris")
        assert found() == []
        make_memory(subject="user:ada", collection="city", content="Rome")

        (group,) = found()

        assert (group.status, group.is_reopened, group.value_count) == ("open", True, 3)
        assert group.decision is not None
        assert group.decision.decision_id == outcome.decision_id
        assert found("status=decided") == []

    def test_groups_are_open_again_after_an_undo(self):
        paris, _ = dispute("user:ada")
        outcome = decide_about("user:ada", outcome="keep_one", keep=[paris.memory_id])
        assert found() == []
        assert outcome.decision_id is not None

        decide.undo([outcome.decision_id], by=STEWARD, reason="It was wrong.")

        (group,) = found()
        assert (group.status, group.is_reopened, group.decision) == ("open", False, None)
        assert found("status=decided") == []

    def test_groups_are_decided_from_then_on(self):
        dispute("user:ada")
        before = clock.settle()
        decide_about("user:ada", outcome="not_a_conflict")

        then = f"known_at={before.isoformat().replace('+', '%2B')}"

        assert [group.key[0] for group in found(then)] == ["user:ada"]
        assert found(f"status=decided&{then}") == []
        assert found() == []

    def test_groups_of_hidden_members_stay_open_for_who_cannot_see_them(self):
        dispute("user:ada")
        make_memory(subject="user:ada", collection="city", content="Rome", tier="restricted")

        decide_about("user:ada", outcome="not_a_conflict")

        (group,) = found(clearance=Clearance())
        assert (group.status, group.decision, group.value_count) == ("open", None, 2)
        assert found("status=decided", clearance=Clearance()) == []
        assert [group.value_count for group in found("status=decided")] == [3]

    def test_keys_are_those_of_the_decision(self):
        for content in ("Paris", "Berlin"):
            make_memory(subject="user:ada", collection="city", namespace="team", content=content)

        decide_about("user:ada", "city", "team", outcome="not_a_conflict")

        assert len(found()) == 1
        assert found("scope=namespace") == []
        (group,) = found("scope=namespace&status=decided")
        filters = GroupFilterSet(QueryDict(), clearance=everything())
        assert groups.group(filters, id_of("user:ada", "city", "team")) == group
        assert groups.group(filters, id_of("user:ada", "city")) == found()[0]

    def test_groups_are_found_by_what_was_retired(self):
        paris = make_memory(subject="user:ada", collection="city", content="Paris", source="crm")
        make_memory(subject="user:ada", collection="city", content="Berlin", source="mail")
        decide_about("user:ada", outcome="keep_one", keep=[paris.memory_id])

        assert len(found("status=decided&source=mail")) == 1
        assert found("status=decided&source=chat") == []
        assert len(found("status=decided&min_values=2&subject_contains=ADA")) == 1
        assert found("status=decided&min_values=3") == []
        assert found("status=decided&subject=user:bob") == []


class TestLists:
    def test_tell_some_members_of_each_value(self):
        for number in range(30):
            make_memory(subject="user:ada", collection="city", content="Paris", payload_id=f"p-{number}")
        oldest = make_memory(subject="user:ada", collection="city", content="Berlin", timestamp="1999-01-01T00:00:00Z")

        (group,) = found()

        assert (group.value_count, group.memory_count) == (2, 31)
        assert [len(value.memories) for value in group.values] == [groups.MOST_LISTED - 1, 1]
        assert group.values[1].memories[0]["memory_id"] == oldest.memory_id
        whole = groups.group(GroupFilterSet(QueryDict(), clearance=everything()), group.id)
        assert whole is not None
        assert len(whole.members) == 31
        assert whole.evidence == group.evidence

    def test_name_the_evidence_that_a_decision_is_made_on(self):
        made = [make_memory(subject="user:ada", collection="city", content=f"City {number}.") for number in range(25)]

        (group,) = found()

        assert group.evidence == evidence_of([(memory.memory_id, memory.version) for memory in made])
        assert group.evidence == evidence_of(
            [(member.memory_id, member.version) for member in decide.members(group.key, STEWARD)]
        )


def test_one_class_can_be_asked_for():
    make_memory(subject="user:ada", collection="city", content="Paris")
    make_memory(subject="user:ada", collection="city", content="paris.")
    make_memory(subject="user:bob", collection="pet", content="Bob has a dog.")
    make_memory(subject="user:bob", collection="pet", content="Bob does not have a dog.", actor_id="another")

    assert [group.key for group in found("class=duplicate")] == [("user:ada", "city")]
    assert [group.key for group in found("class=contradiction")] == [("user:bob", "pet")]


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("class=disputed", "class"), ("scope=all", "scope"), ("min_values=0", "min_values"), ("unkeyed=yes", "unkeyed"),
        ("status=closed", "status"), ("class=", "class"), ("actor_type=", "actor_type"), ("from=", "from"),
        ("subject_contains=%E2%80%8B", "subject_contains"),
        ("from=yesterday", "from"), ("known_at=2026-03-01T12:00:00", "known_at"), ("colour=red", "colour"),
    ],
)  # fmt: skip
def test_a_bad_question_is_named(query, wrong):
    with pytest.raises(BadQuery) as caught:
        GroupFilterSet(QueryDict(query), clearance=everything())

    assert set(caught.value.errors) == {wrong}


def test_a_cursor_is_good_for_its_own_list_alone():
    for number in range(3):
        for content in ("Paris", "Berlin"):
            make_memory(subject=f"user:{number}", collection="city", content=content)
    reader = Principal(name="key:a", source="", scopes=frozenset(), clearance=everything())
    filters = GroupFilterSet(QueryDict(), clearance=everything())
    cursor = groups.page(filters, reader=reader, parameters={"limit": "1"}).next_cursor
    assert cursor is not None

    for asked, by in (
        (QueryDict("source=test"), "key:a"),
        (QueryDict(), "key:b"),
        (QueryDict("min_values=3"), "key:a"),
    ):
        other = Principal(name=by, source="", scopes=frozenset(), clearance=everything())
        with pytest.raises(BadQuery, match="cursor"):
            groups.page(GroupFilterSet(asked, clearance=everything()), reader=other, parameters={"cursor": cursor})


def test_an_id_does_not_spell_out_a_key_that_pages_mask():
    secret = "AKIA" + "IOSFODNN7EXAMPLE"
    (one, again), other = (id_of(f"team {secret}", "city") for _ in range(2)), id_of("team", "city")

    assert one == again
    assert key_of(one) == (f"team {secret}", "city")
    assert b"AKIA" not in b64decode(one.removeprefix("cf_") + "==", altchars=b"-_")
    assert b"team" in b64decode(other.removeprefix("cf_") + "==", altchars=b"-_")
    for broken in (one[:-4], one[:-1] + ("A" if one[-1] != "A" else "B"), "cf_AAAA", "cf_AA"):
        with pytest.raises(ValueError, match="sealed"):
            key_of(broken)
