"""Dry runs tell what a run does; a run is carried out in steps, decides nothing twice, and can be taken back."""

from dataclasses import replace
from uuid import uuid4

import pytest
from django.core.exceptions import PermissionDenied
from django.http import QueryDict

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts.decisions import resolve
from memoryhub.conflicts.decisions.resolution_requests import Resolution, ResolutionRequest
from memoryhub.conflicts.detector.compare import CLASSES
from memoryhub.conflicts.groups import groups
from memoryhub.conflicts.groups.groups import GroupFilterSet
from memoryhub.conflicts.models import Decision, GroupClassCache
from memoryhub.conflicts.policies import dry_runs, policy_evaluation, policy_runs
from memoryhub.core.errors import InvalidQueryError
from memoryhub.firewall import rls
from memoryhub.firewall.principal import Scope
from memoryhub.memories.writes import write
from memoryhub.memories.writes.envelope import OperationRejectedError
from tests.conflicts.policies.policy_factories import (
    ADMIN,
    change_policy,
    current_statuses,
    decisions_by_key,
    dry_run_policy,
    finish_run,
    make_admin,
    make_group,
    make_policy,
    run_policy,
    statuses_by_content,
    undo_run,
)
from tests.factories import WRITER, envelope, make_memory

pytestmark = pytest.mark.django_db
LOW_ADMIN = make_admin(max_tier="public")


def evaluations_by_subject(policy, **options):
    """What would be kept of each group, by which rule, or why it is left."""
    evaluations = dry_run_policy(policy, **options)
    content_by_id = dry_runs.load_contents(
        [group_evaluation.keep for group_evaluation in evaluations if group_evaluation.keep],
        options.get("principal", ADMIN),
    )
    return {
        group_evaluation.key[0]: (content_by_id[group_evaluation.keep], group_evaluation.rule)
        if group_evaluation.keep and not group_evaluation.skip_reason
        else group_evaluation.skip_reason
        for group_evaluation in evaluations
    }


def resolve_as_steward(evaluation, outcome="not_a_conflict"):
    choice = Resolution(outcome=outcome, reason="Both are right.")
    return resolve.resolve(
        ResolutionRequest(key=evaluation.key, evidence=evaluation.evidence, resolution=choice), principal=ADMIN
    )


def test_a_dry_run_lists_each_open_group_and_changes_nothing():
    make_group("user:ada", "Paris", "London", "Rome")
    make_group("user:bob", "Oslo", "Bern", actor_type="agent")
    make_memory(
        subject="user:bob", collection="city", content="Oslo", actor_type="user", timestamp="2025-01-01T12:00:00Z"
    )
    make_group("user:eve", "Only one value")
    before = current_statuses()

    policy = make_policy("actor_trust", "latest_event")

    assert evaluations_by_subject(policy) == {"user:ada": ("Rome", "latest_event"), "user:bob": ("Oslo", "actor_trust")}
    assert current_statuses() == before
    assert not Decision.objects.exists()
    evaluation = dry_run_policy(policy)[1]
    assert (evaluation.value_count, evaluation.memory_count, evaluation.conflict_class) == (2, 3, "update")


def test_a_policy_is_about_the_groups_that_are_listed():
    make_group("user:ada", "Oslo", "Bern", collection="")
    make_group("user:bob", "Oslo", "Bern")

    assert evaluations_by_subject(make_policy()) == {"user:bob": ("Bern", "latest_event")}
    assert evaluations_by_subject(make_policy(name="Without one", collection="", classes=list(CLASSES))) == {
        "user:ada": ("Bern", "latest_event")
    }


@pytest.mark.parametrize("at_once", [1, 2, 3, 500])
def test_batches_of_any_size_give_the_same_result(at_once):
    for name in "abcdefg":
        make_group(f"user:{name}", "Paris", "London")
    policy = make_policy()

    assert dry_run_policy(policy, batch_size=at_once) == dry_run_policy(policy)
    assert [group_evaluation.key[0] for group_evaluation in dry_run_policy(policy)] == [
        f"user:{name}" for name in "abcdefg"
    ]
    assert policy_evaluation.count_keys(policy, principal=ADMIN) == 7


def test_a_run_does_what_the_dry_run_listed():
    group_lists = [make_group(f"user:{name}", "Paris", "London", "Rome") for name in "abc"]
    tie = [
        make_memory(subject="user:z", collection="city", content=city, timestamp="2026-03-01T12:00:00Z")
        for city in "pq"
    ]
    policy = make_policy()
    expected_by_key = {
        group_evaluation.key: group_evaluation
        for group_evaluation in dry_run_policy(policy)
        if not group_evaluation.skip_reason
    }

    run = run_policy(policy, size=2)

    assert (run.groups_seen, run.decisions_made, run.groups_skipped) == (4, 3, 1)
    for group in group_lists:
        assert statuses_by_content(group) == {"Paris": "retired", "London": "retired", "Rome": "active"}
    assert set(statuses_by_content(tie).values()) == {"active"}
    assert {decision.key: decision.kept_ids for decision in Decision.objects.all()} == {
        key: [group_evaluation.keep] for key, group_evaluation in expected_by_key.items()
    }


def test_each_decision_cites_the_policy_its_version_the_rule_and_the_run():
    make_group("user:ada", "Paris", "London")
    policy = change_policy(
        make_policy({"rule": "trusted_sources", "sources": ["test"]}, "latest_event"), name="House rules"
    )

    run = run_policy(policy)

    decision = Decision.objects.get()
    assert (decision.policy_id, decision.policy_version, decision.run_id) == (policy.policy_id, 2, run.run_id)
    assert (decision.rule, decision.principal, decision.outcome) == ("latest_event", "user:root", "keep_one")
    assert decision.reason == "Policy “House rules”, version 2, latest_event: its event time is the latest."
    entries = AuditEntry.objects.filter(action__in=["policy.run", "conflict.resolve"]).order_by("seq")
    assert [entry.action for entry in entries] == ["policy.run", "conflict.resolve"]
    assert all(entry.details["run_id"] == str(run.run_id) for entry in entries)


def test_a_second_run_finds_nothing_left_to_decide():
    for name in "abc":
        make_group(f"user:{name}", "Paris", "London")
    policy = make_policy()
    run_policy(policy)

    second_run = run_policy(policy)

    assert (second_run.groups_seen, second_run.decisions_made) == (0, 0)
    assert set(decisions_by_key().values()) == {1}


def test_a_run_that_was_broken_off_goes_on_where_it_was():
    for name in "abcde":
        make_group(f"user:{name}", "Paris", "London")
    policy = make_policy()
    run = policy_runs.advance_run(
        policy_runs.start_run(policy.policy_id, principal=ADMIN).run_id, principal=ADMIN, batch_size=2
    )
    assert (run.decisions_made, run.finished_at) == (2, None)

    second_run = run_policy(policy)
    run = finish_run(run)

    assert (second_run.decisions_made, run.decisions_made, run.finished_at is not None) == (3, 2, True)
    assert policy_runs.advance_run(run.run_id, principal=ADMIN).decisions_made == 2, "a finished run stays as it is"
    assert set(decisions_by_key().values()) == {1}


def test_what_a_person_decides_meanwhile_is_not_decided_again(monkeypatch):
    make_group("user:ada", "Paris", "London")
    policy = make_policy()
    evaluate_batch = policy_evaluation.evaluate_batch

    def evaluate_slowly(*args, **options):
        batch = evaluate_batch(*args, **options)
        resolve_as_steward(batch.evaluations[0])
        return batch

    monkeypatch.setattr(policy_evaluation, "evaluate_batch", evaluate_slowly)
    run = run_policy(policy)

    assert (run.groups_seen, run.decisions_made, run.groups_skipped) == (1, 0, 1)
    assert [decision.outcome for decision in Decision.objects.all()] == ["not_a_conflict"]


def test_what_changes_meanwhile_is_left_and_met_by_the_next_run(monkeypatch):
    group = make_group("user:ada", "Paris", "London")
    policy = make_policy()
    evaluate_batch = policy_evaluation.evaluate_batch

    def evaluate_slowly(*args, **options):
        batch = evaluate_batch(*args, **options)
        rome = envelope(subject="user:ada", collection="city", content="Rome", timestamp="2026-04-01T12:00:00Z")
        write.write_memories([rome], principal=WRITER)
        return batch

    with monkeypatch.context() as patch_context:
        patch_context.setattr(policy_evaluation, "evaluate_batch", evaluate_slowly)
        assert run_policy(policy).decisions_made == 0
    assert set(statuses_by_content(group).values()) == {"active"}

    assert run_policy(policy).decisions_made == 1
    assert set(statuses_by_content(group).values()) == {"retired"}


def test_a_group_that_was_decided_is_met_again_when_a_value_joins():
    make_group("user:ada", "Paris", "London")
    policy = make_policy()
    resolve_as_steward(dry_run_policy(policy)[0])
    assert dry_run_policy(policy) == []

    make_memory(subject="user:ada", collection="city", content="Rome", timestamp="2026-04-01T12:00:00Z")

    assert evaluations_by_subject(policy) == {"user:ada": ("Rome", "latest_event")}


def test_a_run_is_taken_back_in_steps_and_ends():
    for name in "abcde":
        make_group(f"user:{name}", "Paris", "London")
    before, policy = current_statuses(), make_policy()
    run = policy_runs.advance_run(
        policy_runs.start_run(policy.policy_id, principal=ADMIN).run_id, principal=ADMIN, batch_size=4
    )

    assert undo_run(run, size=3) == 4

    stored_run = policy_runs.get_run(run.run_id, ADMIN)
    assert stored_run
    assert (stored_run.decisions_made, stored_run.decisions_undone, stored_run.finished_at is not None) == (4, 4, True)
    assert current_statuses() == before
    assert len(dry_run_policy(policy)) == 5
    assert undo_run(run) == 0
    assert run_policy(policy).decisions_made == 5, "and another run decides them again"


def test_a_decision_of_a_run_can_be_undone_singly():
    groups = [make_group(f"user:{name}", "Paris", "London") for name in "ab"]
    policy = make_policy()
    run = run_policy(policy)
    decision = Decision.objects.get(subject="user:a")

    resolve.undo_decisions([decision.decision_id], principal=ADMIN, reason="Was right.")

    assert set(statuses_by_content(groups[0]).values()) == {"active"}
    assert set(statuses_by_content(groups[1]).values()) == {"active", "retired"}
    assert undo_run(run) == 1


def test_classes_that_the_policy_does_not_name_are_left():
    make_group("user:ada", "Lives in Paris.", "Lives in London.")
    make_group("user:bob", "Lives in Paris.", "lives in paris")
    assert evaluations_by_subject(make_policy(classes=["duplicate"])) == {
        "user:ada": "class_not_covered",
        "user:bob": ("lives in paris", "latest_event"),
    }


def test_a_policy_is_about_its_collection_and_its_namespace_alone():
    make_group("user:ada", "Paris", "London", namespace="sales")
    make_group("user:ada", "ada@x.example", "ada@y.example", collection="email", namespace="sales")
    make_group("user:bob", "Paris", "London", namespace="support")
    make_group("user:eve", "Paris", namespace="sales")
    make_group("user:eve", "London", namespace="support")

    def evaluated_keys(**policy_fields):
        policy = make_policy(**policy_fields)
        key_list = [group_evaluation.key for group_evaluation in dry_run_policy(policy)]
        change_policy(policy, is_enabled=False)
        return key_list

    ada, mail, bob, eve = ("user:ada", "city"), ("user:ada", "email"), ("user:bob", "city"), ("user:eve", "city")
    assert evaluated_keys() == [ada, mail, bob, eve]
    assert evaluated_keys(collection="city") == [ada, bob, eve]
    assert evaluated_keys(namespace="sales") == [ada, mail]
    assert evaluated_keys(namespace="sales", collection="city") == [ada]


def test_a_group_is_left_to_the_policy_that_is_about_fewer():
    make_group("user:ada", "Paris", "London", namespace="sales")
    make_group("user:bob", "Paris", "London")
    wide = make_policy(name="wide")
    narrow = make_policy(name="narrow", namespace="sales", classes=["update"])

    assert evaluations_by_subject(wide) == {
        "user:ada": "higher_priority_policy",
        "user:bob": ("London", "latest_event"),
    }
    assert evaluations_by_subject(narrow) == {"user:ada": ("London", "latest_event")}
    change_policy(narrow, classes=["duplicate"])
    assert evaluations_by_subject(wide)["user:ada"] == ("London", "latest_event")


def test_hidden_memories_play_no_part():
    make_group("user:ada", "Paris", "London")
    make_group("user:bob", "Paris")
    policy = make_policy()
    low_evaluations = dry_run_policy(policy, principal=LOW_ADMIN)

    make_memory(
        subject="user:ada", collection="city", content="Rome", tier="restricted", timestamp="2026-05-01T12:00:00Z"
    )
    make_memory(subject="user:bob", collection="city", content="Rome", tier="restricted")

    assert dry_run_policy(policy, principal=LOW_ADMIN) == low_evaluations
    assert [group_evaluation.key[0] for group_evaluation in dry_run_policy(policy)] == ["user:ada", "user:bob"]


def test_what_nobody_below_may_miss_stays_in_force():
    low, _ = make_group("user:ada", "Paris"), make_group("user:ada", "Paris", "Rome", tier="restricted")
    policy = make_policy()

    assert run_policy(policy).decisions_made == 1

    assert set(statuses_by_content(low).values()) == {"active"}
    assert dry_run_policy(policy) == []


def test_a_run_is_known_to_who_sees_as_much_and_gone_on_with_by_who_sees_the_same():
    for name in "abc":
        make_group(f"user:{name}", "Paris", "London")
    policy = make_policy(principal=LOW_ADMIN)
    high = policy_runs.advance_run(
        policy_runs.start_run(policy.policy_id, principal=ADMIN).run_id, principal=ADMIN, batch_size=1
    )
    low = policy_runs.advance_run(
        policy_runs.start_run(policy.policy_id, principal=LOW_ADMIN).run_id, principal=LOW_ADMIN, batch_size=1
    )

    assert [run.run_id for run in policy_runs.list_page(QueryDict(), principal=LOW_ADMIN).runs] == [low.run_id]
    assert [run.run_id for run in policy_runs.list_page(QueryDict(), principal=ADMIN).runs] == [low.run_id, high.run_id]
    for run, principal, code in ((high, LOW_ADMIN, "not_found"), (low, ADMIN, "clearance_differs")):
        with pytest.raises(OperationRejectedError) as exc_info:
            policy_runs.advance_run(run.run_id, principal=principal)
        assert exc_info.value.code == code
        assert not policy_runs.can_advance(run, principal)
    with pytest.raises(OperationRejectedError):
        policy_runs.undo_step(high.run_id, principal=LOW_ADMIN, reason="Not mine.")
    assert undo_run(low) == 1, "who sees more may take it back"


def test_a_run_of_a_policy_that_has_changed_does_not_go_on():
    make_group("user:ada", "Paris", "London")
    policy = make_policy()
    run = policy_runs.start_run(policy.policy_id, principal=ADMIN)
    changed_policy = change_policy(policy, is_enabled=False)

    with pytest.raises(OperationRejectedError) as exc_info:
        policy_runs.advance_run(run.run_id, principal=ADMIN)
    assert exc_info.value.code == "policy_changed"
    with pytest.raises(OperationRejectedError) as exc_info:
        policy_runs.start_run(changed_policy.policy_id, principal=ADMIN)
    assert exc_info.value.code == "policy_disabled"
    assert not Decision.objects.exists()


def test_only_an_admin_runs_policies():
    make_group("user:ada", "Paris", "London")
    policy = make_policy()
    run = policy_runs.start_run(policy.policy_id, principal=ADMIN)
    steward = replace(ADMIN, scopes=frozenset({Scope.CURATE, Scope.READ}))

    for operation in (
        lambda: policy_runs.start_run(policy.policy_id, principal=steward),
        lambda: policy_runs.advance_run(run.run_id, principal=steward),
        lambda: policy_runs.undo_step(run.run_id, principal=steward, reason="No."),
    ):
        with pytest.raises(PermissionDenied):
            operation()


@pytest.mark.parametrize("operation", [policy_runs.start_run, policy_runs.advance_run])
def test_what_is_missing_is_not_found(operation):
    with pytest.raises(OperationRejectedError) as exc_info:
        operation(uuid4(), principal=ADMIN)

    assert exc_info.value.code == "not_found"


def test_to_undo_a_run_takes_a_reason():
    run = policy_runs.start_run(make_policy().policy_id, principal=ADMIN)

    with pytest.raises(OperationRejectedError, match="reason is required"):
        policy_runs.undo_step(run.run_id, principal=ADMIN, reason=" ")


def test_runs_are_paged():
    policy = make_policy()
    run_ids = [policy_runs.start_run(policy.policy_id, principal=ADMIN).run_id for _ in range(5)]

    pages = [policy_runs.list_page(QueryDict("limit=2"), principal=ADMIN)]
    while cursor := pages[-1].next_cursor:
        pages.append(policy_runs.list_page(QueryDict(f"limit=2&cursor={cursor}"), principal=ADMIN))

    assert [run.run_id for page in pages for run in page.runs] == run_ids[::-1]
    assert len(pages) == 3
    for query in ("cursor=x", "limit=0", "policy=x"):
        with pytest.raises(InvalidQueryError):
            policy_runs.list_page(QueryDict(query), principal=ADMIN)


def test_a_dry_run_and_the_queue_speak_of_the_same_groups_and_classes():
    """Whichever of the two is asked first keeps the class for the other."""
    make_group("user:ada", "Lives in Paris.", "Lives in London.", embedding=[1.0] * 384)
    make_group("user:bob", "Enjoys long walks by the sea.", "Has a dog.", embedding=[0.5, 1.0] * 192)
    make_group("user:eve", "Paris is nice.", "paris is nice", "She is a doctor.")
    resolve_as_steward(
        next(
            group_evaluation
            for group_evaluation in dry_run_policy(make_policy(collection="city"))
            if group_evaluation.key[0] == "user:eve"
        )
    )
    make_memory(subject="user:eve", collection="city", content="Oslo", timestamp="2026-05-01T12:00:00Z")
    policy = make_policy(classes=["paraphrase", "unrelated"])
    GroupClassCache.objects.all().delete()
    with rls.as_reader(ADMIN.clearance):
        filters = GroupFilterSet(QueryDict(), clearance=ADMIN.clearance)
        queue = {
            group_evaluation.key: (group_evaluation.conflict_class, group_evaluation.evidence)
            for group_evaluation in groups.list_page(filters, principal=ADMIN, params={}).groups
        }
    GroupClassCache.objects.all().delete()

    assert {
        group_evaluation.key: (group_evaluation.conflict_class, group_evaluation.evidence)
        for group_evaluation in dry_run_policy(policy)
    } == queue
    assert len(queue) == 3


# ---- Spellings and paraphrases


def test_paraphrases_are_left_to_people_even_by_a_policy_that_names_them():
    members = make_group("user:ada", "path is /etc/Passwd", "path is /etc/passwd")
    policy = make_policy(classes=["contradiction", "update", "duplicate", "paraphrase"])

    assert [
        (group_evaluation.conflict_class, group_evaluation.skip_reason) for group_evaluation in dry_run_policy(policy)
    ] == [("paraphrase", "paraphrase")]
    assert "paraphrases" in policy_evaluation.SKIP_REASONS["paraphrase"]
    assert run_policy(policy).decisions_made == 0
    assert set(statuses_by_content(members).values()) == {"active"}


def test_a_group_is_left_whose_loser_is_a_paraphrase_of_what_would_be_kept():
    members = make_group("user:ada", "Lives in London.", "Lives in Paris.", "Resides in Paris.")
    make_group("user:bob", "Lives in London.", "Lives in Rome.", "Lives in Paris.")
    policy = make_policy()

    assert evaluations_by_subject(policy) == {"user:ada": "paraphrase", "user:bob": ("Lives in Paris.", "latest_event")}
    assert dry_run_policy(policy)[0].conflict_class in ("contradiction", "update")
    run_policy(policy)
    assert set(statuses_by_content(members).values()) == {"active"}


def test_all_spellings_of_a_value_speak_for_it_and_the_rules_choose_the_spelling():
    for source, content in (("a", "Paris"), ("b", "paris."), ("c", "PARIS"), ("d", "London")):
        make_memory(subject="user:ada", collection="city", content=content, source=source)
    policy = make_policy("most_sources", {"rule": "trusted_sources", "sources": ["b"]}, classes=["contradiction"])

    assert evaluations_by_subject(policy) == {"user:ada": ("paris.", "most_sources")}


def test_a_run_over_spellings_of_one_value_keeps_the_value():
    members = make_group("user:ada", "Lives in Paris.", "lives in paris")
    run_policy(make_policy())
    assert statuses_by_content(members) == {"Lives in Paris.": "retired", "lives in paris": "active"}

    assert make_memory(subject="user:ada", collection="city", content="LIVES IN PARIS").status == "active"


def test_many_spellings_of_one_value_do_not_hide_another_value():
    spellings = [f"Paris{' ' * space_count}is nice." for space_count in range(1, 25)]
    members = make_group("user:ada", "Oslo is cold.", *spellings)
    with rls.as_reader(ADMIN.clearance):
        filters = GroupFilterSet(QueryDict(), clearance=ADMIN.clearance)
        (listed_group,) = groups.list_page(filters, principal=ADMIN, params={}).groups

    assert listed_group.conflict_class != "duplicate"
    run_policy(make_policy(classes=["duplicate"]))
    assert set(statuses_by_content(members).values()) == {"active"}
