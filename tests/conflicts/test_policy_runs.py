"""Dry runs tell what a run does; a run is carried out in steps, decides nothing twice, and can be taken back."""

from dataclasses import replace
from uuid import uuid4

import pytest
from django.core.exceptions import PermissionDenied
from django.http import QueryDict

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts import decide, groups, prospects, runs
from memoryhub.conflicts.choices import Choice, Wish
from memoryhub.conflicts.detector import CLASSES
from memoryhub.conflicts.groups import GroupFilterSet
from memoryhub.conflicts.models import Decision, GroupClass
from memoryhub.firewall import wall
from memoryhub.firewall.types import Scope
from memoryhub.memories import ingest
from memoryhub.memories.envelope import Rejected
from memoryhub.memories.filters import BadQuery
from tests.builders import WRITER, envelope, make_memory
from tests.conflicts.runs import (
    ADMIN,
    admin,
    carried_out,
    change,
    current,
    decided,
    finished,
    make_group,
    make_policy,
    standing,
    taken_back,
    tried,
)

pytestmark = pytest.mark.django_db
LOW = admin(max_tier="public")


def told(policy, **options):
    """What would be kept of each group, by which rule, or why it is left."""
    met = tried(policy, **options)
    said = prospects.contents([each.keep for each in met if each.keep], options.get("by", ADMIN))
    return {each.key[0]: (said[each.keep], each.rule) if each.keep and not each.left else each.left for each in met}


def steward_decides(prospect, outcome="not_a_conflict"):
    choice = Choice(outcome=outcome, reason="Both are right.")
    return decide.decide(Wish(key=prospect.key, evidence=prospect.evidence, choice=choice), by=ADMIN)


def test_a_dry_run_tells_each_open_group_and_changes_nothing():
    make_group("user:ada", "Paris", "London", "Rome")
    make_group("user:bob", "Oslo", "Bern", actor_type="agent")
    make_memory(
        subject="user:bob", collection="city", content="Oslo", actor_type="user", timestamp="2025-01-01T12:00:00Z"
    )
    make_group("user:eve", "Only one value")
    before = current()

    policy = make_policy("actor_trust", "latest_event")

    assert told(policy) == {"user:ada": ("Rome", "latest_event"), "user:bob": ("Oslo", "actor_trust")}
    assert current() == before
    assert not Decision.objects.exists()
    met = tried(policy)[1]
    assert (met.value_count, met.memory_count, met.klass) == (2, 3, "update")


def test_a_policy_is_about_the_groups_that_are_listed():
    make_group("user:ada", "Oslo", "Bern", collection="")
    make_group("user:bob", "Oslo", "Bern")

    assert told(make_policy()) == {"user:bob": ("Bern", "latest_event")}
    assert told(make_policy(name="Without one", collection="", classes=list(CLASSES))) == {
        "user:ada": ("Bern", "latest_event")
    }


@pytest.mark.parametrize("at_once", [1, 2, 3, 500])
def test_chunks_of_any_size_tell_the_same(at_once):
    for name in "abcdefg":
        make_group(f"user:{name}", "Paris", "London")
    policy = make_policy()

    assert tried(policy, at_once=at_once) == tried(policy)
    assert [each.key[0] for each in tried(policy)] == [f"user:{name}" for name in "abcdefg"]
    assert prospects.count(policy, by=ADMIN) == 7


def test_a_run_does_what_the_dry_run_told():
    made = [make_group(f"user:{name}", "Paris", "London", "Rome") for name in "abc"]
    tie = [
        make_memory(subject="user:z", collection="city", content=city, timestamp="2026-03-01T12:00:00Z")
        for city in "pq"
    ]
    policy = make_policy()
    promised = {each.key: each for each in tried(policy) if not each.left}

    run = carried_out(policy, size=2)

    assert (run.seen, run.decided, run.left) == (4, 3, 1)
    for group in made:
        assert standing(group) == {"Paris": "retired", "London": "retired", "Rome": "active"}
    assert set(standing(tie).values()) == {"active"}
    assert {decision.key: decision.kept for decision in Decision.objects.all()} == {
        key: [each.keep] for key, each in promised.items()
    }


def test_each_decision_cites_the_policy_its_version_the_rule_and_the_run():
    make_group("user:ada", "Paris", "London")
    policy = change(make_policy({"rule": "trusted_sources", "sources": ["test"]}, "latest_event"), name="House rules")

    run = carried_out(policy)

    decision = Decision.objects.get()
    assert (decision.policy, decision.policy_version, decision.run) == (policy.policy_id, 2, run.run_id)
    assert (decision.rule, decision.principal, decision.outcome) == ("latest_event", "user:root", "keep_one")
    assert decision.reason == "Policy “House rules”, version 2, latest_event: it happened last."
    entries = AuditEntry.objects.filter(action__in=["policy.run", "conflict.decide"]).order_by("seq")
    assert [entry.action for entry in entries] == ["policy.run", "conflict.decide"]
    assert all(entry.details["run"] == str(run.run_id) for entry in entries)


def test_a_second_run_finds_nothing_left_to_decide():
    for name in "abc":
        make_group(f"user:{name}", "Paris", "London")
    policy = make_policy()
    carried_out(policy)

    again = carried_out(policy)

    assert (again.seen, again.decided) == (0, 0)
    assert set(decided().values()) == {1}


def test_a_run_that_was_broken_off_goes_on_where_it_was():
    for name in "abcde":
        make_group(f"user:{name}", "Paris", "London")
    policy = make_policy()
    run = runs.go_on(runs.start(policy.policy_id, by=ADMIN).run_id, by=ADMIN, size=2)
    assert (run.decided, run.finished) == (2, None)

    other = carried_out(policy)
    run = finished(run)

    assert (other.decided, run.decided, run.finished is not None) == (3, 2, True)
    assert runs.go_on(run.run_id, by=ADMIN).decided == 2, "a finished run stays as it is"
    assert set(decided().values()) == {1}


def test_what_a_person_decides_meanwhile_is_not_decided_again(monkeypatch):
    make_group("user:ada", "Paris", "London")
    policy = make_policy()
    look = prospects.look

    def slow_look(*args, **options):
        found = look(*args, **options)
        steward_decides(found.prospects[0])
        return found

    monkeypatch.setattr(prospects, "look", slow_look)
    run = carried_out(policy)

    assert (run.seen, run.decided, run.left) == (1, 0, 1)
    assert [decision.outcome for decision in Decision.objects.all()] == ["not_a_conflict"]


def test_what_changes_meanwhile_is_left_and_met_by_the_next_run(monkeypatch):
    group = make_group("user:ada", "Paris", "London")
    policy = make_policy()
    look = prospects.look

    def slow_look(*args, **options):
        found = look(*args, **options)
        rome = envelope(subject="user:ada", collection="city", content="Rome", timestamp="2026-04-01T12:00:00Z")
        ingest.write([rome], by=WRITER)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(prospects, "look", slow_look)
        assert carried_out(policy).decided == 0
    assert set(standing(group).values()) == {"active"}

    assert carried_out(policy).decided == 1
    assert set(standing(group).values()) == {"retired"}


def test_a_group_that_was_decided_is_met_again_when_a_value_joins():
    make_group("user:ada", "Paris", "London")
    policy = make_policy()
    steward_decides(tried(policy)[0])
    assert tried(policy) == []

    make_memory(subject="user:ada", collection="city", content="Rome", timestamp="2026-04-01T12:00:00Z")

    assert told(policy) == {"user:ada": ("Rome", "latest_event")}


def test_a_run_is_taken_back_in_steps_and_ends():
    for name in "abcde":
        make_group(f"user:{name}", "Paris", "London")
    before, policy = current(), make_policy()
    run = runs.go_on(runs.start(policy.policy_id, by=ADMIN).run_id, by=ADMIN, size=4)

    assert taken_back(run, size=3) == 4

    found = runs.one(run.run_id, ADMIN)
    assert found
    assert (found.decided, found.undone, found.finished is not None) == (4, 4, True)
    assert current() == before
    assert len(tried(policy)) == 5
    assert taken_back(run) == 0
    assert carried_out(policy).decided == 5, "and another run decides them again"


def test_a_decision_of_a_run_can_be_undone_singly():
    groups = [make_group(f"user:{name}", "Paris", "London") for name in "ab"]
    policy = make_policy()
    run = carried_out(policy)
    decision = Decision.objects.get(subject="user:a")

    decide.undo([decision.decision_id], by=ADMIN, reason="Was right.")

    assert set(standing(groups[0]).values()) == {"active"}
    assert set(standing(groups[1]).values()) == {"active", "retired"}
    assert taken_back(run) == 1


def test_classes_that_the_policy_does_not_name_are_left():
    make_group("user:ada", "Lives in Paris.", "Lives in London.")
    make_group("user:bob", "Lives in Paris.", "lives in paris")
    assert told(make_policy(classes=["duplicate"])) == {
        "user:ada": "class",
        "user:bob": ("lives in paris", "latest_event"),
    }


def test_a_policy_is_about_its_collection_and_its_namespace_alone():
    make_group("user:ada", "Paris", "London", namespace="sales")
    make_group("user:ada", "ada@x.example", "ada@y.example", collection="email", namespace="sales")
    make_group("user:bob", "Paris", "London", namespace="support")
    make_group("user:eve", "Paris", namespace="sales")
    make_group("user:eve", "London", namespace="support")

    def keys(**about):
        policy = make_policy(**about)
        found = [each.key for each in tried(policy)]
        change(policy, is_enabled=False)
        return found

    ada, mail, bob, eve = ("user:ada", "city"), ("user:ada", "email"), ("user:bob", "city"), ("user:eve", "city")
    assert keys() == [ada, mail, bob, eve]
    assert keys(collection="city") == [ada, bob, eve]
    assert keys(namespace="sales") == [ada, mail]
    assert keys(namespace="sales", collection="city") == [ada]


def test_a_group_is_left_to_the_policy_that_is_about_fewer():
    make_group("user:ada", "Paris", "London", namespace="sales")
    make_group("user:bob", "Paris", "London")
    wide = make_policy(name="wide")
    narrow = make_policy(name="narrow", namespace="sales", classes=["update"])

    assert told(wide) == {"user:ada": "policy", "user:bob": ("London", "latest_event")}
    assert told(narrow) == {"user:ada": ("London", "latest_event")}
    change(narrow, classes=["duplicate"])
    assert told(wide)["user:ada"] == ("London", "latest_event")


def test_hidden_memories_play_no_part():
    make_group("user:ada", "Paris", "London")
    make_group("user:bob", "Paris")
    policy = make_policy()
    alone = tried(policy, by=LOW)

    make_memory(
        subject="user:ada", collection="city", content="Rome", tier="restricted", timestamp="2026-05-01T12:00:00Z"
    )
    make_memory(subject="user:bob", collection="city", content="Rome", tier="restricted")

    assert tried(policy, by=LOW) == alone
    assert [each.key[0] for each in tried(policy)] == ["user:ada", "user:bob"]


def test_what_nobody_below_may_miss_stays_in_force():
    low, _ = make_group("user:ada", "Paris"), make_group("user:ada", "Paris", "Rome", tier="restricted")
    policy = make_policy()

    assert carried_out(policy).decided == 1

    assert set(standing(low).values()) == {"active"}
    assert tried(policy) == []


def test_a_run_is_known_to_who_sees_as_much_and_gone_on_with_by_who_sees_the_same():
    for name in "abc":
        make_group(f"user:{name}", "Paris", "London")
    policy = make_policy(by=LOW)
    high = runs.go_on(runs.start(policy.policy_id, by=ADMIN).run_id, by=ADMIN, size=1)
    low = runs.go_on(runs.start(policy.policy_id, by=LOW).run_id, by=LOW, size=1)

    assert [run.run_id for run in runs.page(QueryDict(), reader=LOW).runs] == [low.run_id]
    assert [run.run_id for run in runs.page(QueryDict(), reader=ADMIN).runs] == [low.run_id, high.run_id]
    for run, by, code in ((high, LOW, "not_found"), (low, ADMIN, "other_reach")):
        with pytest.raises(Rejected) as refused:
            runs.go_on(run.run_id, by=by)
        assert refused.value.code == code
        assert not runs.may_go_on(run, by)
    with pytest.raises(Rejected):
        runs.undo(high.run_id, by=LOW, reason="Not mine.")
    assert taken_back(low) == 1, "who sees more may take it back"


def test_a_run_of_a_policy_that_has_changed_does_not_go_on():
    make_group("user:ada", "Paris", "London")
    policy = make_policy()
    run = runs.start(policy.policy_id, by=ADMIN)
    changed = change(policy, is_enabled=False)

    with pytest.raises(Rejected) as refused:
        runs.go_on(run.run_id, by=ADMIN)
    assert refused.value.code == "superseded"
    with pytest.raises(Rejected) as refused:
        runs.start(changed.policy_id, by=ADMIN)
    assert refused.value.code == "disabled"
    assert not Decision.objects.exists()


def test_only_an_admin_runs_policies():
    make_group("user:ada", "Paris", "London")
    policy = make_policy()
    run = runs.start(policy.policy_id, by=ADMIN)
    steward = replace(ADMIN, scopes=frozenset({Scope.INSPECT, Scope.READ}))

    for act in (
        lambda: runs.start(policy.policy_id, by=steward),
        lambda: runs.go_on(run.run_id, by=steward),
        lambda: runs.undo(run.run_id, by=steward, reason="No."),
    ):
        with pytest.raises(PermissionDenied):
            act()


@pytest.mark.parametrize("act", [runs.start, runs.go_on])
def test_what_is_missing_is_not_found(act):
    with pytest.raises(Rejected) as refused:
        act(uuid4(), by=ADMIN)

    assert refused.value.code == "not_found"


def test_to_undo_a_run_takes_a_reason():
    run = runs.start(make_policy().policy_id, by=ADMIN)

    with pytest.raises(Rejected, match="reason is required"):
        runs.undo(run.run_id, by=ADMIN, reason=" ")


def test_runs_are_paged():
    policy = make_policy()
    made = [runs.start(policy.policy_id, by=ADMIN).run_id for _ in range(5)]

    pages = [runs.page(QueryDict("limit=2"), reader=ADMIN)]
    while cursor := pages[-1].next_cursor:
        pages.append(runs.page(QueryDict(f"limit=2&cursor={cursor}"), reader=ADMIN))

    assert [run.run_id for page in pages for run in page.runs] == made[::-1]
    assert len(pages) == 3
    for query in ("cursor=x", "limit=0", "policy=x"):
        with pytest.raises(BadQuery):
            runs.page(QueryDict(query), reader=ADMIN)


def test_a_dry_run_and_the_queue_speak_of_the_same_groups_and_classes():
    """Whichever of the two is asked first keeps the class for the other."""
    make_group("user:ada", "Lives in Paris.", "Lives in London.", embedding=[1.0] * 384)
    make_group("user:bob", "Enjoys long walks by the sea.", "Has a dog.", embedding=[0.5, 1.0] * 192)
    make_group("user:eve", "Paris is nice.", "paris is nice", "She is a doctor.")
    steward_decides(next(each for each in tried(make_policy(collection="city")) if each.key[0] == "user:eve"))
    make_memory(subject="user:eve", collection="city", content="Oslo", timestamp="2026-05-01T12:00:00Z")
    policy = make_policy(classes=["paraphrase", "unrelated"])
    GroupClass.objects.all().delete()
    with wall.behind(ADMIN.clearance):
        filters = GroupFilterSet(QueryDict(), clearance=ADMIN.clearance)
        queue = {
            each.key: (each.klass, each.evidence) for each in groups.page(filters, reader=ADMIN, parameters={}).groups
        }
    GroupClass.objects.all().delete()

    assert {each.key: (each.klass, each.evidence) for each in tried(policy)} == queue
    assert len(queue) == 3


# ---- Spellings and paraphrases


def test_paraphrases_are_left_to_people_even_by_a_policy_that_names_them():
    made = make_group("user:ada", "path is /etc/Passwd", "path is /etc/passwd")
    policy = make_policy(classes=["contradiction", "update", "duplicate", "paraphrase"])

    assert [(each.klass, each.left) for each in tried(policy)] == [("paraphrase", "paraphrase")]
    assert "paraphrases" in prospects.LEFT["paraphrase"]
    assert carried_out(policy).decided == 0
    assert set(standing(made).values()) == {"active"}


def test_a_group_is_left_whose_loser_is_a_paraphrase_of_what_would_be_kept():
    made = make_group("user:ada", "Lives in London.", "Lives in Paris.", "Resides in Paris.")
    make_group("user:bob", "Lives in London.", "Lives in Rome.", "Lives in Paris.")
    policy = make_policy()

    assert told(policy) == {"user:ada": "paraphrase", "user:bob": ("Lives in Paris.", "latest_event")}
    assert tried(policy)[0].klass in ("contradiction", "update")
    carried_out(policy)
    assert set(standing(made).values()) == {"active"}


def test_all_spellings_of_a_value_speak_for_it_and_the_rules_choose_the_spelling():
    for source, content in (("a", "Paris"), ("b", "paris."), ("c", "PARIS"), ("d", "London")):
        make_memory(subject="user:ada", collection="city", content=content, source=source)
    policy = make_policy("most_sources", {"rule": "trusted_sources", "sources": ["b"]}, classes=["contradiction"])

    assert told(policy) == {"user:ada": ("paris.", "most_sources")}


def test_a_run_over_spellings_of_one_value_keeps_the_value():
    made = make_group("user:ada", "Lives in Paris.", "lives in paris")
    carried_out(make_policy())
    assert standing(made) == {"Lives in Paris.": "retired", "lives in paris": "active"}

    assert make_memory(subject="user:ada", collection="city", content="LIVES IN PARIS").status == "active"


def test_many_spellings_of_one_value_do_not_hide_another_value():
    spellings = [f"Paris{' ' * number}is nice." for number in range(1, 25)]
    made = make_group("user:ada", "Oslo is cold.", *spellings)
    with wall.behind(ADMIN.clearance):
        filters = GroupFilterSet(QueryDict(), clearance=ADMIN.clearance)
        (listed,) = groups.page(filters, reader=ADMIN, parameters={}).groups

    assert listed.klass != "duplicate"
    carried_out(make_policy(classes=["duplicate"]))
    assert set(standing(made).values()) == {"active"}
