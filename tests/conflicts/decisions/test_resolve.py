"""Decisions about groups: their effect on memories, their audit entries, and that all of it can be undone."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection, transaction
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.audit.models import AuditEntry
from memoryhub.conflicts.decisions import decision_queries, resolve
from memoryhub.conflicts.decisions.resolve import Resolution, ResolutionRequest
from memoryhub.conflicts.groups.group_keys import compute_evidence
from memoryhub.conflicts.models import Decision
from memoryhub.firewall import rls
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import classify, write
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.memories.writes.envelope import OperationRejectedError, parse_body
from tests.factories import WRITER, envelope, make_clearance, make_memory
from tests.harness.strategies import example_settings, roll_back

pytestmark = pytest.mark.django_db

KEY = ("user:ada", "city")


def make_steward(name: str = "user:ada", **clearance: Any) -> Principal:
    clearance_value = Clearance(**clearance) if clearance else unrestricted_clearance()
    return Principal(
        name=name, scopes=frozenset({Scope.READ, Scope.CURATE}), clearance=clearance_value, actor_type="user"
    )


STEWARD = make_steward()


def make_value(content: str, **fields: Any) -> Memory:
    return make_memory(subject=KEY[0], collection=KEY[1], content=content, **fields)


def resolution_request(principal: Principal = STEWARD, key: tuple[str, ...] = KEY, **choice: Any) -> ResolutionRequest:
    members = resolve.list_members(key, principal)
    evidence = compute_evidence((member.memory_id, member.version) for member in members)
    return ResolutionRequest(key=key, evidence=evidence, resolution=Resolution(**{"reason": "Asked her.", **choice}))


def keep_values(*kept_memories: Memory, principal: Principal = STEWARD) -> resolve.ResolutionResult:
    outcome = "keep_one" if len({memory.content for memory in kept_memories}) == 1 else "keep_several"
    return resolve.resolve(
        resolution_request(principal, outcome=outcome, keep=[memory.memory_id for memory in kept_memories]),
        principal=principal,
    )


def undo_decisions(*decision_ids: UUID | None, principal: Principal = STEWARD) -> list[resolve.UndoResult]:
    return resolve.undo_decisions(
        [decision_id for decision_id in decision_ids if decision_id], principal=principal, reason="It was wrong."
    )


def current_version(memory: Memory) -> Memory:
    return Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)


def current_statuses(*memories: Memory) -> list[str]:
    return [current_version(memory).status for memory in memories]


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


class TestUndo:
    def test_restores_all_of_it(self):
        paris, berlin = make_value("Paris"), make_value("Berlin")
        before = visible_rows()
        outcome = keep_values(paris)

        (undo_result,) = undo_decisions(outcome.decision_id)

        assert undo_result.restored_ids == [berlin.memory_id]
        assert current_version(berlin).decision_id == undo_result.decision_id
        assert visible_rows() == before

    def test_keeps_what_was_classified_meanwhile(self):
        paris, berlin = make_value("Paris"), make_value("Berlin")
        outcome = keep_values(paris)
        admin = Principal(name="user:root", scopes=frozenset({Scope.ADMIN}), clearance=unrestricted_clearance())
        change = ClassificationChange(classification_tier="restricted")
        classify.apply_plan(classify.plan_for_memory(berlin.memory_id, change, principal=admin))

        undo_decisions(outcome.decision_id)

        assert (current_version(berlin).status, current_version(berlin).classification_tier) == ("active", "restricted")

    def test_retires_what_was_merged(self):
        paris, berlin = make_value("Paris"), make_value("Berlin")
        outcome = resolve.resolve(resolution_request(outcome="merge", content="Both"), principal=STEWARD)

        undo_decisions(outcome.decision_id)

        assert current_statuses(paris, berlin) == ["active", "active"]
        assert Memory.objects.get(memory_id=outcome.merged_id or uuid4(), superseded_at=None).status == "retired"

    def test_is_done_once_and_not_undone(self):
        paris, _ = make_value("Paris"), make_value("Berlin")
        outcome = keep_values(paris)
        (first,) = undo_decisions(outcome.decision_id)

        assert [result.refusal for result in undo_decisions(outcome.decision_id, first.decision_id, uuid4())] == [
            "already_undone", "cannot_undo_undo", "not_found",
        ]  # fmt: skip

    def test_of_a_later_decision_leaves_the_earlier_one(self):
        paris, berlin = make_value("Paris"), make_value("Berlin")
        first = keep_values(paris)
        rome = make_value("Rome")
        second = keep_values(rome)
        assert current_statuses(paris, berlin, rome) == ["retired", "retired", "active"]

        undo_decisions(first.decision_id)
        assert current_statuses(paris, berlin, rome) == ["retired", "active", "active"]
        undo_decisions(second.decision_id)
        assert current_statuses(paris, berlin, rome) == ["active", "active", "active"]

    def test_does_not_touch_a_memory_that_its_writer_has_updated(self):
        paris, berlin = make_value("Paris"), make_value("Berlin")
        outcome = keep_values(paris)
        later_memory = make_value("Bern", payload_id=berlin.payload_id)

        undo_decisions(outcome.decision_id)

        assert (later_memory.status, current_version(berlin).content, current_version(berlin).version) == (
            "active",
            "Bern",
            3,
        )

    def test_needs_a_reason(self):
        with pytest.raises(OperationRejectedError):
            resolve.undo_decisions([uuid4()], principal=STEWARD, reason=" ")


def visible_rows(**filters: Any) -> dict[UUID, tuple[Any, ...]]:
    """What default reads show of every memory; or what one says, however it stands."""
    rows = Memory.objects.filter(superseded_at=None, **filters or {"status": "active"})
    field_names = (
        "source",
        "payload_id",
        "content",
        "timestamp",
        "classification_tier",
        "normalized_labels",
        "fingerprint",
    )
    return {
        row["memory_id"]: tuple(map(str, (row[name] for name in field_names)))
        for row in rows.values("memory_id", *field_names)
    }


def is_decided(members: list[resolve.GroupMember]) -> bool:
    """Whether a decision stands that changed nothing of what it was made on."""
    evidence = bytes.fromhex(compute_evidence((member.memory_id, member.version) for member in members))
    return Decision.objects.visible_to(unrestricted_clearance()).in_force().filter(evidence=evidence).exists()


ACTION_STRATEGY = st.lists(
    st.tuples(
        st.sampled_from(["keep_one", "keep_several", "merge", "not_a_conflict", "defer", "undo", "say"]),
        st.integers(0, 7),
    ),
    max_size=14,
)


@example_settings(12, soak_examples=2_000)
@given(actions=ACTION_STRATEGY)
def test_after_all_is_undone_everything_is_as_if_nothing_had_been_decided(actions):
    """Whatever was said or classified meanwhile stays; whatever was decided leaves no trace but in the record."""
    with roll_back():
        for index in range(3):
            make_value(f"City {index}", payload_id=f"p{index}")
        expected = visible_rows()
        decision_ids: list[UUID] = []
        for action, index in actions:
            members = resolve.list_members(KEY, STEWARD)
            values = list({member.content_sha256: member.memory_id for member in members}.values())
            if action == "undo":
                open_ = [
                    decision_id
                    for decision_id in decision_ids
                    if not Decision.objects.filter(undoes_id=decision_id).exists()
                ]
                if open_:
                    (undo_result,) = undo_decisions(open_[index % len(open_)])
                    assert not undo_result.refusal
            elif action == "say":
                memory = make_value(f"City {index}", payload_id=f"q{index}")
                # Rejected already, it is in nobody's way until that is undone.
                expected |= visible_rows(memory_id=memory.memory_id)
            elif len(values) > 1 and not is_decided(members):
                kept_values = values[: 1 + index % (len(values) - 1)]
                choices: dict[str, dict[str, Any]] = {
                    "keep_one": {"keep": kept_values[:1]},
                    "keep_several": {"keep": values[:2]},
                    "merge": {"content": f"All of them {len(decision_ids)}"},
                }
                outcome = resolve.resolve(
                    resolution_request(outcome=action, **choices.get(action, {})), principal=STEWARD
                )
                assert outcome.decision_id
                decision_ids.append(outcome.decision_id)

        undo_decisions(
            *[
                decision_id
                for decision_id in decision_ids
                if not Decision.objects.filter(undoes_id=decision_id).exists()
            ]
        )

        assert visible_rows() == expected
        assert Decision.objects.exclude(outcome="undo").count() == Decision.objects.filter(outcome="undo").count()


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


class TestTheFirewall:
    def test_nothing_is_retired_that_readers_would_miss_without_seeing_why(self):
        """FW-12: a resolution writes nothing low-visible from the high side."""
        low, high = make_value("Paris", tier="public"), make_value("Berlin", tier="restricted")

        outcome = keep_values(high)

        assert (outcome.retired_ids, outcome.still_active_ids) == ([], [low.memory_id])
        assert current_statuses(low, high) == ["active", "active"]
        assert current_version(low).version == 1

    def test_a_hidden_loser_is_retired(self):
        low, high = make_value("Paris", tier="public"), make_value("Berlin", tier="restricted")

        outcome = keep_values(low)

        assert (outcome.retired_ids, outcome.still_active_ids) == ([high.memory_id], [])

    def test_a_decision_that_saw_more_than_a_reader_retires_nothing_of_that_readers(self):
        kept_memory, loser, hidden = make_value("Paris"), make_value("Berlin"), make_value("Rome", labels=["pii"])

        outcome = keep_values(kept_memory)

        assert (outcome.retired_ids, outcome.still_active_ids) == ([hidden.memory_id], [loser.memory_id])

    def test_a_decision_is_seen_by_those_who_see_all_that_it_was_made_on(self):
        paris, _ = make_value("Paris", tier="public"), make_value("Berlin", tier="restricted")
        outcome = keep_values(paris)
        low = make_steward("user:low", max_tier="public")

        for principal, expected_count in ((STEWARD, 1), (low, 0)):
            assert len(decision_queries.list_page(QueryDict(), principal=principal).decisions) == expected_count
            assert len(decision_queries.list_for_keys([KEY], clearance=principal.clearance)[KEY]) == expected_count
            assert (
                decision_queries.get_decision(outcome.decision_id or uuid4(), principal=principal) is not None
            ) == bool(expected_count)
        assert [result.refusal for result in undo_decisions(outcome.decision_id, principal=low)] == ["not_found"]

    def test_a_decision_is_hidden_with_a_memory_that_is_classified_more_closely_later(self):
        paris, berlin = make_value("Paris", tier="public"), make_value("Berlin", tier="public")
        keep_values(paris)
        low = make_steward("user:low", max_tier="public")
        assert decision_queries.list_page(QueryDict(), principal=low).decisions
        admin = Principal(name="user:root", scopes=frozenset({Scope.ADMIN}), clearance=unrestricted_clearance())
        change = ClassificationChange(classification_tier="restricted")
        classify.apply_plan(classify.plan_for_memory(berlin.memory_id, change, principal=admin))

        assert decision_queries.list_page(QueryDict(), principal=low).decisions == []

    def test_a_merged_memory_opens_nothing(self):
        make_clearance(max_tier="restricted", required_labels=["eu"])
        make_value("Paris", labels=["eu"]), make_value("Berlin")

        with pytest.raises(OperationRejectedError) as exc_info:
            resolve.resolve(resolution_request(outcome="merge", content="Both"), principal=STEWARD)

        assert exc_info.value.code == "would_widen_visibility"


def test_a_list_of_decisions_is_walked_page_by_page():
    decision_ids = []
    for index in range(5):
        key = (f"user:{index}", "city")
        for content in ("Paris", "Berlin"):
            make_memory(subject=key[0], collection=key[1], content=content)
        decision_ids.append(
            resolve.resolve(
                resolution_request(key=key, outcome="defer", reason=f"Reason {index}"), principal=STEWARD
            ).decision_id
        )
    undo_decisions(decision_ids[0])
    records, cursor = [], ""
    while True:
        query = QueryDict(f"limit=2&cursor={cursor}" if cursor else "limit=2")
        page = decision_queries.list_page(query, principal=STEWARD)
        records += page.decisions
        if not (cursor := page.next_cursor or ""):
            break
    assert [record.decision_id for record in records[1:]] == decision_ids[::-1]
    assert records[0].undoes_id == decision_ids[0]
    assert [record.is_in_force for record in records] == [False, True, True, True, True, False]
    assert list(decision_queries.iter_decisions(QueryDict(), principal=STEWARD)) == records
    for query_text, expected in (
        ("q=reason 3", [decision_ids[3]]),
        ("subject=user:2", [decision_ids[2]]),
        ("in_force=true", decision_ids[:0:-1]),
        ("outcome=undo", [records[0].decision_id]),
        ("principal=user:bob", []),
    ):
        page = decision_queries.list_page(QueryDict(query_text), principal=STEWARD)
        assert [record.decision_id for record in page.decisions] == expected


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


def test_the_database_shows_a_decision_to_nobody_who_may_not_see_what_it_was_made_on():
    (
        make_value("Paris", tier="restricted", labels=["pii"], namespace="a"),
        make_value("Berlin", tier="internal", namespace="b"),
    )
    resolve.resolve(resolution_request(outcome="defer"), principal=STEWARD)
    for clearance, expected_count in (
        (unrestricted_clearance(), 1),
        (Clearance(max_tier="internal"), 0),
        (Clearance(max_tier="restricted", blocked_labels=frozenset({"PII"})), 0),
        (Clearance(max_tier="restricted", required_labels=frozenset({"pii"})), 0),
        (Clearance(max_tier="restricted", namespaces=frozenset({"a"})), 0),
        (Clearance(max_tier="restricted", namespaces=frozenset({"a", "b"})), 1),
    ):
        with rls.as_reader(clearance):
            assert Decision.objects.visible_to(clearance).count() == expected_count
