"""Decisions about groups: what becomes of the memories, who is told, and that all of it can be undone."""

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
from memoryhub.conflicts import decide, decisions
from memoryhub.conflicts.decide import Choice, Wish
from memoryhub.conflicts.keys import evidence_of
from memoryhub.conflicts.models import Decision
from memoryhub.firewall import wall
from memoryhub.firewall.types import Clearance, Principal, Scope, everything
from memoryhub.memories import ingest, relabel
from memoryhub.memories.envelope import Rejected
from memoryhub.memories.models import Memory
from tests.builders import WRITER, envelope, make_clearance, make_memory
from tests.harness.generated import examples, rolled_back

pytestmark = pytest.mark.django_db

KEY = ("user:ada", "city")


def steward(name: str = "user:ada", **clearance: Any) -> Principal:
    held = Clearance(**clearance) if clearance else everything()
    return Principal(name=name, scopes=frozenset({Scope.READ, Scope.INSPECT}), clearance=held, actor_type="user")


STEWARD = steward()


def say(content: str, **fields: Any) -> Memory:
    return make_memory(subject=KEY[0], collection=KEY[1], content=content, **fields)


def wish(by: Principal = STEWARD, key: tuple[str, ...] = KEY, **choice: Any) -> Wish:
    found = decide.members(key, by)
    evidence = evidence_of((member.memory_id, member.version) for member in found)
    return Wish(key=key, evidence=evidence, choice=Choice(**{"reason": "Asked her.", **choice}))


def keep(*kept: Memory, by: Principal = STEWARD) -> decide.Outcome:
    outcome = "keep_one" if len({memory.content for memory in kept}) == 1 else "keep_several"
    return decide.decide(wish(by, outcome=outcome, keep=[memory.memory_id for memory in kept]), by=by)


def undo(*decision_ids: UUID | None, by: Principal = STEWARD) -> list[decide.Undone]:
    return decide.undo([one for one in decision_ids if one], by=by, reason="It was wrong.")


def now(memory: Memory) -> Memory:
    return Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)


def statuses(*memories: Memory) -> list[str]:
    return [now(memory).status for memory in memories]


class TestKeeping:
    def test_one_retires_all_that_say_otherwise(self):
        paris, twin, berlin = say("Paris"), say("Paris"), say("Berlin")

        outcome = keep(paris)

        assert statuses(paris, twin, berlin) == ["active", "active", "retired"]
        assert set(outcome.kept) == {paris.memory_id, twin.memory_id}
        assert outcome.retired == [berlin.memory_id]
        assert now(berlin).decision == outcome.decision_id
        assert (now(paris).version, now(berlin).version) == (1, 2)

    def test_several_retires_the_others(self):
        paris, berlin, rome = say("Paris"), say("Berlin"), say("Rome")
        spell = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
        asked: dict[str, Any] = {"outcome": "keep_several", "keep": [paris.memory_id, berlin.memory_id]}

        outcome = decide.decide(wish(**asked, validity={paris.memory_id: spell}), by=STEWARD)

        assert statuses(paris, berlin, rome) == ["active", "active", "retired"]
        (told,) = decisions.about([KEY], clearance=everything())[KEY]
        assert told.decision_id == outcome.decision_id
        assert told.validity == {str(paris.memory_id): spell}

    @pytest.mark.parametrize("outcome", ["not_a_conflict", "defer"])
    def test_all_changes_nothing(self, outcome):
        paris, berlin = say("Paris"), say("Berlin")

        decide.decide(wish(outcome=outcome), by=STEWARD)

        assert [(now(one).status, now(one).version) for one in (paris, berlin)] == [("active", 1)] * 2
        settled = {bytes(value) for value in Decision.objects.get().settled}
        assert settled == {bytes(one.content_sha256) for one in (paris, berlin)}

    def test_merging_makes_a_memory_as_closed_as_all_of_them(self):
        older = say("Paris", tier="internal", labels=["pii"], timestamp="2026-01-01T00:00:00Z")
        newer = say("Berlin", tier="internal", labels=["PII"], timestamp="2026-02-01T00:00:00Z")

        outcome = decide.decide(wish(outcome="merge", content="Paris, then Berlin"), by=STEWARD)

        merged = Memory.objects.get(memory_id=outcome.merged or uuid4())
        assert statuses(older, newer, merged) == ["retired", "retired", "active"]
        assert (merged.content, merged.classification_tier, merged.label_keys) == (
            "Paris, then Berlin", "internal", ["pii"],
        )  # fmt: skip
        assert (merged.subject, merged.collection, merged.timestamp) == (*KEY, newer.timestamp)
        assert merged.source == "user:ada"
        assert set(merged.metadata["merged_from"].split(",")) == {str(older.memory_id), str(newer.memory_id)}
        assert merged.decision == outcome.decision_id

    def test_a_merged_memory_is_gone_when_the_first_of_them_is(self):
        ends = datetime.now(UTC) + timedelta(days=2)
        say("Paris", expires_at=ends)
        say("Berlin", expires_at=ends + timedelta(days=2))

        outcome = decide.decide(wish(outcome="merge", content="Both"), by=STEWARD)

        assert Memory.objects.get(memory_id=outcome.merged or uuid4()).expires_at == ends


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        "choice",
        [
            {"outcome": "keep_one"},
            {"outcome": "keep_one", "keep": [uuid4()], "reason": " "},
            {"outcome": "merge"},
            {"outcome": "merge", "content": " "},
            {"outcome": "not_a_conflict", "keep": [uuid4()]},
            {"outcome": "defer", "validity": {uuid4(): {}}},
            {"outcome": "not_a_conflict", "until": "2030-01-01T00:00:00Z"},
            {"outcome": "undo"},
            {"outcome": "not_a_conflict", "reason": "x" * 1_001},
        ],
    )
    def test_a_choice_that_makes_no_sense(self, choice):
        with pytest.raises(Rejected):
            relabel.read({"reason": "Asked her.", **choice}, Choice)

    def test_what_does_not_fit_the_group(self):
        paris, berlin = say("Paris"), say("Berlin")
        other = make_memory(content="Rome")
        past = datetime.now(UTC) - timedelta(days=1)
        for choice in (
            {"outcome": "keep_one", "keep": [other.memory_id]},
            {"outcome": "keep_one", "keep": [paris.memory_id, berlin.memory_id]},
            {"outcome": "keep_several", "keep": [paris.memory_id]},
            {"outcome": "merge", "content": "Paris"},
            {"outcome": "defer", "until": past.isoformat()},
        ):
            with pytest.raises(Rejected, match=r".") as refused:
                decide.decide(wish(**choice), by=STEWARD)
            assert refused.value.code == "invalid_value"
        assert statuses(paris, berlin) == ["active", "active"]
        assert not Decision.objects.exists()

    def test_who_may_not_judge_or_read(self):
        say("Paris"), say("Berlin")
        for scopes in ({Scope.READ}, {Scope.INSPECT}, {Scope.WRITE}):
            nobody = Principal(name="key:x", scopes=frozenset(scopes), clearance=everything())
            with pytest.raises(PermissionDenied):
                decide.decide(wish(outcome="defer"), by=nobody)
            with pytest.raises(PermissionDenied):
                decide.undo([uuid4()], by=nobody, reason="x")

    def test_what_is_no_conflict_or_not_seen(self):
        say("Paris"), say("Berlin", tier="restricted")
        low = steward(max_tier="public")
        with pytest.raises(Rejected) as refused:
            decide.decide(wish(low, outcome="defer"), by=low)
        assert refused.value.code == "not_found"
        for evidence in ("", "00" * 32):
            asked = Wish(key=("nobody", ""), evidence=evidence, choice=Choice(outcome="defer", reason="x"))
            with pytest.raises(Rejected) as refused:
                decide.decide(asked, by=STEWARD)
            assert refused.value.code == "not_found"

    def test_a_group_that_has_changed_since(self):
        paris, _ = say("Paris"), say("Berlin")
        first, second = (wish(outcome="keep_one", keep=[paris.memory_id]) for _ in range(2))
        decide.decide(first, by=STEWARD)

        with pytest.raises(Rejected) as refused:
            decide.decide(second, by=STEWARD)

        assert refused.value.code == "stale"
        assert Decision.objects.count() == 1
        assert AuditEntry.objects.filter(action="conflict.decide").count() == 1

    def test_a_group_that_was_decided_without_a_change(self):
        say("Paris"), say("Berlin")
        first, second = wish(outcome="not_a_conflict"), wish(outcome="not_a_conflict")
        outcome = decide.decide(first, by=STEWARD)

        with pytest.raises(Rejected) as refused:
            decide.decide(second, by=STEWARD)
        assert refused.value.code == "stale"

        undo(outcome.decision_id)
        assert decide.decide(second, by=STEWARD).decision_id

    def test_a_decision_that_is_changed_or_deleted(self):
        say("Paris"), say("Berlin")
        decide.decide(wish(outcome="defer"), by=STEWARD)
        for change in (lambda: Decision.objects.update(reason="x"), lambda: Decision.objects.all().delete()):
            with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
                change()


def test_of_many_wishes_those_that_can_be_carried_out_are():
    paris, _ = say("Paris"), say("Berlin")
    first = wish(outcome="keep_one", keep=[paris.memory_id])
    missing = Wish(key=("nobody", ""), evidence="00" * 32, choice=Choice(outcome="defer", reason="x"))

    done = decide.decide_all([missing, first, first], by=STEWARD)

    assert [one.refusal for one in done] == ["not_found", "", "stale"]
    assert Decision.objects.count() == 1


class TestUndo:
    def test_restores_all_of_it(self):
        paris, berlin = say("Paris"), say("Berlin")
        before = shown()
        outcome = keep(paris)

        (undone,) = undo(outcome.decision_id)

        assert undone.restored == [berlin.memory_id]
        assert now(berlin).decision == undone.decision_id
        assert shown() == before

    def test_keeps_what_was_classified_meanwhile(self):
        paris, berlin = say("Paris"), say("Berlin")
        outcome = keep(paris)
        admin = Principal(name="user:root", scopes=frozenset({Scope.ADMIN}), clearance=everything())
        change = relabel.Change(classification_tier="restricted")
        relabel.carry_out(relabel.plan_one(berlin.memory_id, change, by=admin))

        undo(outcome.decision_id)

        assert (now(berlin).status, now(berlin).classification_tier) == ("active", "restricted")

    def test_retires_what_was_merged(self):
        paris, berlin = say("Paris"), say("Berlin")
        outcome = decide.decide(wish(outcome="merge", content="Both"), by=STEWARD)

        undo(outcome.decision_id)

        assert statuses(paris, berlin) == ["active", "active"]
        assert Memory.objects.get(memory_id=outcome.merged or uuid4(), superseded_at=None).status == "retired"

    def test_is_done_once_and_not_undone(self):
        paris, _ = say("Paris"), say("Berlin")
        outcome = keep(paris)
        (first,) = undo(outcome.decision_id)

        assert [one.refusal for one in undo(outcome.decision_id, first.decision_id, uuid4())] == [
            "already_undone", "is_undo", "not_found",
        ]  # fmt: skip

    def test_of_a_later_decision_leaves_the_earlier_one(self):
        paris, berlin = say("Paris"), say("Berlin")
        first = keep(paris)
        rome = say("Rome")
        second = keep(rome)
        assert statuses(paris, berlin, rome) == ["retired", "retired", "active"]

        undo(first.decision_id)
        assert statuses(paris, berlin, rome) == ["retired", "active", "active"]
        undo(second.decision_id)
        assert statuses(paris, berlin, rome) == ["active", "active", "active"]

    def test_does_not_touch_what_its_writer_has_told_anew(self):
        paris, berlin = say("Paris"), say("Berlin")
        outcome = keep(paris)
        again = say("Bern", payload_id=berlin.payload_id)

        undo(outcome.decision_id)

        assert (again.status, now(berlin).content, now(berlin).version) == ("active", "Bern", 3)

    def test_needs_a_reason(self):
        with pytest.raises(Rejected):
            decide.undo([uuid4()], by=STEWARD, reason=" ")


def shown(**which: Any) -> dict[UUID, tuple[Any, ...]]:
    """What default reads show of every memory; or what one says, however it stands."""
    rows = Memory.objects.filter(superseded_at=None, **which or {"status": "active"})
    told = ("source", "payload_id", "content", "timestamp", "classification_tier", "label_keys", "fingerprint")
    return {row["memory_id"]: tuple(map(str, (row[name] for name in told))) for row in rows.values("memory_id", *told)}


def decided_on(found: list[decide.Member]) -> bool:
    """Whether a decision stands that changed nothing of what it was made on."""
    evidence = bytes.fromhex(evidence_of((member.memory_id, member.version) for member in found))
    return Decision.objects.visible_to(everything()).in_force().filter(evidence=evidence).exists()


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["keep_one", "keep_several", "merge", "not_a_conflict", "defer", "undo", "say"]),
        st.integers(0, 7),
    ),
    max_size=14,
)


@examples(25, soak=2_000)
@given(actions=ACTIONS)
def test_after_all_is_undone_everything_is_as_if_nothing_had_been_decided(actions):
    """Whatever was said or classified meanwhile stays; whatever was decided leaves no trace but in the record."""
    with rolled_back():
        for number in range(3):
            say(f"City {number}", payload_id=f"p{number}")
        expected = shown()
        made: list[UUID] = []
        for action, number in actions:
            found = decide.members(KEY, STEWARD)
            values = list({member.content_sha256: member.memory_id for member in found}.values())
            if action == "undo":
                open_ = [one for one in made if not Decision.objects.filter(reverses=one).exists()]
                if open_:
                    (undone,) = undo(open_[number % len(open_)])
                    assert not undone.refusal
            elif action == "say":
                memory = say(f"City {number}", payload_id=f"q{number}")
                # Rejected already, it is in nobody's way until that is undone.
                expected |= shown(memory_id=memory.memory_id)
            elif len(values) > 1 and not decided_on(found):
                kept = values[: 1 + number % (len(values) - 1)]
                choices: dict[str, dict[str, Any]] = {
                    "keep_one": {"keep": kept[:1]},
                    "keep_several": {"keep": values[:2]},
                    "merge": {"content": f"All of them {len(made)}"},
                }
                outcome = decide.decide(wish(outcome=action, **choices.get(action, {})), by=STEWARD)
                assert outcome.decision_id
                made.append(outcome.decision_id)

        undo(*[one for one in made if not Decision.objects.filter(reverses=one).exists()])

        assert shown() == expected
        assert Decision.objects.exclude(outcome="undo").count() == Decision.objects.filter(outcome="undo").count()


class TestArrivingAgain:
    def test_a_rejected_value_is_stored_as_retired(self):
        paris, _ = say("Paris", actor_type="agent"), say("Berlin", actor_type="agent")
        outcome = keep(paris)

        (receipt,) = ingest.write(
            [envelope(subject=KEY[0], collection=KEY[1], content="Berlin", actor_type="agent")], by=WRITER
        )

        assert receipt.decision == outcome.decision_id
        again = Memory.objects.get(memory_id=receipt.memory_id or uuid4())
        assert (again.status, again.decision) == ("retired", outcome.decision_id)

    def test_another_value_or_key_is_not(self):
        say("Berlin")
        keep(say("Paris"))

        assert say("Rome").status == "active"
        assert make_memory(subject=KEY[0], collection="job", content="Berlin").status == "active"
        assert make_memory(subject="user:bob", collection=KEY[1], content="Berlin").status == "active"

    def test_from_an_actor_who_is_trusted_more_is_new_evidence(self):
        paris, _ = say("Paris", actor_type="agent"), say("Berlin", actor_type="agent")
        keep(paris)

        assert say("Berlin", actor_type="system").status == "active"

    def test_after_the_undo_it_is_active_again(self):
        paris, berlin = say("Paris"), say("Berlin")
        outcome = keep(paris)
        again = say("Berlin")
        assert again.status == "retired"

        undo(outcome.decision_id)

        assert statuses(paris, berlin, again) == ["active"] * 3
        assert say("Berlin").status == "active"

    def test_of_a_memory_that_is_told_otherwise_and_back(self):
        paris, berlin = say("Paris"), say("Berlin")
        keep(paris)

        assert say("Bern", payload_id=berlin.payload_id).status == "active"
        assert say("Berlin", payload_id=berlin.payload_id).status == "active"

    @pytest.mark.parametrize(
        ("rejected", "arriving"),
        [
            ({"tier": "restricted"}, {"tier": "internal"}),
            ({"labels": ["pii"]}, {}),
            ({"namespace": "a"}, {"namespace": "b"}),
        ],
    )
    def test_a_hidden_rejection_has_no_say(self, rejected, arriving):
        """Its writer and its readers would learn of what they may not see."""
        paris, berlin = say("Paris", **rejected), say("Berlin", **rejected)
        keep(paris)
        assert now(berlin).status == "retired"

        assert say("Berlin", **arriving).status == "active"

    def test_a_rejection_that_some_reader_may_not_see_has_no_say(self):
        make_clearance(max_tier="restricted", required_labels=["eu"])
        say("Berlin")
        keep(say("Paris"))

        assert say("Berlin", labels=["eu"]).status == "active"
        assert say("Berlin", labels=["other"]).status == "retired"


class TestTheFirewall:
    def test_nothing_is_retired_that_readers_would_miss_without_seeing_why(self):
        """FW-12: a resolution writes nothing low-visible from the high side."""
        low, high = say("Paris", tier="public"), say("Berlin", tier="restricted")

        outcome = keep(high)

        assert (outcome.retired, outcome.left) == ([], [low.memory_id])
        assert statuses(low, high) == ["active", "active"]
        assert now(low).version == 1

    def test_a_hidden_loser_is_retired(self):
        low, high = say("Paris", tier="public"), say("Berlin", tier="restricted")

        outcome = keep(low)

        assert (outcome.retired, outcome.left) == ([high.memory_id], [])

    def test_a_decision_that_saw_more_than_a_reader_retires_nothing_of_that_readers(self):
        kept, loser, hidden = say("Paris"), say("Berlin"), say("Rome", labels=["pii"])

        outcome = keep(kept)

        assert (outcome.retired, outcome.left) == ([hidden.memory_id], [loser.memory_id])

    def test_a_decision_is_seen_by_those_who_see_all_that_it_was_made_on(self):
        paris, _ = say("Paris", tier="public"), say("Berlin", tier="restricted")
        outcome = keep(paris)
        low = steward("user:low", max_tier="public")

        for reader, number in ((STEWARD, 1), (low, 0)):
            assert len(decisions.page(QueryDict(), reader=reader).decisions) == number
            assert len(decisions.about([KEY], clearance=reader.clearance)[KEY]) == number
            assert (decisions.one(outcome.decision_id or uuid4(), reader=reader) is not None) == bool(number)
        assert [one.refusal for one in undo(outcome.decision_id, by=low)] == ["not_found"]

    def test_a_decision_is_hidden_with_a_memory_that_is_classified_more_closely_later(self):
        paris, berlin = say("Paris", tier="public"), say("Berlin", tier="public")
        keep(paris)
        low = steward("user:low", max_tier="public")
        assert decisions.page(QueryDict(), reader=low).decisions
        admin = Principal(name="user:root", scopes=frozenset({Scope.ADMIN}), clearance=everything())
        change = relabel.Change(classification_tier="restricted")
        relabel.carry_out(relabel.plan_one(berlin.memory_id, change, by=admin))

        assert decisions.page(QueryDict(), reader=low).decisions == []

    def test_a_merged_memory_opens_nothing(self):
        make_clearance(max_tier="restricted", required_labels=["eu"])
        say("Paris", labels=["eu"]), say("Berlin")

        with pytest.raises(Rejected) as refused:
            decide.decide(wish(outcome="merge", content="Both"), by=STEWARD)

        assert refused.value.code == "would_open"


def test_a_list_of_decisions_is_walked_page_by_page():
    made = []
    for number in range(5):
        key = (f"user:{number}", "city")
        for content in ("Paris", "Berlin"):
            make_memory(subject=key[0], collection=key[1], content=content)
        made.append(decide.decide(wish(key=key, outcome="defer", reason=f"Reason {number}"), by=STEWARD).decision_id)
    undo(made[0])
    walked, cursor = [], ""
    while True:
        query = QueryDict(f"limit=2&cursor={cursor}" if cursor else "limit=2")
        found = decisions.page(query, reader=STEWARD)
        walked += found.decisions
        if not (cursor := found.next_cursor or ""):
            break
    assert [told.decision_id for told in walked[1:]] == made[::-1]
    assert walked[0].reverses == made[0]
    assert [told.is_in_force for told in walked] == [False, True, True, True, True, False]
    assert list(decisions.every(QueryDict(), reader=STEWARD)) == walked
    for asked, expected in (
        ("q=reason 3", [made[3]]),
        ("subject=user:2", [made[2]]),
        ("in_force=true", made[:0:-1]),
        ("outcome=undo", [walked[0].decision_id]),
        ("principal=user:bob", []),
    ):
        found = decisions.page(QueryDict(asked), reader=STEWARD)
        assert [told.decision_id for told in found.decisions] == expected


@pytest.mark.django_db(transaction=True)
def test_of_two_stewards_who_decide_at_once_one_does():
    paris, berlin = say("Paris"), say("Berlin")
    wishes = [wish(outcome="keep_one", keep=[memory.memory_id]) for memory in (paris, berlin)]
    barrier = threading.Barrier(2)
    told: list[str] = []

    def go(asked: Wish, by: Principal) -> None:
        barrier.wait()
        try:
            decide.decide(asked, by=by)
            told.append("done")
        except Rejected as refused:
            told.append(refused.code)
        finally:
            connection.close()

    people = [steward("user:ada"), steward("user:bob")]
    threads = [threading.Thread(target=go, args=pair) for pair in zip(wishes, people, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(told) == ["done", "stale"]
    assert sorted(statuses(paris, berlin)) == ["active", "retired"]
    assert AuditEntry.objects.filter(action="conflict.decide").count() == 1


def test_the_database_shows_a_decision_to_nobody_who_may_not_see_what_it_was_made_on():
    say("Paris", tier="restricted", labels=["pii"], namespace="a"), say("Berlin", tier="internal", namespace="b")
    decide.decide(wish(outcome="defer"), by=STEWARD)
    for clearance, number in (
        (everything(), 1),
        (Clearance(max_tier="internal"), 0),
        (Clearance(max_tier="restricted", blocked_labels=frozenset({"PII"})), 0),
        (Clearance(max_tier="restricted", required_labels=frozenset({"pii"})), 0),
        (Clearance(max_tier="restricted", namespaces=frozenset({"a"})), 0),
        (Clearance(max_tier="restricted", namespaces=frozenset({"a", "b"})), 1),
    ):
        with wall.behind(clearance):
            assert Decision.objects.visible_to(clearance).count() == number
