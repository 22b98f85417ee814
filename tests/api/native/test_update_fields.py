"""POST /api/memories?on_conflict=update and =replace: what becomes of each field of the envelope.

An update merges what was sent over the version in force. A field that is sent as null, or empty, takes its default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from memoryhub.memories.models import Memory
from memoryhub.memories.writes.envelope import FIELDS
from tests.api.native.updates import current, post_update, post_write, receipt_outcome
from tests.api.receipts import post_batch
from tests.factories import utc

pytestmark = pytest.mark.django_db

NOT_CLEARABLE = object()
"""In place of a value: there is none that this field could take."""
FIRST_INSTANT = "2026-03-01T06:00:00Z"
LATER_INSTANT = "2026-03-02T07:00:00Z"


def axis_vector(index: int) -> list[float]:
    return [float(position == index) for position in range(settings.APP_CONFIG.embedding_dimensions)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One field: a value that it has, another one that is sent, and what clearing it comes to."""

    first: Any
    second: Any
    default: Any = ""
    empty: tuple[Any, ...] = (None, "")
    """What is sent in order to clear it."""
    second_outcome: str = "updated"
    """The outcome, or the code of the refusal, when the other value is sent."""
    clear_outcome: str = "updated"


NAME_CASE = Case(first="first", second="other")
CASES: dict[str, Case] = {
    # The identity, without which there is no update, and which no update changes.
    "payload_id": Case(first="p", second=NOT_CLEARABLE, clear_outcome="invalid_value"),
    "source": Case(
        first="test", second="elsewhere", default="test", second_outcome="source_mismatch", clear_outcome="duplicate"
    ),
    # There is no memory without content.
    "content": Case(first="Ada lives in Paris.", second="Ada lives in Rome.", clear_outcome="invalid_value"),
    # The number of an attempt makes no other write of it.
    "request_id": Case(first="try-1", second="try-2", second_outcome="duplicate", clear_outcome="duplicate"),
    **dict.fromkeys(("subject", "destination", "collection", "model", "role", "transform_version"), NAME_CASE),
    "idempotency_key": NAME_CASE,
    "actor_id": NAME_CASE,
    "actor_type": Case(first="user", second="system", default="agent"),
    "timestamp": Case(first=utc("2026-03-01 06:00"), second=utc("2026-03-02 07:00"), default=NOT_CLEARABLE),
    "expires_at": Case(first=utc("2199-03-01 06:00"), second=utc("2199-03-02 07:00"), default=None),
    "schema_version": Case(first=2, second=3, default=1, empty=(None,)),
    "kind": Case(first="summary", second="checkpoint", default="fact"),
    "pinned": Case(first=True, second=False, default=False, empty=(None,)),
    "metadata": Case(first={"n": 1}, second={"m": [2]}, default={}, empty=(None, {})),
    "propagation": Case(first={"n": 1}, second={"m": [2]}, default=None, empty=(None, {})),
    "embedding": Case(first=axis_vector(0), second=axis_vector(1), default=None, empty=(None, [])),
    # A classification is raised by every writer, and lowered only with the scope declassify.
    "classification_tier": Case(
        first="internal", second="confidential", default="public", clear_outcome="declassification"
    ),
    "sensitivity_labels": Case(
        first=["eu"], second=["eu", "hr"], default=[], empty=(None, []), clear_outcome="declassification"
    ),
    "namespace": Case(
        first="alpha", second="beta", second_outcome="declassification", clear_outcome="declassification"
    ),
}  # fmt: skip
IDENTITY = ("payload_id", "source")
WHOLE_FIELDS = {name: case.first for name, case in CASES.items()}


# Here, because every test would fail for a field without a case.
assert set(CASES) == set(FIELDS), f"give CASES a Case for {set(FIELDS) ^ set(CASES)}"


@pytest.fixture
def whole_memory(writer: Any) -> None:
    """There is a memory every field of which was sent."""
    assert post_write(writer, "", **WHOLE_FIELDS).outcome == "created"


def stored_fields(memory: Memory) -> dict[str, Any]:
    """The fields of the envelope as they are stored."""
    values = {name: getattr(memory, name) for name in FIELDS}
    return {**values, "embedding": None if memory.embedding is None else [float(part) for part in memory.embedding]}


def assert_stored(expected: Mapping[str, Any], *, defaulted_fields: set[str], version: int) -> None:
    memory = current()
    assert stored_fields(memory) == dict(expected)
    assert set(memory.defaulted_fields) == defaulted_fields
    assert memory.version == version
    assert Memory.objects.filter(payload_id="p").count() == version


CHANGEABLE_FIELDS = [name for name in CASES if name != "payload_id"]
with_whole_memory = pytest.mark.usefixtures("whole_memory")
each_field = pytest.mark.parametrize("field", CHANGEABLE_FIELDS)
CLEARED_VALUES = [(name, empty) for name, case in CASES.items() for empty in case.empty]


class TestUpdate:
    @with_whole_memory
    @each_field
    def test_stores_a_value_that_is_sent(self, writer, field):
        case = CASES[field]

        receipt = post_update(writer, **{field: case.second})

        assert receipt_outcome(receipt) == case.second_outcome
        if receipt.is_stored:
            expected = WHOLE_FIELDS | {field: case.second} | cleared_with(field)
            assert_stored(expected, defaulted_fields=set(cleared_with(field)), version=2)
        else:
            assert_stored(WHOLE_FIELDS, defaulted_fields=set(), version=1)

    @with_whole_memory
    @each_field
    def test_of_a_value_that_is_stored_already_is_a_duplicate(self, writer, field):
        receipt = post_update(writer, **{field: CASES[field].first})

        assert receipt.status_and_outcome == (200, "duplicate")
        assert_stored(WHOLE_FIELDS, defaulted_fields=set(), version=1)

    @with_whole_memory
    @each_field
    def test_leaves_a_value_that_is_not_sent(self, writer, field):
        """Sent is one other field, which makes a new version."""
        other_field = "role" if field != "role" else "subject"

        assert post_update(writer, **{other_field: "other"}).status_and_outcome == (200, "updated")

        assert_stored(WHOLE_FIELDS | {other_field: "other"}, defaulted_fields=set(), version=2)

    @each_field
    def test_leaves_a_default_that_stands_for_what_was_not_sent(self, writer, field):
        post_write(writer, "", content="Ada lives in Paris.")
        before = current()
        other_field = "role" if field != "role" else "subject"

        assert post_update(writer, **{other_field: "other"}).status_and_outcome == (200, "updated")

        assert_stored(
            stored_fields(before) | {other_field: "other"},
            defaulted_fields=set(before.defaulted_fields) - {other_field},
            version=2,
        )

    @with_whole_memory
    @pytest.mark.parametrize(("field", "empty"), CLEARED_VALUES)
    def test_clears_a_value_that_is_sent_as_null_or_empty(self, writer, field, empty, time_machine):
        case = CASES[field]
        time_machine.move_to(timezone.now() + timedelta(days=3), tick=False)

        receipt = post_update(writer, **{field: empty})

        assert receipt_outcome(receipt) == case.clear_outcome
        if receipt.is_stored:
            default = timezone.now() if field == "timestamp" else case.default
            assert_stored(WHOLE_FIELDS | {field: default}, defaulted_fields={field}, version=2)
        else:
            assert_stored(WHOLE_FIELDS, defaulted_fields=set(), version=1)

    @pytest.mark.parametrize(
        ("field", "empty"), [pair for pair in CLEARED_VALUES if pair[0] not in ("payload_id", "content")]
    )
    def test_that_clears_what_is_a_default_already_is_a_duplicate(self, writer, field, empty):
        post_write(writer, "", content="Ada lives in Paris.")
        before = current()

        assert post_update(writer, **{field: empty}).status_and_outcome == (200, "duplicate")

        assert_stored(stored_fields(before), defaulted_fields=set(before.defaulted_fields), version=1)

    @with_whole_memory
    @each_field
    def test_of_all_fields_but_one_leaves_that_one(self, writer, field):
        other_fields = {
            name: case.second for name, case in CASES.items() if case.second_outcome == "updated" and name != field
        }
        del other_fields["payload_id"]

        assert post_update(writer, **other_fields).status_and_outcome == (200, "updated")

        cleared_fields = cleared_with("content") if "content" in other_fields else {}
        cleared_fields = {name: value for name, value in cleared_fields.items() if name not in other_fields}
        assert_stored(WHOLE_FIELDS | other_fields | cleared_fields, defaulted_fields=set(cleared_fields), version=2)

    @with_whole_memory
    def test_of_nothing_is_a_duplicate(self, writer):
        assert post_update(writer).status_and_outcome == (200, "duplicate")

    @with_whole_memory
    def test_names_every_field_that_is_wrong(self, writer):
        receipt = post_update(writer, pinned=1, timestamp="now", nonsense=1)

        assert receipt.status_and_outcome == (400, "unknown_field")
        assert receipt.errors.keys() == {"pinned", "timestamp", "nonsense"}

    def test_has_a_receipt_without_a_version(self, writer):
        receipts = [
            post_update(writer, content="Paris."),
            post_update(writer, content="Rome."),
            post_update(writer, content="Rome."),
            post_write(writer, "", content="Rome."),
        ]

        assert [(receipt.status_and_outcome, receipt.version) for receipt in receipts] == [
            ((201, "created"), 1), ((200, "updated"), None), ((200, "duplicate"), None), ((200, "duplicate"), None),
        ]  # fmt: skip
        assert {receipt.memory_id for receipt in receipts} == {current().memory_id}

    def test_of_what_is_not_there_creates_it(self, writer):
        assert post_update(writer, content="Paris.", role="assistant").status_and_outcome == (201, "created")
        assert (current().content, current().role, current().version) == ("Paris.", "assistant", 1)

    @pytest.mark.parametrize("on_conflict", ["update", "replace"])
    def test_of_what_is_not_there_needs_content(self, writer, on_conflict):
        receipt = post_write(writer, on_conflict, role="assistant")

        assert receipt.status_and_outcome == (400, "invalid_value")
        assert list(receipt.errors) == ["content"]
        assert not Memory.objects.exists()

    @with_whole_memory
    def test_without_content_is_refused_where_updates_are(self, writer):
        assert post_write(writer, "refuse", role="other").status_and_outcome == (400, "invalid_value")

    def test_in_a_batch_sees_the_items_before_it(self, writer):
        receipts = post_batch(
            writer,
            {"payload_id": "p", "role": "too early"},
            {"payload_id": "p", "content": "Paris."},
            {"payload_id": "p", "role": "assistant"},
            {"payload_id": "p", "subject": "user:ada"},
            {"payload_id": "p", "role": "assistant", "subject": "user:ada"},
            {"payload_id": "p", "role": None},
            on_conflict="update",
        )

        assert [receipt_outcome(receipt) for receipt in receipts] == [
            "invalid_value", "created", "updated", "updated", "duplicate", "updated",
        ]  # fmt: skip
        assert (current().content, current().subject, current().role) == ("Paris.", "user:ada", "")


def cleared_with(field: str) -> dict[str, Any]:
    """What new content takes with it, where it was not sent: the embedding of the old one."""
    return {"embedding": None, "timestamp": UPDATE_INSTANT} if field == "content" else {}


class _UpdateTime:
    """Equal to an instant of the last minute."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, datetime) and timedelta(0) <= timezone.now() - other < timedelta(minutes=1)

    def __hash__(self) -> int:
        return 0


UPDATE_INSTANT = _UpdateTime()


class TestNewContent:
    DATED_FIELDS = {"content": "Ada lives in Paris.", "timestamp": FIRST_INSTANT, "embedding": axis_vector(0)}

    @pytest.fixture(autouse=True)
    def _write_dated(self, writer: Any, time_machine: Any) -> None:
        post_write(writer, "", **self.DATED_FIELDS)
        time_machine.move_to(timezone.now() + timedelta(days=3), tick=False)

    def test_drops_the_embedding_and_is_of_now(self, writer):
        assert post_update(writer, content="Ada lives in Rome.").status_and_outcome == (200, "updated")

        assert (current().embedding, current().timestamp) == (None, timezone.now())
        assert {"embedding", "timestamp"} <= set(current().defaulted_fields)

    def test_takes_an_embedding_and_a_time_that_come_with_it(self, writer):
        assert post_update(
            writer, content="Ada lives in Rome.", embedding=axis_vector(1), timestamp=LATER_INSTANT
        ).status_and_outcome == (
            200,
            "updated",
        )

        assert (list(current().embedding), current().timestamp) == (axis_vector(1), utc("2026-03-02 07:00"))
        assert {"embedding", "timestamp"}.isdisjoint(current().defaulted_fields)

    @pytest.mark.parametrize("content", [{}, {"content": "Ada lives in Paris."}], ids=["unsent", "the same"])
    def test_that_is_none_leaves_both(self, writer, content):
        assert post_update(writer, role="assistant", **content).status_and_outcome == (200, "updated")

        assert (list(current().embedding), current().timestamp) == (axis_vector(0), utc("2026-03-01 06:00"))
        assert {"embedding", "timestamp"}.isdisjoint(current().defaulted_fields)

    def test_leaves_a_time_that_was_a_default_a_default(self, writer):
        post_write(writer, "", payload_id="q", content="Ada lives in Paris.")
        before = current("q")

        assert post_update(writer, payload_id="q", role="assistant").status_and_outcome == (200, "updated")

        assert current("q").timestamp == before.timestamp
        assert "timestamp" in current("q").defaulted_fields

    def test_is_known_again_later(self, writer, time_machine):
        post_update(writer, content="Ada lives in Rome.")
        before = current()
        time_machine.move_to(timezone.now() + timedelta(days=3), tick=False)

        assert post_update(writer, content="Ada lives in Rome.").status_and_outcome == (200, "duplicate")
        assert current() == before


class TestReplacement:
    @pytest.mark.parametrize(
        "field", [name for name in CHANGEABLE_FIELDS if CASES[name].clear_outcome != "declassification"]
    )
    def test_resets_what_is_not_sent(self, writer, field, time_machine):
        first = {field: CASES[field].first}
        post_write(writer, "", **{"content": "Ada lives in Paris.", **first})
        time_machine.move_to(timezone.now() + timedelta(days=3), tick=False)

        receipt = post_write(writer, "replace", content="Ada lives in Rome.")

        assert receipt.status_and_outcome == (200, "updated")
        memory = current()
        default = {"timestamp": timezone.now(), "content": "Ada lives in Rome."}.get(field, CASES[field].default)
        assert stored_fields(memory)[field] == default
        assert set(memory.defaulted_fields) == set(FIELDS) - {"payload_id", "content"}

    @pytest.mark.parametrize("field", [name for name in CASES if CASES[name].clear_outcome == "declassification"])
    def test_that_leaves_out_a_classification_does_not_lower_it(self, writer, field):
        post_write(writer, "", content="Ada lives in Paris.", **{field: CASES[field].first})

        assert post_write(writer, "replace", content="Ada lives in Rome.").status_and_outcome == (
            403,
            "declassification",
        )
        assert post_write(
            writer, "replace", content="Ada lives in Rome.", **{field: CASES[field].first}
        ).status_and_outcome == (
            200,
            "updated",
        )

    @with_whole_memory
    def test_by_the_same_is_a_duplicate(self, writer):
        assert post_write(writer, "replace", **WHOLE_FIELDS).status_and_outcome == (200, "duplicate")
        assert_stored(WHOLE_FIELDS, defaulted_fields=set(), version=1)

    @with_whole_memory
    def test_needs_content(self, writer):
        receipt = post_write(writer, "replace", role="other")

        assert receipt.status_and_outcome == (400, "invalid_value")
        assert list(receipt.errors) == ["content"]

    def test_of_what_is_not_there_creates_it(self, writer):
        receipt = post_write(writer, "replace", content="Paris.")

        assert (receipt.status_and_outcome, receipt.version) == ((201, "created"), 1)
