"""Appending: one chain without a gap, in the transaction of the deed, and nothing of it is ever changed."""

import hashlib
import threading
import uuid
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction
from django.db.transaction import TransactionManagementError

from memoryhub.audit import ledger
from memoryhub.audit.models import AuditEntry
from memoryhub.audit.verify import verify
from memoryhub.firewall.types import Clearance
from tests.audit.entries import append, chain, event
from tests.memories.rows import execute

pytestmark = pytest.mark.django_db
WRITERS, EACH = 16, 25


def test_entries_are_counted_from_one_and_chained():
    first = append(event())
    second = append(event(), event())

    assert list(AuditEntry.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2, 3]
    one, two, three = AuditEntry.objects.order_by("seq")
    assert bytes(one.previous_hash) == bytes(32)
    assert bytes(two.previous_hash) == bytes(one.hash) == first.hash
    assert bytes(three.previous_hash) == bytes(two.hash)
    assert (second.seq, second.hash) == (3, bytes(three.hash))
    assert ledger.head() == second


def test_an_entry_holds_what_it_was_told():
    memory_id = uuid.uuid4()
    low = Clearance(
        max_tier="internal", blocked_labels=frozenset({"PII"}), required_labels=frozenset({"eu"}),
        namespaces=frozenset({"b", "a"}),
    )  # fmt: skip
    told = {"classification_tier": ["public", "internal"], "deep": {"er": [1, None, True]}}

    append(event(low, memory_ids=[memory_id], details=told, route="api:memory", query="q=a%20b", request_id="r"))

    entry = AuditEntry.objects.get()
    assert (entry.principal, entry.action, entry.route) == ("user:ada", "memory.write", "api:memory")
    assert (entry.query, entry.request_id, entry.memory_ids, entry.details) == ("q=a%20b", "r", [memory_id], told)
    assert (entry.reach_tiers, entry.reach_blocked) == (["public", "internal"], ["pii"])
    assert (entry.reach_required, entry.reach_namespaces) == (["eu"], ["a", "b"])


def test_the_hash_can_be_computed_by_whoever_reads_the_description():
    at = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
    head = append(event(at=at, details={"b": 1, "a": "ä"}))

    canonical = (
        '{"action":"memory.write","at":"1772366400000005","details":{"a":"\\u00e4","b":1},"memory_ids":[],'
        f'"previous_hash":"{"0" * 64}","principal":"user:ada","query":"","reach_blocked":[],"reach_namespaces":null,'
        '"reach_required":[],"reach_tiers":["public","internal","confidential","restricted"],"request_id":"",'
        '"route":"","seq":1}'
    )
    assert head.hash == hashlib.sha256(canonical.encode()).digest()


def test_what_is_rolled_back_leaves_no_gap():
    append(event())
    with transaction.atomic():
        ledger.append(event(), event())
        transaction.set_rollback(True)
    append(event())

    assert list(AuditEntry.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2]
    verify()


@pytest.mark.django_db(transaction=True)
def test_there_is_no_entry_outside_a_transaction():
    with pytest.raises(TransactionManagementError):
        ledger.append(event())

    assert not AuditEntry.objects.exists()


def test_instants_follow_one_another_even_if_the_clock_is_set_back():
    execute("SELECT audit_turn(%s)", bytes(32))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    execute("UPDATE audit_head SET at = %s", tomorrow)

    append(event(), event())
    append(event())

    instants = list(AuditEntry.objects.order_by("seq").values_list("at", flat=True))
    assert instants == sorted(set(instants))
    assert tomorrow < instants[0] < instants[2] < tomorrow + timedelta(seconds=1)


def test_an_instant_that_is_told_stands_as_it_was_told():
    append(event())
    yesterday = datetime.now(UTC) - timedelta(days=1)
    append(event(at=yesterday), event())

    at = dict(AuditEntry.objects.values_list("seq", "at"))
    assert at[2] == yesterday
    assert at[1] < at[3]


@pytest.mark.parametrize("hostile", ["a\0b", "\ud800", "\U0001f600", "'; --", '"\\', "\u202e", "x" * 100_000])
def test_no_text_keeps_an_entry_from_being_made(hostile):
    append(event(principal=hostile, query=hostile, request_id=hostile, details={hostile: [hostile]}))

    verify()


@pytest.mark.parametrize("value", [1.5, float("nan"), datetime(2026, 1, 1, tzinfo=UTC), uuid.uuid4(), b"x", {1}])
def test_details_that_would_come_back_as_something_else_are_refused(value):
    with pytest.raises(TypeError):
        append(event(details={"deep": [value]}))


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
    head = chain(3)

    with pytest.raises(DatabaseError) as caught, transaction.atomic():
        execute(statement)

    assert isinstance(caught.value.__cause__, psycopg.Error)
    assert caught.value.__cause__.sqlstate == "23000"
    assert verify() == head


def test_the_models_own_methods_are_no_way_around_it():
    chain(1)
    entry = AuditEntry.objects.get()

    with pytest.raises(TypeError):
        entry.save()
    for change in (entry.delete, AuditEntry.objects.all().delete, lambda: AuditEntry.objects.update(query="x")):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()
    verify()


@pytest.mark.django_db(transaction=True)
def test_sixteen_writers_make_one_chain():
    failures: list[Exception] = []
    ready = threading.Barrier(WRITERS)

    def work(writer: int) -> None:
        try:
            ready.wait()
            for number in range(EACH):
                with transaction.atomic():
                    ledger.append(event(principal=f"user:{writer}", details={"number": number}))
                    # Every third deed fails after its entry: it must leave nothing.
                    transaction.set_rollback(number % 3 == 2)
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(writer,)) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    kept = WRITERS * sum(number % 3 != 2 for number in range(EACH))
    assert failures == []
    with transaction.atomic():
        assert verify().seq == AuditEntry.objects.count() == kept
    instants = list(AuditEntry.objects.order_by("seq").values_list("at", flat=True))
    assert instants == sorted(set(instants))


def test_five_hundred_entries_are_two_statements(django_assert_num_queries):
    with transaction.atomic(), django_assert_num_queries(2):
        ledger.append(*(event(memory_ids=[uuid.uuid4()] * 20) for _ in range(500)))

    assert AuditEntry.objects.count() == 500


def test_an_entry_has_no_column_for_content():
    """What a memory says is never in the ledger; a new column has to be thought about here."""
    assert {field.column for field in AuditEntry._meta.concrete_fields} == {
        "seq", "at", "principal", "action", "route", "query", "memory_ids", "details", "request_id", "reach_tiers",
        "reach_blocked", "reach_required", "reach_namespaces", "previous_hash", "hash",
    }  # fmt: skip
