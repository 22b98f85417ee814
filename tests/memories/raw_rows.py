"""Rows put in by SQL, past every door: what the table itself must hold or refuse."""

import json
import uuid
from typing import Any

from django.db import connection

from tests.factories import utc

WHOLE_ROW: dict[str, Any] = {
    "payload_id": "p-1",
    "source": "crm",
    "request_id": "",
    "subject": "user:ada",
    "namespace": "team",
    "destination": "",
    "collection": "city",
    "content": "Ada lives in Paris.",
    "model": "",
    "role": "",
    "timestamp": utc("2026-03-01 12:00"),
    "idempotency_key": "",
    "schema_version": 1,
    "transform_version": "",
    "actor_type": "agent",
    "actor_id": "",
    "metadata": "{}",
    "sensitivity_labels": [],
    "classification_tier": "public",
    "kind": "fact",
    "pinned": False,
    "normalized_labels": [],
    "defaulted_fields": [],
    "fingerprint": b"\x01",
    "value_sha256": b"\x02",
    "status": "active",
    "sent_namespace": "team",
    "sent_tier": "public",
    "sent_labels": [],
    "exceeds_source_clearance": False,
    "is_spelling_rejection": False,
    "decision_exceeds_source": False,
    "version": 1,
    "recorded_at": None,
}


def insert_whole_row(**fields: Any) -> int:
    """The id of a row with `fields`, and something sensible in every other column."""
    return insert_row(WHOLE_ROW | fields)


def insert_row(row: dict[str, Any]) -> int:
    """The id of a row with these columns alone; it gets a memory_id if it has none."""
    row.setdefault("memory_id", uuid.uuid4())
    columns, values = ", ".join(row), ", ".join(["%s"] * len(row))
    return int(execute(f"INSERT INTO memories ({columns}) VALUES ({values}) RETURNING id", *row.values())[0][0])


def execute(statement: str, *parameters: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


def stored_row(row_id: int) -> dict[str, Any]:
    """Every column of a row, as JSON."""
    ((document,),) = execute("SELECT to_jsonb(m) FROM memories AS m WHERE id = %s", row_id)
    row_document: dict[str, Any] = json.loads(document)
    return row_document


def close_version(row_id: int) -> None:
    """Close a version at an instant of its own."""
    execute("SELECT record_time_next()")
    execute("UPDATE memories SET superseded_at = now() WHERE id = %s", row_id)
