"""`manage.py diff`: the same diff as JSON lines."""

import json

import pytest
from django.core.management import CommandError, call_command, load_command_class

from memoryhub.audit.models import AuditEntry
from tests.builders import make_clearance, make_memory

pytestmark = pytest.mark.django_db
EVER = "2000-01-01T00:00:00Z"


def test_it_writes_a_line_for_each_change_and_tells_the_ledger(capsysbinary):
    make_memory(payload_id="a", subject="user:ada", content="Paris")
    make_memory(tier="restricted")
    make_clearance(name="low", max_tier="public")

    call_command("diff", "--since", EVER, "--clearance", "low")

    (line,) = capsysbinary.readouterr().out.splitlines()
    assert json.loads(line)["kinds"] == ["added"]
    assert AuditEntry.objects.latest("seq").route == "diff"


@pytest.mark.parametrize("asked", [[], ["--since", "never"], ["--since", EVER, "--clearance", "none"]], ids=" ".join)
def test_what_it_cannot_answer_is_one_sentence(asked):
    with pytest.raises(CommandError, match=r"^[^\n]+$"):
        call_command("diff", *asked)


@pytest.mark.parametrize("command", ["export_memories", "as_of", "diff"])
def test_the_help_of_a_command_calls_the_value_of_a_filter_a_value(command):
    words = load_command_class("memoryhub.ops", command).create_parser("manage.py", command).format_help()

    assert "--q VALUE" in words
    assert "FILTER_" not in words
