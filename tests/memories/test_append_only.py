"""Nothing is updated in place and nothing is deleted: the table's triggers, tested in SQL."""

import json
import uuid
from datetime import datetime, timedelta

import psycopg
import pytest
from django.db import DatabaseError, transaction

from memoryhub.memories.fields import FIELDS
from memoryhub.memories.models import Memory
from tests.memories.raw_rows import close_version, execute, insert_whole_row, stored_row

pytestmark = pytest.mark.django_db

FORBIDDEN_CHANGES = {
    "id": "id + 1000",
    "memory_id": "gen_random_uuid()",
    "version": "version + 1",
    "timestamp": "timestamp + interval '1 microsecond'",
    "schema_version": "schema_version + 1",
    "actor_type": "'user'",
    "embedding": "'[1]'",
    "masked_content": "'x'",
    "metadata": """'{"a": 1}'""",
    "sensitivity_labels": "'{pii}'",
    "classification_tier": "'internal'",
    "kind": "'summary'",
    "pinned": "true",
    "expires_at": "now()",
    "propagation": "'{}'",
    "normalized_labels": "'{pii}'",
    "defaulted_fields": "'{model}'",
    "fingerprint": "'x'",
    "content_sha256": "'x'",
    "value_sha256": "'x'",
    "is_future_dated": "true",
    "asserted_at": "now()",
    "asserted_version_id": "0",
    "recorded_at": "recorded_at - interval '1 day'",
    "status": "'retired'",
    "decision_id": "'00000000-0000-0000-0000-000000000007'",
    "sent_labels": "'{pii}'",
    "exceeds_source_clearance": "true",
    "is_spelling_rejection": "true",
    "decision_exceeds_source": "true",
}
TEXTS = {
    "payload_id", "request_id", "source", "subject", "namespace", "destination", "collection", "content", "model",
    "role", "idempotency_key", "transform_version", "actor_id", "sent_namespace", "sent_tier",
}  # fmt: skip
ERASED_COLUMNS = ", ".join(
    ["status = 'erased'", *(f"{field.name} = {field.erased_value}" for field in FIELDS if field.erased_value)]
)


def error_message(statement: str, *parameters: object) -> str:
    """The SQLSTATE with which the database refuses."""
    with pytest.raises(DatabaseError) as exc_info, transaction.atomic():
        execute(statement, *parameters)
    assert isinstance(exc_info.value.__cause__, psycopg.Error)
    return exc_info.value.__cause__.sqlstate or ""


def test_every_column_is_tried():
    columns = {field.column for field in Memory._meta.concrete_fields}

    assert columns == {*FORBIDDEN_CHANGES, *TEXTS, "superseded_at"}


@pytest.mark.parametrize("column", sorted({*FORBIDDEN_CHANGES, *TEXTS}))
@pytest.mark.parametrize("is_closed", [False, True], ids=["current", "closed"])
def test_no_column_can_be_changed(column, is_closed):
    row = insert_whole_row()
    if is_closed:
        close_version(row)
    before = stored_row(row)

    change = FORBIDDEN_CHANGES.get(column, f"{column} || 'x'")
    state = error_message(f"UPDATE memories SET {column} = {change} WHERE id = %s", row)

    # 428C9: a generated column can be set to nothing at all.
    assert state == ("428C9" if column in ("content_sha256", "is_future_dated") else "23000")
    assert stored_row(row) == before


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM memories",
        "DELETE FROM memories WHERE false",
        "TRUNCATE memories",
        "TRUNCATE memories CASCADE",
        "WITH gone AS (DELETE FROM memories RETURNING 1) SELECT count(*) FROM gone",
        "MERGE INTO memories USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE",
        "MERGE INTO memories USING (SELECT 1) AS s ON true WHEN MATCHED THEN UPDATE SET content = 'x'",
    ],
)
def test_nothing_is_deleted(statement):
    row = insert_whole_row()
    before = stored_row(row)

    assert error_message(statement) == "23000"

    assert stored_row(row) == before


def test_an_upsert_is_a_change_too():
    row = insert_whole_row()
    before = stored_row(row)

    columns = ", ".join(_writable_columns())
    state = error_message(
        f"INSERT INTO memories ({columns}) SELECT {columns} FROM memories"
        " ON CONFLICT (memory_id, version) WHERE version >= 1 DO UPDATE SET content = 'x'"
    )

    assert state == "23000"
    assert stored_row(row) == before


def _writable_columns() -> list[str]:
    return [f"{f.column}" for f in Memory._meta.concrete_fields if not f.generated and f.column != "id"]


def test_the_models_own_methods_are_no_way_around_it():
    insert_whole_row()
    memory = Memory.objects.get()

    with pytest.raises(TypeError):
        memory.save()
    for change in (memory.delete, Memory.objects.all().delete, lambda: Memory.objects.update(content="x")):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()
    assert Memory.objects.get().content == "Ada lives in Paris."


def test_a_version_is_closed_once_at_an_instant_that_the_database_chooses():
    row = insert_whole_row()
    execute("SELECT record_time_next()")
    execute("UPDATE memories SET superseded_at = '2000-01-01Z' WHERE id = %s", row)
    closed_row = stored_row(row)

    assert datetime.fromisoformat(closed_row["superseded_at"]) > datetime.fromisoformat(closed_row["recorded_at"])
    for new_value in ("'2030-01-01Z'", "NULL", "superseded_at + interval '1 microsecond'"):
        assert error_message(f"UPDATE memories SET superseded_at = {new_value} WHERE id = %s", row) == "23000"
    assert stored_row(row) == closed_row


def test_closing_changes_nothing_else():
    row = insert_whole_row()
    before = stored_row(row)
    execute("SELECT record_time_next()")
    for assignment in ("content = 'x'", "status = 'retired'", "recorded_at = recorded_at - interval '1 day'"):
        assert error_message(f"UPDATE memories SET superseded_at = now(), {assignment} WHERE id = %s", row) == "23000"

    execute("UPDATE memories SET superseded_at = now() WHERE id = %s", row)

    assert {name for name, value in stored_row(row).items() if value != before[name]} == {"superseded_at"}


@pytest.mark.parametrize("is_closed", [False, True], ids=["current", "closed"])
def test_erasing_blanks_what_was_said_and_nothing_else(is_closed):
    row = insert_whole_row(
        embedding="[1,2]", metadata='{"a": "secret"}', propagation='{"b": "secret"}', sensitivity_labels=["PII"],
        normalized_labels=["pii"], content="My secret.", masked_content="My secret, masked.",
    )  # fmt: skip
    if is_closed:
        close_version(row)
    before = stored_row(row)

    execute(f"UPDATE memories SET {ERASED_COLUMNS} WHERE id = %s", row)

    after = stored_row(row)
    changed_columns = {name for name, value in after.items() if value != before[name]}
    assert changed_columns == {
        "status", "content", "masked_content", "embedding", "metadata", "propagation", "fingerprint",
        "content_sha256", "value_sha256",
    }  # fmt: skip
    assert "secret" not in json.dumps(after)
    assert (after["content"], after["embedding"], after["metadata"]) == ("", None, {})
    # and there is no way back
    for change in ("status = 'active', content = 'x'", "content = 'x'", "metadata = '{\"a\": 1}'", "subject = ''"):
        assert error_message(f"UPDATE memories SET {change} WHERE id = %s", row) == "23000"
    assert stored_row(row) == after


@pytest.mark.parametrize(
    "remaining_column",
    [
        "content = ''",
        "masked_content = NULL",
        "embedding = NULL",
        "metadata = '{}'",
        "propagation = NULL",
        "fingerprint = ''",
    ],
)
def test_an_erasure_that_leaves_something_is_refused(remaining_column):
    row = insert_whole_row(embedding="[1]", masked_content="x", metadata='{"a": 1}', propagation='{"b": 1}')

    assert (
        error_message(f"UPDATE memories SET {ERASED_COLUMNS.replace(f', {remaining_column}', '')} WHERE id = %s", row)
        == "23000"
    )
    assert error_message(f"UPDATE memories SET {ERASED_COLUMNS}, subject = '' WHERE id = %s", row) == "23000"
    assert (
        error_message(f"UPDATE memories SET {ERASED_COLUMNS}, memory_id = %s WHERE id = %s", uuid.uuid4(), row)
        == "23000"
    )


def test_a_forged_record_time_is_overwritten():
    execute("SELECT record_time_next()")
    ((instant,),) = execute("SELECT record_time_current()")
    row = insert_whole_row(recorded_at=instant - timedelta(days=365), superseded_at=instant + timedelta(days=365))

    assert Memory.objects.get(id=row).recorded_at == instant
    assert Memory.objects.get(id=row).superseded_at is None


def test_what_comes_from_another_table_is_stamped_like_an_insert():
    source = insert_whole_row()
    columns = ", ".join(_writable_columns())
    ((instant,),) = execute("SELECT record_time_next()")
    execute(f"CREATE TEMP TABLE forged AS SELECT {columns} FROM memories WHERE id = %s", source)
    execute(
        "UPDATE forged SET memory_id = gen_random_uuid(), payload_id = 'p-2', superseded_at = '2001-01-01Z',"
        " recorded_at = '2000-01-01Z'"
    )
    execute(f"INSERT INTO memories ({columns}) SELECT {columns} FROM forged")

    copied_memory = Memory.objects.get(payload_id="p-2")
    assert (copied_memory.recorded_at, copied_memory.superseded_at) == (instant, None)
