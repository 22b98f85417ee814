"""GET /api/memories and what stands beside it: filters, details, counts, headers. Its pages are in test_pages.py."""

import json
import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from memoryhub.memories import ingest
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.records import RECORD, WHOLE
from memoryhub.ops import reads
from tests.api.answers import payload_ids, problem, told
from tests.builders import WRITER, at, envelope, make_memory

pytestmark = pytest.mark.django_db

LIST, FACETS, HISTOGRAM = "/api/memories", "/api/facets", "/api/histogram"
UNKNOWN = uuid.UUID(int=7)
FILTERED = (LIST, FACETS, HISTOGRAM)


# Two memories that differ in every column that can be filtered by.
ADA = {
    "payload_id": "ada", "source": "notes", "subject": "user:ada", "namespace": "home", "destination": "pinecone",
    "collection": "city", "content": "Ada lives in PARIS, 100% sure_\\", "model": "gpt", "role": "user",
    "actor_type": "user", "actor_id": "ada", "labels": ["PII", "home"], "tier": "public", "kind": "fact",
    "timestamp": "2026-03-01T12:00:00Z",
}  # fmt: skip
BOB = {
    "payload_id": "bob", "source": "crm", "subject": "user:bob", "namespace": "work", "destination": "sqlite",
    "collection": "job", "content": "Bob is a café\u200b owner. İstanbul, ΣΊΣΥΦΟΣ", "model": "claude",
    "role": "assistant",
    "actor_type": "agent", "actor_id": "bob", "labels": ["financial"], "tier": "internal", "kind": "summary",
    "timestamp": "2026-03-05T12:00:00.000001Z",
}  # fmt: skip


@pytest.fixture
def both() -> None:
    ingest.write([envelope(**ADA), envelope(**BOB)], by=WRITER)


def agreed(reader: Any, query: str) -> list[str]:
    """The ids that the list finds; the facets and the histogram must count as many."""
    found = payload_ids(reader.client.get(f"{LIST}?{query}"))
    facets = reader.client.get(f"{FACETS}?{query}").json()
    histogram = reader.client.get(f"{HISTOGRAM}?{query}").json()
    assert facets["total"] == len(found), facets
    assert sum(value["count"] for value in facets["facets"]["source"]) == len(found)
    assert sum(bucket["count"] for bucket in histogram["buckets"]) == len(found), histogram
    assert (facets["capped"], histogram["capped"]) == (False, False)
    return found


class TestFilters:
    @pytest.mark.usefixtures("both")
    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("", "bob ada"),
            ("q=paris", "ada"), ("q=LIVES%20in", "ada"), ("q=100%25", "ada"), ("q=sure_", "ada"), ("q=%5C", "ada"),
            ("q=100_", ""), ("q=%25", "ada"), ("q=_", "ada"), ("q=a", "bob ada"), ("q=CAFÉ", "bob"),
            ("q=cafe%CC%81%20owner", "bob"), ("q=caf%E2%80%8Bé", "bob"), ("q=nothing", ""),
            ("q=ΣΊΣΥΦΟΣ", "bob"), ("q=σίσυφος", "bob"), ("q=", "bob ada"),
            ("payload_id=ada", "ada"), ("payload_id=ADA", ""), ("payload_id=ada%20", ""),
            ("subject=user:ada", "ada"), ("namespace=home", "ada"), ("destination=sqlite", "bob"),
            ("collection=job", "bob"), ("source=crm", "bob"), ("actor_type=user", "ada"), ("actor_type=system", ""),
            ("actor_id=bob", "bob"), ("label=pii", "ada"), ("label=PII&label=HOME", "ada"),
            ("label=pii&label=financial", ""),
            ("label=", ""), ("tier=internal", "bob"), ("tier=restricted", ""), ("model=gpt", "ada"),
            ("role=assistant", "bob"), ("kind=summary", "bob"), ("status=active", "bob ada"), ("status=retired", ""),
            ("from=2026-03-05T12:00:00.000001Z", "bob"), ("from=2026-03-05T12:00:00.000002Z", ""),
            ("to=2026-03-05T12:00:00.000001Z", "ada"), ("to=2026-03-05T12:00:00.000002Z", "bob ada"),
            ("from=2026-03-01", "bob ada"), ("from=2026-03-02", "bob"), ("to=2026-03-02", "ada"), ("to=2026-03-01", ""),
            ("from=2026-03-01T13:00:00%2B01:00&to=2026-03-01T13:00:00.000001%2B01:00", "ada"),
            ("from=2026-03-01&to=2026-03-06", "bob ada"), ("from=2026-03-01T11:30:00Z&to=2026-03-01T12:30:00Z", "ada"),
            ("from=0001-01-01&to=9999-12-31", "bob ada"), ("from=9999-12-31", ""),
            ("to=0001-01-01T00:00:00.000001Z", ""),
            ("source=crm&tier=internal&q=owner&label=financial&from=2026-03-05", "bob"),
            ("source=crm&subject=user:ada", ""),
            ("as_of=2026-03-01T11:59:59.999999Z", ""), ("as_of=2026-03-01T12:00:00Z", "ada"),
            ("as_of=2026-03-05T12:00:00Z", "ada"), ("as_of=2026-03-05T12:00:00.000001Z", "bob ada"),
            ("as_of=2026-03-02", "ada"), ("as_of=0001-01-01", ""), ("as_of=2026-03-02&from=2026-03-02", ""),
            ("known_at=2026-03-06", ""), ("known_at=0001-01-01", ""), ("known_at=9999-12-31", "bob ada"),
            ("known_at=9999-12-31&as_of=2026-03-01T12:00:00Z&q=paris&label=pii", "ada"),
        ],
    )  # fmt: skip
    def test_find_the_same_on_the_list_the_facets_and_the_histogram(self, reader, query, found):
        assert agreed(reader, query) == found.split()

    @pytest.mark.usefixtures("both")
    @pytest.mark.parametrize(
        "name",
        ["subject", "namespace", "destination", "collection", "actor_id", "model", "role", "label"],
    )
    def test_that_are_empty_ask_for_what_is_empty(self, reader, name):
        empty: dict[str, Any] = {"labels": []} if name == "label" else {name: ""}
        ingest.write([envelope(**ADA | {"payload_id": "without"} | empty)], by=WRITER)

        assert agreed(reader, f"{name}=") == agreed(reader, f"{name}=&source=notes&tier=public") == ["without"]

    @pytest.mark.usefixtures("both")
    def test_that_are_empty_find_nothing_where_nothing_can_be(self, reader):
        assert agreed(reader, "source=") == agreed(reader, "payload_id=") == agreed(reader, "tier=") == []

    def test_are_all_in_the_table_above(self):
        marks = type(self).test_find_the_same_on_the_list_the_facets_and_the_histogram.pytestmark
        table = next(mark.args[1] for mark in marks if mark.name == "parametrize")
        tried = {pair.partition("=")[0] for query, _ in table for pair in query.split("&") if pair}
        assert tried == set(MemoryFilterSet.base_filters)

    @pytest.mark.parametrize("path", FILTERED)
    @pytest.mark.parametrize(
        ("query", "named"),
        [
            ("nonsense=1", ["nonsense"]), ("Subject=a", ["Subject"]), ("subject__contains=a", ["subject__contains"]),
            ("ordering=password", ["ordering"]), ("fields=a.b", ["fields"]), ("_connector=OR", ["_connector"]),
            ("label__overlap=a", ["label__overlap"]), ("offset=1", ["offset"]), ("page=2", ["page"]), ("=1", [""]),
            ("tier=secret", ["tier"]), ("tier=PUBLIC", ["tier"]), ("actor_type=human", ["actor_type"]),
            ("kind=rumour", ["kind"]), ("q=%E2%80%8B%C2%AD", ["q"]),
            ("kind=", ["kind"]), ("status=", ["status"]), ("actor_type=", ["actor_type"]), ("from=", ["from"]),
            ("status=all", ["status"]), ("status=superseded", ["status"]),
            ("from=yesterday", ["from"]), ("from=2026-03-01T12:00:00", ["from"]), ("to=2026-13-01", ["to"]),
            ("from=2026-W10-1", ["from"]), ("to=20260301", ["to"]), ("to=1767225600", ["to"]),
            ("from=2026-03-02&to=2026-03-01", ["to"]), ("from=2026-03-02&to=2026-03-02", ["to"]),
            ("subject=a&subject=b", ["subject"]), ("q=a&q=a", ["q"]), ("from=2026-01-01&from=2026-01-01", ["from"]),
            ("subject=%00", ["subject"]), ("q=a%00b", ["q"]), ("label=%00", ["label"]),
            ("source=" + "x" * 256, ["source"]),
            ("q=" + "x" * 1001, ["q"]), ("label=" + "x" * 256, ["label"]),
            ("&".join(f"label={n}" for n in range(21)), ["label"]),
            ("tier=x&kind=y&q=%00", ["kind", "q", "tier"]),
        ],
    )  # fmt: skip
    def test_that_cannot_be_answered_are_named(self, reader, path, query, named):
        told = problem(reader.client.get(f"{path}?{query}"), 400, "invalid_parameter")

        assert sorted(told["errors"]) == named

    def test_say_when_a_plus_was_meant(self, reader):
        errors = problem(reader.client.get(f"{LIST}?from=2026-03-01T13:00:00+01:00"), 400, "invalid_parameter")[
            "errors"
        ]

        assert "%2B" in errors["from"][0]

    @pytest.mark.parametrize("path", [f"{LIST}/{UNKNOWN}", f"{LIST}/{UNKNOWN}/versions", "/api/status"])
    def test_have_no_place_elsewhere(self, reader, path):
        assert list(problem(reader.get(path, subject="a"), 400, "invalid_parameter")["errors"]) == ["subject"]


class TestCounts:
    @pytest.mark.usefixtures("both")
    def test_of_each_dimension_are_the_visible_rows(self, reader):
        facets = reader.get(FACETS).json()["facets"]

        assert {name: [(row["value"], row["count"]) for row in rows] for name, rows in facets.items()} == {
            "source": [("crm", 1), ("notes", 1)],
            "actor_type": [("agent", 1), ("user", 1)],
            "namespace": [("home", 1), ("work", 1)],
            "collection": [("city", 1), ("job", 1)],
            "tier": [("internal", 1), ("public", 1)],
            "label": [("financial", 1), ("home", 1), ("pii", 1)],
        }

    @pytest.mark.usefixtures("both")
    def test_know_nothing_of_hidden_rows(self, outsider):
        facets = outsider.get(FACETS).json()

        assert facets["total"] == 1
        assert "crm" not in json.dumps(facets)
        assert [bucket["count"] for bucket in outsider.get(HISTOGRAM).json()["buckets"]] == [1]

    def test_follow_an_update(self, reader):
        make_memory(payload_id="p", collection="city")
        make_memory(payload_id="p", collection="town")

        assert agreed(reader, "") == ["p"]
        assert reader.get(FACETS).json()["facets"]["collection"] == [{"value": "town", "count": 1}]

    def test_lie_in_buckets_that_touch(self, reader):
        for day in (1, 2, 2, 9):
            make_memory(timestamp=at(f"2026-03-{day:02} 12:00"))

        buckets = reader.get(HISTOGRAM).json()["buckets"]

        assert [bucket["count"] for bucket in buckets] == [1, 2, 0, 0, 0, 0, 0, 0, 1]
        assert [bucket["end"] for bucket in buckets[:-1]] == [bucket["start"] for bucket in buckets[1:]]


def _open(reader: Any, memory: Memory) -> list[Any]:
    return [reader.get(f"{LIST}/{memory.memory_id}"), reader.get(f"{LIST}/{memory.memory_id}/versions")]


class TestOneMemory:
    def test_is_told_with_every_documented_key_and_no_embedding(self, reader):
        given = envelope(
            **ADA | {"source": "test"}, request_id="r", idempotency_key="i", schema_version=3, transform_version="t",
            embedding=[0.5] * 384, metadata={"b": 1.50, "a": 10**30}, pinned=True, expires_at="2999-01-01T00:00:00Z",
            propagation={"to": ["x"]},
        )  # fmt: skip
        ingest.write([given], by=WRITER)

        record = reader.get(LIST).json()["records"][0]
        whole = reader.get(f"{LIST}/{record['memory_id']}").json()
        versions = reader.get(f"{LIST}/{record['memory_id']}/versions").json()["versions"]

        assert tuple(record) == RECORD
        assert tuple(whole) == WHOLE
        assert versions == [whole]
        assert not {"embedding", "id", "search", "fingerprint", "label_keys", "content_sha256"} & whole.keys()
        assert {name: whole[name] for name in given if name != "embedding"} == {
            name: value for name, value in given.items() if name != "embedding"
        }
        assert (whole["version"], whole["status"], whole["superseded_at"]) == (1, "active", None)
        assert whole["defaulted"] == []
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", whole["recorded_at"])

    def test_has_its_versions_newest_first(self, reader):
        for text in ("One.", "Two.", "Three."):
            memory = make_memory(payload_id="p", content=text)

        detail, versions = _open(reader, memory)

        assert (detail.json()["content"], detail.json()["version"]) == ("Three.", 3)
        told = versions.json()["versions"]
        assert [(row["version"], row["content"]) for row in told] == [(3, "Three."), (2, "Two."), (1, "One.")]
        assert [row["superseded_at"] for row in told] == [None, told[0]["recorded_at"], told[1]["recorded_at"]]

    def test_that_is_hidden_is_the_same_answer_as_one_that_is_missing(self, outsider):
        hidden = make_memory(tier="internal")
        raised = make_memory(payload_id="raised", tier="public")
        make_memory(payload_id="raised", tier="restricted", content="Now secret.")
        expired = make_memory(expires_at=timezone.now() - timedelta(seconds=1), tier="internal")

        for suffix in ("", "/versions"):
            missing = told(outsider.get(f"{LIST}/{uuid.uuid4()}{suffix}"))
            assert missing[0] == 404
            for memory in (hidden, raised, expired):
                assert told(outsider.get(f"{LIST}/{memory.memory_id}{suffix}")) == missing

    def test_hides_the_versions_that_the_caller_may_not_see(self, outsider):
        make_memory(payload_id="p", content="Secret.", tier="restricted")
        memory = make_memory(payload_id="p", content="Released.", tier="public")

        _, versions = _open(outsider, memory)

        assert [row["content"] for row in versions.json()["versions"]] == ["Released."]

    def test_that_has_outlived_its_time_is_shown_where_it_is_asked_for(self, reader):
        make_memory(payload_id="mortal", expires_at=timezone.now() + timedelta(hours=1))
        dead = make_memory(payload_id="dead", expires_at=timezone.now() - timedelta(seconds=1), source="test")
        make_memory(payload_id="revised", content="One.")
        gone = make_memory(payload_id="revised", content="Two.", expires_at=at("1969-01-01 00:00"))

        assert agreed(reader, "") == ["mortal"]
        assert agreed(reader, "payload_id=dead") == []
        assert agreed(reader, "source=test") == ["mortal"]
        assert agreed(reader, "q=fact") == ["mortal"]
        assert reader.get("/api/status").json()["memories_total"] == 1
        assert sorted(agreed(reader, "status=expired")) == ["dead", "revised"]
        for memory in (dead, gone):
            assert [answer.status_code for answer in _open(reader, memory)] == [200, 200]

    @pytest.mark.parametrize("spelling", [str.upper, lambda text: "{" + text + "}", lambda text: text.replace("-", "")])
    def test_has_one_address(self, reader, spelling):
        memory = make_memory()

        problem(reader.get(f"{LIST}/{spelling(str(memory.memory_id))}"), 404, "not_found")


class TestHeaders:
    @pytest.mark.parametrize(
        "path", [LIST, FACETS, HISTOGRAM, "memory", "versions", "missing", "/api/schema", "/ready", "/health"]
    )
    def test_of_a_head_are_those_of_a_get(self, reader, path):
        memory = make_memory()
        path = {
            "memory": f"{LIST}/{memory.memory_id}",
            "versions": f"{LIST}/{memory.memory_id}/versions",
            "missing": f"{LIST}/{uuid.uuid4()}",
        }.get(path, path)

        get, head = reader.client.get(path), reader.client.head(path)

        def headers(response: Any) -> dict[str, str]:
            return {name: value for name, value in response.items() if name not in ("X-Request-ID", "Server-Timing")}

        assert (head.status_code, headers(head)) == (get.status_code, headers(get))
        assert head.content == b""

    def test_tell_every_cache_to_keep_out(self, reader):
        make_memory()

        for path in (*FILTERED, "/api/status"):
            assert {"no-store", "private"} <= set(reader.get(path)["Cache-Control"].split(", "))

    @pytest.mark.parametrize("path", [LIST, FACETS, HISTOGRAM, "memory", "versions"])
    def test_let_an_etag_hold_while_only_hidden_rows_change(self, outsider, path):
        """FW-15."""
        memory = make_memory(payload_id="seen")
        path = {"memory": f"{LIST}/{memory.memory_id}", "versions": f"{LIST}/{memory.memory_id}/versions"}.get(
            path, path
        )
        first = outsider.get(path)

        make_memory(payload_id="hidden", tier="restricted")
        make_memory(payload_id="hidden", tier="restricted", content="Changed.")
        make_memory(payload_id="other", namespace="x", labels=["y"], tier="internal", timestamp=at("1999-01-01 00:00"))
        unchanged = outsider.client.get(path, headers={"If-None-Match": first["ETag"]})

        assert (unchanged.status_code, unchanged.content, unchanged["ETag"]) == (304, b"", first["ETag"])
        assert told(outsider.get(path)) == told(first)

        make_memory(
            payload_id="seen", content="Changed for all to see.", labels=["z"], timestamp=at("2020-01-01 00:00")
        )
        assert outsider.client.get(path, headers={"If-None-Match": first["ETag"]}).status_code == 200

    @pytest.mark.parametrize(
        ("claimed", "kept"),
        [
            ("trace-1.A_b", True),
            ("x" * 64, True),
            ("x" * 65, False),
            ("<b>", False),
            ("a b", False),
            ("é", False),
            ("", False),
        ],
    )
    def test_repeat_a_request_id_that_is_one(self, reader, claimed, kept):
        answer = reader.client.get(f"{LIST}/{uuid.uuid4()}", headers={"X-Request-ID": claimed})

        assert (answer["X-Request-ID"] == claimed) == kept
        assert answer.json()["request_id"] == answer["X-Request-ID"]


def test_status_tells_what_the_caller_may_know(reader, outsider):
    make_memory()
    make_memory(tier="restricted")
    make_memory(payload_id="p")
    make_memory(payload_id="p", content="Changed.")

    high, low = reader.get("/api/status").json(), outsider.get("/api/status").json()

    assert (high["memories_total"], high["writes_total"], high["writes_1m"]) == (3, 4, 4)
    assert (low["memories_total"], low["writes_total"], low["writes_1m"]) == (2, 3, 3)
    assert high["database"]["healthy"] is True
    assert high["durability"].keys() >= {"fsync", "synchronous_commit", "full_page_writes", "data_checksums", "durable"}


def test_status_counts_the_callers_own_reads(reader, outsider, api):
    before = reader.get("/api/status").json()["reads_total"]
    for _ in range(3):
        reader.get(LIST)
    outsider.get(LIST)
    problem(reader.get(LIST, tier="nonsense"), 400, "invalid_parameter")

    reads.flush()
    assert reader.get("/api/status").json()["reads_total"] == before + 3
