"""Groups are those that GROUP BY finds over the rows a caller may see, whatever way they are found."""

from collections import defaultdict
from random import Random

import pytest
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.conflicts import groups
from memoryhub.conflicts.groups import GroupFilterSet
from memoryhub.conflicts.keys import Key
from memoryhub.firewall.types import Clearance, Principal, everything
from memoryhub.memories import clock
from memoryhub.memories.filters import BadQuery
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import MemoryQuerySet
from tests.builders import make_memory, store
from tests.harness.generated import KNOWN_TIERS, classified, clearances, examples, planted, rolled_back

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


def as_set(walked: list[groups.Group]) -> dict[Key, frozenset[str]]:
    assert len({group.id for group in walked}) == len(walked)
    return {group.key: frozenset(value.content for value in group.values) for group in walked}


def reference(seen: MemoryQuerySet, **fields: str) -> dict[Key, frozenset[str]]:
    """What GROUP BY subject, collection HAVING count(DISTINCT content) > 1 finds."""
    contents = defaultdict(set)
    rows = seen.current().filter(status="active", **fields).exclude(subject="")
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


@examples(60, soak=2_000)
@given(
    rows=st.lists(st.tuples(KEYS, classified()), min_size=1, max_size=25),
    clearance=clearances(),
    subject=st.sampled_from(["", "user:ada"]),
)
def test_the_groups_are_those_of_the_plain_question(rows, clearance, subject):
    with rolled_back():
        store([planted(**key, **firewalled) for key, firewalled in rows])

        walked = found(f"subject={subject}", clearance=clearance, limit=2)

        fields = {"subject": subject} if subject else {}
        assert as_set(walked) == reference(Memory.objects.visible_to(clearance), **fields)


def test_thousands_of_memories_hold_the_groups_of_the_plain_question():
    dice = Random(5)
    for _ in range(8):
        store(
            [
                planted(
                    subject=f"user:{dice.randrange(600)}",
                    collection=f"c-{dice.randrange(3)}",
                    content=f"It is {dice.randrange(3)}.",
                    tier=dice.choice(KNOWN_TIERS),
                    namespace=dice.choice(["", "team"]),
                    labels=dice.choice([[], [], ["pii"]]),
                )
                for _ in range(500)
            ]
        )
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

    def test_lead_back_to_their_group(self):
        for content in ("Paris", "Berlin"):
            make_memory(subject="user:\u00e9\U0001f600/?&", collection="", content=content)
        (group,) = found()

        again = groups.group(GroupFilterSet(QueryDict(), clearance=everything()), group.id)

        assert again == group
        assert group.id.startswith("cf_")
        assert group.id.replace("-", "").replace("_", "").isalnum()

    @pytest.mark.parametrize(
        "nonsense", ["cf_", "cf_!!!", "cf_W10", "cf_WzEsMl0", "cf_WyJhIl0", "cf_Im5vIg", "\u00e9", "x" * 9]
    )
    def test_that_are_none_lead_nowhere(self, nonsense):
        assert groups.group(GroupFilterSet(QueryDict(), clearance=everything()), nonsense) is None


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
