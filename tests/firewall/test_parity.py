"""The firewall's rule stands twice, in SQL and in Python. Here the two are held together."""

import itertools
from typing import Any

import pytest
from django.db.models import Sum
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.firewall.types import Clearance, label_keys
from memoryhub.memories.models import Memory, MemoryCount, MemoryDay
from memoryhub.memories.querysets import ClassifiedQuerySet
from tests import builders
from tests.core.evasions import EVASIONS, LABEL, evasions
from tests.harness.generated import LABELS, NAMESPACES, TIERS, classified, clearances, examples, planted, rolled_back

pytestmark = pytest.mark.django_db


def store(*rows: dict[str, Any]) -> list[Memory]:
    builders.store([planted(**row) for row in rows])
    return list(Memory.objects.all())


def assert_all_agree(clearance: Clearance, stored: list[Memory]) -> None:
    permitted = {row.id for row in stored if clearance.shows(row)}

    assert {row.id for row in Memory.objects.visible_to(clearance)} == permitted
    for tally in (MemoryCount, MemoryDay):
        counted = ClassifiedQuerySet(tally).visible_to(clearance).aggregate(count=Sum("count"), written=Sum("written"))
        assert (counted["count"] or 0, counted["written"] or 0) == (len(permitted), len(permitted)), tally


@pytest.mark.soak
@given(clearance=clearances(), rows=st.lists(classified(), max_size=10))
@examples(150)
def test_the_database_and_python_see_the_same_rows(clearance, rows):
    with rolled_back():
        assert_all_agree(clearance, store(*rows))


def test_every_generated_clearance_agrees_on_every_combination_of_tier_namespace_and_label():
    label_lists = [[], *([label] for label in LABELS), ["pii", "financial"], list(LABELS)]
    stored = store(
        *(
            {"namespace": namespace, "tier": tier, "labels": labels}
            for namespace, tier, labels in itertools.product(NAMESPACES, TIERS, label_lists)
        )
    )
    assert len(stored) == len(NAMESPACES) * len(TIERS) * len(label_lists)

    @given(clearance=clearances())
    @examples(60, soak=1_000)
    def agree(clearance: Clearance) -> None:
        assert_all_agree(clearance, stored)

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


@pytest.mark.parametrize(("rule", "row", "seen"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_rule_at_its_edge(rule, row, seen):
    clearance = Clearance(**rule)
    (stored,) = store(row)

    assert clearance.permits(stored) is seen
    assert Memory.objects.visible_to(clearance).exists() is seen
    assert_all_agree(clearance, [stored])


def test_the_order_of_tiers_is_the_operators(settings):
    public, secret = store({"tier": "public"}, {"tier": "secret"})
    assert not Memory.objects.visible_to(Clearance(max_tier="restricted")).filter(id=secret.id).exists()

    settings.MEMORYHUB = settings.MEMORYHUB.model_copy(update={"tiers": ["secret", "public"]})

    assert Clearance().max_tier == "secret"
    assert list(Memory.objects.visible_to(Clearance())) == [secret]
    assert_all_agree(Clearance(), [public, secret])
    assert_all_agree(Clearance(max_tier="public"), [public, secret])


@given(label=st.text(), twin=st.text())
@examples(300)
def test_two_labels_are_one_exactly_if_their_keys_are(label, twin):
    row = Memory(namespace="", classification_tier="public", sensitivity_labels=[label])
    same = label_keys([label]) == label_keys([twin])

    assert Clearance(blocked_labels=frozenset({twin})).permits(row) is not same
    assert Clearance(required_labels=frozenset({twin})).permits(row) is same


@given(evade=evasions(), rule=st.sampled_from(("blocked_labels", "required_labels")))
@examples(40)
def test_the_database_and_python_see_through_every_evasion(evade, rule):
    with rolled_back():
        stored = store({"labels": [evade(LABEL)]}, {"labels": [LABEL]}, {"labels": ["another"]}, {"labels": []})

        for word in (LABEL, evade(LABEL)):
            clearance: dict[str, Any] = {rule: frozenset({word})}
            assert_all_agree(Clearance(**clearance), stored)
        assert label_keys([evade(LABEL)]) == {LABEL}


@given(label=st.text())
@examples(300)
def test_a_label_key_is_its_own_key(label):
    """Otherwise a policy that was written in the compared form would miss the label that it names."""
    assert label_keys(label_keys([label])) == label_keys([label])


@pytest.mark.soak
@given(one=clearances(), other=clearances(), rows=st.lists(classified(), max_size=10))
@examples(100)
def test_where_two_clearances_meet_is_what_both_of_them_see(one, other, rows):
    with rolled_back():
        stored = store(*rows)

        assert_all_agree(one.meet(other), stored)
        for row in stored:
            assert one.meet(other).permits(row) == (one.permits(row) and other.permits(row))
        assert one.covers(one.meet(other))
        assert other.covers(one.meet(other))
