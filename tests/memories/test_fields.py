"""The table of fields agrees with the columns, the envelope and the lines of an export, and with the wire contract."""

import pytest
from django.db import connection

from memoryhub.memories.fields import FIELDS
from memoryhub.memories.models import Memory
from memoryhub.memories.records import DETAIL_FIELDS, LIST_FIELDS
from memoryhub.memories.writes.envelope import Envelope
from memoryhub.memories.writes.exported import ExportFields

pytestmark = pytest.mark.unit

# Columns that never leave the process, and that the database computes.
COMPUTED_COLUMNS = {"id", "content_sha256", "is_future_dated"}
TYPE_NAMES = {
    "varchar": "varchar", "text": "text", "int2": "smallint", "int4": "integer", "int8": "bigint",
    "timestamptz": "timestamp with time zone", "vector": "vector", "jsonb": "jsonb", "varchar[]": "varchar",
    "uuid": "uuid", "bool": "boolean", "bytea": "bytea",
}  # fmt: skip


def test_records_have_the_fields_of_the_contract_in_its_order():
    assert LIST_FIELDS == (
        "untrusted", "payload_id", "request_id", "source", "subject", "namespace", "destination", "collection",
        "content", "model", "role", "timestamp", "idempotency_key", "schema_version", "transform_version", "actor_type",
        "actor_id", "metadata", "sensitivity_labels", "classification_tier", "memory_id", "version", "recorded_at",
        "status",
    )  # fmt: skip
    assert (
        *LIST_FIELDS, "superseded_at", "kind", "pinned", "expires_at", "propagation", "defaulted_fields",
    ) == DETAIL_FIELDS  # fmt: skip


def test_every_column_is_a_field_with_the_type_of_the_column():
    columns = {column.column: column for column in Memory._meta.concrete_fields}

    assert columns.keys() == {field.name for field in FIELDS} | COMPUTED_COLUMNS
    for field in FIELDS:
        column = columns[field.name]
        column_type = str(column.db_type(connection))
        assert column_type.partition("(")[0] == TYPE_NAMES[field.column_type], field.name
        assert column_type.endswith("[]") == field.column_type.endswith("[]"), field.name
        assert column.null == field.is_nullable, field.name


def test_the_envelope_has_the_fields_that_producers_send():
    assert Envelope.model_fields.keys() == {field.name for field in FIELDS if field.is_sent}


def test_an_import_reads_the_fields_that_an_export_writes():
    ignored_fields = {"recorded_at", "superseded_at", "validity", "untrusted"}

    assert ExportFields.model_fields.keys() == ignored_fields | {
        field.name for field in FIELDS if field.is_exported and not field.is_sent
    }


def test_the_default_of_a_sent_field_is_that_of_the_envelope():
    envelope = Envelope(payload_id="p", content="c")

    assert {field.name: getattr(envelope, field.name) for field in FIELDS if field.is_sent and field.has_default} == {
        field.name: field.default for field in FIELDS if field.is_sent and field.has_default
    }
