"""Policies: versions that are added, who may make and know them, and which of them decides a group."""

from dataclasses import replace
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.http import QueryDict

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts import decide, decisions, policies, runs
from memoryhub.conflicts.choices import Choice, Wish
from memoryhub.conflicts.keys import evidence_of
from memoryhub.conflicts.models import Policy
from memoryhub.firewall.types import Clearance, Principal, Scope
from memoryhub.memories.envelope import Rejected
from memoryhub.memories.models import Memory
from tests.builders import make_memory
from tests.conflicts.runs import ADMIN, CLASSES, admin, carried_out, change, make_group, make_policy, standing

pytestmark = pytest.mark.django_db
OF_POLICY = ("policy", "policy_version", "rule", "run", "reason")
NAMED = {"name": "Newest first", "rules": [{"rule": "latest_event"}], "classes": CLASSES}


def test_a_change_is_a_version_and_the_newest_holds():
    first = make_policy("latest_event")

    second = change(first, name="Who says so", rules=[{"rule": "actor_trust"}])
    third = change(second, is_enabled=False)

    assert [policy.version for policy in policies.versions(first.policy_id, ADMIN)] == [3, 2, 1]
    assert policies.newest(ADMIN) == [third]
    assert (third.name, third.rules, third.is_enabled) == ("Who says so", [{"rule": "actor_trust"}], False)
    assert Policy.objects.get(version=1).rules == [{"rule": "latest_event"}]


def test_of_two_who_change_the_same_version_the_second_is_told():
    first = make_policy()
    change(first, name="Mine")

    with pytest.raises(Rejected) as refused:
        change(first, name="Yours")

    assert refused.value.code == "stale"
    assert policies.newest(ADMIN)[0].name == "Mine"


def test_each_change_is_one_entry_in_the_ledger():
    policy = make_policy(namespace="sales", classes=["update"])
    change(policy, is_enabled=False)

    entries = AuditEntry.objects.filter(action="policy.change").order_by("seq")
    assert [(entry.principal, entry.details["version"]) for entry in entries] == [("user:root", 1), ("user:root", 2)]
    assert entries[0].details["changed"]["namespace"] == [None, "sales"]
    assert entries[1].details["changed"] == {"is_enabled": [True, False]}


@pytest.mark.parametrize(
    ("sent", "field", "words"),
    [
        ([], "", "must be a JSON object."),
        ({"rules": NAMED["rules"]}, "name", "is required."),
        ({**NAMED, "name": "  "}, "name", "is required."),
        ({**NAMED, "name": "x" * 256}, "name", "must be at most 255 characters long."),
        ({"name": "No rules"}, "rules", "is required."),
        ({**NAMED, "rules": []}, "rules", "must hold 1 to 20 rules."),
        ({**NAMED, "rules": [{"rule": "coin_toss"}]}, "rules.0.rule", "must be one of trusted_sources"),
        ({**NAMED, "rules": [{"rule": "trusted_sources"}]}, "rules.0", "needs 1 to 100 sources"),
        ({**NAMED, "rules": [{"rule": "human"}, {"rule": "actor_trust"}]}, "rules", "must end with human"),
        ({**NAMED, "rules": [{"rule": "actor_trust"}] * 2}, "rules", "must hold each rule only once."),
        ({**NAMED, "classes": []}, "classes", "must name one class at least."),
        ({**NAMED, "classes": ["quarrel"]}, "classes.0", "must be one of contradiction"),
        ({**NAMED, "namespace": "a\0b"}, "namespace", "NUL"),
        ({**NAMED, "is_enabled": "yes"}, "is_enabled", "must be true or false."),
        ({**NAMED, "priority": 1}, "priority", "is not a field"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(sent, field, words):
    with pytest.raises(Rejected) as refused:
        policies.read(sent)

    assert words in " ".join(refused.value.errors[field])


def test_without_classes_what_differs_is_left_to_people():
    draft = policies.read({"name": "Newest first", "rules": [{"rule": "latest_event"}]})

    assert policies.save(draft, by=ADMIN).classes == ["duplicate"]


def test_no_two_policies_decide_the_same_groups():
    first = make_policy(collection="city", classes=["update"])
    make_policy(collection="city", classes=["contradiction"])
    make_policy(classes=["update"])

    with pytest.raises(Rejected, match="decides such groups already"):
        make_policy(collection="city", classes=["update", "duplicate"])
    disabled = change(first, is_enabled=False)
    make_policy(collection="city", classes=["update", "duplicate"])

    with pytest.raises(Rejected, match="decides such groups already"):
        change(disabled, is_enabled=True)


def test_the_most_specific_goes_first():
    made = [
        make_policy(name="all"),
        make_policy(name="collection", collection="city"),
        make_policy(name="namespace", namespace="sales"),
        make_policy(name="both", namespace="sales", collection="city"),
        make_policy(name="disabled", namespace="sales", collection="email", is_enabled=False),
    ]

    assert [policy.name for policy in policies.newest(ADMIN) if policy.is_enabled] == [
        "both", "namespace", "collection", "all",
    ]  # fmt: skip
    assert [policy.name for policy in policies.before(made[1], ADMIN)] == ["both", "namespace"]


def test_only_an_admin_makes_policies():
    steward = replace(ADMIN, scopes=frozenset({Scope.INSPECT, Scope.READ}))

    with pytest.raises(PermissionDenied):
        make_policy(by=steward)


LESS: list[dict[str, Any]] = [
    {"max_tier": "public"},
    {"max_tier": "restricted", "blocked_labels": frozenset({"pii"})},
    {"max_tier": "restricted", "required_labels": frozenset({"eu"})},
    {"max_tier": "restricted", "namespaces": frozenset({"sales"})},
]


@pytest.mark.parametrize("less", LESS, ids=str)
def test_a_policy_is_hidden_from_those_who_see_less_than_its_maker(less):
    low = admin(**less)
    secret = change(make_policy(name="Secret", collection="city"), name="Secret still")
    mine = make_policy(name="Mine", collection="job", by=low)

    assert policies.newest(low) == [mine]
    assert (policies.one(secret.policy_id, low), policies.versions(secret.policy_id, low)) == (None, [])
    assert policies.newest(ADMIN) == sorted([secret, mine], key=lambda policy: policy.name)
    for act in (lambda: change(secret, by=low, name="Mine"), lambda: runs.start(secret.policy_id, by=low)):
        with pytest.raises(Rejected) as refused:
            act()
        assert refused.value.code == "not_found"


@pytest.mark.parametrize("less", LESS, ids=str)
def test_a_hidden_rival_does_not_keep_a_policy_from_being_made_and_does_not_go_before_it(less):
    low = admin(**less)
    secret = make_policy(name="Secret", collection="city")
    general = make_policy(name="Of all", by=low)

    mine = make_policy(name="Mine", collection="city", by=low)

    assert policies.before(general, low) == [mine]
    assert policies.before(mine, low) == policies.before(mine, ADMIN) == policies.before(secret, ADMIN) == []
    with pytest.raises(Rejected, match="“Mine” decides such groups already"):
        make_policy(name="Third", collection="city", by=low)


def test_of_two_rivals_the_one_that_is_carried_out_first_decides():
    low = admin(max_tier="public")
    secret = make_policy({"rule": "trusted_sources", "sources": ["crm"]}, name="Secret", collection="city")
    mine = make_policy("latest_event", name="Mine", collection="city", by=low)
    first = of_two_sources("user:ada")

    assert carried_out(mine, by=low).decided == 1
    assert (carried_out(secret).seen, carried_out(secret).decided) == (0, 0)
    second = of_two_sources("user:bob")
    assert carried_out(secret).decided == 1
    assert (carried_out(mine, by=low).seen, carried_out(mine).seen) == (0, 0)

    assert standing(first) == {"Paris": "retired", "London": "active"}
    assert standing(second) == {"Paris": "active", "London": "retired"}


def of_two_sources(subject: str) -> list[Memory]:
    return [
        make_memory(subject=subject, collection="city", content=content, source=source, timestamp=timestamp)
        for content, source, timestamp in (
            ("Paris", "crm", "2026-03-01T12:00:00Z"), ("London", "mail", "2026-03-02T12:00:00Z"),
        )
    ]  # fmt: skip


def test_who_sees_more_than_the_maker_may_disable_a_policy_and_write_nothing_into_it():
    low = admin(max_tier="public")
    mine = make_policy(name="Mine", by=low)

    for changed in ({"name": "Of a secret project"}, {"rules": [{"rule": "trusted_sources", "sources": ["secret"]}]}):
        with pytest.raises(Rejected) as refused:
            change(mine, **changed)
        assert refused.value.code == "other_reach"
    disabled = change(mine, is_enabled=False)

    assert policies.versions(mine.policy_id, low) == [disabled, mine]
    assert change(disabled, by=low, name="Mine again", is_enabled=True).version == 3


def test_a_policy_may_name_a_namespace_that_its_maker_may_see():
    outsider = admin(namespaces=frozenset({"sales"}))

    with pytest.raises(Rejected):
        make_policy(by=outsider, namespace="secret")
    assert make_policy(by=outsider, namespace="sales").version == 1


@pytest.mark.parametrize("less", LESS, ids=str)
def test_a_decision_names_its_policy_to_those_who_may_see_it(less):
    low = Principal(name="user:low", clearance=Clearance(**less), scopes=frozenset({Scope.READ}))
    secret = make_policy("latest_event", name="Secret project")
    make_group("user:ada", "Paris", "London", tier="public", namespace="sales", labels=["eu"])
    run = carried_out(secret)

    (seen,), (hidden,) = (decisions.page(QueryDict(), reader=reader).decisions for reader in (ADMIN, low))

    assert (seen.policy, seen.policy_version, seen.run, seen.rule) == (secret.policy_id, 1, run.run_id, "latest_event")
    assert "Secret project" in seen.reason
    assert (hidden.policy, hidden.policy_version, hidden.run, hidden.rule) == (None, None, None, "")
    assert hidden.reason == "Decided automatically."
    assert replace(hidden, **{name: getattr(seen, name) for name in OF_POLICY}) == seen


@pytest.mark.parametrize(
    ("query", "to_low", "to_all"),
    [
        ("q=Secret project", 0, 1),
        ("q=automatic", 1, 0),
        ("policy={policy}", 0, 1),
        ("run={run}", 0, 1),
        ("q=by hand", 1, 1),
    ],
)
def test_decisions_are_not_found_by_what_their_reader_may_not_see(query, to_low, to_all):
    low = replace(ADMIN, name="user:low", clearance=Clearance(max_tier="public"))
    secret = make_policy("latest_event", name="Secret project")
    make_group("user:ada", "Paris", "London", tier="public")
    run = carried_out(secret)
    decide_by_hand(make_group("user:bob", "Rome", "Oslo", tier="public"))
    asked = QueryDict(query.format(policy=secret.policy_id, run=run.run_id))

    assert len(decisions.page(asked, reader=low).decisions) == to_low
    assert len(decisions.page(asked, reader=ADMIN).decisions) == to_all


def decide_by_hand(members: list[Memory]) -> None:
    wish = Wish(
        key=("user:bob", "city"),
        evidence=evidence_of((member.memory_id, member.version) for member in members),
        choice=Choice(outcome="keep_one", keep=[members[0].memory_id], reason="Decided by hand."),
    )
    assert not decide.decide_all([wish], by=ADMIN)[0].refusal
