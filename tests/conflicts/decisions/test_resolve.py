"""Decisions about groups: their effect on memories, also on those stored later, and what is refused."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection, transaction

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts.decisions import decision_queries, resolve
from memoryhub.conflicts.decisions.resolve import Resolution, ResolutionRequest
from memoryhub.conflicts.models import Decision
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import write
from memoryhub.memories.writes.envelope import OperationRejectedError, parse_body
from tests.conflicts.decisions.resolution_steps import (
    KEY,
    STEWARD,
    current_statuses,
    current_version,
    keep_values,
    make_steward,
    make_value,
    resolution_request,
    undo_decisions,
)
from tests.factories import WRITER, envelope, make_clearance, make_memory

pytestmark = pytest.mark.django_db


class TestKeeping:
    def test_one_retires_all_that_say_otherwise(self):
        paris, twin, berlin = make_value("Paris"), make_value("Paris"), make_value("Berlin")

        outcome = keep_values(paris)

        assert current_statuses(paris, twin, berlin) == ["active", "active", "retired"]
        assert set(outcome.kept_ids) == {paris.memory_id, twin.memory_id}
        assert outcome.retired_ids == [berlin.memory_id]
        assert current_version(berlin).decision_id == outcome.decision_id
        assert (current_version(paris).version, current_version(berlin).version) == (1, 2)

    def test_several_retires_the_others(self):
        paris, berlin, rome = make_value("Paris"), make_value("Berlin"), make_value("Rome")
        validity = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
        resolution_fields: dict[str, Any] = {"outcome": "keep_several", "keep": [paris.memory_id, berlin.memory_id]}

        outcome = resolve.resolve(
            resolution_request(**resolution_fields, validity={paris.memory_id: validity}), principal=STEWARD
        )

        assert current_statuses(paris, berlin, rome) == ["active", "active", "retired"]
        (decision_record,) = decision_queries.list_for_keys([KEY], clearance=unrestricted_clearance())[KEY]
        assert decision_record.decision_id == outcome.decision_id
        assert decision_record.validity == {str(paris.memory_id): validity}

    @pytest.mark.parametrize("outcome", ["not_a_conflict", "defer"])
    def test_all_changes_nothing(self, outcome):
        paris, berlin = make_value("Paris"), make_value("Berlin")

        resolve.resolve(resolution_request(outcome=outcome), principal=STEWARD)

        assert [(current_version(memory).status, current_version(memory).version) for memory in (paris, berlin)] == [
            ("active", 1)
        ] * 2
        accepted_hashes = {bytes(value) for value in Decision.objects.get().accepted_hashes}
        assert accepted_hashes == {bytes(memory.content_sha256) for memory in (paris, berlin)}

    def test_merging_makes_a_memory_as_closed_as_all_of_them(self):
        older_memory = make_value("Paris", tier="internal", labels=["pii"], timestamp="2026-01-01T00:00:00Z")
        newer_memory = make_value("Berlin", tier="internal", labels=["PII"], timestamp="2026-02-01T00:00:00Z")

        outcome = resolve.resolve(resolution_request(outcome="merge", content="Paris, then Berlin"), principal=STEWARD)

        merged_memory = Memory.objects.get(memory_id=outcome.merged_id or uuid4())
        assert current_statuses(older_memory, newer_memory, merged_memory) == ["retired", "retired", "active"]
        assert (merged_memory.content, merged_memory.classification_tier, merged_memory.normalized_labels) == (
            "Paris, then Berlin", "internal", ["pii"],
        )  # fmt: skip
        assert (merged_memory.subject, merged_memory.collection, merged_memory.timestamp) == (
            *KEY,
            newer_memory.timestamp,
        )
        assert merged_memory.source == "user:ada"
        assert set(merged_memory.metadata["merged_from"].split(",")) == {
            str(older_memory.memory_id),
            str(newer_memory.memory_id),
        }
        assert merged_memory.decision_id == outcome.decision_id

    def test_a_merged_memory_is_gone_when_the_first_of_them_is(self):
        expires_at = datetime.now(UTC) + timedelta(days=2)
        make_value("Paris", expires_at=expires_at)
        make_value("Berlin", expires_at=expires_at + timedelta(days=2))

        outcome = resolve.resolve(resolution_request(outcome="merge", content="Both"), principal=STEWARD)

        assert Memory.objects.get(memory_id=outcome.merged_id or uuid4()).expires_at == expires_at


class TestRefusals:
    @pytest.mark.parametrize(
        "choice",
        [
            {"outcome": "keep_one"},
            {"outcome": "keep_one", "keep": [uuid4()], "reason": " "},
            {"outcome": "merge"},
            {"outcome": "merge", "content": " "},
            {"outcome": "not_a_conflict", "keep": [uuid4()]},
            {"outcome": "defer", "validity": {uuid4(): {}}},
            {"outcome": "not_a_conflict", "deferred_until": "2030-01-01T00:00:00Z"},
            {"outcome": "undo"},
            {"outcome": "not_a_conflict", "reason": "x" * 1_001},
        ],
    )
    def test_a_choice_that_makes_no_sense(self, choice):
        with pytest.raises(OperationRejectedError):
            parse_body({"reason": "Asked her.", **choice}, Resolution)

    def test_what_does_not_fit_the_group(self):
        paris, berlin = make_value("Paris"), make_value("Berlin")
        other_memory = make_memory(content="Rome")
        past_instant = datetime.now(UTC) - timedelta(days=1)
        for choice in (
            {"outcome": "keep_one", "keep": [other_memory.memory_id]},
            {"outcome": "keep_one", "keep": [paris.memory_id, berlin.memory_id]},
            {"outcome": "keep_several", "keep": [paris.memory_id]},
            {"outcome": "merge", "content": "Paris"},
            {"outcome": "defer", "deferred_until": past_instant.isoformat()},
        ):
            with pytest.raises(OperationRejectedError, match=r".") as exc_info:
                resolve.resolve(resolution_request(**choice), principal=STEWARD)
            assert exc_info.value.code == "invalid_value"
        assert current_statuses(paris, berlin) == ["active", "active"]
        assert not Decision.objects.exists()

    def test_who_may_not_judge_or_read(self):
        make_value("Paris"), make_value("Berlin")
        for scopes in ({Scope.READ}, {Scope.CURATE}, {Scope.WRITE}):
            unscoped = Principal(name="key:x", scopes=frozenset(scopes), clearance=unrestricted_clearance())
            with pytest.raises(PermissionDenied):
                resolve.resolve(resolution_request(outcome="defer"), principal=unscoped)
            with pytest.raises(PermissionDenied):
                resolve.undo_decisions([uuid4()], principal=unscoped, reason="x")

    def test_what_is_no_conflict_or_not_seen(self):
        make_value("Paris"), make_value("Berlin", tier="restricted")
        low = make_steward(max_tier="public")
        with pytest.raises(OperationRejectedError) as exc_info:
            resolve.resolve(resolution_request(low, outcome="defer"), principal=low)
        assert exc_info.value.code == "not_found"
        for evidence in ("", "00" * 32):
            request = ResolutionRequest(
                key=("nobody", ""), evidence=evidence, resolution=Resolution(outcome="defer", reason="x")
            )
            with pytest.raises(OperationRejectedError) as exc_info:
                resolve.resolve(request, principal=STEWARD)
            assert exc_info.value.code == "not_found"

    def test_a_group_that_has_changed_since(self):
        paris, _ = make_value("Paris"), make_value("Berlin")
        first, second = (resolution_request(outcome="keep_one", keep=[paris.memory_id]) for _ in range(2))
        resolve.resolve(first, principal=STEWARD)

        with pytest.raises(OperationRejectedError) as exc_info:
            resolve.resolve(second, principal=STEWARD)

        assert exc_info.value.code == "stale"
        assert Decision.objects.count() == 1
        assert AuditEntry.objects.filter(action="conflict.resolve").count() == 1

    def test_a_group_that_was_decided_without_a_change(self):
        make_value("Paris"), make_value("Berlin")
        first, second = resolution_request(outcome="not_a_conflict"), resolution_request(outcome="not_a_conflict")
        outcome = resolve.resolve(first, principal=STEWARD)

        with pytest.raises(OperationRejectedError) as exc_info:
            resolve.resolve(second, principal=STEWARD)
        assert exc_info.value.code == "stale"

        undo_decisions(outcome.decision_id)
        assert resolve.resolve(second, principal=STEWARD).decision_id

    def test_a_decision_that_is_changed_or_deleted(self):
        make_value("Paris"), make_value("Berlin")
        resolve.resolve(resolution_request(outcome="defer"), principal=STEWARD)
        for change in (lambda: Decision.objects.update(reason="x"), lambda: Decision.objects.all().delete()):
            with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
                change()


def test_of_many_requests_those_that_can_be_carried_out_are():
    paris, _ = make_value("Paris"), make_value("Berlin")
    first = resolution_request(outcome="keep_one", keep=[paris.memory_id])
    missing = ResolutionRequest(
        key=("nobody", ""), evidence="00" * 32, resolution=Resolution(outcome="defer", reason="x")
    )

    results = resolve.resolve_many([missing, first, first], principal=STEWARD)

    assert [result.refusal for result in results] == ["not_found", "", "stale"]
    assert Decision.objects.count() == 1


class TestArrivingAgain:
    def test_a_rejected_value_is_stored_as_retired(self):
        paris, _ = make_value("Paris", actor_type="agent"), make_value("Berlin", actor_type="agent")
        outcome = keep_values(paris)

        (receipt,) = write.write_memories(
            [envelope(subject=KEY[0], collection=KEY[1], content="Berlin", actor_type="agent")], principal=WRITER
        )

        assert receipt.decision_id == outcome.decision_id
        stored_memory = Memory.objects.get(memory_id=receipt.memory_id or uuid4())
        assert (stored_memory.status, stored_memory.decision_id) == ("retired", outcome.decision_id)

    def test_another_value_or_key_is_not(self):
        make_value("Berlin")
        keep_values(make_value("Paris"))

        assert make_value("Rome").status == "active"
        assert make_memory(subject=KEY[0], collection="job", content="Berlin").status == "active"
        assert make_memory(subject="user:bob", collection=KEY[1], content="Berlin").status == "active"

    def test_from_an_actor_who_is_trusted_more_is_new_evidence(self):
        paris, _ = make_value("Paris", actor_type="agent"), make_value("Berlin", actor_type="agent")
        keep_values(paris)

        assert make_value("Berlin", actor_type="system").status == "active"

    def test_after_the_undo_it_is_active_again(self):
        paris, berlin = make_value("Paris"), make_value("Berlin")
        outcome = keep_values(paris)
        later_memory = make_value("Berlin")
        assert later_memory.status == "retired"

        undo_decisions(outcome.decision_id)

        assert current_statuses(paris, berlin, later_memory) == ["active"] * 3
        assert make_value("Berlin").status == "active"

    def test_of_a_memory_that_is_changed_and_changed_back(self):
        paris, berlin = make_value("Paris"), make_value("Berlin")
        keep_values(paris)

        assert make_value("Bern", payload_id=berlin.payload_id).status == "active"
        assert make_value("Berlin", payload_id=berlin.payload_id).status == "active"

    @pytest.mark.parametrize(
        ("rejected_fields", "arriving_fields"),
        [
            ({"tier": "restricted"}, {"tier": "internal"}),
            ({"labels": ["pii"]}, {}),
            ({"namespace": "a"}, {"namespace": "b"}),
        ],
    )
    def test_a_hidden_rejection_has_no_say(self, rejected_fields, arriving_fields):
        """Its writer and its readers would learn of what they may not see."""
        paris, berlin = make_value("Paris", **rejected_fields), make_value("Berlin", **rejected_fields)
        keep_values(paris)
        assert current_version(berlin).status == "retired"

        assert make_value("Berlin", **arriving_fields).status == "active"

    def test_a_rejection_that_some_reader_may_not_see_has_no_say(self):
        make_clearance(max_tier="restricted", required_labels=["eu"])
        make_value("Berlin")
        keep_values(make_value("Paris"))

        assert make_value("Berlin", labels=["eu"]).status == "active"
        assert make_value("Berlin", labels=["other"]).status == "retired"


@pytest.mark.django_db(transaction=True)
def test_of_two_stewards_who_decide_at_once_one_does():
    paris, berlin = make_value("Paris"), make_value("Berlin")
    requests = [resolution_request(outcome="keep_one", keep=[memory.memory_id]) for memory in (paris, berlin)]
    barrier = threading.Barrier(2)
    outcomes: list[str] = []

    def try_resolve(request: ResolutionRequest, principal: Principal) -> None:
        barrier.wait()
        try:
            resolve.resolve(request, principal=principal)
            outcomes.append("done")
        except OperationRejectedError as error:
            outcomes.append(error.code)
        finally:
            connection.close()

    people = [make_steward("user:ada"), make_steward("user:bob")]
    threads = [threading.Thread(target=try_resolve, args=pair) for pair in zip(requests, people, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["done", "stale"]
    assert sorted(current_statuses(paris, berlin)) == ["active", "retired"]
    assert AuditEntry.objects.filter(action="conflict.resolve").count() == 1
