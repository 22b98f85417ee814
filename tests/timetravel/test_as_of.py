"""manage.py as_of: all that was known or believed at an instant, as JSON lines."""

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from memoryhub.audit.models import AuditEntry
from memoryhub.ops import exporting
from tests.builders import at, make_clearance, make_memory

pytestmark = pytest.mark.django_db

MARCH = at("2026-03-01 12:00")


@pytest.fixture
def as_of(capfdbinary: Any) -> Any:
    """What it writes: the contents of its lines, and what it says besides."""

    def run(*arguments: str) -> tuple[list[str], str]:
        said = io.StringIO()
        call_command("as_of", *arguments, stderr=said, no_color=True)
        lines, besides = capfdbinary.readouterr()
        assert besides == b"", "progress is for terminals"
        return [json.loads(line)["content"] for line in lines.splitlines()], said.getvalue()

    return run


def said(content: str, day: int, **fields: Any) -> Any:
    about: dict[str, Any] = {"subject": "user:ada", "timestamp": at(f"2026-03-{day:02} 12:00")} | fields
    return make_memory(content=content, **about)


def test_writes_what_had_happened_newest_first_page_after_page(as_of, monkeypatch):
    monkeypatch.setattr(exporting, "MAX_LIMIT", 2)
    for day in range(1, 8):
        said(f"Day {day}.", day)

    lines, told = as_of("2026-03-05T12:00:00Z")

    assert lines == [f"Day {day}." for day in (5, 4, 3, 2, 1)]
    assert told.startswith("5 lines written: as_of 2026-03-05T12:00:00+00:00, known_at 20")


def test_writes_each_view(as_of):
    first = said("Paris.", 1, payload_id="p")
    said("London.", 2, payload_id="p")
    said("Rome.", 3, payload_id="q")

    assert as_of("2026-04-01")[0] == ["Rome.", "London."]
    assert as_of("2026-04-01", "--view", "state")[0] == ["Rome."]
    assert as_of("2026-04-01", "--view", "history", "--subject", "user:ada")[0] == ["Rome.", "London.", "Paris."]
    assert as_of("--known-at", first.recorded_at.isoformat())[0] == ["Paris."]


def test_leaves_out_what_a_clearance_does_not_see_and_what_the_filters_do_not_find(as_of):
    said("Open.", 1, labels=["eu", "hr"])
    said("Not so open.", 2, tier="restricted", labels=["eu"])
    make_clearance(name="low", max_tier="public")

    assert as_of("2026-04-01", "--label", "eu")[0] == ["Not so open.", "Open."]
    assert as_of("2026-04-01", "--label", "eu", "--label", "hr")[0] == ["Open."]
    assert as_of("2026-04-01", "--label", "eu", "--clearance", "low")[0] == ["Open."]


def test_says_that_what_lies_in_the_future_is_now(as_of):
    assert " (now), known_at " in as_of("2999-01-01")[1]


def test_is_in_the_ledger_once_with_its_question(as_of, monkeypatch):
    monkeypatch.setattr(exporting, "MAX_LIMIT", 1)
    said("One.", 1)
    said("Two.", 2)
    as_of("2026-04-01", "--view", "state", "--label", "a&b")

    entry = AuditEntry.objects.get(action="memory.export")
    assert (entry.principal, entry.route) == ("system:export", "as_of")
    assert entry.query == "label=a%26b&view=state&as_of=2026-04-01"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "as_of is needed here, unless known_at is given."),
        (["yesterday"], "as_of must be an RFC 3339 instant with a zone"),
        (["2026-03-01T12:00:00"], "as_of must be an RFC 3339 instant with a zone"),
        (["2026-03-01", "--known-at", "never"], "known_at must be an RFC 3339 instant with a zone"),
        (["2026-03-01", "--view", "history"], "subject is needed for a history."),
        (["2026-03-01", "--status", "lost"], "status must be one of active"),
        (["2026-03-01", "--clearance", "nobody's"], "There is no clearance named"),
    ],
)
def test_says_what_is_wrong_in_a_sentence_and_enters_nothing(as_of, arguments, why):
    with pytest.raises(CommandError, match=why) as refused:
        as_of(*arguments)

    assert refused.value.returncode == 1
    assert not AuditEntry.objects.filter(action="memory.export").exists()
