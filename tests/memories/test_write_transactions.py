"""What a write does before it takes the record clock, and how much it does while other writers wait for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection

from memoryhub.audit.models import AuditEntry
from memoryhub.core import values
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import write
from memoryhub.memories.writes.identity import OnConflict
from memoryhub.memories.writes.write import WriteOutcome, WriteReceipt
from tests.factories import OPERATOR, WRITER, envelope

pytestmark = pytest.mark.django_db


@contextmanager
def record_events(events: list[str]) -> Iterator[None]:
    """Record in `events` each time that this thread masks or canonicalizes a text, or takes the record clock."""

    def record_lock(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        if "record_time_next" in str(sql):
            events.append("lock")
        return execute(sql, params, many, context)

    def recorded(name: str) -> Callable[[str], Any]:
        compute = getattr(values, name)

        def record_and_compute(text: str) -> Any:
            events.append(name)
            return compute(text)

        return record_and_compute

    with pytest.MonkeyPatch.context() as monkeypatch, connection.execute_wrapper(record_lock):
        for name in ("mask_secrets", "mask_secrets_or_none", "canonicalize_text"):
            monkeypatch.setattr(values, name, recorded(name))
        yield


def write_all(*envelopes: dict[str, Any], on_conflict: OnConflict = OnConflict.REFUSE) -> list[WriteReceipt]:
    return write.write_memories(envelopes, principal=WRITER, on_conflict=on_conflict)


def outcomes(receipts: list[WriteReceipt]) -> list[WriteOutcome]:
    return [receipt.outcome for receipt in receipts]


@pytest.mark.parametrize("principal", [WRITER, OPERATOR], ids=["a source", "the operator"])
@pytest.mark.parametrize(
    ("on_conflict", "fields"),
    [
        (OnConflict.REFUSE, {"payload_id": "new", "content": "Ada lives in London."}),
        (OnConflict.UPDATE, {"payload_id": "stored", "content": "Ada lives in London."}),
        (OnConflict.UPDATE, {"payload_id": "stored", "metadata": {"a": 1}}),
        (OnConflict.REPLACE, {"payload_id": "stored", "content": "Ada lives in London."}),
    ],
    ids=["new", "update", "update without content", "replace"],
)
def test_every_text_is_masked_and_canonicalized_once_and_before_the_record_clock_is_taken(
    principal, on_conflict, fields
):
    write_all(envelope(payload_id="stored", content="Ada lives in Paris."))
    events: list[str] = []

    with record_events(events):
        receipts = write.write_memories([{"source": "test", **fields}], principal=principal, on_conflict=on_conflict)

    assert receipts[0].outcome in (WriteOutcome.CREATED, WriteOutcome.UPDATED)
    assert events == ["mask_secrets_or_none", "canonicalize_text", "lock"]


def test_an_update_without_content_keeps_what_was_computed_from_the_content():
    secret = "mh_" + "a1B2c3D4" * 8
    write_all(envelope(payload_id="stored", content=f"The key is {secret}."))
    stored = Memory.objects.values_list("content", "masked_content", "value_sha256")

    write_all({"payload_id": "stored", "metadata": {"a": 1}}, on_conflict=OnConflict.UPDATE)

    first, second = stored.order_by("version")
    assert first == second
    assert first[1] == "The key is mh_••••••••."


class TestALongBatch:
    @pytest.fixture(autouse=True)
    def _short_transactions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(write, "MAX_TRANSACTION_BYTES", 100)

    def test_is_stored_in_several_transactions_with_an_audit_entry_each(self):
        lengths = (40, 30, 90, 300, 1, 1)
        before = AuditEntry.objects.count()

        receipts = write_all(*(envelope(content="x" * length) for length in lengths))

        assert outcomes(receipts) == [WriteOutcome.CREATED] * len(lengths)
        recorded_at = dict(Memory.objects.values_list("memory_id", "recorded_at"))
        instants = [recorded_at[receipt.memory_id] for receipt in receipts if receipt.memory_id]
        assert [instants.index(instant) for instant in instants] == [0, 0, 2, 3, 4, 4]
        assert AuditEntry.objects.count() == before + 4

    def test_counts_documents_and_labels(self):
        events: list[str] = []
        fields_of_each: tuple[dict[str, Any], ...] = (
            {"metadata": {"a": "x" * 90}},
            {"labels": ["x" * 90]},
            {"propagation": {"a": "x" * 90}},
            {},
        )

        with record_events(events):
            write_all(*(envelope(content="x", **fields) for fields in fields_of_each))

        assert events.count("lock") == 4

    @pytest.mark.parametrize(
        "fields", [{"content": "x" * 90}, {"metadata": {"a": "x" * 90}}, {"propagation": {"a": "x" * 90}}]
    )
    def test_counts_what_an_update_writes_again(self, fields):
        write_all(*(envelope(payload_id=f"p{number}", **fields) for number in range(3)))
        events: list[str] = []

        with record_events(events):
            receipts = write_all(
                *({"payload_id": f"p{number}", "role": "r"} for number in range(3)), on_conflict=OnConflict.UPDATE
            )

        assert outcomes(receipts) == [WriteOutcome.UPDATED] * 3
        assert events.count("lock") == 3

    def test_that_was_stored_in_part_is_stored_to_its_end_when_it_is_sent_again(self):
        batch = [envelope(content="x" * 90) for _ in range(3)]
        lock_count = 0

        def refuse_second_lock(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
            nonlocal lock_count
            if "record_time_next" in str(sql):
                lock_count += 1
                if lock_count == 2:
                    raise OperationalError
            return execute(sql, params, many, context)

        with connection.execute_wrapper(refuse_second_lock), pytest.raises(OperationalError):
            write_all(*batch)
        assert Memory.objects.count() == 1

        assert outcomes(write_all(*batch)) == [WriteOutcome.DUPLICATE, WriteOutcome.CREATED, WriteOutcome.CREATED]

    def test_sees_in_each_transaction_what_the_ones_before_it_stored(self):
        first, second = (envelope(payload_id="p", content=letter * 90) for letter in "ab")

        assert outcomes(write_all(first, first, second)) == [
            WriteOutcome.CREATED, WriteOutcome.DUPLICATE, WriteOutcome.CONFLICT,
        ]  # fmt: skip
