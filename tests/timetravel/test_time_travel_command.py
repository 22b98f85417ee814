"""manage.py time_travel: all that was known or believed at an instant, as JSON lines."""

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from memoryhub.audit.models import AuditEntry
from memoryhub.transfer import jsonl_export
from tests.factories import make_clearance, make_memory, utc

pytestmark = pytest.mark.django_db

MARCH_NOON = utc("2026-03-01 12:00")


@pytest.fixture
def run_time_travel(capfdbinary: Any) -> Any:
    """What it writes: the contents of its lines, and what it says besides."""

    def run_command(*arguments: str) -> tuple[list[str], str]:
        stderr = io.StringIO()
        call_command("time_travel", *arguments, stderr=stderr, no_color=True)
        lines, err = capfdbinary.readouterr()
        assert err == b"", "progress is for terminals"
        return [json.loads(line)["content"] for line in lines.splitlines()], stderr.getvalue()

    return run_command


def make_value(content: str, day: int, **fields: Any) -> Any:
    subject_fields: dict[str, Any] = {"subject": "user:ada", "timestamp": utc(f"2026-03-{day:02} 12:00")} | fields
    return make_memory(content=content, **subject_fields)


def test_writes_what_had_happened_newest_first_page_after_page(run_time_travel, monkeypatch):
    monkeypatch.setattr(jsonl_export, "MAX_LIMIT", 2)
    for day in range(1, 8):
        make_value(f"Day {day}.", day)

    lines, summary = run_time_travel("2026-03-05T12:00:00Z")

    assert lines == [f"Day {day}." for day in (5, 4, 3, 2, 1)]
    assert summary.startswith("5 lines written: as_of 2026-03-05T12:00:00+00:00, known_at 20")


def test_writes_each_view(run_time_travel):
    first = make_value("Paris.", 1, payload_id="p")
    make_value("London.", 2, payload_id="p")
    make_value("Rome.", 3, payload_id="q")

    assert run_time_travel("2026-04-01")[0] == ["Rome.", "London."]
    assert run_time_travel("2026-04-01", "--view", "state")[0] == ["Rome."]
    assert run_time_travel("2026-04-01", "--view", "history", "--subject", "user:ada")[0] == [
        "Rome.",
        "London.",
        "Paris.",
    ]
    assert run_time_travel("--known-at", first.recorded_at.isoformat())[0] == ["Paris."]


def test_leaves_out_what_a_clearance_does_not_see_and_what_the_filters_do_not_find(run_time_travel):
    make_value("Open.", 1, labels=["eu", "hr"])
    make_value("Not so open.", 2, tier="restricted", labels=["eu"])
    make_clearance(name="low", max_tier="public")

    assert run_time_travel("2026-04-01", "--label", "eu")[0] == ["Not so open.", "Open."]
    assert run_time_travel("2026-04-01", "--label", "eu", "--label", "hr")[0] == ["Open."]
    assert run_time_travel("2026-04-01", "--label", "eu", "--clearance", "low")[0] == ["Open."]


def test_says_that_what_lies_in_the_future_is_now(run_time_travel):
    assert " (now), known_at " in run_time_travel("2999-01-01")[1]


def test_is_in_the_audit_log_once_with_its_query(run_time_travel, monkeypatch):
    monkeypatch.setattr(jsonl_export, "MAX_LIMIT", 1)
    make_value("One.", 1)
    make_value("Two.", 2)
    run_time_travel("2026-04-01", "--view", "state", "--label", "a&b")

    entry = AuditEntry.objects.get(action="memory.export")
    assert (entry.principal, entry.route) == ("system:export", "time_travel")
    assert entry.query == "label=a%26b&view=state&as_of=2026-04-01"


@pytest.mark.parametrize(
    ("arguments", "error_text"),
    [
        ([], "as_of is required unless known_at is given."),
        (["yesterday"], "as_of must be an RFC 3339 instant with a zone"),
        (["2026-03-01T12:00:00"], "as_of must be an RFC 3339 instant with a zone"),
        (["2026-03-01", "--known-at", "never"], "known_at must be an RFC 3339 instant with a zone"),
        (["2026-03-01", "--view", "history"], "subject is required for a history."),
        (["2026-03-01", "--status", "lost"], "status must be one of active"),
        (["2026-03-01", "--clearance", "nobody's"], "There is no clearance named"),
    ],
)
def test_says_what_is_wrong_in_a_sentence_and_enters_nothing(run_time_travel, arguments, error_text):
    with pytest.raises(CommandError, match=error_text) as exc_info:
        run_time_travel(*arguments)

    assert exc_info.value.returncode == 1
    assert not AuditEntry.objects.filter(action="memory.export").exists()
