"""Nothing is updated in place and nothing is deleted, whoever asks: the table's triggers, asked in SQL."""

import json
import uuid
from datetime import datetime, timedelta

import psycopg
import pytest
from django.db import DatabaseError, transaction

from memoryhub.memories.models import Memory
from tests.memories.rows import close, execute, insert, stored

pytestmark = pytest.mark.django_db

CHANGES = {
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
    "label_keys": "'{pii}'",
    "defaulted": "'{model}'",
    "fingerprint": "'x'",
    "content_sha256": "'x'",
    "value_sha256": "'x'",
    "search": "to_tsvector('x')",
    "foretold": "true",
    "said_at": "now()",
    "said_id": "0",
    "recorded_at": "recorded_at - interval '1 day'",
    "status": "'retired'",
    "decision": "'00000000-0000-0000-0000-000000000007'",
    "sent_labels": "'{pii}'",
    "beyond_source": "true",
    "is_other_spelling": "true",
    "decided_beyond_source": "true",
}
TEXTS = {
    "payload_id", "request_id", "source", "subject", "namespace", "destination", "collection", "content", "model",
    "role", "idempotency_key", "transform_version", "actor_id", "sent_namespace", "sent_tier",
}  # fmt: skip
ERASED = (
    "status = 'erased', content = '', masked_content = NULL, embedding = NULL, metadata = '{}', propagation = NULL,"
    " fingerprint = ''"
)


def refused(statement: str, *parameters: object) -> str:
    """The SQLSTATE with which the database refuses."""
    with pytest.raises(DatabaseError) as caught, transaction.atomic():
        execute(statement, *parameters)
    assert isinstance(caught.value.__cause__, psycopg.Error)
    return caught.value.__cause__.sqlstate or ""


def test_every_column_is_tried():
    columns = {field.column for field in Memory._meta.concrete_fields}

    assert columns == {*CHANGES, *TEXTS, "superseded_at"}


@pytest.mark.parametrize("column", sorted({*CHANGES, *TEXTS}))
@pytest.mark.parametrize("is_closed", [False, True], ids=["current", "closed"])
def test_no_column_can_be_changed(column, is_closed):
    row = insert()
    if is_closed:
        close(row)
    before = stored(row)

    change = CHANGES.get(column, f"{column} || 'x'")
    state = refused(f"UPDATE memories SET {column} = {change} WHERE id = %s", row)

    # 428C9: a generated column can be set to nothing at all.
    assert state == ("428C9" if column in ("content_sha256", "search", "foretold") else "23000")
    assert stored(row) == before


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
    row = insert()
    before = stored(row)

    assert refused(statement) == "23000"

    assert stored(row) == before


def test_an_upsert_is_a_change_too():
    row = insert()
    before = stored(row)

    columns = ", ".join(_writable())
    state = refused(
        f"INSERT INTO memories ({columns}) SELECT {columns} FROM memories"
        " ON CONFLICT (memory_id, version) WHERE version >= 1 DO UPDATE SET content = 'x'"
    )

    assert state == "23000"
    assert stored(row) == before


def _writable() -> list[str]:
    return [f"{f.column}" for f in Memory._meta.concrete_fields if not f.generated and f.column != "id"]


def test_the_models_own_methods_are_no_way_around_it():
    insert()
    memory = Memory.objects.get()

    with pytest.raises(TypeError):
        memory.save()
    for change in (memory.delete, Memory.objects.all().delete, lambda: Memory.objects.update(content="x")):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()
    assert Memory.objects.get().content == "Ada lives in Paris."


def test_a_version_is_closed_once_at_an_instant_that_the_database_chooses():
    row = insert()
    execute("SELECT record_tick()")
    execute("UPDATE memories SET superseded_at = '2000-01-01Z' WHERE id = %s", row)
    closed = stored(row)

    assert datetime.fromisoformat(closed["superseded_at"]) > datetime.fromisoformat(closed["recorded_at"])
    for again in ("'2030-01-01Z'", "NULL", "superseded_at + interval '1 microsecond'"):
        assert refused(f"UPDATE memories SET superseded_at = {again} WHERE id = %s", row) == "23000"
    assert stored(row) == closed


def test_closing_changes_nothing_else():
    row = insert()
    before = stored(row)
    execute("SELECT record_tick()")
    for also in ("content = 'x'", "status = 'retired'", "recorded_at = recorded_at - interval '1 day'"):
        assert refused(f"UPDATE memories SET superseded_at = now(), {also} WHERE id = %s", row) == "23000"

    execute("UPDATE memories SET superseded_at = now() WHERE id = %s", row)

    assert {name for name, value in stored(row).items() if value != before[name]} == {"superseded_at"}


@pytest.mark.parametrize("is_closed", [False, True], ids=["current", "closed"])
def test_erasing_blanks_what_was_said_and_nothing_else(is_closed):
    row = insert(
        embedding="[1,2]", metadata='{"a": "secret"}', propagation='{"b": "secret"}', sensitivity_labels=["PII"],
        label_keys=["pii"], content="My secret.", masked_content="My secret, masked.",
    )  # fmt: skip
    if is_closed:
        close(row)
    before = stored(row)

    execute(f"UPDATE memories SET {ERASED} WHERE id = %s", row)

    after = stored(row)
    changed = {name for name, value in after.items() if value != before[name]}
    assert changed == {
        "status", "content", "masked_content", "embedding", "metadata", "propagation", "fingerprint",
        "content_sha256", "search", "value_sha256",
    }  # fmt: skip
    assert "secret" not in json.dumps(after)
    assert (after["content"], after["search"], after["embedding"], after["metadata"]) == ("", "", None, {})
    # and there is no way back
    for change in ("status = 'active', content = 'x'", "content = 'x'", "metadata = '{\"a\": 1}'", "subject = ''"):
        assert refused(f"UPDATE memories SET {change} WHERE id = %s", row) == "23000"
    assert stored(row) == after


@pytest.mark.parametrize(
    "left",
    [
        "content = ''",
        "masked_content = NULL",
        "embedding = NULL",
        "metadata = '{}'",
        "propagation = NULL",
        "fingerprint = ''",
    ],
)
def test_an_erasure_that_leaves_something_is_refused(left):
    row = insert(embedding="[1]", masked_content="x", metadata='{"a": 1}', propagation='{"b": 1}')

    assert refused(f"UPDATE memories SET {ERASED.replace(f', {left}', '')} WHERE id = %s", row) == "23000"
    assert refused(f"UPDATE memories SET {ERASED}, subject = '' WHERE id = %s", row) == "23000"
    assert refused(f"UPDATE memories SET {ERASED}, memory_id = %s WHERE id = %s", uuid.uuid4(), row) == "23000"


def test_a_forged_record_time_is_overwritten():
    execute("SELECT record_tick()")
    ((instant,),) = execute("SELECT record_instant()")
    row = insert(recorded_at=instant - timedelta(days=365), superseded_at=instant + timedelta(days=365))

    assert Memory.objects.get(id=row).recorded_at == instant
    assert Memory.objects.get(id=row).superseded_at is None


def test_what_comes_from_another_table_is_stamped_like_an_insert():
    source = insert()
    columns = ", ".join(_writable())
    ((instant,),) = execute("SELECT record_tick()")
    execute(f"CREATE TEMP TABLE forged AS SELECT {columns} FROM memories WHERE id = %s", source)
    execute(
        "UPDATE forged SET memory_id = gen_random_uuid(), payload_id = 'p-2', superseded_at = '2001-01-01Z',"
        " recorded_at = '2000-01-01Z'"
    )
    execute(f"INSERT INTO memories ({columns}) SELECT {columns} FROM forged")

    copied = Memory.objects.get(payload_id="p-2")
    assert (copied.recorded_at, copied.superseded_at) == (instant, None)
