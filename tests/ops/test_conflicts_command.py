"""`manage.py conflicts`: policies from the command line, with words or JSON, and exit codes that scripts can use."""

import json
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from memoryhub.conflicts import runs
from memoryhub.conflicts.models import Decision, GroupClass, PolicyRun
from tests.builders import make_clearance, make_user
from tests.conflicts.runs import ADMIN, admin, change, make_group, make_policy, standing, tried

pytestmark = pytest.mark.django_db


def told(*arguments: Any) -> tuple[str, str]:
    """What is written, and what is said beside it."""
    out, beside = StringIO(), StringIO()
    call_command("conflicts", *map(str, arguments), stdout=out, stderr=beside)
    return out.getvalue(), beside.getvalue()


def lines(*arguments: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told(*arguments, "--json")[0].splitlines()]


def test_all_conflicts_are_found_anew_and_compared():
    make_group("user:ada", "Paris", "London")
    make_group("user:bob", "Paris", "London", tier="restricted")
    make_clearance(name="low", max_tier="public")
    run = runs.start(make_policy().policy_id, by=ADMIN)
    runs.go_on(run.run_id, by=ADMIN, size=1)

    assert "As 2 readers see them" in told("verify")[0]
    assert lines("verify", "--clearance", "low") == [
        {"open": 0, "decided": 1, "decisions": 1, "retired": 1, "readers": 1}
    ]
    with pytest.raises(CommandError, match="There is no clearance named 'none'"):
        told("verify", "--clearance", "none")


def test_what_is_not_as_it_is_told_is_a_finding_and_an_error():
    make_group("user:ada", "Paris", "London")
    tried(make_policy())
    GroupClass.objects.update(klass="unrelated")

    with pytest.raises(CommandError, match="2 findings") as failed:
        told("verify")

    assert failed.value.returncode == 1


def test_policies_are_listed():
    policy = make_policy(name="House rules", namespace="sales")

    words, _ = told("policies")

    assert f"{policy.policy_id}  House rules v1 (namespace sales): latest_event" in words
    assert lines("policies")[0]["rules"] == [{"rule": "latest_event"}]


def test_a_dry_run_tells_each_group_and_the_sum():
    _, london = make_group("user:ada", "Paris", "London")
    make_group("user:bob", "Paris is nice.", "paris is nice")
    policy = make_policy(classes=["update"])

    words, beside = told("dry-run", policy.policy_id)

    assert f"user:ada / city: keep {london.memory_id} (latest_event: it happened last)" in words
    assert "user:bob / city: left: The policy does not decide groups of this class." in words
    assert "2 open groups: 1 would be decided; 1 by latest_event; 1 left" in beside
    assert [line["left"] for line in lines("dry-run", policy.policy_id)] == ["", "class"]
    assert not Decision.objects.exists()


def test_a_policy_is_carried_out_gone_on_with_and_taken_back():
    groups = [make_group(f"user:{name}", "Paris", "London") for name in "abc"]
    policy = make_policy()
    broken_off = runs.go_on(runs.start(policy.policy_id, by=ADMIN).run_id, by=ADMIN, size=1)

    words, beside = told("apply", policy.policy_id, "--run", broken_off.run_id)

    assert f"Run {broken_off.run_id}: 3 open groups, 3 decided, 0 left to people." in words
    assert str(broken_off.run_id) in beside
    assert all(set(standing(group).values()) == {"active", "retired"} for group in groups)
    (again,) = lines("apply", policy.policy_id)
    assert (again["seen"], again["decided"]) == (0, 0)

    assert told("undo-run", broken_off.run_id, "--reason", "Was a mistake.")[0] == "3 decisions undone.\n"
    assert all(set(standing(group).values()) == {"active"} for group in groups)


def test_as_somebody_it_does_what_they_see_and_may():
    make_group("user:ada", "Paris", "London", tier="restricted")
    policy = make_policy(by=admin(max_tier="public"))
    make_user("root", scopes="admin", max_tier="public")
    make_user("sue", scopes="read inspect", max_tier="restricted")

    assert lines("dry-run", policy.policy_id, "--as", "root") == []
    assert len(lines("dry-run", policy.policy_id, "--as", "sue")) == 1
    with pytest.raises(CommandError, match="user:sue may not do that"):
        told("apply", policy.policy_id, "--as", "sue")
    assert not PolicyRun.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dry-run", uuid4()], "There is no such policy."),
        (["apply", uuid4()], "There is no such policy."),
        (["apply", uuid4(), "--run", uuid4()], "There is no such run of this policy."),
        (["undo-run", uuid4(), "--reason", "x"], "There is no such run."),
        (["policies", "--as", "nobody"], "There is no user named 'nobody'."),
        (["undo-run", uuid4()], "--reason"),
        (["apply", "first"], "invalid UUID value"),
        (["settle"], "invalid choice"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(arguments, words):
    with pytest.raises(CommandError, match=words):
        told(*arguments)


def test_a_disabled_policy_is_not_carried_out():
    policy = change(make_policy(), is_enabled=False)

    with pytest.raises(CommandError, match="The policy is disabled"):
        told("apply", policy.policy_id)


def test_no_control_character_reaches_the_terminal():
    make_group("user:\x1b[2J", "Paris", "London")

    assert "\x1b" not in told("dry-run", make_policy().policy_id)[0]
