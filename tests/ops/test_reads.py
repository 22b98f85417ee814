"""Every read of memories stands in the ledger, one entry for each, and no read waits for it or fails by it."""

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

from memoryhub.audit import ledger
from memoryhub.audit.models import AuditEntry
from memoryhub.audit.verify import verify
from memoryhub.firewall.types import Clearance, Principal, Scope
from memoryhub.ops import reads
from memoryhub.ops.models import ReadCount
from tests.builders import make_key, make_memory, make_user
from tests.harness.databases import address
from tests.memories.rows import execute

ADA = Principal(name="user:ada", clearance=Clearance(max_tier="internal"))
IDS = [uuid.UUID(int=number) for number in range(3)]
CANARY = "canary-7f3a"


def noted() -> list[AuditEntry]:
    """The reads of the ledger, in their order."""
    reads.flush()
    return list(AuditEntry.objects.filter(action="memory.read").order_by("seq"))


def note(number: int = 1, *, by: Principal = ADA, **fields: Any) -> None:
    for _ in range(number):
        reads.note(by, **{"route": "api:memories", "query": "", "memory_ids": IDS, "request_id": "r", **fields})


@pytest.fixture
def person(db: None) -> Client:
    client = Client(headers={"X-Request-ID": "r-1"})
    user = make_user("ada", max_tier="internal")
    user.is_staff = user.is_superuser = True
    user.save()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def machine(db: None) -> Client:
    key = make_key(clearance={"max_tier": "internal"})
    return Client(headers={"X-Request-ID": "r-1", "Authorization": f"Bearer {key}"})


API = {
    "/api/memories?subject=user:ada&limit=2": ("api:memories", ["newest", "newer"]),
    "/api/memories/{newest}": ("api:memory", ["newest"]),
    "/api/memories/{newest}/versions": ("api:memory-versions", ["newest"]),
    "/api/facets?subject=user:ada": ("api:facets", []),
    "/api/histogram?subject=user:ada": ("api:histogram", []),
}
PAGES = {
    "/?subject=user%3Aada": ("inspector:memories", ["newest", "newer", "old"]),
    "/memories/{newest}": ("inspector:memory", ["newest", "newer"]),
}


def plant() -> dict[str, uuid.UUID]:
    """Three memories of one subject, two of them in one collection, and one that nobody here may see."""
    fields: dict[str, Any] = {"subject": "user:ada", "tier": "internal"}
    old = make_memory(**fields, collection="job", timestamp="2026-03-01T12:00:00Z")
    newer = make_memory(**fields, collection="city", timestamp="2026-03-02T12:00:00Z")
    newest = make_memory(**fields, collection="city", timestamp="2026-03-03T12:00:00Z")
    make_memory(subject="user:ada", collection="city", tier="restricted", timestamp="2026-03-04T12:00:00Z")
    return {"old": old.memory_id, "newer": newer.memory_id, "newest": newest.memory_id}


@pytest.mark.parametrize("path", API)
def test_a_read_of_the_api_is_one_entry(machine, path):
    route, names = API[path]
    assert_is_noted(machine, path, route, names)


@pytest.mark.parametrize("path", PAGES)
def test_a_read_of_a_page_is_one_entry(person, path):
    route, names = PAGES[path]
    assert_is_noted(person, path, route, names)


def assert_is_noted(client: Client, path: str, route: str, names: list[str]) -> None:
    planted = plant()
    path = path.format(**planted)

    assert client.get(path).status_code == 200

    (entry,) = noted()
    assert entry.principal.startswith("key:key-" if route.startswith("api:") else "user:ada")
    assert (entry.route, entry.query, entry.request_id) == (route, path.partition("?")[2], "r-1")
    assert entry.memory_ids == [planted[name] for name in names]
    assert entry.reach_tiers == ["public", "internal"]
    assert ("about" in entry.details) == ("{newest}" in path or f"{planted['newest']}" in path)


@pytest.mark.parametrize(
    "path",
    ["/api/memories?tier=nonsense", f"/api/memories/{uuid.UUID(int=7)}", "/api/memories?cursor=x", "/api/none"],
)
def test_what_tells_of_no_memory_is_no_read(machine, path):
    assert machine.get(path).status_code in (400, 404)

    assert noted() == []


def test_polling_the_status_is_no_read(machine):
    totals = [machine.get("/api/status").json()["reads_total"] for _ in range(3)]

    assert totals == [0, 0, 0]

    assert noted() == []


@pytest.mark.parametrize("path", ["/api/memories", "/api/status"])
def test_a_request_asks_the_database_nothing_for_it(machine, path):
    make_memory()
    with CaptureQueriesContext(connection) as captured:
        assert machine.get(path).status_code == 200

    assert not [query["sql"] for query in captured if "audit_turn" in query["sql"] or "INSERT" in query["sql"]]


@pytest.mark.django_db
def test_a_hundred_reads_are_one_transaction(django_assert_num_queries):
    note(100)
    note(1, by=Principal(name="user:bob"))

    # A savepoint and its end, the turn, the entries, and the counts.
    with django_assert_num_queries(5):
        reads.flush()

    assert verify().seq == 101
    assert dict(ReadCount.objects.values_list("principal", "reads")) == {"user:ada": 100, "user:bob": 1}


@pytest.mark.django_db
def test_a_backlog_is_written_in_parts_in_its_order(monkeypatch):
    monkeypatch.setattr(reads, "MOST_AT_ONCE", 4)
    for number in range(10):
        note(request_id=f"r-{number}")

    assert [entry.request_id for entry in noted()] == [f"r-{number}" for number in range(10)]


@pytest.mark.django_db
def test_reads_are_counted_when_they_are_written_so_that_no_process_counts_more_than_another():
    admin = Principal(name="user:root", scopes=frozenset({Scope.ADMIN}), clearance=Clearance(max_tier="internal"))
    note(3)
    note(2, by=admin)

    assert (reads.counts(ADA), reads.counts(admin)) == ((0, 0), (0, 0))
    reads.flush()
    assert (reads.counts(ADA), reads.counts(admin)) == ((3, 3), (5, 5))


@pytest.mark.django_db
def test_the_last_minute_is_the_last_sixty_seconds():
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for second in (-61, -59, -1, 0):
        with time_machine.travel(noon + timedelta(seconds=second), tick=False):
            note()
    reads.flush()

    with time_machine.travel(noon, tick=False):
        assert reads.counts(ADA) == (4, 3)


HIGHER: list[dict[str, Any]] = [
    {"max_tier": "restricted", "blocked_labels": {"pii"}, "required_labels": {"eu"}, "namespaces": {"team"}},
    {"max_tier": "internal", "blocked_labels": set(), "required_labels": {"eu"}, "namespaces": {"team"}},
    {"max_tier": "internal", "blocked_labels": {"pii"}, "required_labels": set(), "namespaces": {"team"}},
    {"max_tier": "internal", "blocked_labels": {"pii"}, "required_labels": {"eu"}, "namespaces": {"team", "other"}},
    {"max_tier": "internal", "blocked_labels": {"pii"}, "required_labels": {"eu"}, "namespaces": None},
]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "higher", HIGHER, ids=["tier", "blocked label", "required label", "namespaces", "every namespace"]
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
    lower = Principal(name="user:low", clearance=replace(low, max_tier="public", namespaces=frozenset()))
    limits: dict[str, Any] = {
        name: frozenset(value) if isinstance(value, set) else value for name, value in higher.items()
    }
    high = Principal(name="user:high", clearance=Clearance(**limits))
    note(2, by=lower)
    note(1, by=admin)
    note(7, by=high)

    reads.flush()

    assert (reads.counts(admin), reads.counts(high)) == ((3, 3), (7, 7))


@pytest.mark.django_db
def test_the_reads_of_one_principal_before_and_after_its_clearance_changed_are_apart():
    admin = Principal(name="user:root", scopes=frozenset({Scope.ADMIN}), clearance=ADA.clearance)
    note(3)
    note(5, by=replace(ADA, clearance=Clearance(max_tier="restricted")))
    reads.flush()
    note(1)
    reads.flush()

    assert (reads.counts(ADA)[0], reads.counts(admin)[0]) == (9, 4)


@pytest.mark.django_db
def test_reads_of_many_long_namespaces_are_counted():
    """An index takes no row of more than 2,700 bytes."""
    names = frozenset(f"{number:03}".ljust(255, "x") for number in range(200))
    reader = Principal(name="user:wide", clearance=Clearance(namespaces=names))
    note(2, by=reader)
    reads.flush()

    assert reads.counts(reader) == (2, 2)
    assert ReadCount.objects.get().reach_namespaces == sorted(names)


@pytest.mark.django_db
def test_who_looked_as_whom_is_told():
    note(view_as="user:bob")

    assert noted()[0].details == {"view_as": "user:bob"}


@pytest.mark.django_db
def test_a_question_as_long_as_a_book_is_cut():
    note(query="q" * 1_000_000)

    assert noted()[0].query == "q" * reads.LONGEST_QUERY + "…"


@pytest.mark.django_db
def test_what_there_is_no_room_for_is_counted_and_told(monkeypatch, caplog):
    monkeypatch.setattr(reads, "MOST_READS", 3)
    note(8)

    assert [len(noted()), *AuditEntry.objects.values_list("action", flat=True).order_by("-seq")[:1]] == [
        3,
        "reads.lost",
    ]
    lost = AuditEntry.objects.get(action="reads.lost")
    assert (lost.principal, lost.details["reads"]) == ("system", 5)
    assert lost.details["since"] < lost.details["until"]
    assert lost.reach_tiers == ["public", "internal", "confidential", "restricted"]
    assert sum("reads are lost" in message for message in caplog.messages) == 1
    note()
    assert len(noted()) == 4


@pytest.mark.django_db
def test_room_is_for_memories_too(monkeypatch):
    monkeypatch.setattr(reads, "MOST_MEMORIES", 7)
    note(5)

    assert len(noted()) == 3
    note()
    assert len(noted()) == 4, "what was written makes room"


@pytest.mark.django_db
def test_neither_secrets_nor_content_reach_the_ledger_or_the_log(machine, person, caplog):
    memory = make_memory(content=CANARY, metadata={"a": CANARY}, tier="internal")
    secrets = [machine.defaults["HTTP_AUTHORIZATION"], person.cookies["sessionid"].value, CANARY]
    for path in ("/api/memories", f"/api/memories/{memory.memory_id}"):
        assert machine.get(path).status_code == 200
    for path in ("/", f"/memories/{memory.memory_id}"):
        assert person.get(path).status_code == 200
    assert len(noted()) == 4

    held = repr(execute("SELECT to_jsonb(e) FROM audit_entries AS e")) + caplog.text
    assert not [secret for secret in secrets if secret.removeprefix("Bearer ") in held]


# From here on with a thread that writes, as in a process that serves.


@pytest.fixture
def queue(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> reads.Queue:
    made = reads.Queue()
    monkeypatch.setattr(reads, "_queue", made)
    monkeypatch.setattr(reads, "RETRY_SECONDS", 0.05)
    return made


@pytest.fixture
def other(queue: reads.Queue) -> Iterator[psycopg.Connection[Any]]:
    """Another connection to the same database."""
    with psycopg.connect(address(str(connection.settings_dict["NAME"]))) as link:
        yield link


def eventually(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_thread_writes_without_being_asked(queue):
    note(3)

    eventually(lambda: AuditEntry.objects.count() == 3)
    eventually(lambda: queue.pending() == [])
    assert reads.counts(ADA) == (3, 3)


def test_a_flush_has_written_what_was_noted_before_it(queue):
    for number in range(1, 20):
        note()
        reads.flush()
        assert AuditEntry.objects.count() == number


def test_a_read_does_not_wait_for_the_ledger(queue, other, machine):
    memory = make_memory()
    other.execute("SELECT * FROM audit_turn(%s)", [ledger.NO_HASH])
    other.execute("LOCK audit_entries, read_counts IN SHARE MODE")
    for _ in range(5):
        assert machine.get(f"/api/memories/{memory.memory_id}").status_code == 200
        assert machine.get("/api/status").status_code == 200
    reads.flush()

    # Whoever waits for a lock fails after five seconds; these were answered while it was held, and still is.
    assert not AuditEntry.objects.filter(action="memory.read").exists()
    other.rollback()
    eventually(lambda: AuditEntry.objects.filter(action="memory.read").count() == 5)


def test_a_page_that_shows_the_ledger_waits_for_a_locked_one_no_longer_than_its_patience(queue, other, monkeypatch):
    monkeypatch.setattr(reads, "PATIENCE_SECONDS", 0.2)
    other.execute("SELECT * FROM audit_turn(%s)", [ledger.NO_HASH])
    note()
    reads.flush()

    # It came back although nothing could be written.
    assert reads._queue.pending()
    other.rollback()
    eventually(lambda: AuditEntry.objects.count() == 1)


def test_reads_outlive_a_ledger_that_cannot_be_written(queue, machine, caplog):
    make_memory()
    before = AuditEntry.objects.count()
    execute("ALTER TABLE audit_entries RENAME TO elsewhere")
    try:
        for _ in range(3):
            assert machine.get("/api/memories").status_code == 200
        eventually(lambda: "reads are not written yet" in caplog.text)
        time.sleep(0.2)
        assert len(queue.pending()) == 3
    finally:
        execute("ALTER TABLE elsewhere RENAME TO audit_entries")

    eventually(lambda: AuditEntry.objects.count() == before + 3)
    eventually(lambda: "reads are written again" in caplog.text)
    assert caplog.text.count("reads are not written yet") == 1
    with transaction.atomic():
        verify()


def test_reads_outlive_a_connection_that_is_cut(queue, other):
    note()
    eventually(lambda: AuditEntry.objects.count() == 1)
    other.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)",
        [connection.connection.info.backend_pid],
    )
    other.commit()
    note(2)

    eventually(lambda: AuditEntry.objects.count() == 3)
    with transaction.atomic():
        verify()


def test_what_is_lost_while_the_ledger_cannot_be_written_is_told_once(queue, monkeypatch, caplog):
    monkeypatch.setattr(reads, "MOST_READS", 2)
    execute("ALTER TABLE audit_entries RENAME TO elsewhere")
    try:
        note(5)
        eventually(lambda: "reads are not written yet" in caplog.text)
        note(5)
    finally:
        execute("ALTER TABLE elsewhere RENAME TO audit_entries")

    eventually(lambda: queue.pending() == [] and AuditEntry.objects.filter(action="reads.lost").exists())
    time.sleep(reads.GATHER_SECONDS * 4)
    told = [entry.details["reads"] for entry in AuditEntry.objects.filter(action="reads.lost")]
    assert sum(told) + AuditEntry.objects.filter(action="memory.read").count() == 10


def test_many_threads_lose_nothing(queue):
    threads = [threading.Thread(target=note, args=(200,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    eventually(lambda: AuditEntry.objects.count() == 1_600)
    assert reads.counts(ADA)[0] == 1_600
    with transaction.atomic():
        assert verify().seq == 1_600


def test_a_fork_does_not_write_what_its_parent_noted(queue, other):
    other.execute("SELECT * FROM audit_turn(%s)", [ledger.NO_HASH])
    note()
    child = os.fork()
    if child == 0:
        os._exit(len(queue.pending()) + queue._writing.locked() + (queue._thread is not None))

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    other.rollback()
    eventually(lambda: AuditEntry.objects.count() == 1)


def test_a_process_that_ends_writes_what_it_has_read(queue):
    script = (
        "import django; django.setup()\n"
        "from memoryhub.firewall.types import Principal\n"
        "from memoryhub.ops import reads\n"
        "reads.note(Principal(name='user:gone'), route='', query='', memory_ids=[], request_id='')\n"
    )
    there = {"DATABASE_URL": address(str(connection.settings_dict["NAME"]))}
    variables = os.environ | there | {"DJANGO_SETTINGS_MODULE": "memoryhub.settings"}

    subprocess.run([sys.executable, "-c", script], env=variables, check=True, timeout=60)

    assert AuditEntry.objects.get().principal == "user:gone"
