"""A source has one clearance for writing, and its writes meet what it wrote and nothing else."""

import io
import json
from dataclasses import replace
from typing import Any

import pytest

from memoryhub.conflicts.decisions import resolve
from memoryhub.conflicts.decisions.resolution_requests import Resolution, ResolutionRequest
from memoryhub.conflicts.groups.group_keys import compute_evidence
from memoryhub.firewall.clearance import Clearance, unrestricted_clearance
from memoryhub.firewall.models import Source
from memoryhub.firewall.principal import Principal, Scope
from memoryhub.memories.models import MAX_LABELS, Memory
from memoryhub.memories.writes import classify, write
from memoryhub.memories.writes.classification_plan import ClassificationChange
from memoryhub.memories.writes.envelope import parse_body
from memoryhub.memories.writes.identity import OnConflict
from memoryhub.memories.writes.write import WriteOutcome, WriteReceipt
from memoryhub.transfer.jsonl_import import import_lines
from tests.factories import OPERATOR, envelope, make_key

pytestmark = pytest.mark.django_db

INTERNAL = Clearance(max_tier="internal", namespaces=frozenset({"alpha", "beta"}))
AGENT = Principal(name="key:agent", source="crm", scopes=frozenset({Scope.WRITE}), clearance=INTERNAL)
ADMIN = Principal(name="key:admin", scopes=frozenset({Scope.ADMIN}), clearance=unrestricted_clearance())
STEWARD = Principal(name="user:steward", scopes=frozenset(Scope), clearance=unrestricted_clearance())


def write_memory(principal: Principal, on_conflict: OnConflict = OnConflict.REFUSE, **fields: Any) -> WriteReceipt:
    payload = envelope(**{"source": "crm", "namespace": "alpha", "payload_id": "p", **fields})
    return write.write_memories([payload], principal=principal, on_conflict=on_conflict)[0]


def current_memories(**fields: Any) -> list[Memory]:
    return list(Memory.objects.filter(superseded_at=None, **fields).order_by("id"))


def test_a_source_takes_the_clearance_of_its_first_key():
    make_key(scopes="write", source="crm", clearance={"max_tier": "internal", "blocked_labels": ["pii"]})
    make_key(scopes="write", source="crm", clearance={"max_tier": "restricted"})

    assert Source.objects.get().as_clearance() == Clearance(max_tier="internal", blocked_labels=frozenset({"pii"}))


def test_a_source_that_nobody_named_before_takes_the_clearance_of_who_writes_as_it():
    write_memory(AGENT, content="One.")

    assert Source.objects.get().as_clearance() == INTERNAL


def test_a_refused_write_creates_no_source():
    assert write_memory(AGENT, tier="restricted").code == "above_clearance"

    assert not Source.objects.exists()


@pytest.mark.parametrize("reading", [Clearance(), unrestricted_clearance()])
def test_every_key_of_a_source_writes_within_the_clearance_of_the_source(reading):
    Source.objects.create_missing(["crm"], INTERNAL)
    key = replace(AGENT, clearance=reading)

    assert write_memory(key, tier="internal", payload_id="within").outcome is WriteOutcome.CREATED
    assert write_memory(key, tier="confidential", payload_id="tier").code == "above_clearance"
    assert write_memory(key, namespace="omega", payload_id="namespace").code == "above_clearance"


def test_an_admin_who_sees_everything_writes_within_the_clearance_of_the_source():
    Source.objects.create_missing(["crm"], INTERNAL)

    assert write_memory(ADMIN, tier="internal").outcome is WriteOutcome.CREATED
    assert write_memory(ADMIN, tier="restricted", payload_id="q").code == "above_clearance"


@pytest.mark.parametrize("source", ["crm", "unheard-of", ""])
def test_an_admin_who_does_not_see_everything_writes_as_no_other_source(source):
    """The answer would tell what that source wrote."""
    Source.objects.create_missing(["crm"], unrestricted_clearance())
    limited = replace(ADMIN, clearance=Clearance(max_tier="confidential"))

    assert write_memory(limited, source=source).code == "source_mismatch"


class TestOperatorImport:
    @pytest.fixture(autouse=True)
    def _make_source(self) -> None:
        Source.objects.create_missing(["crm"], INTERNAL)

    @pytest.mark.parametrize("on_conflict", OnConflict)
    def test_beyond_the_clearance_of_its_source_does_not_exist_for_the_source(self, on_conflict):
        write_memory(OPERATOR, content="Hidden.", namespace="omega", labels=["x"])
        (hidden,) = current_memories()

        receipt = write_memory(AGENT, on_conflict, content="Hidden.")

        assert receipt.outcome is WriteOutcome.CREATED
        assert receipt.memory_id != hidden.memory_id
        assert current_memories(memory_id=hidden.memory_id) == [hidden]

    def test_beyond_the_clearance_of_its_source_is_met_by_the_next_import(self):
        write_memory(OPERATOR, content="Hidden.", namespace="omega")

        assert write_memory(OPERATOR, content="Hidden.", namespace="omega").outcome is WriteOutcome.DUPLICATE
        assert (
            write_memory(OPERATOR, OnConflict.UPDATE, content="New.", namespace="omega").outcome is WriteOutcome.UPDATED
        )
        assert [memory.content for memory in current_memories()] == ["New."]

    def test_within_the_clearance_of_its_source_is_what_the_source_wrote(self):
        write_memory(OPERATOR, content="Ada lives in Paris.")

        assert write_memory(AGENT, content="Ada lives in Paris.").outcome is WriteOutcome.DUPLICATE

    @pytest.mark.parametrize("exported_fields", [False, True])
    def test_is_not_put_under_the_id_of_what_its_source_wrote(self, exported_fields):
        """The source could guess it there."""
        write_memory(AGENT, content="One.")
        (imported_memory,) = current_memories()
        line = {"content": "Hidden.", "namespace": "omega"} | (
            {"memory_id": str(imported_memory.memory_id)} if exported_fields else {}
        )

        line_bytes = json.dumps({"source": "crm", "payload_id": "p", **line}).encode()
        report = import_lines(io.BytesIO(line_bytes), on_conflict=OnConflict.UPDATE)

        ((_, reason),) = report.failures
        assert reason.endswith("use another payload_id.")
        assert current_memories() == [imported_memory]

    def test_with_another_classification_reclassifies_and_is_known_by_the_next_import(self):
        write_memory(AGENT, content="One.")
        moved_fields = {"content": "One.", "namespace": "omega", "tier": "restricted"}

        outcomes = [write_memory(OPERATOR, OnConflict.UPDATE, **moved_fields).outcome for _ in range(2)]

        assert outcomes == [WriteOutcome.UPDATED, WriteOutcome.DUPLICATE]
        assert write_memory(AGENT, content="One.").outcome is WriteOutcome.DUPLICATE
        assert write_memory(AGENT, OnConflict.UPDATE, content="Two.").outcome is WriteOutcome.UPDATED
        (memory,) = current_memories()
        assert (memory.content, memory.namespace, memory.classification_tier) == ("Two.", "omega", "restricted")


def test_a_source_and_others_together_may_add_twice_as_many_labels_as_one_may_send():
    """Else the refusal would tell the writer that others have labelled its memory."""
    write_memory(AGENT)
    (memory,) = current_memories()
    change = parse_body({"add_labels": [f"steward-{n}" for n in range(MAX_LABELS)]}, ClassificationChange)
    classify.apply_plan(classify.plan_for_memory(memory.memory_id, change, principal=STEWARD))

    sent_labels = [f"writer-{n}" for n in range(MAX_LABELS)]
    receipt = write_memory(AGENT, OnConflict.UPDATE, content="More.", sensitivity_labels=sent_labels)

    assert receipt.outcome is WriteOutcome.UPDATED
    (memory,) = current_memories()
    assert len(memory.sensitivity_labels) == 2 * MAX_LABELS
    removal = parse_body({"remove_labels": ["steward-0"]}, ClassificationChange)
    result = classify.apply_plan(
        classify.plan_for_memory(memory.memory_id, removal, principal=STEWARD), reason="Not needed."
    )
    assert result.changed_count == 1


ADA: dict[str, Any] = {"subject": "user:ada", "collection": "city"}


def make_rejected_value(
    content: str,
    *,
    principal: Principal,
    kept_fields: dict[str, Any] | None = None,
    is_raised: bool = False,
    **fields: Any,
) -> Memory:
    """A memory of the source that was rejected for another one of its group, to which the fields of `kept` belong.

    If it is `raised`, a steward has raised it before the decision.
    """
    write_memory(principal, payload_id="rejected", content=content, **ADA, **fields)
    (rejected_memory,) = current_memories()
    if is_raised:
        raise_to_restricted(rejected_memory)
    write_memory(
        OPERATOR if kept_fields else principal, payload_id="kept", content="Paris.", **ADA, **(kept_fields or fields)
    )
    key = ("user:ada", "city")
    members = resolve.list_members(key, STEWARD)
    (keep_id,) = (member.memory_id for member in members if member.memory_id != rejected_memory.memory_id)
    evidence = compute_evidence((member.memory_id, member.version) for member in members)
    choice = Resolution(outcome="keep_one", keep=[keep_id], reason="Asked her.")
    resolve.resolve(ResolutionRequest(key=key, evidence=evidence, resolution=choice), principal=STEWARD)
    return rejected_memory


def raise_to_restricted(memory: Memory) -> None:
    change = parse_body({"classification_tier": "restricted"}, ClassificationChange)
    assert classify.apply_plan(classify.plan_for_memory(memory.memory_id, change, principal=STEWARD)).changed_count == 1


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("kept_fields", [None, {"source": "another"}])
def test_whether_a_value_was_rejected_does_not_reveal_that_its_memory_was_raised(before, kept_fields):
    rejected_memory = make_rejected_value("London.", principal=AGENT, kept_fields=kept_fields, is_raised=before)
    if not before:
        raise_to_restricted(rejected_memory)

    assert write_memory(AGENT, payload_id="again", content="London.", **ADA).decision_id is not None


@pytest.mark.parametrize("source", ["vault", "crm"])
def test_what_was_raised_and_rejected_for_something_that_its_source_may_not_see_is_not_rejected_to_that(source):
    """Had nobody raised it, it would have been left in force."""
    make_rejected_value(
        "London.", principal=AGENT, kept_fields={"source": source, "tier": "restricted"}, is_raised=True
    )

    later_receipt = write_memory(AGENT, payload_id="again", content="London.", **ADA)
    later = write_memory(replace(AGENT, source="another"), source="another", content="London.", **ADA)

    assert (later_receipt.decision_id, later.decision_id) == (None, None)
    assert [memory.status for memory in current_memories(payload_id="rejected")] == ["retired"]


@pytest.mark.parametrize(
    ("rejected_fields", "clearance", "sent_fields"),
    [
        ({"tier": "restricted"}, Clearance(max_tier="public"), {}),
        ({}, Clearance(required_labels=frozenset({"eu"})), {"sensitivity_labels": ["eu"]}),
    ],
    ids=["above its tier", "without a label that it needs"],
)
def test_a_value_that_was_rejected_of_a_memory_that_the_key_may_not_read_is_not_rejected_again(
    rejected_fields, clearance, sent_fields
):
    high = replace(AGENT, clearance=unrestricted_clearance())
    make_rejected_value("London.", principal=high, **rejected_fields)
    low = replace(AGENT, clearance=clearance)

    later_receipt = write_memory(
        low, payload_id="again", content="London.", subject="user:ada", collection="city", **sent_fields
    )

    assert (later_receipt.outcome, later_receipt.decision_id) == (WriteOutcome.CREATED, None)
