"""GET /api/memories and the routes beside it: filters, details, counts, headers. Its pages are in test_pages.py."""

import json
import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from memoryhub.access_log import read_log
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.records import DETAIL_FIELDS, LIST_FIELDS
from memoryhub.memories.writes import write
from tests.api.responses import assert_problem, comparable_response, payload_ids
from tests.factories import WRITER, envelope, make_memory, utc

pytestmark = pytest.mark.django_db

LIST, FACETS, HISTOGRAM = "/api/memories", "/api/facets", "/api/histogram"
MISSING_ID = uuid.UUID(int=7)
FILTERED_PATHS = (LIST, FACETS, HISTOGRAM)


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
def ada_and_bob() -> None:
    write.write_memories([envelope(**ADA), envelope(**BOB)], principal=WRITER)


def matching_ids(reader: Any, query: str) -> list[str]:
    """The ids that the list finds; the facets and the histogram must count as many."""
    matches = payload_ids(reader.client.get(f"{LIST}?{query}"))
    facets = reader.client.get(f"{FACETS}?{query}").json()
    histogram = reader.client.get(f"{HISTOGRAM}?{query}").json()
    assert facets["total"] == len(matches), facets
    assert sum(value["count"] for value in facets["facets"]["source"]) == len(matches)
    assert sum(bucket["count"] for bucket in histogram["buckets"]) == len(matches), histogram
    assert (facets["is_capped"], histogram["is_capped"]) == (False, False)
    return matches


class TestFilters:
    @pytest.mark.usefixtures("ada_and_bob")
    @pytest.mark.parametrize(
        ("query", "expected_ids"),
        [
            ("", "bob ada"),
            ("q=paris", "ada"), ("q=LIVES%20in", "ada"), ("q=100%25", "ada"), ("q=sure_", "ada"), ("q=%5C", "ada"),
            ("q=100_", "ada"), ("q=contains:100_", ""), ("q=%25", "ada"), ("q=_", "ada"), ("q=contains:a", "bob ada"),
            ("q=CAFÉ", "bob"),
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
            ("subject=user:ada&subject=nobody", "ada"), ("subject=user:ada&subject=user:bob", "bob ada"),
            ("subject=user:*", "bob ada"), ("subject=user:a*", "ada"), ("subject=*", "bob ada"), ("subject=user%", ""),
            ("subject=user:ada%5C*", ""), ("subject=%5C*", ""), ("subject=user:_d*", ""), ("subject=USER:*", ""),
            ("subject=user:a*&subject=user:b*", "bob ada"), ("subject=user:a*&subject=user:bob", "bob ada"),
            ("source!=crm", "ada"), ("source!=crm&source!=nobody", "ada"), ("source!=nobody", "bob ada"),
            ("source=crm&source!=crm", ""), ("source!=c*", "ada"), ("source!=", "bob ada"), ("subject!=", "bob ada"),
            ("payload_id!=ada", "bob"), ("namespace!=home", "bob"), ("destination!=sqlite", "ada"),
            ("collection!=job", "ada"), ("actor_id!=bob", "ada"), ("model!=gpt", "bob"), ("role!=assistant", "ada"),
            ("actor_type=user&actor_type=system", "ada"), ("actor_type!=user", "bob"), ("tier!=internal", "ada"),
            ("tier=internal&tier=public", "bob ada"), ("kind=summary&kind=fact", "bob ada"), ("kind!=summary", "ada"),
            ("status=retired&status=active", "bob ada"), ("status!=retired", "bob ada"), ("status!=active", ""),
            ("status=active&status!=active", ""), ("status=expired&status=active", "bob ada"),
            ("status!=expired", "bob ada"), ("status!=active&status!=expired", ""),
            ("label!=pii", "bob"), ("label!=PII", "bob"), ("label!=pii&label!=financial", ""), ("label!=", "bob ada"),
            ("label=pii&label!=home", ""), ("label=home&label!=financial", "ada"), ("label=p*", ""),
            ("source=crm&tier=internal&q=owner&label=financial&from=2026-03-05", "bob"),
            ("source=crm&subject=user:ada", ""),
            ("as_of=2026-03-01T11:59:59.999999Z", ""), ("as_of=2026-03-01T12:00:00Z", "ada"),
            ("as_of=2026-03-05T12:00:00Z", "ada"), ("as_of=2026-03-05T12:00:00.000001Z", "bob ada"),
            ("as_of=2026-03-02", "ada"), ("as_of=0001-01-01", ""), ("as_of=2026-03-02&from=2026-03-02", ""),
            ("known_at=2026-03-06", ""), ("known_at=0001-01-01", ""), ("known_at=9999-12-31", "bob ada"),
            ("known_at=9999-12-31&as_of=2026-03-01T12:00:00Z&q=paris&label=pii", "ada"),
        ],
    )  # fmt: skip
    def test_find_the_same_on_the_list_the_facets_and_the_histogram(self, reader, query, expected_ids):
        assert matching_ids(reader, query) == expected_ids.split()

    @pytest.mark.usefixtures("ada_and_bob")
    @pytest.mark.parametrize(
        "name",
        ["subject", "namespace", "destination", "collection", "actor_id", "model", "role", "label"],
    )
    def test_that_are_empty_ask_for_what_is_empty(self, reader, name):
        empty: dict[str, Any] = {"labels": []} if name == "label" else {name: ""}
        write.write_memories([envelope(**ADA | {"payload_id": "without"} | empty)], principal=WRITER)

        assert (
            matching_ids(reader, f"{name}=") == matching_ids(reader, f"{name}=&source=notes&tier=public") == ["without"]
        )

    @pytest.mark.usefixtures("ada_and_bob")
    def test_that_are_empty_find_nothing_where_nothing_can_be(self, reader):
        assert (
            matching_ids(reader, "source=")
            == matching_ids(reader, "payload_id=")
            == matching_ids(reader, "tier=")
            == []
        )

    def test_are_all_in_the_table_above(self):
        marks = type(self).test_find_the_same_on_the_list_the_facets_and_the_histogram.pytestmark
        table = next(mark.args[1] for mark in marks if mark.name == "parametrize")
        tested_parameters = {pair.partition("=")[0] for query, _ in table for pair in query.split("&") if pair}
        assert tested_parameters == set(MemoryFilterSet.base_filters) | MemoryFilterSet.repeatable_params()

    @pytest.mark.parametrize("path", FILTERED_PATHS)
    @pytest.mark.parametrize(
        ("query", "field"),
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
            ("subject!=%00", ["subject"]), ("tier!=secret", ["tier"]), ("tier=pub*", ["tier"]), ("q!=a", ["q!"]),
            ("from!=2026-03-01", ["from!"]), ("subject!!=a", ["subject!!"]), ("subject*=a", ["subject*"]),
            ("&".join(f"source{'!' * (n % 2)}={n}" for n in range(21)), ["source"]), ("q=a&q=a", ["q"]),
            ("from=2026-01-01&from=2026-01-01", ["from"]),
            ("subject=%00", ["subject"]), ("q=a%00b", ["q"]), ("label=%00", ["label"]),
            ("source=" + "x" * 256, ["source"]),
            ("q=" + "x" * 16_001, ["q"]), ("label=" + "x" * 256, ["label"]),
            ("&".join(f"label={n}" for n in range(21)), ["label"]),
            ("tier=x&kind=y&q=%00", ["kind", "q", "tier"]),
        ],
    )  # fmt: skip
    def test_that_cannot_be_answered_are_named(self, reader, path, query, field):
        error = assert_problem(reader.client.get(f"{path}?{query}"), 400, "invalid_parameter")

        assert sorted(error["errors"]) == field

    def test_say_when_a_plus_was_meant(self, reader):
        errors = assert_problem(reader.client.get(f"{LIST}?from=2026-03-01T13:00:00+01:00"), 400, "invalid_parameter")[
            "errors"
        ]

        assert "%2B" in errors["from"][0]

    @pytest.mark.parametrize("path", [f"{LIST}/{MISSING_ID}", f"{LIST}/{MISSING_ID}/versions", "/api/status"])
    def test_have_no_place_elsewhere(self, reader, path):
        assert list(assert_problem(reader.get(path, subject="a"), 400, "invalid_parameter")["errors"]) == ["subject"]


class TestCounts:
    @pytest.mark.usefixtures("ada_and_bob")
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

    @pytest.mark.usefixtures("ada_and_bob")
    def test_know_nothing_of_hidden_rows(self, outsider):
        facets = outsider.get(FACETS).json()

        assert facets["total"] == 1
        assert "crm" not in json.dumps(facets)
        assert [bucket["count"] for bucket in outsider.get(HISTOGRAM).json()["buckets"]] == [1]

    def test_follow_an_update(self, reader):
        make_memory(payload_id="p", collection="city")
        make_memory(payload_id="p", collection="town")

        assert matching_ids(reader, "") == ["p"]
        assert reader.get(FACETS).json()["facets"]["collection"] == [{"value": "town", "count": 1}]

    def test_lie_in_buckets_that_touch(self, reader):
        for day in (1, 2, 2, 9):
            make_memory(timestamp=utc(f"2026-03-{day:02} 12:00"))

        buckets = reader.get(HISTOGRAM).json()["buckets"]

        assert [bucket["count"] for bucket in buckets] == [1, 2, 0, 0, 0, 0, 0, 0, 1]
        assert [bucket["end"] for bucket in buckets[:-1]] == [bucket["start"] for bucket in buckets[1:]]


def _read_memory(reader: Any, memory: Memory) -> list[Any]:
    return [reader.get(f"{LIST}/{memory.memory_id}"), reader.get(f"{LIST}/{memory.memory_id}/versions")]


class TestOneMemory:
    def test_has_every_documented_key_and_no_embedding(self, reader):
        sent_fields = envelope(
            **ADA | {"source": "test"}, request_id="r", idempotency_key="i", schema_version=3, transform_version="t",
            embedding=[0.5] * 384, metadata={"b": 1.50, "a": 10**30}, pinned=True, expires_at="2999-01-01T00:00:00Z",
            propagation={"to": ["x"]},
        )  # fmt: skip
        write.write_memories([sent_fields], principal=WRITER)

        record = reader.get(LIST).json()["records"][0]
        detail = reader.get(f"{LIST}/{record['memory_id']}").json()
        versions = reader.get(f"{LIST}/{record['memory_id']}/versions").json()["versions"]

        assert tuple(record) == LIST_FIELDS
        assert tuple(detail) == DETAIL_FIELDS
        assert versions == [detail]
        assert not {"embedding", "id", "search", "fingerprint", "normalized_labels", "content_sha256"} & detail.keys()
        assert {name: detail[name] for name in sent_fields if name != "embedding"} == {
            name: value for name, value in sent_fields.items() if name != "embedding"
        }
        assert (detail["version"], detail["status"], detail["superseded_at"]) == (1, "active", None)
        assert detail["defaulted_fields"] == []
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", detail["recorded_at"])

    def test_has_its_versions_newest_first(self, reader):
        for text in ("One.", "Two.", "Three."):
            memory = make_memory(payload_id="p", content=text)

        detail, versions = _read_memory(reader, memory)

        assert (detail.json()["content"], detail.json()["version"]) == ("Three.", 3)
        versions_json = versions.json()["versions"]
        assert [(row["version"], row["content"]) for row in versions_json] == [(3, "Three."), (2, "Two."), (1, "One.")]
        assert [row["superseded_at"] for row in versions_json] == [
            None,
            versions_json[0]["recorded_at"],
            versions_json[1]["recorded_at"],
        ]

    def test_that_is_hidden_is_the_same_answer_as_one_that_is_missing(self, outsider):
        hidden = make_memory(tier="internal")
        raised_memory = make_memory(payload_id="raised", tier="public")
        make_memory(payload_id="raised", tier="restricted", content="Now secret.")
        expired = make_memory(expires_at=timezone.now() - timedelta(seconds=1), tier="internal")

        for suffix in ("", "/versions"):
            missing = comparable_response(outsider.get(f"{LIST}/{uuid.uuid4()}{suffix}"))
            assert missing[0] == 404
            for memory in (hidden, raised_memory, expired):
                assert comparable_response(outsider.get(f"{LIST}/{memory.memory_id}{suffix}")) == missing

    def test_hides_the_versions_that_the_caller_may_not_see(self, outsider):
        make_memory(payload_id="p", content="Secret.", tier="restricted")
        memory = make_memory(payload_id="p", content="Released.", tier="public")

        _, versions = _read_memory(outsider, memory)

        assert [row["content"] for row in versions.json()["versions"]] == ["Released."]

    def test_that_has_outlived_its_time_is_shown_where_it_is_asked_for(self, reader):
        make_memory(payload_id="mortal", expires_at=timezone.now() + timedelta(hours=1))
        expired_memory = make_memory(payload_id="dead", expires_at=timezone.now() - timedelta(seconds=1), source="test")
        make_memory(payload_id="revised", content="One.")
        revised_memory = make_memory(payload_id="revised", content="Two.", expires_at=utc("1969-01-01 00:00"))

        assert matching_ids(reader, "") == ["mortal"]
        assert matching_ids(reader, "payload_id=dead") == []
        assert matching_ids(reader, "source=test") == ["mortal"]
        assert matching_ids(reader, "q=fact") == ["mortal"]
        assert reader.get("/api/status").json()["memories_total"] == 1
        assert sorted(matching_ids(reader, "status=expired")) == ["dead", "revised"]
        for memory in (expired_memory, revised_memory):
            assert [response.status_code for response in _read_memory(reader, memory)] == [200, 200]

    @pytest.mark.parametrize("spelling", [str.upper, lambda text: "{" + text + "}", lambda text: text.replace("-", "")])
    def test_has_one_address(self, reader, spelling):
        memory = make_memory()

        assert_problem(reader.get(f"{LIST}/{spelling(str(memory.memory_id))}"), 404, "not_found")


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

        get_response, head_response = reader.client.get(path), reader.client.head(path)

        def headers(response: Any) -> dict[str, str]:
            return {name: value for name, value in response.items() if name not in ("X-Request-ID", "Server-Timing")}

        assert (head_response.status_code, headers(head_response)) == (get_response.status_code, headers(get_response))
        assert head_response.content == b""

    def test_forbid_every_cache_to_store_them(self, reader):
        make_memory()

        for path in (*FILTERED_PATHS, "/api/status"):
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
        make_memory(payload_id="other", namespace="x", labels=["y"], tier="internal", timestamp=utc("1999-01-01 00:00"))
        unchanged_client = outsider.client.get(path, headers={"If-None-Match": first["ETag"]})

        assert (unchanged_client.status_code, unchanged_client.content, unchanged_client["ETag"]) == (
            304,
            b"",
            first["ETag"],
        )
        assert comparable_response(outsider.get(path)) == comparable_response(first)

        make_memory(
            payload_id="seen", content="Changed for all to see.", labels=["z"], timestamp=utc("2020-01-01 00:00")
        )
        assert outsider.client.get(path, headers={"If-None-Match": first["ETag"]}).status_code == 200

    @pytest.mark.parametrize(
        ("requested_id", "expected_id"),
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
    def test_repeat_a_request_id_that_is_one(self, reader, requested_id, expected_id):
        response = reader.client.get(f"{LIST}/{uuid.uuid4()}", headers={"X-Request-ID": requested_id})

        assert (response["X-Request-ID"] == requested_id) == expected_id
        assert response.json()["request_id"] == response["X-Request-ID"]


def test_status_shows_what_the_caller_may_know(reader, outsider):
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
    assert_problem(reader.get(LIST, tier="nonsense"), 400, "invalid_parameter")

    read_log.flush_reads()
    assert reader.get("/api/status").json()["reads_total"] == before + 3
