from typing import Any

import orjson
import pytest

from inspector.presenters import memory_fields
from memoryhub.memories.records import DETAIL_FIELDS
from tests.factories import utc

pytestmark = pytest.mark.unit


def make_record(**fields_given: Any) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(DETAIL_FIELDS, "")
    return {
        **empty, "defaulted_fields": [], "sensitivity_labels": [], "metadata": None, "propagation": None, "version": 1,
        "timestamp": utc("2026-03-01 12:00"), "recorded_at": utc("2026-03-01 12:01"), "superseded_at": None,
        "expires_at": None, "pinned": False, "schema_version": 1, **fields_given,
    }  # fmt: skip


def make_field(name: str, **record_fields: Any) -> memory_fields.MemoryField:
    return next(
        field
        for group in memory_fields.group_fields(make_record(**record_fields))
        for field in group.fields
        if field.name == name
    )


@pytest.mark.parametrize(
    ("name", "record_fields", "expected_provenance"),
    [
        ("subject", {"subject": "user:ada"}, ("given", "user:ada")),
        ("subject", {"defaulted_fields": ["subject"]}, ("unknown", "unknown")),
        ("subject", {}, ("given", "empty")),
        ("kind", {"kind": "fact", "defaulted_fields": ["kind"]}, ("defaulted", "fact")),
        ("expires_at", {"defaulted_fields": ["expires_at"]}, ("unknown", "never")),
        ("superseded_at", {}, ("system", "not replaced")),
        ("version", {"version": 3}, ("system", "3")),
        ("pinned", {"pinned": True}, ("given", "yes")),
    ],
)
def test_given_defaulted_and_unknown_are_distinguished(
    name: str, record_fields: dict[str, Any], expected_provenance: tuple[str, str]
) -> None:
    provenance_field = make_field(name, **record_fields)

    assert (provenance_field.provenance, provenance_field.text or provenance_field.absent_label) == expected_provenance


def test_every_field_of_a_record_is_shown() -> None:
    other_fields = {"untrusted", "content", "metadata", "propagation", "defaulted_fields"}

    assert {field.name for group in memory_fields.group_fields(make_record()) for field in group.fields} == set(
        DETAIL_FIELDS
    ) - other_fields


def test_a_version_shows_what_it_changed() -> None:
    newer_record = make_record(
        version=2,
        content="Ada lives in Berlin.",
        classification_tier="internal",
        sensitivity_labels=["pii"],
        status="active",
    )
    older_record = make_record(
        version=1, content="Ada lives in Paris.", superseded_at=utc("2026-03-02 00:00"), status="active"
    )

    second, first = memory_fields.build_version_history([newer_record, older_record])

    assert [(change.label, change.before, change.after) for change in second.changes] == [
        ("classification_tier", "", "internal"),
        ("sensitivity_labels", "", "pii"),
    ]
    assert [piece.text for piece in second.segments] == ["Ada lives in ", "Paris", "Berlin", "."]
    assert (second.status, first.status, first.changes, first.segments) == ("active", "", [], [])


@pytest.mark.parametrize(
    ("stored_text", "expected_text"),
    [
        (None, ""),
        ("{}", ""),
        ('{"a": 1.10, "b": []}', '{\n  "a": 1.10,\n  "b": []\n}'),
        ('{"a": [1, {"b:{}": null}]}', '{\n  "a": [\n    1,\n    {\n      "b:{}": null\n    }\n  ]\n}'),
        ('{"q": "say \\"hi\\" {[,:"}', '{\n  "q": "say \\"hi\\" {[,:"\n}'),
        ('{"n": 123456789012345678901234567890}', '{\n  "n": 123456789012345678901234567890\n}'),
    ],
)
def test_documents_are_laid_out_and_their_values_left_alone(stored_text: str | None, expected_text: str) -> None:
    assert memory_fields.format_json(None if stored_text is None else orjson.Fragment(stored_text)) == expected_text
