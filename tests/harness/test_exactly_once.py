"""Every write exactly once: fifty at a time, over two workers, through connections that break at COMMIT.

What protects it is the unique index `memories_identity` over (source, payload_id) of the current rows, under the lock
of the record clock. A test below asserts that both exist.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import httpx
import psycopg
import pytest

from memoryhub.config import APP_ROLE
from tests.harness.databases import unrestricted_dsn
from tests.harness.proxy import Interference, Proxy, is_commit, run_proxy
from tests.harness.server import RunningServer, postgres_socket_path, run_server
from tests.harness.strategies import SOAK

pytestmark = pytest.mark.soak

THREAD_COUNT = 50
WRITER_COUNT = 32
WRITES_PER_WRITER = 60 if SOAK else 4
MAX_RETRIES = 60


@pytest.fixture(scope="module")
def hub(tmp_path_factory, migrated_database):
    with run_server(tmp_path_factory.mktemp("hub") / "home", migrated_database) as server:
        yield server


@pytest.fixture(autouse=True)
def _reset_proxy(hub):
    yield
    hub.proxy.choose_interference = lambda _: Interference.PASS


def fetch_rows(hub: RunningServer, query: str, *parameters: Any) -> list[Any]:
    with psycopg.connect(unrestricted_dsn(hub.database)) as owner_connection:
        return owner_connection.execute(query.encode(), parameters).fetchall()


def send_in_parallel(requests: list[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    """The answers to requests that all wait for one another before they start."""
    gate = threading.Barrier(len(requests))

    def run_request(request: Callable[[], httpx.Response]) -> httpx.Response:
        gate.wait(60)
        return request()

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(run_request, requests))


def get_request(hub: RunningServer, path: str) -> Callable[[], httpx.Response]:
    client = hub.client()

    def send_get() -> httpx.Response:
        with client:
            response: httpx.Response = client.get(path)
            return response

    return send_get


def post_request(hub: RunningServer, key: str, body: Any, query: str = "") -> Callable[[], httpx.Response]:
    client = hub.client(key)

    def send_post() -> httpx.Response:
        with client:
            response: httpx.Response = client.post(f"/api/memories{query}", json=body)
            return response

    return send_post


def test_two_workers_answer(hub):
    """One of them has three sessions with the database: its two threads', and that of what writes who read what."""
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = %s"
    count = 0
    deadline = time.monotonic() + 30
    while count <= 3 and time.monotonic() < deadline:
        responses = send_in_parallel([get_request(hub, "/api/memories") for _ in range(THREAD_COUNT)])
        assert {response.status_code for response in responses} == {200}
        ((count,),) = fetch_rows(hub, sessions, APP_ROLE)

    assert count > 3


@pytest.mark.parametrize("round_", range(10 if SOAK else 1))
def test_fifty_times_the_same_envelope_is_one_row(hub, round_):
    body = {"payload_id": f"same-{round_}", "content": "Ada lives in Paris.", "source": "default"}

    responses = send_in_parallel([post_request(hub, "write-default", body) for _ in range(THREAD_COUNT)])

    assert Counter(response.status_code for response in responses) == {201: 1, 200: THREAD_COUNT - 1}
    assert Counter(response.json()["outcome"] for response in responses) == {
        "created": 1,
        "duplicate": THREAD_COUNT - 1,
    }
    (memory_id,) = {response.json()["memory_id"] for response in responses}
    stored_rows = fetch_rows(
        hub, "SELECT memory_id::text, version FROM memories WHERE payload_id = %s", f"same-{round_}"
    )
    assert stored_rows == [(memory_id, 1)]


@pytest.mark.parametrize("round_", range(10 if SOAK else 1))
def test_of_many_contents_under_one_payload_id_one_wins_and_is_not_changed(hub, round_):
    bodies = [{"payload_id": f"other-{round_}", "content": f"Version {index}"} for index in range(THREAD_COUNT)]

    responses = send_in_parallel([post_request(hub, "write-default", body) for body in bodies])

    assert Counter(response.status_code for response in responses) == {201: 1, 409: THREAD_COUNT - 1}
    (winner_index,) = [position for position, response in enumerate(responses) if response.status_code == 201]
    query = "SELECT content, version, superseded_at FROM memories WHERE payload_id = %s"
    assert fetch_rows(hub, query, f"other-{round_}") == [(f"Version {winner_index}", 1, None)]
    for response in responses:
        if response.status_code == 409:
            assert response.headers["content-type"] == "application/problem+json"
            assert response.json()["code"] == "payload_id_conflict"
            assert not {"memory_id", "version"} & response.json().keys()
    repeated = post_request(hub, "write-default", bodies[winner_index - 1])()
    assert repeated.status_code == 409
    assert fetch_rows(hub, query, f"other-{round_}") == [(f"Version {winner_index}", 1, None)]


def test_of_many_updates_each_is_a_version_and_the_versions_are_gapless(hub):
    bodies = [{"payload_id": "updated", "content": f"Version {index}"} for index in range(20)]

    responses = send_in_parallel([post_request(hub, "write-default", body, "?on_conflict=update") for body in bodies])

    assert [response.json()["version"] for response in responses if "version" in response.json()] == [1]
    assert Counter(response.status_code for response in responses) == {201: 1, 200: 19}
    version_rows = fetch_rows(
        hub, "SELECT version, superseded_at, recorded_at FROM memories WHERE payload_id = 'updated' ORDER BY 1"
    )
    assert [version for version, _, _ in version_rows] == list(range(1, 21))
    assert all(before[1] == after[2] for before, after in pairwise(version_rows))


def random_interference(seed: int) -> Callable[[bytes], Interference]:
    """Cuts some connections at COMMIT, before or after it, and a few anywhere."""
    rng = random.Random(seed)

    def choose_interference(statement: bytes) -> Interference:
        if is_commit(statement):
            return rng.choices(
                (
                    Interference.PASS,
                    Interference.CUT_BEFORE,
                    Interference.CUT_AFTER,
                    Interference.HALF_CLOSE,
                    Interference.DELAY,
                ),
                (40, 20, 25, 10, 5),
            )[0]
        return rng.choices((Interference.PASS, Interference.CUT_BEFORE, Interference.CUT_AFTER), (98, 1, 1))[0]

    return choose_interference


def test_every_write_is_stored_once_though_connections_break_before_and_after_commit(hub):
    rejected_responses: list[httpx.Response] = []
    receipts: dict[str, dict[str, Any]] = {}
    hub.proxy.interference_counts.clear()
    hub.proxy.choose_interference = random_interference(7)

    def run_writer(writer_index: int) -> None:
        with hub.client("write-default") as client:
            for turn in range(WRITES_PER_WRITER):
                payload_id = f"w{writer_index}-{turn}"
                body = {"payload_id": payload_id, "content": f"{payload_id} was written."}
                for _ in range(MAX_RETRIES):
                    try:
                        write_response = client.post("/api/memories", json=body)
                    except httpx.TransportError:
                        continue
                    if write_response.status_code in (200, 201):
                        receipts[payload_id] = write_response.json()
                        break
                    rejected_responses.append(write_response)
                    time.sleep(0.02)

    with ThreadPoolExecutor(WRITER_COUNT) as pool:
        list(pool.map(run_writer, range(WRITER_COUNT)))
    hub.proxy.choose_interference = lambda _: Interference.PASS

    expected = {
        f"w{writer_number}-{turn}" for writer_number in range(WRITER_COUNT) for turn in range(WRITES_PER_WRITER)
    }
    assert receipts.keys() == expected, "every writer got a receipt in the end"
    stored_rows = fetch_rows(
        hub, "SELECT payload_id, memory_id::text, version, content, superseded_at FROM memories WHERE payload_id ~ '^w'"
    )
    assert len(stored_rows) == len(expected), "nothing lost, nothing doubled"
    for payload_id, memory_id, version, content, superseded_at in stored_rows:
        assert memory_id == receipts[payload_id]["memory_id"]
        assert (version, content, superseded_at) == (1, f"{payload_id} was written.", None)
    # What came in between was said plainly, and all of it did come.
    traceback_lines = [line for line in hub.log if "Traceback" in line]
    assert {response.status_code for response in rejected_responses} == {503}, traceback_lines[:3]
    assert {response.headers["content-type"] for response in rejected_responses} == {"application/problem+json"}
    assert all(response.headers["retry-after"].isdecimal() for response in rejected_responses)
    codes = Counter(response.json()["code"] for response in rejected_responses)
    assert codes.keys() <= {"outcome_unknown", "database_unavailable", "serialization", "busy"}
    assert codes["outcome_unknown"] > WRITER_COUNT // 2
    assert all(hub.proxy.interference_counts[interference] >= 3 for interference in Interference), (
        hub.proxy.interference_counts
    )
    assert "duplicate" in {receipt["outcome"] for receipt in receipts.values()}, (
        "a COMMIT whose answer was lost was answered again"
    )


@pytest.mark.parametrize(
    ("interference", "is_stored"),
    [(Interference.CUT_BEFORE, False), (Interference.CUT_AFTER, True), (Interference.HALF_CLOSE, True)],
)
def test_a_connection_that_breaks_at_commit_leaves_the_outcome_unknown_until_it_is_asked_again(
    hub, interference, is_stored
):
    body = {"payload_id": f"cut-{interference}", "content": "Once."}
    hub.proxy.choose_interference = lambda statement: interference if is_commit(statement) else Interference.PASS
    with hub.client("write-default") as client:
        first = client.post("/api/memories", json=body)
        hub.proxy.choose_interference = lambda _: Interference.PASS
        second = client.post("/api/memories", json=body)

    assert (first.status_code, first.json()["code"]) == (503, "outcome_unknown")
    assert second.status_code == (200 if is_stored else 201), second.text
    assert fetch_rows(hub, "SELECT count(*) FROM memories WHERE payload_id = %s", f"cut-{interference}") == [(1,)]


def test_a_batch_whose_commit_broke_gets_a_receipt_for_each_item_the_second_time(hub):
    batch = [{"payload_id": f"batch-{index}", "content": "Once."} for index in range(100)]
    hub.proxy.choose_interference = lambda statement: (
        Interference.CUT_AFTER if is_commit(statement) else Interference.PASS
    )
    with hub.client("write-default") as client:
        assert client.post("/api/memories", json=batch).status_code == 503
        hub.proxy.choose_interference = lambda _: Interference.PASS
        second_receipts = client.post("/api/memories", json=batch).json()

    assert (second_receipts["created"], second_receipts["duplicate"]) == (0, 100)
    assert fetch_rows(hub, "SELECT count(*) FROM memories WHERE payload_id LIKE 'batch-%%'") == [(100,)]


def test_a_read_whose_connection_breaks_is_a_problem_and_the_next_one_is_answered(hub):
    hub.proxy.choose_interference = lambda statement: (
        Interference.CUT_AFTER if b'"memories"' in statement else Interference.PASS
    )
    with hub.client() as client:
        broken_response = client.get("/api/memories")
        hub.proxy.choose_interference = lambda _: Interference.PASS
        responses = [client.get("/api/memories").status_code for _ in range(6)]

    assert (broken_response.status_code, broken_response.json()["code"]) == (503, "database_unavailable")
    assert responses == [200] * 6


def test_a_database_that_went_away_and_came_back_is_found_again(hub):
    with hub.client() as client:
        assert client.get("/api/memories").status_code == 200
        hub.proxy.cut_all()
        responses = [client.get("/api/memories").status_code for _ in range(8)]

    # Each of the two threads of the two workers may notice once; a connection is checked before it is used again.
    assert set(responses) <= {200, 503}
    assert responses[-4:] == [200] * 4


def test_what_protects_all_this_exists(hub):
    (index,) = fetch_rows(hub, "SELECT indexdef FROM pg_indexes WHERE indexname = 'memories_identity'")
    assert index[0].startswith(
        "CREATE UNIQUE INDEX memories_identity ON public.memories"
        " USING btree (source, payload_id, exceeds_source_clearance)"
    )
    assert index[0].endswith("WHERE ((superseded_at IS NULL) AND (version >= 1))")
    assert fetch_rows(hub, "SELECT count(*) FROM pg_proc WHERE proname = 'record_time_next'") == [(1,)]
    assert fetch_rows(hub, "SELECT count(*) FROM record_clock") == [(1,)]


@pytest.fixture
def proxy_table(hub):
    with run_proxy(postgres_socket_path()) as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("interference", "is_stored"),
    [
        (Interference.PASS, True),
        (Interference.DELAY, True),
        (Interference.CUT_BEFORE, False),
        (Interference.CUT_AFTER, True),
        (Interference.HALF_CLOSE, True),
    ],
)
def test_the_proxy_does_what_it_says(hub, proxy_table: Proxy, interference, is_stored):
    """The faults are real: checked over another connection, which nothing disturbs."""
    with psycopg.connect(unrestricted_dsn(hub.database), autocommit=True) as owner_connection:
        owner_connection.execute("DROP TABLE IF EXISTS trial")
        owner_connection.execute("CREATE TABLE trial (n int)")
        proxy_table.choose_interference = lambda statement: interference if is_commit(statement) else Interference.PASS
        proxy_connection = psycopg.connect(
            f"host=127.0.0.1 port={proxy_table.port} dbname={hub.database} user=memoryhub gssencmode=disable"
        )
        proxy_connection.execute("INSERT INTO trial VALUES (1)")
        try:
            proxy_connection.commit()
            is_heard = True
        except psycopg.OperationalError:
            is_heard = False
        proxy_connection.close()

        assert is_heard is (interference in (Interference.PASS, Interference.DELAY))
        assert proxy_table.interference_counts[interference] >= 1
        deadline = time.monotonic() + 10
        # The server may need a moment to commit, or to notice that nobody is left to commit.
        while time.monotonic() < deadline and owner_connection.execute(_WRITER_COUNT_SQL).fetchone() != (0,):
            time.sleep(0.01)
        assert owner_connection.execute("SELECT count(*) FROM trial").fetchone() == (int(is_stored),)


_WRITER_COUNT_SQL = "SELECT count(*) FROM pg_locks WHERE relation = 'trial'::regclass AND pid <> pg_backend_pid()"
