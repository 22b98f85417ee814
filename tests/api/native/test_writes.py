"""POST /api/memories: what is stored, what is refused, and what counts as the same write."""

import json
import unicodedata
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from memoryhub.memories.models import Memory
from tests.api.responses import assert_problem
from tests.factories import envelope, make_key, make_memory

pytestmark = pytest.mark.django_db

URL = "/api/memories"
UPDATE = URL + "?on_conflict=update"
DIMENSIONS = settings.APP_CONFIG.embedding_dimensions


def stored_versions(payload_id: str) -> list[Memory]:
    return list(Memory.objects.filter(payload_id=payload_id).order_by("version"))


def without_version(created_record: Any) -> dict[str, Any]:
    """The receipt of a created memory as later writes get it: they are told no version number."""
    return {name: value for name, value in created_record.json().items() if name != "version"}


def table_snapshot() -> list[dict[str, Any]]:
    return list(Memory.objects.order_by("id").values())


def embedding_vector(*leading: float) -> list[float]:
    return [*leading, *[0.0] * (DIMENSIONS - len(leading))]


class TestOneEnvelope:
    def test_is_created_once_and_then_known(self, writer):
        body = envelope()

        first, repeated = writer.post(URL, body), writer.post(URL, body)

        assert (first.status_code, first.json()["outcome"], first.json()["version"]) == (201, "created", 1)
        assert (repeated.status_code, repeated.json()) == (200, without_version(first) | {"outcome": "duplicate"})
        assert first.json().keys() == {"payload_id", "memory_id", "version", "outcome"}
        assert len(stored_versions(body["payload_id"])) == 1

    def test_with_other_content_is_refused_and_changes_nothing(self, writer):
        body = envelope(content="Ada lives in Paris.")
        writer.post(URL, body)
        before = table_snapshot()

        error = assert_problem(writer.post(URL, body | {"content": "Ada lives in London."}), 409, "payload_id_conflict")

        assert list(error["errors"]) == ["payload_id"]
        assert table_snapshot() == before

    def test_with_other_content_becomes_the_next_version_on_request(self, writer):
        body = envelope(content="Ada lives in Paris.")
        first = writer.post(URL, body)

        second = writer.post(UPDATE, body | {"content": "Ada lives in London."})

        assert second.status_code == 200
        assert second.json() == without_version(first) | {"outcome": "updated"}
        old, new = stored_versions(body["payload_id"])
        assert (old.content, new.content) == ("Ada lives in Paris.", "Ada lives in London.")
        assert old.superseded_at == new.recorded_at

    def test_that_is_updated_to_what_it_is_already_is_a_duplicate(self, writer):
        body = envelope()
        writer.post(URL, body)

        assert writer.post(UPDATE, body).json()["outcome"] == "duplicate"

    @pytest.mark.parametrize(
        ("change", "field", "code"),
        [
            ({"payload_id": ""}, "payload_id", "invalid_value"),
            ({"payload_id": None}, "payload_id", "invalid_value"),
            ({"payload_id": "x" * 256}, "payload_id", "invalid_value"),
            ({"payload_id": 7}, "payload_id", "invalid_value"),
            ({"content": ""}, "content", "invalid_value"),
            ({"content": " \n\t"}, "content", "invalid_value"),
            ({"content": ["a"]}, "content", "invalid_value"),
            ({"subject": "x" * 256}, "subject", "invalid_value"),
            ({"actor_type": "human"}, "actor_type", "invalid_value"),
            ({"classification_tier": "top-secret"}, "classification_tier", "invalid_value"),
            ({"schema_version": 0}, "schema_version", "invalid_value"),
            ({"schema_version": 32768}, "schema_version", "invalid_value"),
            ({"schema_version": 1.5}, "schema_version", "invalid_value"),
            ({"schema_version": True}, "schema_version", "invalid_value"),
            ({"pinned": "yes"}, "pinned", "invalid_value"),
            ({"kind": "rumour"}, "kind", "invalid_value"),
            ({"metadata": ["a"]}, "metadata", "invalid_value"),
            ({"metadata": {"a": {"b": "\x00"}}}, "metadata", "invalid_value"),
            ({"sensitivity_labels": "pii"}, "sensitivity_labels", "invalid_value"),
            ({"sensitivity_labels": [""]}, "sensitivity_labels.0", "invalid_value"),
            ({"sensitivity_labels": [str(n) for n in range(65)]}, "sensitivity_labels", "invalid_value"),
            ({"timestamp": 1767225600}, "timestamp", "invalid_value"),
            ({"expires_at": "tomorrow"}, "expires_at", "invalid_value"),
            ({"id": 1}, "id", "unknown_field"),
            ({"memory_id": "6f2c2a53-3f3c-4d67-9f6d-111111111111"}, "memory_id", "unknown_field"),
            ({"recorded_at": "2026-01-01T00:00:00Z"}, "recorded_at", "unknown_field"),
            ({"status": "erased"}, "status", "unknown_field"),
            ({"search": "x"}, "search", "unknown_field"),
            ({"defaulted_fields": ["role"]}, "defaulted_fields", "unknown_field"),
            ({"no such field": 1}, "no such field", "unknown_field"),
        ],
    )
    def test_that_is_wrong_is_refused_with_the_field_named(self, writer, change, field, code):
        error = assert_problem(writer.post(URL, envelope(**change)), 400, code)

        assert list(error["errors"]) == [field]
        assert all(sentence.endswith(".") for sentence in error["errors"][field])
        assert not Memory.objects.exists()

    def test_names_every_wrong_field_at_once(self, writer):
        invalid_envelope = envelope(content="", pinned=1, timestamp="now", nonsense=1)

        assert assert_problem(writer.post(URL, invalid_envelope), 400, "unknown_field")["errors"].keys() == {
            "content", "pinned", "timestamp", "nonsense",
        }  # fmt: skip

    @pytest.mark.parametrize("body", [None, "text", 5, True])
    def test_must_be_an_object(self, writer, body):
        assert_problem(writer.post(URL, json.dumps(body)), 400, "invalid_value")

    def test_under_another_source_is_refused(self, writer):
        assert_problem(writer.post(URL, envelope(source="other")), 403, "source_mismatch")
        assert not Memory.objects.exists()

    def test_may_name_any_source_with_an_admin_key_and_must_name_one(self, api):
        admin = api(make_key(scopes="admin", clearance={"max_tier": "restricted"}))

        assert admin.post(URL, envelope(source="anyone")).status_code == 201
        assert list(assert_problem(admin.post(URL, envelope(source="")), 400, "invalid_value")["errors"]) == ["source"]

    def test_above_the_writers_own_clearance_is_refused(self, api):
        clearance_fields = {
            "max_tier": "internal",
            "all_namespaces": False,
            "namespaces": ["team"],
            "blocked_labels": ["pii"],
        }
        writer = api(make_key(scopes="write", source="test", clearance=clearance_fields))

        assert writer.post(URL, envelope(namespace="team", tier="internal")).status_code == 201
        for extra_fields in ({"tier": "confidential"}, {"namespace": "elsewhere"}, {"labels": ["PII"]}):
            error = assert_problem(
                writer.post(URL, envelope(**{"namespace": "team", **extra_fields})), 403, "above_clearance"
            )
            assert "elsewhere" not in str(error)
        assert Memory.objects.count() == 1

    def test_that_is_too_large_is_refused(self, writer):
        limit = settings.APP_CONFIG.max_content_bytes

        assert writer.post(URL, envelope(content="x" * limit)).status_code == 201
        assert_problem(writer.post(URL, envelope(content="x" * (limit + 1))), 413, "too_large")
        assert_problem(writer.post(URL, envelope(content="é" * (limit // 2 + 1))), 413, "too_large")
        assert_problem(writer.post(URL, envelope(metadata={"a": "x" * 300_000})), 413, "too_large")
        assert_problem(writer.post(URL, " " * (settings.APP_CONFIG.max_body_bytes + 1)), 413, "too_large")
        assert Memory.objects.count() == 1

    def test_of_few_bytes_that_would_be_returned_as_many_is_refused(self, writer):
        assert_problem(writer.post(URL, envelope(metadata={"a": [1e308] * 1_000})), 413, "too_large")
        assert_problem(writer.post(URL, envelope(metadata={"a": [1e-300] * 1_000})), 413, "too_large")
        assert writer.post(URL, envelope(metadata={"a": [1e308] * 800})).status_code == 201
        assert writer.post(URL, envelope(metadata={"a": "1e308," * 40_000})).status_code == 201


class TestDefaults:
    def test_are_filled_in_and_remembered(self, writer):
        before = timezone.now()
        receipt = writer.post(URL, {"payload_id": "bare", "content": "Little is known."}).json()

        detail = writer.get(f"{URL}/{receipt['memory_id']}").json()

        assert {name: detail[name] for name in ("source", "actor_type", "classification_tier", "schema_version")} == {
            "source": "test", "actor_type": "agent", "classification_tier": "public", "schema_version": 1,
        }  # fmt: skip
        assert (detail["kind"], detail["pinned"], detail["metadata"], detail["sensitivity_labels"]) == (
            "fact",
            False,
            {},
            [],
        )
        assert before <= Memory.objects.get().timestamp <= timezone.now()
        assert detail["defaulted_fields"] == [
            "source", "request_id", "subject", "namespace", "destination", "collection", "model", "role", "timestamp",
            "idempotency_key", "schema_version", "transform_version", "actor_type", "actor_id", "embedding", "metadata",
            "sensitivity_labels", "classification_tier", "kind", "pinned", "expires_at", "propagation",
        ]  # fmt: skip

    def test_stand_for_empty_and_null_fields_too(self, writer):
        receipt = writer.post(URL, envelope(subject="", timestamp=None, metadata={}, actor_type="", tier=None)).json()

        defaulted_fields = writer.get(f"{URL}/{receipt['memory_id']}").json()["defaulted_fields"]

        assert {"subject", "timestamp", "metadata", "actor_type", "classification_tier"} <= set(defaulted_fields)
        assert "source" not in defaulted_fields

    def test_take_the_actor_type_from_the_key(self, api):
        system = api(make_key(scopes="write", source="cron", actor_type="system"))
        system.post(URL, {"payload_id": "bare", "content": "It ran."})

        assert Memory.objects.get().actor_type == "system"

    @pytest.mark.parametrize(
        "explicit_fields",
        [
            {"schema_version": 1}, {"classification_tier": "public"}, {"actor_type": "agent"}, {"kind": "fact"},
            {"pinned": False}, {"metadata": {}}, {"sensitivity_labels": []}, {"subject": ""}, {"embedding": None},
            {"propagation": None}, {"source": "test"}, {"expires_at": None}, {"timestamp": None},
        ],
    )  # fmt: skip
    def test_given_in_so_many_words_are_the_same_write(self, writer, explicit_fields):
        writer.post(URL, {"payload_id": "bare", "content": "Little is known."})

        repeated = writer.post(URL, {"payload_id": "bare", "content": "Little is known.", **explicit_fields})

        assert (repeated.status_code, repeated.json()["outcome"]) == (200, "duplicate")


NFC, NFD = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
BODY_TEMPLATE = '{"payload_id": "same", "content": "A fact.", %s}'


class TestTheSameWrite:
    """CC-03: what makes no difference between two writes, and what does."""

    @pytest.mark.parametrize(
        ("first", "second", "is_same"),
        [
            ('"subject": "a", "role": "b"', '"role": "b", "subject": "a"', True),
            ('"subject": "a"', '\n\t "subject"   :"a"  ', True),
            ('"subject": "é"', '"subject": "\\u00e9"', True),
            ('"metadata": {"n": 1}', '"metadata": {"n": 1.0}', True),
            ('"metadata": {"n": 0}', '"metadata": {"n": -0.0}', True),
            ('"metadata": {"n": 100000}', '"metadata": {"n": 1e5}', True),
            (f'"metadata": {{"n": {10**23}}}', '"metadata": {"n": 1e23}', True),
            (f'"metadata": {{"n": {10**300}}}', '"metadata": {"n": 1e300}', True),
            ('"metadata": {"n": 0.1}', '"metadata": {"n": 0.10}', True),
            ('"metadata": {"a": 1, "b": 2}', '"metadata": {"b": 2, "a": 1}', True),
            ('"metadata": {"a": [1, 2]}', '"metadata": {"a": [2, 1]}', False),
            ('"metadata": {"n": 1}', '"metadata": {"n": "1"}', False),
            ('"metadata": {"n": 1}', '"metadata": {"n": true}', False),
            ('"metadata": {"n": null}', '"metadata": {}', False),
            (f'"metadata": {{"n": {2**63}}}', f'"metadata": {{"n": {2**63 + 1}}}', False),
            (f'"metadata": {{"n": {10**30}}}', f'"metadata": {{"n": "{10**30}"}}', False),
            ('"request_id": "try-1"', '"request_id": "try-2"', True),
            ('"sensitivity_labels": ["a", "b"]', '"sensitivity_labels": ["b", "a"]', True),
            ('"sensitivity_labels": ["a"]', '"sensitivity_labels": ["A"]', False),
            (f'"subject": "{NFC}"', f'"subject": "{NFD}"', False),
            (f'"sensitivity_labels": ["{NFC}"]', f'"sensitivity_labels": ["{NFD}"]', False),
            ('"timestamp": "2026-01-01T01:00:00+01:00"', '"timestamp": "2026-01-01T00:00:00.000Z"', True),
            ('"timestamp": "2026-01-01T00:00:00Z"', '"timestamp": "2026-01-01T00:00:00.000001Z"', False),
            ('"timestamp": "2026-01-01T00:00:00Z"', '"role": ""', False),
            ('"idempotency_key": "k"', '"idempotency_key": "l"', False),
            (f'"embedding": {embedding_vector(1, 2)}', f'"embedding": {embedding_vector(1.0, 2.00000000000001)}', True),
            (f'"embedding": {embedding_vector(1, 2)}', f'"embedding": {embedding_vector(1, 3)}', False),
        ],
    )
    def test_is_recognized_by_its_canonical_form(self, writer, first, second, is_same):
        assert writer.post(URL, BODY_TEMPLATE % first).status_code == 201

        repeated = writer.post(URL, BODY_TEMPLATE % second)

        assert repeated.status_code == (200 if is_same else 409), repeated.content
        assert Memory.objects.count() == 1

    def test_has_an_id_that_is_compared_byte_by_byte(self, writer):
        outcomes = [writer.post(URL, envelope(payload_id=name, content="One.")).status_code for name in (NFC, NFD)]

        assert outcomes == [201, 201]

    def test_without_a_timestamp_is_the_same_later(self, writer, time_machine):
        body = envelope()
        first = writer.post(URL, body)

        time_machine.move_to(timezone.now() + timedelta(days=3), tick=True)

        assert writer.post(URL, body).json() == without_version(first) | {"outcome": "duplicate"}

    def test_may_have_the_id_of_what_the_writer_may_not_see(self, api):
        """FW-09: whatever others have stored, the answer is the one of an empty hub."""
        hidden = make_memory(payload_id="taken", tier="restricted", subject="secret", content="Hidden.")
        body = envelope(payload_id="taken", source="low", subject="secret", content="Hidden.")
        low = api(make_key(scopes="write read", source="low"))

        response = low.post(URL, body)

        assert (response.status_code, response.json()["outcome"], response.json()["version"]) == (201, "created", 1)
        assert response.json()["memory_id"] != str(hidden.memory_id)
        assert [row["payload_id"] for row in low.get(URL).json()["records"]] == ["taken"]


class TestArray:
    def test_of_which_nothing_is_stored_is_a_failure_that_says_why_of_each(self, writer):
        items = [envelope(content=""), envelope(source="other")]

        rejected_response = writer.post(URL, items)
        partly = writer.post(URL, [*items, extra_item := envelope()])
        repeated = writer.post(URL, [*items, extra_item])

        assert (rejected_response.status_code, partly.status_code, repeated.status_code) == (422, 200, 200)
        assert [row["code"] for row in rejected_response.json()["results"]] == ["invalid_value", "source_mismatch"]
        assert rejected_response.json()["rejected"] == 2
        assert repeated.json()["duplicate"] == 1, "it is stored"
        assert writer.post(URL, []).status_code == 200

    def test_reports_the_outcome_of_each_item_in_order(self, writer):
        existing = envelope()
        conflicting = envelope(content="One.")
        writer.post(URL, [existing, conflicting])
        items = [
            envelope(payload_id="new"),
            existing,
            conflicting | {"content": "Two."},
            envelope(payload_id="bad", content=""),
            envelope(payload_id="theirs", source="other"),
            envelope(payload_id="high", tier="restricted"),
            "no object",
            None,
            envelope(payload_id="last"),
        ]

        response = writer.post(URL, items)

        body = response.json()
        assert response.status_code == 200
        assert [(row["payload_id"], row["outcome"], row.get("code", "")) for row in body["results"]] == [
            ("new", "created", ""),
            (existing["payload_id"], "duplicate", ""),
            (conflicting["payload_id"], "conflict", "payload_id_conflict"),
            ("bad", "rejected", "invalid_value"),
            ("theirs", "rejected", "source_mismatch"),
            ("high", "rejected", "above_clearance"),
            (None, "rejected", "invalid_value"),
            (None, "rejected", "invalid_value"),
            ("last", "created", ""),
        ]
        numbers = {"created": 2, "duplicate": 1, "updated": 0, "conflict": 1, "rejected": 5}
        assert {name: body[name] for name in body if name != "results"} == numbers
        assert [len(stored_versions(name)) for name in ("new", "bad", "theirs", "high", "last")] == [1, 0, 0, 0, 1]

    @pytest.mark.parametrize(
        ("url", "contents", "outcomes", "expected_content"),
        [
            (URL, ["a", "a"], ["created", "duplicate"], ["a"]),
            (URL, ["a", "b", "a"], ["created", "conflict", "duplicate"], ["a"]),
            (UPDATE, ["a", "b"], ["created", "updated"], ["a", "b"]),
            (UPDATE, ["a", "b", "b", "a"], ["created", "updated", "duplicate", "updated"], ["a", "b", "a"]),
        ],
    )
    def test_may_hold_one_id_several_times(self, writer, url, contents, outcomes, expected_content):
        response = writer.post(url, [envelope(payload_id="twin", content=content) for content in contents])

        assert [row["outcome"] for row in response.json()["results"]] == outcomes
        assert [row.content for row in stored_versions("twin")] == expected_content
        assert [row.version for row in stored_versions("twin")] == list(range(1, len(expected_content) + 1))

    def test_of_none_stores_none(self, writer):
        assert writer.post(URL, []).json() == {
            "results": [], "created": 0, "duplicate": 0, "updated": 0, "conflict": 0, "rejected": 0,
        }  # fmt: skip

    def test_holds_up_to_a_thousand(self, writer):
        assert writer.post(URL, [envelope() for _ in range(1_000)]).json()["created"] == 1_000
        assert_problem(writer.post(URL, [envelope() for _ in range(1_001)]), 413, "too_large")
        assert Memory.objects.count() == 1_000

    def test_does_not_nest(self, writer):
        assert [row["outcome"] for row in writer.post(URL, [[envelope()]]).json()["results"]] == ["rejected"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("on_conflict=overwrite", "on_conflict"),
        ("on_conflict=", "on_conflict"),
        ("on_conflict=UPDATE", "on_conflict"),
        ("on_conflict=update&on_conflict=refuse", "on_conflict"),
        ("onconflict=update", "onconflict"),
        ("limit=1", "limit"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused_and_nothing_is_stored(writer, query, field):
    error = assert_problem(writer.post(f"{URL}?{query}", envelope()), 400, "invalid_parameter")

    assert list(error["errors"]) == [field]
    assert not Memory.objects.exists()


@pytest.mark.parametrize(
    ("embedding", "status"),
    [
        (str(embedding_vector(1)), 201),
        (str([1] * DIMENSIONS), 201),
        (str(embedding_vector(3.4028234663852886e38)), 201),
        (str(embedding_vector(-1e-45)), 201),
        (str(embedding_vector(1)[1:]), 400),
        (str([*embedding_vector(1), 0]), 400),
        (str([1.0] * 16_001), 400),
        (str(embedding_vector()), 400),
        (str([0] * DIMENSIONS), 400),
        (str(embedding_vector(1e-60)), 400),
        (str(embedding_vector(-0.0)), 400),
        (str(embedding_vector(1e39)), 400),
        (str(embedding_vector(3.4028235677973366e38)), 400),
        (str(embedding_vector(10**400)), 400),
        (str(embedding_vector(1)).replace("1", "NaN"), 400),
        (str(embedding_vector(1)).replace("1", "-Infinity"), 400),
        (str(embedding_vector(1)).replace("1", "1e400000"), 400),
        (str(embedding_vector(1)).replace("1", '"1"'), 400),
        (str(embedding_vector(1)).replace("1", "null"), 400),
        (str(embedding_vector(1)).replace("1", "true"), 400),
        (str(embedding_vector(1)).replace("1", "[1]"), 400),
        ('"[1,2,3]"', 400),
        ('{"0": 1}', 400),
        ("7", 400),
    ],
)
def test_an_embedding_is_checked(writer, embedding, status):
    response = writer.post(URL, f'{{"payload_id": "v", "content": "A fact.", "embedding": {embedding}}}')

    assert response.status_code == status, response.content[:300]
    assert Memory.objects.count() == (status == 201)
    if status == 400:
        assert_problem(response, 400, response.json()["code"])


def test_an_embedding_is_kept_as_it_was_given(writer):
    sent_vector = [float(n) for n in range(1, DIMENSIONS + 1)]
    writer.post(URL, envelope(embedding=sent_vector))

    assert list(Memory.objects.get().embedding) == sent_vector
