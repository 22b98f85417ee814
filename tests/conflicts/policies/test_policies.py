"""Policies: versions that are added, who may make and know them, and which of them decides a group."""

from dataclasses import replace
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.http import QueryDict

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts.decisions import decision_queries, resolve
from memoryhub.conflicts.decisions.resolution_requests import Resolution, ResolutionRequest
from memoryhub.conflicts.groups.group_keys import compute_evidence
from memoryhub.conflicts.models import Policy
from memoryhub.conflicts.policies import policies, policy_runs
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.models import Memory
from memoryhub.memories.writes.envelope import OperationRejectedError
from tests.conflicts.policies.policy_factories import (
    ADMIN,
    DECIDED_CLASSES,
    change_policy,
    make_admin,
    make_group,
    make_policy,
    run_policy,
    statuses_by_content,
)
from tests.factories import make_memory

pytestmark = pytest.mark.django_db
POLICY_FIELDS = ("policy_id", "policy_version", "rule", "run_id", "reason")
POLICY_INPUT = {"name": "Newest first", "rules": [{"rule": "latest_event"}], "classes": DECIDED_CLASSES}


def test_a_change_is_a_version_and_the_newest_holds():
    first = make_policy("latest_event")

    second = change_policy(first, name="Who says so", rules=[{"rule": "actor_trust"}])
    third = change_policy(second, is_enabled=False)

    assert [policy.version for policy in policies.list_versions(first.policy_id, ADMIN)] == [3, 2, 1]
    assert policies.list_current(ADMIN) == [third]
    assert (third.name, third.rules, third.is_enabled) == ("Who says so", [{"rule": "actor_trust"}], False)
    assert Policy.objects.get(version=1).rules == [{"rule": "latest_event"}]


def test_of_two_changes_of_one_version_the_second_is_refused():
    first = make_policy()
    change_policy(first, name="Mine")

    with pytest.raises(OperationRejectedError) as exc_info:
        change_policy(first, name="Yours")

    assert exc_info.value.code == "stale"
    assert policies.list_current(ADMIN)[0].name == "Mine"


def test_each_change_is_one_audit_entry():
    policy = make_policy(namespace="sales", classes=["update"])
    change_policy(policy, is_enabled=False)

    entries = AuditEntry.objects.filter(action="policy.change").order_by("seq")
    assert [(entry.principal, entry.details["version"]) for entry in entries] == [("user:root", 1), ("user:root", 2)]
    assert entries[0].details["changed_fields"]["namespace"] == [None, "sales"]
    assert entries[1].details["changed_fields"] == {"is_enabled": [True, False]}


@pytest.mark.parametrize(
    ("policy_fields", "field", "error_text"),
    [
        ([], "", "must be a JSON object."),
        ({"rules": POLICY_INPUT["rules"]}, "name", "is required."),
        ({**POLICY_INPUT, "name": "  "}, "name", "is required."),
        ({**POLICY_INPUT, "name": "x" * 256}, "name", "must be at most 255 characters long."),
        ({"name": "No rules"}, "rules", "is required."),
        ({**POLICY_INPUT, "rules": []}, "rules", "must have 1 to 20 rules."),
        ({**POLICY_INPUT, "rules": [{"rule": "coin_toss"}]}, "rules.0.rule", "must be one of trusted_sources"),
        ({**POLICY_INPUT, "rules": [{"rule": "trusted_sources"}]}, "rules.0", "needs 1 to 100 sources"),
        (
            {**POLICY_INPUT, "rules": [{"rule": "manual_review"}, {"rule": "actor_trust"}]},
            "rules",
            "must end with manual_review",
        ),
        ({**POLICY_INPUT, "rules": [{"rule": "actor_trust"}] * 2}, "rules", "must name each rule only once."),
        ({**POLICY_INPUT, "classes": []}, "classes", "must name at least one class."),
        ({**POLICY_INPUT, "classes": ["quarrel"]}, "classes.0", "must be one of contradiction"),
        ({**POLICY_INPUT, "namespace": "a\0b"}, "namespace", "NUL"),
        ({**POLICY_INPUT, "is_enabled": "yes"}, "is_enabled", "must be true or false."),
        ({**POLICY_INPUT, "priority": 1}, "priority", "is not a field"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(policy_fields, field, error_text):
    with pytest.raises(OperationRejectedError) as exc_info:
        policies.parse_input(policy_fields)

    assert error_text in " ".join(exc_info.value.errors[field])


def test_without_classes_what_differs_is_left_to_people():
    draft = policies.parse_input({"name": "Newest first", "rules": [{"rule": "latest_event"}]})

    assert policies.save_version(draft, principal=ADMIN).classes == ["duplicate"]


def test_no_two_policies_decide_the_same_groups():
    first = make_policy(collection="city", classes=["update"])
    make_policy(collection="city", classes=["contradiction"])
    make_policy(classes=["update"])

    with pytest.raises(OperationRejectedError, match="already decides these groups"):
        make_policy(collection="city", classes=["update", "duplicate"])
    disabled_policy = change_policy(first, is_enabled=False)
    make_policy(collection="city", classes=["update", "duplicate"])

    with pytest.raises(OperationRejectedError, match="already decides these groups"):
        change_policy(disabled_policy, is_enabled=True)


def test_the_most_specific_goes_first():
    policies_made = [
        make_policy(name="all"),
        make_policy(name="collection", collection="city"),
        make_policy(name="namespace", namespace="sales"),
        make_policy(name="both", namespace="sales", collection="city"),
        make_policy(name="disabled", namespace="sales", collection="email", is_enabled=False),
    ]

    assert [policy.name for policy in policies.list_current(ADMIN) if policy.is_enabled] == [
        "both", "namespace", "collection", "all",
    ]  # fmt: skip
    assert [policy.name for policy in policies.list_higher_priority(policies_made[1], ADMIN)] == ["both", "namespace"]


def test_only_an_admin_makes_policies():
    steward = replace(ADMIN, scopes=frozenset({Scope.CURATE, Scope.READ}))

    with pytest.raises(PermissionDenied):
        make_policy(principal=steward)


NARROWER_CLEARANCES: list[dict[str, Any]] = [
    {"max_tier": "public"},
    {"max_tier": "restricted", "blocked_labels": frozenset({"pii"})},
    {"max_tier": "restricted", "required_labels": frozenset({"eu"})},
    {"max_tier": "restricted", "namespaces": frozenset({"sales"})},
]


@pytest.mark.parametrize("narrower", NARROWER_CLEARANCES, ids=str)
def test_a_policy_is_hidden_from_those_who_see_less_than_its_maker(narrower):
    low = make_admin(**narrower)
    secret = change_policy(make_policy(name="Secret", collection="city"), name="Secret still")
    own_policy = make_policy(name="Mine", collection="job", principal=low)

    assert policies.list_current(low) == [own_policy]
    assert (policies.get_current(secret.policy_id, low), policies.list_versions(secret.policy_id, low)) == (None, [])
    assert policies.list_current(ADMIN) == sorted([secret, own_policy], key=lambda policy: policy.name)
    for operation in (
        lambda: change_policy(secret, principal=low, name="Mine"),
        lambda: policy_runs.start_run(secret.policy_id, principal=low),
    ):
        with pytest.raises(OperationRejectedError) as exc_info:
            operation()
        assert exc_info.value.code == "not_found"


@pytest.mark.parametrize("narrower", NARROWER_CLEARANCES, ids=str)
def test_a_hidden_rival_does_not_keep_a_policy_from_being_made_and_does_not_go_before_it(narrower):
    low = make_admin(**narrower)
    secret = make_policy(name="Secret", collection="city")
    general = make_policy(name="Of all", principal=low)

    own_policy = make_policy(name="Mine", collection="city", principal=low)

    assert policies.list_higher_priority(general, low) == [own_policy]
    assert (
        policies.list_higher_priority(own_policy, low)
        == policies.list_higher_priority(own_policy, ADMIN)
        == policies.list_higher_priority(secret, ADMIN)
        == []
    )
    with pytest.raises(OperationRejectedError, match="“Mine” already decides these groups"):
        make_policy(name="Third", collection="city", principal=low)


def test_of_two_rivals_the_one_that_is_carried_out_first_decides():
    low = make_admin(max_tier="public")
    secret = make_policy({"rule": "trusted_sources", "sources": ["crm"]}, name="Secret", collection="city")
    own_policy = make_policy("latest_event", name="Mine", collection="city", principal=low)
    first = make_group_of_two_sources("user:ada")

    assert run_policy(own_policy, principal=low).decisions_made == 1
    assert (run_policy(secret).groups_seen, run_policy(secret).decisions_made) == (0, 0)
    second = make_group_of_two_sources("user:bob")
    assert run_policy(secret).decisions_made == 1
    assert (run_policy(own_policy, principal=low).groups_seen, run_policy(own_policy).groups_seen) == (0, 0)

    assert statuses_by_content(first) == {"Paris": "retired", "London": "active"}
    assert statuses_by_content(second) == {"Paris": "active", "London": "retired"}


def make_group_of_two_sources(subject: str) -> list[Memory]:
    return [
        make_memory(subject=subject, collection="city", content=content, source=source, timestamp=timestamp)
        for content, source, timestamp in (
            ("Paris", "crm", "2026-03-01T12:00:00Z"), ("London", "mail", "2026-03-02T12:00:00Z"),
        )
    ]  # fmt: skip


def test_who_sees_more_than_the_maker_may_disable_a_policy_and_write_nothing_into_it():
    low = make_admin(max_tier="public")
    own_policy = make_policy(name="Mine", principal=low)

    for changed_fields in (
        {"name": "Of a secret project"},
        {"rules": [{"rule": "trusted_sources", "sources": ["secret"]}]},
    ):
        with pytest.raises(OperationRejectedError) as exc_info:
            change_policy(own_policy, **changed_fields)
        assert exc_info.value.code == "clearance_differs"
    disabled_policy = change_policy(own_policy, is_enabled=False)

    assert policies.list_versions(own_policy.policy_id, low) == [disabled_policy, own_policy]
    assert change_policy(disabled_policy, principal=low, name="Mine again", is_enabled=True).version == 3


def test_a_policy_may_name_a_namespace_that_its_maker_may_see():
    outsider = make_admin(namespaces=frozenset({"sales"}))

    with pytest.raises(OperationRejectedError):
        make_policy(principal=outsider, namespace="secret")
    assert make_policy(principal=outsider, namespace="sales").version == 1


@pytest.mark.parametrize("narrower", NARROWER_CLEARANCES, ids=str)
def test_a_decision_names_its_policy_to_those_who_may_see_it(narrower):
    low = Principal(name="user:low", clearance=Clearance(**narrower), scopes=frozenset({Scope.READ}))
    secret = make_policy("latest_event", name="Secret project")
    make_group("user:ada", "Paris", "London", tier="public", namespace="sales", labels=["eu"])
    run = run_policy(secret)

    (visible_decision,), (hidden,) = (
        decision_queries.list_page(QueryDict(), principal=reader).decisions for reader in (ADMIN, low)
    )

    assert (
        visible_decision.policy_id,
        visible_decision.policy_version,
        visible_decision.run_id,
        visible_decision.rule,
    ) == (
        secret.policy_id,
        1,
        run.run_id,
        "latest_event",
    )
    assert "Secret project" in visible_decision.reason
    assert (hidden.policy_id, hidden.policy_version, hidden.run_id, hidden.rule) == (None, None, None, "")
    assert hidden.reason == "Decided automatically."
    assert replace(hidden, **{name: getattr(visible_decision, name) for name in POLICY_FIELDS}) == visible_decision


@pytest.mark.parametrize(
    ("query", "low_count", "total_count"),
    [
        ("q=Secret project", 0, 1),
        ("q=automatic", 1, 0),
        ("policy_id={policy_id}", 0, 1),
        ("run_id={run_id}", 0, 1),
        ("q=by hand", 1, 1),
    ],
)
def test_decisions_are_not_found_by_what_their_reader_may_not_see(query, low_count, total_count):
    low = replace(ADMIN, name="user:low", clearance=Clearance(max_tier="public"))
    secret = make_policy("latest_event", name="Secret project")
    make_group("user:ada", "Paris", "London", tier="public")
    run = run_policy(secret)
    resolve_manually(make_group("user:bob", "Rome", "Oslo", tier="public"))
    query_dict = QueryDict(query.format(policy_id=secret.policy_id, run_id=run.run_id))

    assert len(decision_queries.list_page(query_dict, principal=low).decisions) == low_count
    assert len(decision_queries.list_page(query_dict, principal=ADMIN).decisions) == total_count


def resolve_manually(members: list[Memory]) -> None:
    request = ResolutionRequest(
        key=("user:bob", "city"),
        evidence=compute_evidence((member.memory_id, member.version) for member in members),
        resolution=Resolution(outcome="keep_one", keep=[members[0].memory_id], reason="Decided by hand."),
    )
    assert not resolve.resolve_many([request], principal=ADMIN)[0].refusal
