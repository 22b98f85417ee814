"""The firewall's rule stands twice, in SQL and in Python. Here the two are held together."""

import itertools
from typing import Any

import pytest
from django.db.models import Sum
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.firewall.clearance import Clearance, normalize_labels
from memoryhub.firewall.querysets import ClassifiedQuerySet
from memoryhub.memories.models import Memory, MemoryDayRollup, MemoryRollup
from tests import factories
from tests.core.label_evasions import EVASIONS, LABEL, evasion_strategy
from tests.harness.strategies import (
    LABELS,
    NAMESPACES,
    TIERS,
    classification_strategy,
    clearance_strategy,
    example_settings,
    prepare_memory,
    roll_back,
)

pytestmark = pytest.mark.django_db


def store_rows(*rows: dict[str, Any]) -> list[Memory]:
    factories.store_drafts([prepare_memory(**row) for row in rows])
    return list(Memory.objects.all())


def assert_all_agree(clearance: Clearance, memories: list[Memory]) -> None:
    permitted_ids = {row.id for row in memories if clearance.shows(row)}

    assert {row.id for row in Memory.objects.visible_to(clearance)} == permitted_ids
    for rollup in (MemoryRollup, MemoryDayRollup):
        totals = (
            ClassifiedQuerySet(rollup)
            .visible_to(clearance)
            .aggregate(total_count=Sum("count"), total_written=Sum("versions_written"))
        )
        assert {total or 0 for total in totals.values()} == {len(permitted_ids)}, rollup


# A row costs more to store than to judge, so each is judged by several clearances.
row_lists = st.lists(classification_strategy(), max_size=20)


@pytest.mark.soak
@given(clearances=st.lists(clearance_strategy(), min_size=4, max_size=4), rows=row_lists)
@example_settings(35)
def test_the_database_and_python_see_the_same_rows(clearances, rows):
    with roll_back():
        memories = store_rows(*rows)
        for clearance in clearances:
            assert_all_agree(clearance, memories)


def test_every_generated_clearance_agrees_on_every_combination_of_tier_namespace_and_label():
    label_lists = [[], *([label] for label in LABELS), ["pii", "financial"], list(LABELS)]
    memories = store_rows(
        *(
            {"namespace": namespace, "tier": tier, "labels": labels}
            for namespace, tier, labels in itertools.product(NAMESPACES, TIERS, label_lists)
        )
    )
    assert len(memories) == len(NAMESPACES) * len(TIERS) * len(label_lists)

    @given(clearance=clearance_strategy())
    @example_settings(60, soak_examples=1_000)
    def agree(clearance: Clearance) -> None:
        assert_all_agree(clearance, memories)

    agree()


INTERNAL = {"max_tier": "internal"}
CASES: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    # Tiers
    ("the default sees public", {}, {"tier": "public"}, True),
    ("the default sees nothing above public", {}, {"tier": "internal"}, False),
    ("the maximum itself is seen", INTERNAL, {"tier": "internal"}, True),
    ("one tier above it is not", INTERNAL, {"tier": "confidential"}, False),
    ("an empty tier is public", {}, {"tier": ""}, True),
    ("an unknown tier is hidden from the highest clearance", {"max_tier": "restricted"}, {"tier": "top-secret"}, False),
    ("an unknown maximum reaches nothing", {"max_tier": "top-secret"}, {"tier": "public"}, False),
    ("an unknown maximum does not reach an empty tier either", {"max_tier": "top-secret"}, {"tier": ""}, False),
    ("an unknown maximum does not reach its own name", {"max_tier": "top-secret"}, {"tier": "top-secret"}, False),
    ("an empty maximum reaches nothing", {"max_tier": ""}, {"tier": ""}, False),
    ("a maximum in another case is unknown", {"max_tier": "Public"}, {"tier": "public"}, False),
    # Namespaces
    ("without a list every namespace is allowed", {}, {"namespace": "team"}, True),
    ("an empty list allows none", {"namespaces": frozenset()}, {"namespace": "team"}, False),
    ("an empty list does not allow the empty namespace", {"namespaces": frozenset()}, {"namespace": ""}, False),
    ("a listed namespace is allowed", {"namespaces": frozenset({"team"})}, {"namespace": "team"}, True),
    ("another is not", {"namespaces": frozenset({"team"})}, {"namespace": "other"}, False),
    ("a namespace is compared byte by byte", {"namespaces": frozenset({"team"})}, {"namespace": "Team"}, False),
    ("a namespace holds no namespaces within", {"namespaces": frozenset({"team"})}, {"namespace": "team/a"}, False),
    ("the empty namespace can be listed", {"namespaces": frozenset({""})}, {"namespace": ""}, True),
    # Blocked labels
    ("a blocked label hides a public memory", {"blocked_labels": frozenset({"pii"})}, {"labels": ["pii"]}, False),
    ("one of several is enough", {"blocked_labels": frozenset({"pii", "x"})}, {"labels": ["a", "pii"]}, False),
    ("another label hides nothing", {"blocked_labels": frozenset({"pii"})}, {"labels": ["pi"]}, True),
    ("case does not dodge it", {"blocked_labels": frozenset({"pii"})}, {"labels": ["PII"]}, False),
    ("NFD does not dodge it", {"blocked_labels": frozenset({"caf\u00e9"})}, {"labels": ["cafe\u0301"]}, False),
    ("nor does NFC", {"blocked_labels": frozenset({"CAFE\u0301"})}, {"labels": ["caf\u00e9"]}, False),
    ("nor does casefold", {"blocked_labels": frozenset({"stra\u00dfe"})}, {"labels": ["STRASSE"]}, False),
    ("nor the long s", {"blocked_labels": frozenset({"secret"})}, {"labels": ["\u017fecret"]}, False),
    ("nor the Kelvin sign", {"blocked_labels": frozenset({"k"})}, {"labels": ["\u212a"]}, False),
    *(
        (f"nor does {name}", {"blocked_labels": frozenset({LABEL})}, {"labels": [evade(LABEL)]}, False)
        for name, evade in EVASIONS.items()
    ),
    # Required labels
    ("a required label must be there", {"required_labels": frozenset({"eu"})}, {"labels": []}, False),
    ("in whatever spelling", {"required_labels": frozenset({"eu"})}, {"labels": ["EU"]}, True),
    ("all of them must", {"required_labels": frozenset({"eu", "hr"})}, {"labels": ["eu"]}, False),
    ("more may be there", {"required_labels": frozenset({"eu"})}, {"labels": ["eu", "hr"]}, True),
    # Together: every rule has to let a row pass, whichever comes first
    (
        "a required label does not outweigh a blocked one",
        {"required_labels": frozenset({"eu"}), "blocked_labels": frozenset({"EU"})},
        {"labels": ["eu"]},
        False,
    ),
    (
        "an allowed namespace does not outweigh a tier",
        {"namespaces": frozenset({"team"})},
        {"namespace": "team", "tier": "internal"},
        False,
    ),
    (
        "a reached tier does not outweigh a namespace",
        {"namespaces": frozenset({"team"}), "max_tier": "restricted"},
        {"namespace": "other", "tier": "public"},
        False,
    ),
    (
        "a required label does not outweigh a tier",
        {"required_labels": frozenset({"eu"})},
        {"labels": ["eu"], "tier": "internal"},
        False,
    ),
]


def test_a_rule_at_its_edge():
    """Each row is by the rule of its case as it should be, and all rows are by all rules the same in both."""
    rows = store_rows(*({"payload_id": f"p-{index}", **case[2]} for index, case in enumerate(CASES)))
    memories = {memory.payload_id: memory for memory in rows}
    wrong_cases = []
    for index, (name, rule, _, is_visible) in enumerate(CASES):
        clearance, memory = Clearance(**rule), memories[f"p-{index}"]
        is_found = Memory.objects.visible_to(clearance).filter(id=memory.id).exists()
        if not (clearance.permits(memory) is is_found is is_visible):
            wrong_cases.append(name)
        assert_all_agree(clearance, rows)

    assert wrong_cases == []


def test_the_order_of_tiers_is_the_operators(settings):
    public, secret = store_rows({"tier": "public"}, {"tier": "secret"})
    assert not Memory.objects.visible_to(Clearance(max_tier="restricted")).filter(id=secret.id).exists()

    settings.APP_CONFIG = settings.APP_CONFIG.model_copy(update={"tiers": ["secret", "public"]})

    assert Clearance().max_tier == "secret"
    assert list(Memory.objects.visible_to(Clearance())) == [secret]
    assert_all_agree(Clearance(), [public, secret])
    assert_all_agree(Clearance(max_tier="public"), [public, secret])


@given(label=st.text(), other_label=st.text())
@example_settings(300)
def test_two_labels_are_one_exactly_if_their_keys_are(label, other_label):
    row = Memory(namespace="", classification_tier="public", sensitivity_labels=[label])
    is_same = normalize_labels([label]) == normalize_labels([other_label])

    assert Clearance(blocked_labels=frozenset({other_label})).permits(row) is not is_same
    assert Clearance(required_labels=frozenset({other_label})).permits(row) is is_same


@given(evade=evasion_strategy(), rule=st.sampled_from(("blocked_labels", "required_labels")))
@example_settings(40)
def test_the_database_and_python_see_through_every_evasion(evade, rule):
    with roll_back():
        memories = store_rows({"labels": [evade(LABEL)]}, {"labels": [LABEL]}, {"labels": ["another"]}, {"labels": []})

        for word in (LABEL, evade(LABEL)):
            clearance: dict[str, Any] = {rule: frozenset({word})}
            assert_all_agree(Clearance(**clearance), memories)
        assert normalize_labels([evade(LABEL)]) == {LABEL}


@given(label=st.text())
@example_settings(300)
def test_a_label_key_is_its_own_key(label):
    """Otherwise a policy that was written in the compared form would miss the label that it names."""
    assert normalize_labels(normalize_labels([label])) == normalize_labels([label])


@pytest.mark.soak
@given(first=clearance_strategy(), second=clearance_strategy(), rows=row_lists)
@example_settings(50)
def test_where_two_clearances_meet_is_what_both_of_them_see(first, second, rows):
    with roll_back():
        memories = store_rows(*rows)

        assert_all_agree(first.intersection(second), memories)
        for row in memories:
            assert first.intersection(second).permits(row) == (first.permits(row) and second.permits(row))
        assert first.is_superset_of(first.intersection(second))
        assert second.is_superset_of(first.intersection(second))
