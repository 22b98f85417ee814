"""Policies: versions that are added, who may make and know them, and which of them decides a group."""

from dataclasses import replace

import pytest
from django.core.exceptions import PermissionDenied

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts import policies
from memoryhub.conflicts.models import Policy
from memoryhub.firewall.types import Scope
from memoryhub.memories.envelope import Rejected
from tests.conflicts.runs import ADMIN, admin, change, make_policy

pytestmark = pytest.mark.django_db
NAMED = {"name": "Newest first", "rules": [{"rule": "latest_event"}]}


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


def test_without_classes_what_may_stand_side_by_side_is_left_to_people():
    assert make_policy().classes == ["contradiction", "update", "duplicate"]


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


def test_a_policy_of_a_namespace_is_known_to_who_may_see_it():
    make_policy(name="Of all")
    secret = make_policy(name="Of secrets", namespace="secret")
    outsider = admin(namespaces=frozenset({"sales"}))

    assert [policy.name for policy in policies.newest(outsider)] == ["Of all"]
    assert policies.one(secret.policy_id, outsider) is None
    for act in (lambda: change(secret, by=outsider, name="Mine"), lambda: make_policy(by=outsider, namespace="secret")):
        with pytest.raises(Rejected):
            act()
    assert make_policy(by=outsider, namespace="sales").version == 1
