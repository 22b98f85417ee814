"""A source has one clearance for writing, and its writes meet what it wrote and nothing else."""

import io
import json
from dataclasses import replace
from typing import Any

import pytest

from memoryhub.conflicts import decide
from memoryhub.conflicts.choices import Choice, Wish
from memoryhub.conflicts.keys import evidence_of
from memoryhub.firewall.models import Source
from memoryhub.firewall.types import Clearance, Principal, Scope, everything
from memoryhub.memories import ingest, relabel
from memoryhub.memories.ingest import OnConflict, Outcome, Receipt
from memoryhub.memories.models import MAX_LABELS, Memory
from memoryhub.ops.importing import import_lines
from tests.builders import OPERATOR, envelope, make_key

pytestmark = pytest.mark.django_db

INTERNAL = Clearance(max_tier="internal", namespaces=frozenset({"alpha", "beta"}))
AGENT = Principal(name="key:agent", source="crm", scopes=frozenset({Scope.WRITE}), clearance=INTERNAL)
ADMIN = Principal(name="key:admin", scopes=frozenset({Scope.ADMIN}), clearance=everything())
STEWARD = Principal(name="user:steward", scopes=frozenset(Scope), clearance=everything())


def write(by: Principal, on_conflict: OnConflict = OnConflict.REFUSE, **fields: Any) -> Receipt:
    sent = envelope(**{"source": "crm", "namespace": "alpha", "payload_id": "p", **fields})
    return ingest.write([sent], by=by, on_conflict=on_conflict)[0]


def current(**fields: Any) -> list[Memory]:
    return list(Memory.objects.filter(superseded_at=None, **fields).order_by("id"))


def test_a_source_takes_the_clearance_of_its_first_key():
    make_key(scopes="write", source="crm", clearance={"max_tier": "internal", "blocked_labels": ["pii"]})
    make_key(scopes="write", source="crm", clearance={"max_tier": "restricted"})

    assert Source.objects.get().as_clearance() == Clearance(max_tier="internal", blocked_labels=frozenset({"pii"}))


def test_a_source_that_nobody_named_before_takes_the_clearance_of_who_writes_as_it():
    write(AGENT, content="One.")

    assert Source.objects.get().as_clearance() == INTERNAL


def test_a_refused_write_creates_no_source():
    assert write(AGENT, tier="restricted").code == "above_clearance"

    assert not Source.objects.exists()


@pytest.mark.parametrize("reading", [Clearance(), everything()])
def test_every_key_of_a_source_writes_within_the_clearance_of_the_source(reading):
    Source.objects.create_missing(["crm"], INTERNAL)
    key = replace(AGENT, clearance=reading)

    assert write(key, tier="internal", payload_id="within").outcome is Outcome.CREATED
    assert write(key, tier="confidential", payload_id="tier").code == "above_clearance"
    assert write(key, namespace="omega", payload_id="namespace").code == "above_clearance"


def test_an_admin_who_sees_everything_writes_within_the_clearance_of_the_source():
    Source.objects.create_missing(["crm"], INTERNAL)

    assert write(ADMIN, tier="internal").outcome is Outcome.CREATED
    assert write(ADMIN, tier="restricted", payload_id="q").code == "above_clearance"


@pytest.mark.parametrize("source", ["crm", "unheard-of", ""])
def test_an_admin_who_does_not_see_everything_writes_as_no_other_source(source):
    """The answer would tell what that source wrote."""
    Source.objects.create_missing(["crm"], everything())
    limited = replace(ADMIN, clearance=Clearance(max_tier="confidential"))

    assert write(limited, source=source).code == "source_mismatch"


class TestWhatTheOperatorImported:
    @pytest.fixture(autouse=True)
    def _source(self) -> None:
        Source.objects.create_missing(["crm"], INTERNAL)

    @pytest.mark.parametrize("on_conflict", OnConflict)
    def test_beyond_the_clearance_of_its_source_does_not_exist_for_the_source(self, on_conflict):
        write(OPERATOR, content="Hidden.", namespace="omega", labels=["x"])
        (hidden,) = current()

        receipt = write(AGENT, on_conflict, content="Hidden.")

        assert receipt.outcome is Outcome.CREATED
        assert receipt.memory_id != hidden.memory_id
        assert current(memory_id=hidden.memory_id) == [hidden]

    def test_beyond_the_clearance_of_its_source_is_met_by_the_next_import(self):
        write(OPERATOR, content="Hidden.", namespace="omega")

        assert write(OPERATOR, content="Hidden.", namespace="omega").outcome is Outcome.DUPLICATE
        assert write(OPERATOR, OnConflict.UPDATE, content="New.", namespace="omega").outcome is Outcome.UPDATED
        assert [memory.content for memory in current()] == ["New."]

    def test_within_the_clearance_of_its_source_is_what_the_source_wrote(self):
        write(OPERATOR, content="Ada lives in Paris.")

        assert write(AGENT, content="Ada lives in Paris.").outcome is Outcome.DUPLICATE

    @pytest.mark.parametrize("exported", [False, True])
    def test_is_not_put_under_the_id_of_what_its_source_wrote(self, exported):
        """The source could guess it there."""
        write(AGENT, content="One.")
        (known,) = current()
        line = {"content": "Hidden.", "namespace": "omega"} | ({"memory_id": str(known.memory_id)} if exported else {})

        written = json.dumps({"source": "crm", "payload_id": "p", **line}).encode()
        report = import_lines(io.BytesIO(written), on_conflict=OnConflict.UPDATE)

        ((_, reason),) = report.bad
        assert reason.endswith("use another payload_id.")
        assert current() == [known]

    def test_with_another_classification_reclassifies_and_is_known_by_the_next_import(self):
        write(AGENT, content="One.")
        moved = {"content": "One.", "namespace": "omega", "tier": "restricted"}

        outcomes = [write(OPERATOR, OnConflict.UPDATE, **moved).outcome for _ in range(2)]

        assert outcomes == [Outcome.UPDATED, Outcome.DUPLICATE]
        assert write(AGENT, content="One.").outcome is Outcome.DUPLICATE
        assert write(AGENT, OnConflict.UPDATE, content="Two.").outcome is Outcome.UPDATED
        (memory,) = current()
        assert (memory.content, memory.namespace, memory.classification_tier) == ("Two.", "omega", "restricted")


def test_a_source_and_others_together_may_add_twice_as_many_labels_as_one_may_send():
    """Else the refusal would tell the writer that others have labelled its memory."""
    write(AGENT)
    (memory,) = current()
    change = relabel.read({"add_labels": [f"steward-{n}" for n in range(MAX_LABELS)]}, relabel.Change)
    relabel.carry_out(relabel.plan_one(memory.memory_id, change, by=STEWARD))

    sent = [f"writer-{n}" for n in range(MAX_LABELS)]
    receipt = write(AGENT, OnConflict.UPDATE, content="More.", sensitivity_labels=sent)

    assert receipt.outcome is Outcome.UPDATED
    (memory,) = current()
    assert len(memory.sensitivity_labels) == 2 * MAX_LABELS
    removal = relabel.read({"remove_labels": ["steward-0"]}, relabel.Change)
    done = relabel.carry_out(relabel.plan_one(memory.memory_id, removal, by=STEWARD), reason="Not needed.")
    assert done.changed == 1


ADA: dict[str, Any] = {"subject": "user:ada", "collection": "city"}


def reject(
    content: str, *, by: Principal, kept: dict[str, Any] | None = None, raised: bool = False, **fields: Any
) -> Memory:
    """A memory of the source that was rejected for another one of its group, to which the fields of `kept` belong.

    If it is `raised`, a steward has raised it before the decision.
    """
    write(by, payload_id="rejected", content=content, **ADA, **fields)
    (rejected,) = current()
    if raised:
        raise_tier(rejected)
    write(OPERATOR if kept else by, payload_id="kept", content="Paris.", **ADA, **(kept or fields))
    key = ("user:ada", "city")
    found = decide.members(key, STEWARD)
    (keep,) = (member.memory_id for member in found if member.memory_id != rejected.memory_id)
    evidence = evidence_of((member.memory_id, member.version) for member in found)
    choice = Choice(outcome="keep_one", keep=[keep], reason="Asked her.")
    decide.decide(Wish(key=key, evidence=evidence, choice=choice), by=STEWARD)
    return rejected


def raise_tier(memory: Memory) -> None:
    change = relabel.read({"classification_tier": "restricted"}, relabel.Change)
    assert relabel.carry_out(relabel.plan_one(memory.memory_id, change, by=STEWARD)).changed == 1


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("kept", [None, {"source": "another"}])
def test_whether_a_value_was_rejected_does_not_tell_that_the_memory_that_held_it_was_raised(before, kept):
    rejected = reject("London.", by=AGENT, kept=kept, raised=before)
    if not before:
        raise_tier(rejected)

    assert write(AGENT, payload_id="again", content="London.", **ADA).decision is not None


@pytest.mark.parametrize("source", ["vault", "crm"])
def test_what_was_raised_and_rejected_for_something_that_its_source_may_not_see_is_not_rejected_to_that(source):
    """Had nobody raised it, it would have been left in force."""
    reject("London.", by=AGENT, kept={"source": source, "tier": "restricted"}, raised=True)

    again = write(AGENT, payload_id="again", content="London.", **ADA)
    later = write(replace(AGENT, source="another"), source="another", content="London.", **ADA)

    assert (again.decision, later.decision) == (None, None)
    assert [memory.status for memory in current(payload_id="rejected")] == ["retired"]


@pytest.mark.parametrize(
    ("rejected", "clearance", "sent"),
    [
        ({"tier": "restricted"}, Clearance(max_tier="public"), {}),
        ({}, Clearance(required_labels=frozenset({"eu"})), {"sensitivity_labels": ["eu"]}),
    ],
    ids=["above its tier", "without a label that it needs"],
)
def test_a_value_that_was_rejected_of_a_memory_that_the_key_may_not_read_is_not_rejected_again(
    rejected, clearance, sent
):
    high = replace(AGENT, clearance=everything())
    reject("London.", by=high, **rejected)
    low = replace(AGENT, clearance=clearance)

    again = write(low, payload_id="again", content="London.", subject="user:ada", collection="city", **sent)

    assert (again.outcome, again.decision) == (Outcome.CREATED, None)
