"""The constraints of the table, which hold for every writer."""

import uuid
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, transaction

from memoryhub.memories.models import Memory
from tests.memories.raw_rows import close_version, execute, insert_whole_row

pytestmark = pytest.mark.django_db

INVALID_ROWS = [
    ("memories_actor_type", {"actor_type": "robot"}),
    ("memories_actor_type", {"actor_type": ""}),
    ("memories_actor_type", {"actor_type": "Agent"}),
    ("memories_kind", {"kind": "guess"}),
    ("memories_kind", {"kind": ""}),
    ("memories_status", {"status": "deleted"}),
    ("memories_status", {"status": ""}),
    ("memories_tier", {"classification_tier": "Top Secret"}),
    ("memories_tier", {"classification_tier": "public "}),
    ("memories_tier", {"classification_tier": "public\n"}),
    ("memories_tier", {"classification_tier": "öffentlich"}),
    ("memories_identity_not_empty", {"payload_id": ""}),
    ("memories_identity_not_empty", {"source": ""}),
    ("memories_versions_positive", {"version": 0}),
    ("memories_versions_positive", {"schema_version": 0}),
    ("memories_timestamp_readable", {"timestamp": "infinity"}),
    ("memories_timestamp_readable", {"timestamp": "-infinity"}),
    ("memories_timestamp_readable", {"timestamp": "0001-12-31 23:59:59.999999Z BC"}),
    ("memories_timestamp_readable", {"timestamp": "10000-01-01 00:00:00Z"}),
    ("memories_labels_length", {"sensitivity_labels": [f"l{n}" for n in range(129)]}),
    ("memories_labels_length", {"sensitivity_labels": ["a"], "normalized_labels": ["a", "b"]}),
    ("memories_labels_length", {"sensitivity_labels": [], "normalized_labels": ["a"]}),
    ("memories_content_matches_status", {"content": ""}),
    ("memories_content_matches_status", {"status": "erased", "content": "still here"}),
]
TOO_LONG_VALUES = [
    "payload_id", "request_id", "source", "subject", "namespace", "destination", "collection", "model", "role",
    "idempotency_key", "transform_version", "actor_id", "sent_namespace",
]  # fmt: skip
NOT_NULL_COLUMNS = sorted(
    {f"{field.column}" for field in Memory._meta.concrete_fields if not field.null and not field.generated}
)


def insert_error(**fields: Any) -> psycopg.Error:
    with pytest.raises(DatabaseError) as exc_info, transaction.atomic():
        insert_whole_row(**fields)
    assert isinstance(exc_info.value.__cause__, psycopg.Error)
    return exc_info.value.__cause__


def test_every_check_of_the_table_is_tried():
    rows = execute("SELECT conname FROM pg_constraint WHERE conrelid = 'memories'::regclass AND contype = 'c'")
    # A PositiveIntegerField brings its own: memories_versions_positive is stricter. Closing proves memories_half_open
    # below.
    own_constraints = {name for (name,) in rows if not name.endswith("_version_check")}

    assert own_constraints == {name for name, _ in INVALID_ROWS} | {"memories_half_open"}


@pytest.mark.parametrize(
    ("constraint", "fields"), INVALID_ROWS, ids=[f"{name}-{n}" for n, (name, _) in enumerate(INVALID_ROWS)]
)
def test_a_bad_row_is_refused(constraint, fields):
    error = insert_error(**fields)

    assert error.sqlstate == "23514"
    allowed = {constraint, f"memories_{next(iter(fields))}_check"}
    assert error.diag.constraint_name in allowed


@pytest.mark.parametrize("column", TOO_LONG_VALUES)
def test_a_name_has_at_most_255_characters(column):
    assert insert_error(**{column: "x" * 256}).sqlstate == "22001"

    insert_whole_row(**{column: "\U0001f600" * 255})


@pytest.mark.parametrize("column", [name for name in NOT_NULL_COLUMNS if name not in ("id", "recorded_at")])
def test_nothing_is_null_that_has_to_be_known(column):
    assert insert_error(**{column: None}).sqlstate == "23502"


@pytest.mark.parametrize(
    "fields",
    [
        {"timestamp": "0001-01-01 00:00:00Z"},
        {"timestamp": datetime.max.replace(tzinfo=UTC)},
        {"classification_tier": ""},
        {"classification_tier": "a-tier_of.2031"},
        {"sensitivity_labels": [f"l{n}" for n in range(64)], "normalized_labels": [f"l{n}" for n in range(64)]},
        {"status": "erased", "content": ""},
        {"content": " "},
        {"schema_version": 32767, "version": 2**31 - 1},
    ],
)
def test_a_row_at_the_edge_is_stored(fields):
    row = Memory.objects.get(id=insert_whole_row(**fields))

    assert row.timestamp.year in range(1, 10_000)


def test_an_interval_is_never_empty():
    """A version that was closed at the instant at which it was written would never have been believed."""
    row = insert_whole_row()
    with pytest.raises(DatabaseError) as exc_info, transaction.atomic():
        execute("UPDATE memories SET superseded_at = now() WHERE id = %s", row)

    assert isinstance(exc_info.value.__cause__, psycopg.Error)
    assert exc_info.value.__cause__.diag.constraint_name == "memories_half_open"


def test_an_identity_has_one_current_row():
    row = insert_whole_row(payload_id="p", source="crm")
    error = insert_error(payload_id="p", source="crm")
    assert (error.sqlstate, error.diag.constraint_name) == ("23505", "memories_identity")

    insert_whole_row(payload_id="p", source="mail")
    insert_whole_row(payload_id="P", source="crm")
    close_version(row)
    insert_whole_row(payload_id="p", source="crm")

    assert Memory.objects.filter(payload_id="p", source="crm").count() == 2


def test_a_version_of_a_memory_stands_once():
    memory_id = uuid.uuid4()
    insert_whole_row(memory_id=memory_id, payload_id="a")

    error = insert_error(memory_id=memory_id, payload_id="b")

    assert (error.sqlstate, error.diag.constraint_name) == ("23505", "memories_version")


def test_ids_in_composed_and_decomposed_form_are_two_ids():
    """Names compare byte by byte: what a writer calls different is different (UN-01)."""
    insert_whole_row(payload_id="caf\u00e9")
    insert_whole_row(payload_id="cafe\u0301")

    assert Memory.objects.filter(payload_id="caf\u00e9").count() == 1
