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

from memoryhub.config import APPLICATION
from tests.harness.databases import keepers_address
from tests.harness.generated import SOAK
from tests.harness.proxy import Fate, Proxy, is_commit, proxying
from tests.harness.server import Served, serving, socket_of_the_tests

pytestmark = pytest.mark.soak

THREADS = 50
WRITERS = 32
WRITES_EACH = 60 if SOAK else 6
RETRIES = 60


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("hub") / "home") as served:
        yield served


@pytest.fixture(autouse=True)
def _nothing_breaks(hub):
    yield
    hub.proxy.decide = lambda _: Fate.PASS


def rows(hub: Served, question: str, *parameters: Any) -> list[Any]:
    with psycopg.connect(keepers_address(hub.database)) as own:
        return own.execute(question.encode(), parameters).fetchall()


def at_once(jobs: list[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    """The answers to requests that all wait for one another before they start."""
    gate = threading.Barrier(len(jobs))

    def run(job: Callable[[], httpx.Response]) -> httpx.Response:
        gate.wait(60)
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


def get(hub: Served, path: str) -> Callable[[], httpx.Response]:
    client = hub.client()

    def send() -> httpx.Response:
        with client:
            answer: httpx.Response = client.get(path)
            return answer

    return send


def post(hub: Served, key: str, body: Any, query: str = "") -> Callable[[], httpx.Response]:
    client = hub.client(key)

    def send() -> httpx.Response:
        with client:
            answer: httpx.Response = client.post(f"/api/memories{query}", json=body)
            return answer

    return send


def test_two_workers_answer(hub):
    """One of them has three sessions with the database: its two threads', and that of what writes who read what."""
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = %s"
    count = 0
    deadline = time.monotonic() + 30
    while count <= 3 and time.monotonic() < deadline:
        answers = at_once([get(hub, "/api/memories") for _ in range(THREADS)])
        assert {answer.status_code for answer in answers} == {200}
        ((count,),) = rows(hub, sessions, APPLICATION)

    assert count > 3


@pytest.mark.parametrize("round_", range(10 if SOAK else 2))
def test_fifty_times_the_same_envelope_is_one_row(hub, round_):
    body = {"payload_id": f"same-{round_}", "content": "Ada lives in Paris.", "source": "default"}

    answers = at_once([post(hub, "write-default", body) for _ in range(THREADS)])

    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: THREADS - 1}
    assert Counter(answer.json()["outcome"] for answer in answers) == {"created": 1, "duplicate": THREADS - 1}
    (memory_id,) = {answer.json()["memory_id"] for answer in answers}
    stored = rows(hub, "SELECT memory_id::text, version FROM memories WHERE payload_id = %s", f"same-{round_}")
    assert stored == [(memory_id, 1)]


@pytest.mark.parametrize("round_", range(10 if SOAK else 2))
def test_of_many_contents_under_one_payload_id_one_wins_and_is_not_changed(hub, round_):
    bodies = [{"payload_id": f"other-{round_}", "content": f"Version {number}"} for number in range(THREADS)]

    answers = at_once([post(hub, "write-default", body) for body in bodies])

    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: THREADS - 1}
    (won,) = [place for place, answer in enumerate(answers) if answer.status_code == 201]
    question = "SELECT content, version, superseded_at FROM memories WHERE payload_id = %s"
    assert rows(hub, question, f"other-{round_}") == [(f"Version {won}", 1, None)]
    for answer in answers:
        if answer.status_code == 409:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"] == "payload_id_conflict"
            assert not {"memory_id", "version"} & answer.json().keys()
    again = post(hub, "write-default", bodies[won - 1])()
    assert again.status_code == 409
    assert rows(hub, question, f"other-{round_}") == [(f"Version {won}", 1, None)]


def test_of_many_updates_each_is_a_version_and_the_versions_are_gapless(hub):
    bodies = [{"payload_id": "updated", "content": f"Version {number}"} for number in range(20)]

    answers = at_once([post(hub, "write-default", body, "?on_conflict=update") for body in bodies])

    assert [answer.json()["version"] for answer in answers if "version" in answer.json()] == [1]
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 19}
    found = rows(
        hub, "SELECT version, superseded_at, recorded_at FROM memories WHERE payload_id = 'updated' ORDER BY 1"
    )
    assert [version for version, _, _ in found] == list(range(1, 21))
    assert all(one[1] == after[2] for one, after in pairwise(found))


def breaking(seed: int) -> Callable[[bytes], Fate]:
    """Cuts some connections at COMMIT, before or after it, and a few anywhere."""
    dice = random.Random(seed)

    def decide(statement: bytes) -> Fate:
        if is_commit(statement):
            return dice.choices(
                (Fate.PASS, Fate.CUT_BEFORE, Fate.CUT_AFTER, Fate.HALF_CLOSE, Fate.DELAY), (40, 20, 25, 10, 5)
            )[0]
        return dice.choices((Fate.PASS, Fate.CUT_BEFORE, Fate.CUT_AFTER), (98, 1, 1))[0]

    return decide


def test_every_write_is_stored_once_though_connections_break_before_and_after_commit(hub):
    refused: list[httpx.Response] = []
    told: dict[str, dict[str, Any]] = {}
    hub.proxy.happened.clear()
    hub.proxy.decide = breaking(7)

    def write(number: int) -> None:
        with hub.client("write-default") as client:
            for turn in range(WRITES_EACH):
                payload_id = f"w{number}-{turn}"
                body = {"payload_id": payload_id, "content": f"{payload_id} was written."}
                for _ in range(RETRIES):
                    try:
                        answer = client.post("/api/memories", json=body)
                    except httpx.TransportError:
                        continue
                    if answer.status_code in (200, 201):
                        told[payload_id] = answer.json()
                        break
                    refused.append(answer)
                    time.sleep(0.02)

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    hub.proxy.decide = lambda _: Fate.PASS

    expected = {f"w{number}-{turn}" for number in range(WRITERS) for turn in range(WRITES_EACH)}
    assert told.keys() == expected, "every writer was told of success in the end"
    found = rows(
        hub, "SELECT payload_id, memory_id::text, version, content, superseded_at FROM memories WHERE payload_id ~ '^w'"
    )
    assert len(found) == len(expected), "nothing lost, nothing doubled"
    for payload_id, memory_id, version, content, superseded_at in found:
        assert memory_id == told[payload_id]["memory_id"]
        assert (version, content, superseded_at) == (1, f"{payload_id} was written.", None)
    # What came in between was said plainly, and all of it did come.
    broken = [line for line in hub.log if "Traceback" in line]
    assert {answer.status_code for answer in refused} == {503}, broken[:3]
    assert {answer.headers["content-type"] for answer in refused} == {"application/problem+json"}
    assert all(answer.headers["retry-after"].isdecimal() for answer in refused)
    codes = Counter(answer.json()["code"] for answer in refused)
    assert codes.keys() <= {"outcome_unknown", "database_unavailable", "serialization", "busy"}
    assert codes["outcome_unknown"] > WRITERS // 2
    assert all(hub.proxy.happened[fate] >= 3 for fate in Fate), hub.proxy.happened
    assert "duplicate" in {receipt["outcome"] for receipt in told.values()}, "a COMMIT was not heard of, and told again"


@pytest.mark.parametrize(
    ("fate", "is_stored"), [(Fate.CUT_BEFORE, False), (Fate.CUT_AFTER, True), (Fate.HALF_CLOSE, True)]
)
def test_a_connection_that_breaks_at_commit_leaves_the_outcome_unknown_until_it_is_asked_again(hub, fate, is_stored):
    body = {"payload_id": f"cut-{fate}", "content": "Once."}
    hub.proxy.decide = lambda statement: fate if is_commit(statement) else Fate.PASS
    with hub.client("write-default") as client:
        first = client.post("/api/memories", json=body)
        hub.proxy.decide = lambda _: Fate.PASS
        second = client.post("/api/memories", json=body)

    assert (first.status_code, first.json()["code"]) == (503, "outcome_unknown")
    assert second.status_code == (200 if is_stored else 201), second.text
    assert rows(hub, "SELECT count(*) FROM memories WHERE payload_id = %s", f"cut-{fate}") == [(1,)]


def test_a_batch_whose_commit_broke_is_told_item_by_item_the_second_time(hub):
    batch = [{"payload_id": f"batch-{number}", "content": "Once."} for number in range(100)]
    hub.proxy.decide = lambda statement: Fate.CUT_AFTER if is_commit(statement) else Fate.PASS
    with hub.client("write-default") as client:
        assert client.post("/api/memories", json=batch).status_code == 503
        hub.proxy.decide = lambda _: Fate.PASS
        again = client.post("/api/memories", json=batch).json()

    assert (again["created"], again["duplicate"]) == (0, 100)
    assert rows(hub, "SELECT count(*) FROM memories WHERE payload_id LIKE 'batch-%%'") == [(100,)]


def test_a_read_whose_connection_breaks_is_a_problem_and_the_next_one_is_answered(hub):
    hub.proxy.decide = lambda statement: Fate.CUT_AFTER if b'"memories"' in statement else Fate.PASS
    with hub.client() as client:
        broken = client.get("/api/memories")
        hub.proxy.decide = lambda _: Fate.PASS
        answers = [client.get("/api/memories").status_code for _ in range(6)]

    assert (broken.status_code, broken.json()["code"]) == (503, "database_unavailable")
    assert answers == [200] * 6


def test_a_database_that_went_away_and_came_back_is_found_again(hub):
    with hub.client() as client:
        assert client.get("/api/memories").status_code == 200
        hub.proxy.cut_all()
        answers = [client.get("/api/memories").status_code for _ in range(8)]

    # Each of the two threads of the two workers may notice once; a connection is checked before it is used again.
    assert set(answers) <= {200, 503}
    assert answers[-4:] == [200] * 4


def test_what_protects_all_this_exists(hub):
    (index,) = rows(hub, "SELECT indexdef FROM pg_indexes WHERE indexname = 'memories_identity'")
    assert index[0].startswith(
        "CREATE UNIQUE INDEX memories_identity ON public.memories USING btree (source, payload_id, beyond_source)"
    )
    assert index[0].endswith("WHERE ((superseded_at IS NULL) AND (version >= 1))")
    assert rows(hub, "SELECT count(*) FROM pg_proc WHERE proname = 'record_tick'") == [(1,)]
    assert rows(hub, "SELECT count(*) FROM record_clock") == [(1,)]


@pytest.fixture
def proxied(hub):
    with proxying(socket_of_the_tests()) as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("fate", "is_stored"),
    [(Fate.PASS, True), (Fate.DELAY, True), (Fate.CUT_BEFORE, False), (Fate.CUT_AFTER, True), (Fate.HALF_CLOSE, True)],
)
def test_the_proxy_does_what_it_says(hub, proxied: Proxy, fate, is_stored):
    """The faults are real: told by another connection, which nobody disturbs."""
    with psycopg.connect(keepers_address(hub.database), autocommit=True) as own:
        own.execute("DROP TABLE IF EXISTS trial")
        own.execute("CREATE TABLE trial (n int)")
        proxied.decide = lambda statement: fate if is_commit(statement) else Fate.PASS
        through = psycopg.connect(
            f"host=127.0.0.1 port={proxied.port} dbname={hub.database} user=memoryhub gssencmode=disable"
        )
        through.execute("INSERT INTO trial VALUES (1)")
        try:
            through.commit()
            is_heard = True
        except psycopg.OperationalError:
            is_heard = False
        through.close()

        assert is_heard is (fate in (Fate.PASS, Fate.DELAY))
        assert proxied.happened[fate] >= 1
        deadline = time.monotonic() + 10
        # The server may need a moment to commit, or to notice that nobody is left to commit.
        while time.monotonic() < deadline and own.execute(_ANYBODY_WRITES).fetchone() != (0,):
            time.sleep(0.01)
        assert own.execute("SELECT count(*) FROM trial").fetchone() == (int(is_stored),)


_ANYBODY_WRITES = "SELECT count(*) FROM pg_locks WHERE relation = 'trial'::regclass AND pid <> pg_backend_pid()"
