"""`manage.py diff`: the same diff as JSON lines."""

import json

import pytest
from django.core.management import CommandError, call_command, load_command_class

from memoryhub.audit.models import AuditEntry
from tests.factories import make_clearance, make_memory

pytestmark = pytest.mark.django_db
EARLIEST = "2000-01-01T00:00:00Z"


def test_it_writes_a_line_for_each_change_and_an_audit_entry(capsysbinary):
    make_memory(payload_id="a", subject="user:ada", content="Paris")
    make_memory(tier="restricted")
    make_clearance(name="low", max_tier="public")

    call_command("diff", "--since", EARLIEST, "--clearance", "low")

    (line,) = capsysbinary.readouterr().out.splitlines()
    assert json.loads(line)["kinds"] == ["added"]
    assert AuditEntry.objects.latest("seq").route == "diff"


@pytest.mark.parametrize(
    "arguments", [[], ["--since", "never"], ["--since", EARLIEST, "--clearance", "none"]], ids=" ".join
)
def test_what_it_cannot_answer_is_one_sentence(arguments):
    with pytest.raises(CommandError, match=r"^[^\n]+$"):
        call_command("diff", *arguments)


@pytest.mark.parametrize("command", ["export_memories", "time_travel", "diff"])
def test_the_help_of_a_command_names_the_value_of_a_filter_after_it(command):
    help_text = load_command_class("memoryhub.operations", command).create_parser("manage.py", command).format_help()

    assert "--payload-id PAYLOAD_ID" in help_text
    assert "FILTER_" not in help_text
