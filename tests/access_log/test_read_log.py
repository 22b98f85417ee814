"""Every read of memories is in the audit log, one entry for each, and no read waits for it or fails by it."""

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import time_machine
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from memoryhub.access_log import read_log
from memoryhub.access_log.models import ReadCount
from memoryhub.audit import log
from memoryhub.audit.models import AuditEntry
from memoryhub.audit.verify import verify_chain
from memoryhub.firewall.clearance import Clearance
from memoryhub.firewall.principal import Principal, Scope
from tests.factories import make_key, make_memory, make_user
from tests.harness.databases import database_dsn
from tests.memories.raw_rows import execute

ADA = Principal(name="user:ada", clearance=Clearance(max_tier="internal"))
MEMORY_IDS = [uuid.UUID(int=index) for index in range(3)]
CANARY = "canary-7f3a"


def read_entries() -> list[AuditEntry]:
    """The reads in the audit log, in their order."""
    read_log.flush_reads()
    return list(AuditEntry.objects.filter(action="memory.read").order_by("seq"))


def note_read(memory_count: int = 1, *, principal: Principal = ADA, **fields: Any) -> None:
    for _ in range(memory_count):
        read_log.log_read(
            principal,
            **{"route": "api:memory-list", "query": "", "memory_ids": MEMORY_IDS, "request_id": "r", **fields},
        )


@pytest.fixture
def user_client(db: None) -> Client:
    client = Client(headers={"X-Request-ID": "r-1"})
    user = make_user("ada", max_tier="internal")
    user.is_staff = user.is_superuser = True
    user.save()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def key_client(db: None) -> Client:
    key = make_key(clearance={"max_tier": "internal"})
    return Client(headers={"X-Request-ID": "r-1", "Authorization": f"Bearer {key}"})


API_READS = {
    "/api/memories?subject=user:ada&limit=2": ("api:memory-list", ["newest", "newer"]),
    "/api/memories/{newest}": ("api:memory-detail", ["newest"]),
    "/api/memories/{newest}/versions": ("api:memory-versions", ["newest"]),
    "/api/facets?subject=user:ada": ("api:facets", []),
    "/api/histogram?subject=user:ada": ("api:histogram", []),
}
PAGE_READS = {
    "/?subject=user%3Aada": ("inspector:memory-list", ["newest", "newer", "old"]),
    "/memories/{newest}": ("inspector:memory-detail", ["newest", "newer"]),
}


def store_memories() -> dict[str, uuid.UUID]:
    """Three memories of one subject, two of them in one collection, and one that nobody here may see."""
    fields: dict[str, Any] = {"subject": "user:ada", "tier": "internal"}
    old = make_memory(**fields, collection="job", timestamp="2026-03-01T12:00:00Z")
    newer_memory = make_memory(**fields, collection="city", timestamp="2026-03-02T12:00:00Z")
    newest = make_memory(**fields, collection="city", timestamp="2026-03-03T12:00:00Z")
    make_memory(subject="user:ada", collection="city", tier="restricted", timestamp="2026-03-04T12:00:00Z")
    return {"old": old.memory_id, "newer": newer_memory.memory_id, "newest": newest.memory_id}


@pytest.mark.parametrize("path", API_READS)
def test_a_read_of_the_api_is_one_entry(key_client, path):
    route, names = API_READS[path]
    assert_read_logged(key_client, path, route, names)


@pytest.mark.parametrize("path", PAGE_READS)
def test_a_read_of_a_page_is_one_entry(user_client, path):
    route, names = PAGE_READS[path]
    assert_read_logged(user_client, path, route, names)


def assert_read_logged(client: Client, path: str, route: str, names: list[str]) -> None:
    ids_by_name = store_memories()
    path = path.format(**ids_by_name)

    assert client.get(path).status_code == 200

    (entry,) = read_entries()
    assert entry.principal.startswith("key:key-" if route.startswith("api:") else "user:ada")
    assert (entry.route, entry.query, entry.request_id) == (route, path.partition("?")[2], "r-1")
    assert entry.memory_ids == [ids_by_name[name] for name in names]
    assert entry.clearance_tiers == ["public", "internal"]
    assert ("requested_memory_id" in entry.details) == ("{newest}" in path or f"{ids_by_name['newest']}" in path)


@pytest.mark.parametrize(
    "path",
    ["/api/memories?tier=nonsense", f"/api/memories/{uuid.UUID(int=7)}", "/api/memories?cursor=x", "/api/none"],
)
def test_a_response_without_memories_is_no_read(key_client, path):
    assert key_client.get(path).status_code in (400, 404)

    assert read_entries() == []


def test_polling_the_status_is_no_read(key_client):
    totals = [key_client.get("/api/status").json()["reads_total"] for _ in range(3)]

    assert totals == [0, 0, 0]

    assert read_entries() == []


@pytest.mark.parametrize("path", ["/api/memories", "/api/status"])
def test_a_request_asks_the_database_nothing_for_it(key_client, path):
    make_memory()
    with CaptureQueriesContext(connection) as query_log:
        assert key_client.get(path).status_code == 200

    assert not [query["sql"] for query in query_log if "audit_lock_head" in query["sql"] or "INSERT" in query["sql"]]


@pytest.mark.django_db
def test_a_hundred_reads_are_one_transaction(django_assert_num_queries):
    note_read(100)
    note_read(1, principal=Principal(name="user:bob"))

    # A savepoint and its end, the turn, the entries, and the counts.
    with django_assert_num_queries(5):
        read_log.flush_reads()

    assert verify_chain().seq == 101
    assert dict(ReadCount.objects.values_list("principal", "reads")) == {"user:ada": 100, "user:bob": 1}


@pytest.mark.django_db
def test_a_backlog_is_written_in_parts_in_its_order(monkeypatch):
    monkeypatch.setattr(read_log, "BATCH_SIZE", 4)
    for index in range(10):
        note_read(request_id=f"r-{index}")

    assert [entry.request_id for entry in read_entries()] == [f"r-{index}" for index in range(10)]


@pytest.mark.django_db
def test_reads_are_counted_when_they_are_written_so_that_no_process_counts_more_than_another():
    admin = Principal(name="user:root", scopes=frozenset({Scope.ADMIN}), clearance=Clearance(max_tier="internal"))
    note_read(3)
    note_read(2, principal=admin)

    assert (read_log.count_reads(ADA), read_log.count_reads(admin)) == ((0, 0), (0, 0))
    read_log.flush_reads()
    assert (read_log.count_reads(ADA), read_log.count_reads(admin)) == ((3, 3), (5, 5))


@pytest.mark.django_db
def test_the_last_minute_is_the_last_sixty_seconds():
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for second in (-61, -59, -1, 0):
        with time_machine.travel(noon + timedelta(seconds=second), tick=False):
            note_read()
    read_log.flush_reads()

    with time_machine.travel(noon, tick=False):
        assert read_log.count_reads(ADA) == (4, 3)


HIGHER_CLEARANCES: list[dict[str, Any]] = [
    {"max_tier": "restricted", "blocked_labels": {"pii"}, "required_labels": {"eu"}, "namespaces": {"team"}},
    {"max_tier": "internal", "blocked_labels": set(), "required_labels": {"eu"}, "namespaces": {"team"}},
    {"max_tier": "internal", "blocked_labels": {"pii"}, "required_labels": set(), "namespaces": {"team"}},
    {"max_tier": "internal", "blocked_labels": {"pii"}, "required_labels": {"eu"}, "namespaces": {"team", "other"}},
    {"max_tier": "internal", "blocked_labels": {"pii"}, "required_labels": {"eu"}, "namespaces": None},
]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "higher", HIGHER_CLEARANCES, ids=["tier", "blocked label", "required label", "namespaces", "every namespace"]
)
def test_the_reads_of_who_sees_more_are_not_counted_for_an_admin(higher):
    """FW-17: in a hub without them it would have been told the same number."""
    low = Clearance(
        max_tier="internal",
        blocked_labels=frozenset({"PII"}),
        required_labels=frozenset({"eu"}),
        namespaces=frozenset({"team"}),
    )
    admin = Principal(name="user:root", scopes=frozenset({Scope.ADMIN}), clearance=low)
    lower_principal = Principal(name="user:low", clearance=replace(low, max_tier="public", namespaces=frozenset()))
    limits: dict[str, Any] = {
        name: frozenset(value) if isinstance(value, set) else value for name, value in higher.items()
    }
    high = Principal(name="user:high", clearance=Clearance(**limits))
    note_read(2, principal=lower_principal)
    note_read(1, principal=admin)
    note_read(7, principal=high)

    read_log.flush_reads()

    assert (read_log.count_reads(admin), read_log.count_reads(high)) == ((3, 3), (7, 7))


@pytest.mark.django_db
def test_the_reads_of_one_principal_before_and_after_its_clearance_changed_are_apart():
    admin = Principal(name="user:root", scopes=frozenset({Scope.ADMIN}), clearance=ADA.clearance)
    note_read(3)
    note_read(5, principal=replace(ADA, clearance=Clearance(max_tier="restricted")))
    read_log.flush_reads()
    note_read(1)
    read_log.flush_reads()

    assert (read_log.count_reads(ADA)[0], read_log.count_reads(admin)[0]) == (9, 4)


@pytest.mark.django_db
def test_reads_of_many_long_namespaces_are_counted():
    """An index takes no row of more than 2,700 bytes."""
    names = frozenset(f"{index:03}".ljust(255, "x") for index in range(200))
    reader = Principal(name="user:wide", clearance=Clearance(namespaces=names))
    note_read(2, principal=reader)
    read_log.flush_reads()

    assert read_log.count_reads(reader) == (2, 2)
    assert ReadCount.objects.get().clearance_namespaces == sorted(names)


@pytest.mark.django_db
def test_the_read_log_names_the_viewer_and_the_view_as_target():
    note_read(view_as_name="user:bob")

    assert read_entries()[0].details == {"view_as": "user:bob"}


@pytest.mark.django_db
def test_a_question_as_long_as_a_book_is_cut():
    note_read(query="q" * 1_000_000)

    assert read_entries()[0].query == "q" * read_log.MAX_QUERY_CHARS + "…"


@pytest.mark.django_db
def test_reads_beyond_the_queue_limit_are_counted_and_reported(monkeypatch, caplog):
    monkeypatch.setattr(read_log, "MAX_PENDING_READS", 3)
    note_read(8)

    assert [len(read_entries()), *AuditEntry.objects.values_list("action", flat=True).order_by("-seq")[:1]] == [
        3,
        "audit.reads_dropped",
    ]
    lost_entry = AuditEntry.objects.get(action="audit.reads_dropped")
    assert (lost_entry.principal, lost_entry.details["reads"]) == ("system", 5)
    assert lost_entry.details["since"] < lost_entry.details["until"]
    assert lost_entry.clearance_tiers == ["public", "internal", "confidential", "restricted"]
    assert sum("reads are dropped" in message for message in caplog.messages) == 1
    note_read()
    assert len(read_entries()) == 4


@pytest.mark.django_db
def test_room_is_for_memories_too(monkeypatch):
    monkeypatch.setattr(read_log, "MAX_PENDING_MEMORY_IDS", 7)
    note_read(5)

    assert len(read_entries()) == 3
    note_read()
    assert len(read_entries()) == 4, "what was written makes room"


@pytest.mark.django_db
def test_neither_secrets_nor_content_reach_the_audit_log_or_the_server_log(key_client, user_client, caplog):
    memory = make_memory(content=CANARY, metadata={"a": CANARY}, tier="internal")
    secrets = [key_client.defaults["HTTP_AUTHORIZATION"], user_client.cookies["sessionid"].value, CANARY]
    for path in ("/api/memories", f"/api/memories/{memory.memory_id}"):
        assert key_client.get(path).status_code == 200
    for path in ("/", f"/memories/{memory.memory_id}"):
        assert user_client.get(path).status_code == 200
    assert len(read_entries()) == 4

    stored_text = repr(execute("SELECT to_jsonb(e) FROM audit_entries AS e")) + caplog.text
    assert not [secret for secret in secrets if secret.removeprefix("Bearer ") in stored_text]


# From here on with a thread that writes, as in a process that serves.


@pytest.fixture
def read_log_writer(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> read_log.ReadLogWriter:
    read_writer = read_log.ReadLogWriter()
    monkeypatch.setattr(read_log, "_writer", read_writer)
    monkeypatch.setattr(read_log, "RETRY_SECONDS", 0.05)
    return read_writer


@pytest.fixture
def locking_connection(read_log_writer: read_log.ReadLogWriter) -> Iterator[psycopg.Connection[Any]]:
    """Another connection to the same database."""
    with psycopg.connect(database_dsn(str(connection.settings_dict["NAME"]))) as other_connection:
        yield other_connection


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_thread_writes_without_being_asked(read_log_writer):
    note_read(3)

    wait_until(lambda: AuditEntry.objects.count() == 3)
    wait_until(lambda: read_log_writer.get_pending_events() == [])
    assert read_log.count_reads(ADA) == (3, 3)


def test_a_flush_has_written_what_was_noted_before_it(read_log_writer):
    for index in range(1, 20):
        note_read()
        read_log.flush_reads()
        assert AuditEntry.objects.count() == index


def test_a_read_does_not_wait_for_the_audit_log(read_log_writer, locking_connection, key_client):
    memory = make_memory()
    locking_connection.execute("SELECT * FROM audit_lock_head(%s)", [log.GENESIS_HASH])
    locking_connection.execute("LOCK audit_entries, read_counts IN SHARE MODE")
    for _ in range(5):
        assert key_client.get(f"/api/memories/{memory.memory_id}").status_code == 200
        assert key_client.get("/api/status").status_code == 200
    read_log.flush_reads()

    # A statement that waits for a lock fails after five seconds; these were answered while it was held, and still is.
    assert not AuditEntry.objects.filter(action="memory.read").exists()
    locking_connection.rollback()
    wait_until(lambda: AuditEntry.objects.filter(action="memory.read").count() == 5)


def test_the_audit_log_page_waits_for_a_locked_audit_log_no_longer_than_its_timeout(
    read_log_writer, locking_connection, monkeypatch
):
    monkeypatch.setattr(read_log, "FLUSH_TIMEOUT_SECONDS", 0.2)
    locking_connection.execute("SELECT * FROM audit_lock_head(%s)", [log.GENESIS_HASH])
    note_read()
    read_log.flush_reads()

    # It came back although nothing could be written.
    assert read_log._writer.get_pending_events()
    locking_connection.rollback()
    wait_until(lambda: AuditEntry.objects.count() == 1)


def test_reads_outlive_an_audit_log_that_cannot_be_written(read_log_writer, key_client, caplog):
    make_memory()
    before = AuditEntry.objects.count()
    execute("ALTER TABLE audit_entries RENAME TO elsewhere")
    try:
        for _ in range(3):
            assert key_client.get("/api/memories").status_code == 200
        wait_until(lambda: "reads are not written yet" in caplog.text)
        time.sleep(0.2)
        assert len(read_log_writer.get_pending_events()) == 3
    finally:
        execute("ALTER TABLE elsewhere RENAME TO audit_entries")

    wait_until(lambda: AuditEntry.objects.count() == before + 3)
    wait_until(lambda: "reads are written again" in caplog.text)
    assert caplog.text.count("reads are not written yet") == 1
    with transaction.atomic():
        verify_chain()


def test_reads_outlive_a_connection_that_is_cut(read_log_writer, locking_connection):
    note_read()
    wait_until(lambda: AuditEntry.objects.count() == 1)
    locking_connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)",
        [connection.connection.info.backend_pid],
    )
    locking_connection.commit()
    note_read(2)

    wait_until(lambda: AuditEntry.objects.count() == 3)
    with transaction.atomic():
        verify_chain()


def test_reads_lost_while_the_audit_log_cannot_be_written_are_reported_once(read_log_writer, monkeypatch, caplog):
    monkeypatch.setattr(read_log, "MAX_PENDING_READS", 2)
    execute("ALTER TABLE audit_entries RENAME TO elsewhere")
    try:
        note_read(5)
        wait_until(lambda: "reads are not written yet" in caplog.text)
        note_read(5)
    finally:
        execute("ALTER TABLE elsewhere RENAME TO audit_entries")

    wait_until(
        lambda: (
            read_log_writer.get_pending_events() == []
            and AuditEntry.objects.filter(action="audit.reads_dropped").exists()
        )
    )
    time.sleep(read_log.BATCH_DELAY_SECONDS * 4)
    lost_counts = [entry.details["reads"] for entry in AuditEntry.objects.filter(action="audit.reads_dropped")]
    assert sum(lost_counts) + AuditEntry.objects.filter(action="memory.read").count() == 10


def test_many_threads_lose_nothing(read_log_writer):
    threads = [threading.Thread(target=note_read, args=(200,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    wait_until(lambda: AuditEntry.objects.count() == 1_600)
    assert read_log.count_reads(ADA)[0] == 1_600
    with transaction.atomic():
        assert verify_chain().seq == 1_600


def test_a_fork_does_not_write_what_its_parent_noted(read_log_writer, locking_connection):
    locking_connection.execute("SELECT * FROM audit_lock_head(%s)", [log.GENESIS_HASH])
    note_read()
    child = os.fork()
    if child == 0:
        os._exit(
            len(read_log_writer.get_pending_events())
            + read_log_writer._write_lock.locked()
            + (read_log_writer._thread is not None)
        )

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    locking_connection.rollback()
    wait_until(lambda: AuditEntry.objects.count() == 1)


def test_a_process_that_ends_writes_what_it_has_read(read_log_writer):
    script = (
        "import django; django.setup()\n"
        "from memoryhub.firewall.principal import Principal\n"
        "from memoryhub.access_log import read_log\n"
        "read_log.log_read(Principal(name='user:gone'), route='', query='', memory_ids=[], request_id='')\n"
    )
    worker_environment = {"DATABASE_URL": database_dsn(str(connection.settings_dict["NAME"]))}
    variables = os.environ | worker_environment | {"DJANGO_SETTINGS_MODULE": "memoryhub.settings"}

    subprocess.run([sys.executable, "-c", script], env=variables, check=True, timeout=60)

    assert AuditEntry.objects.get().principal == "user:gone"
