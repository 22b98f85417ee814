"""`manage.py conflicts`: policies from the command line, with words or JSON, and exit codes that scripts can use."""

import json
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from memoryhub.conflicts.models import Decision, GroupClassCache, PolicyRun
from memoryhub.conflicts.policies import policy_runs
from tests.conflicts.policies.policy_factories import (
    ADMIN,
    change_policy,
    dry_run_policy,
    make_admin,
    make_group,
    make_policy,
    statuses_by_content,
)
from tests.factories import make_clearance, make_user

pytestmark = pytest.mark.django_db


def run_command(*arguments: Any) -> tuple[str, str]:
    """What is written, and what is said beside it."""
    stdout, stderr = StringIO(), StringIO()
    call_command("conflicts", *map(str, arguments), stdout=stdout, stderr=stderr)
    return stdout.getvalue(), stderr.getvalue()


def run_json_command(*arguments: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run_command(*arguments, "--json")[0].splitlines()]


def test_all_conflicts_are_found_anew_and_compared():
    make_group("user:ada", "Paris", "London")
    make_group("user:bob", "Paris", "London", tier="restricted")
    make_clearance(name="low", max_tier="public")
    run = policy_runs.start_run(make_policy().policy_id, principal=ADMIN)
    policy_runs.advance_run(run.run_id, principal=ADMIN, batch_size=1)

    assert "As 2 readers see them" in run_command("verify")[0]
    assert run_json_command("verify", "--clearance", "low") == [
        {"open": 0, "decided": 1, "decisions": 1, "retired": 1, "clearance_count": 1}
    ]
    with pytest.raises(CommandError, match="There is no clearance named 'none'"):
        run_command("verify", "--clearance", "none")


def test_an_inconsistency_is_a_finding_and_an_error():
    make_group("user:ada", "Paris", "London")
    dry_run_policy(make_policy())
    GroupClassCache.objects.update(conflict_class="unrelated")

    with pytest.raises(CommandError, match="2 findings") as exc_info:
        run_command("verify")

    assert exc_info.value.returncode == 1


def test_policies_are_listed():
    policy = make_policy(name="House rules", namespace="sales")

    output, _ = run_command("policies")

    assert f"{policy.policy_id}  House rules v1 (namespace sales): latest_event" in output
    assert run_json_command("policies")[0]["rules"] == [{"rule": "latest_event"}]


def test_a_dry_run_lists_each_group_and_the_totals():
    _, london = make_group("user:ada", "Paris", "London")
    make_group("user:bob", "Paris is nice.", "paris is nice")
    policy = make_policy(classes=["update"])

    output, stderr = run_command("dry-run", policy.policy_id)

    assert f"user:ada / city: keep {london.memory_id} (latest_event: its event time is the latest)" in output
    assert "user:bob / city: left: The policy does not decide groups of this class." in output
    assert "2 open groups: 1 would be decided; 1 by latest_event; 1 left" in stderr
    assert [line["skip_reason"] for line in run_json_command("dry-run", policy.policy_id)] == ["", "class_not_covered"]
    assert not Decision.objects.exists()


def test_a_policy_is_carried_out_gone_on_with_and_taken_back():
    groups = [make_group(f"user:{name}", "Paris", "London") for name in "abc"]
    policy = make_policy()
    broken_off = policy_runs.advance_run(
        policy_runs.start_run(policy.policy_id, principal=ADMIN).run_id, principal=ADMIN, batch_size=1
    )

    output, stderr = run_command("apply", policy.policy_id, "--run", broken_off.run_id)

    assert f"Run {broken_off.run_id}: 3 open groups, 3 decided, 0 left to curators." in output
    assert str(broken_off.run_id) in stderr
    assert all(set(statuses_by_content(group).values()) == {"active", "retired"} for group in groups)
    (second_result,) = run_json_command("apply", policy.policy_id)
    assert (second_result["groups_seen"], second_result["decisions_made"]) == (0, 0)

    assert run_command("undo-run", broken_off.run_id, "--reason", "Was a mistake.")[0] == "3 decisions undone.\n"
    assert all(set(statuses_by_content(group).values()) == {"active"} for group in groups)


def test_as_somebody_it_does_what_they_see_and_may():
    make_group("user:ada", "Paris", "London", tier="restricted")
    policy = make_policy(principal=make_admin(max_tier="public"))
    make_user("root", scopes="admin", max_tier="public")
    make_user("sue", scopes="read curate", max_tier="restricted")

    assert run_json_command("dry-run", policy.policy_id, "--as", "root") == []
    assert len(run_json_command("dry-run", policy.policy_id, "--as", "sue")) == 1
    with pytest.raises(CommandError, match="user:sue lacks a permission"):
        run_command("apply", policy.policy_id, "--as", "sue")
    assert not PolicyRun.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "error_text"),
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
def test_what_cannot_be_done_is_said_in_a_sentence(arguments, error_text):
    with pytest.raises(CommandError, match=error_text):
        run_command(*arguments)


def test_a_disabled_policy_is_not_carried_out():
    policy = change_policy(make_policy(), is_enabled=False)

    with pytest.raises(CommandError, match="The policy is disabled"):
        run_command("apply", policy.policy_id)


def test_no_control_character_reaches_the_terminal():
    make_group("user:\x1b[2J", "Paris", "London")

    assert "\x1b" not in run_command("dry-run", make_policy().policy_id)[0]
