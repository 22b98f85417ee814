"""Appending: one chain without a gap, in the transaction of the action, and nothing of it is ever changed."""

import hashlib
import threading
import uuid
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction
from django.db.transaction import TransactionManagementError

from memoryhub.audit import log
from memoryhub.audit.models import AuditEntry
from memoryhub.audit.verify import verify_chain
from memoryhub.firewall.clearance import Clearance
from tests.audit.event_factories import append_chain, append_events, make_event
from tests.memories.raw_rows import execute

pytestmark = pytest.mark.django_db
WRITER_COUNT, ENTRIES_PER_WRITER = 16, 25


def test_entries_are_counted_from_one_and_chained():
    first = append_events(make_event())
    second = append_events(make_event(), make_event())

    assert list(AuditEntry.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2, 3]
    first_entry, second_entry, third_entry = AuditEntry.objects.order_by("seq")
    assert bytes(first_entry.previous_hash) == bytes(32)
    assert bytes(second_entry.previous_hash) == bytes(first_entry.hash) == first.hash
    assert bytes(third_entry.previous_hash) == bytes(second_entry.hash)
    assert (second.seq, second.hash) == (3, bytes(third_entry.hash))
    assert log.get_head() == second


def test_an_entry_holds_the_fields_of_its_event():
    memory_id = uuid.uuid4()
    low = Clearance(
        max_tier="internal", blocked_labels=frozenset({"PII"}), required_labels=frozenset({"eu"}),
        namespaces=frozenset({"b", "a"}),
    )  # fmt: skip
    details = {"classification_tier": ["public", "internal"], "deep": {"er": [1, None, True]}}

    append_events(
        make_event(
            low, memory_ids=[memory_id], details=details, route="api:memory-detail", query="q=a%20b", request_id="r"
        )
    )

    entry = AuditEntry.objects.get()
    assert (entry.principal, entry.action, entry.route) == ("user:ada", "memory.write", "api:memory-detail")
    assert (entry.query, entry.request_id, entry.memory_ids, entry.details) == ("q=a%20b", "r", [memory_id], details)
    assert (entry.clearance_tiers, entry.clearance_blocked_labels) == (["public", "internal"], ["pii"])
    assert (entry.clearance_required_labels, entry.clearance_namespaces) == (["eu"], ["a", "b"])


def test_the_hash_can_be_computed_from_the_description():
    occurred_at = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
    head = append_events(make_event(occurred_at=occurred_at, details={"b": 1, "a": "ä"}))

    canonical = (
        '{"action":"memory.write","clearance_blocked_labels":[],"clearance_namespaces":null,'
        '"clearance_required_labels":[],"clearance_tiers":["public","internal","confidential","restricted"],'
        '"details":{"a":"\\u00e4","b":1},"memory_ids":[],"occurred_at":"1772366400000005",'
        f'"previous_hash":"{"0" * 64}","principal":"user:ada","query":"","request_id":"","route":"","seq":1}}'
    )
    assert head.hash == hashlib.sha256(canonical.encode()).digest()


def test_what_is_rolled_back_leaves_no_gap():
    append_events(make_event())
    with transaction.atomic():
        log.append_events(make_event(), make_event())
        transaction.set_rollback(True)
    append_events(make_event())

    assert list(AuditEntry.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2]
    verify_chain()


@pytest.mark.django_db(transaction=True)
def test_there_is_no_entry_outside_a_transaction():
    with pytest.raises(TransactionManagementError):
        log.append_events(make_event())

    assert not AuditEntry.objects.exists()


def test_instants_follow_one_another_even_if_the_clock_is_set_back():
    execute("SELECT audit_lock_head(%s)", bytes(32))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    execute("UPDATE audit_chain_head SET last_occurred_at = %s", tomorrow)

    append_events(make_event(), make_event())
    append_events(make_event())

    instants = list(AuditEntry.objects.order_by("seq").values_list("occurred_at", flat=True))
    assert instants == sorted(set(instants))
    assert tomorrow < instants[0] < instants[2] < tomorrow + timedelta(seconds=1)


def test_a_given_instant_is_stored_as_given():
    append_events(make_event())
    yesterday = datetime.now(UTC) - timedelta(days=1)
    append_events(make_event(occurred_at=yesterday), make_event())

    occurred_at_by_seq = dict(AuditEntry.objects.values_list("seq", "occurred_at"))
    assert occurred_at_by_seq[2] == yesterday
    assert occurred_at_by_seq[1] < occurred_at_by_seq[3]


@pytest.mark.parametrize("hostile_text", ["a\0b", "\ud800", "\U0001f600", "'; --", '"\\', "\u202e", "x" * 100_000])
def test_no_text_keeps_an_entry_from_being_made(hostile_text):
    append_events(
        make_event(
            principal=hostile_text, query=hostile_text, request_id=hostile_text, details={hostile_text: [hostile_text]}
        )
    )

    verify_chain()


@pytest.mark.parametrize("value", [1.5, float("nan"), datetime(2026, 1, 1, tzinfo=UTC), uuid.uuid4(), b"x", {1}])
def test_details_that_would_come_back_as_something_else_are_refused(value):
    with pytest.raises(TypeError):
        append_events(make_event(details={"deep": [value]}))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET principal = 'x'",
        "UPDATE audit_entries SET principal = 'x' WHERE false",
        "DELETE FROM audit_entries",
        "DELETE FROM audit_entries WHERE false",
        "TRUNCATE audit_entries",
        "TRUNCATE audit_entries CASCADE",
        "MERGE INTO audit_entries USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE",
        "INSERT INTO audit_entries SELECT * FROM audit_entries ON CONFLICT (seq) DO UPDATE SET principal = 'x'",
    ],
)
def test_nothing_is_changed_or_deleted(statement):
    head = append_chain(3)

    with pytest.raises(DatabaseError) as exc_info, transaction.atomic():
        execute(statement)

    assert isinstance(exc_info.value.__cause__, psycopg.Error)
    assert exc_info.value.__cause__.sqlstate == "23000"
    assert verify_chain() == head


def test_the_models_own_methods_are_no_way_around_it():
    append_chain(1)
    entry = AuditEntry.objects.get()

    with pytest.raises(TypeError):
        entry.save()
    for change in (entry.delete, AuditEntry.objects.all().delete, lambda: AuditEntry.objects.update(query="x")):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()
    verify_chain()


@pytest.mark.django_db(transaction=True)
def test_sixteen_writers_make_one_chain():
    failures: list[Exception] = []
    ready = threading.Barrier(WRITER_COUNT)

    def append_entries(writer_index: int) -> None:
        try:
            ready.wait()
            for entry_index in range(ENTRIES_PER_WRITER):
                with transaction.atomic():
                    log.append_events(make_event(principal=f"user:{writer_index}", details={"number": entry_index}))
                    # Every third action fails after its entry: it must leave nothing.
                    transaction.set_rollback(entry_index % 3 == 2)
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=append_entries, args=(writer,)) for writer in range(WRITER_COUNT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    expected_count = WRITER_COUNT * sum(index % 3 != 2 for index in range(ENTRIES_PER_WRITER))
    assert failures == []
    with transaction.atomic():
        assert verify_chain().seq == AuditEntry.objects.count() == expected_count
    instants = list(AuditEntry.objects.order_by("seq").values_list("occurred_at", flat=True))
    assert instants == sorted(set(instants))


def test_five_hundred_entries_are_two_statements(django_assert_num_queries):
    with transaction.atomic(), django_assert_num_queries(2):
        log.append_events(*(make_event(memory_ids=[uuid.uuid4()] * 20) for _ in range(500)))

    assert AuditEntry.objects.count() == 500


def test_an_entry_has_no_column_for_content():
    """What a memory says is never in the audit log; a new column has to be thought about here."""
    assert {field.column for field in AuditEntry._meta.concrete_fields} == {
        "seq", "occurred_at", "principal", "action", "route", "query", "memory_ids", "details", "request_id",
        "clearance_tiers", "clearance_blocked_labels", "clearance_required_labels", "clearance_namespaces",
        "previous_hash", "hash",
    }  # fmt: skip
