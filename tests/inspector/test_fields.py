from typing import Any

import orjson
import pytest

from inspector import fields
from memoryhub.memories.records import WHOLE
from tests.builders import at


def record(**given: Any) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(WHOLE, "")
    return {
        **empty, "defaulted": [], "sensitivity_labels": [], "metadata": None, "propagation": None, "version": 1,
        "timestamp": at("2026-03-01 12:00"), "recorded_at": at("2026-03-01 12:01"), "superseded_at": None,
        "expires_at": None, "pinned": False, "schema_version": 1, **given,
    }  # fmt: skip


def field(name: str, **given: Any) -> fields.Field:
    return next(field for group in fields.grouped(record(**given)) for field in group.fields if field.name == name)


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("subject", {"subject": "user:ada"}, ("given", "user:ada")),
        ("subject", {"defaulted": ["subject"]}, ("unsaid", "unknown")),
        ("subject", {}, ("given", "empty")),
        ("kind", {"kind": "fact", "defaulted": ["kind"]}, ("defaulted", "fact")),
        ("expires_at", {"defaulted": ["expires_at"]}, ("unsaid", "never")),
        ("superseded_at", {}, ("hub", "not replaced")),
        ("version", {"version": 3}, ("hub", "3")),
        ("pinned", {"pinned": True}, ("given", "yes")),
    ],
)
def test_given_defaulted_and_unknown_are_told_apart(name: str, given: dict[str, Any], told: tuple[str, str]) -> None:
    shown = field(name, **given)

    assert (shown.origin, shown.text or shown.absent) == told


def test_every_field_of_a_record_is_shown() -> None:
    elsewhere = {"untrusted", "content", "metadata", "propagation", "defaulted"}

    assert {field.name for group in fields.grouped(record()) for field in group.fields} == set(WHOLE) - elsewhere


def test_a_version_tells_what_it_changed() -> None:
    newer = record(
        version=2,
        content="Ada lives in Berlin.",
        classification_tier="internal",
        sensitivity_labels=["pii"],
        status="active",
    )
    older = record(version=1, content="Ada lives in Paris.", superseded_at=at("2026-03-02 00:00"), status="active")

    second, first = fields.compared([newer, older])

    assert [(change.label, change.before, change.after) for change in second.changes] == [
        ("classification_tier", "", "internal"),
        ("sensitivity_labels", "", "pii"),
    ]
    assert [piece.text for piece in second.pieces] == ["Ada lives in ", "Paris", "Berlin", "."]
    assert (second.status, first.status, first.changes, first.pieces) == ("active", "", [], [])


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (None, ""),
        ("{}", ""),
        ('{"a": 1.10, "b": []}', '{\n  "a": 1.10,\n  "b": []\n}'),
        ('{"a": [1, {"b:{}": null}]}', '{\n  "a": [\n    1,\n    {\n      "b:{}": null\n    }\n  ]\n}'),
        ('{"q": "say \\"hi\\" {[,:"}', '{\n  "q": "say \\"hi\\" {[,:"\n}'),
        ('{"n": 123456789012345678901234567890}', '{\n  "n": 123456789012345678901234567890\n}'),
    ],
)
def test_documents_are_laid_out_and_their_values_left_alone(stored: str | None, shown: str) -> None:
    assert fields.pretty(None if stored is None else orjson.Fragment(stored)) == shown
