"""Rejected values that arrive again: an earlier memory counts if every reader of the new one may see it."""

from dataclasses import replace
from typing import Any

import pytest

from memoryhub.conflicts.decisions import resolve
from memoryhub.conflicts.decisions.resolution_requests import Resolution, ResolutionRequest
from memoryhub.conflicts.groups.group_keys import compute_evidence
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import write
from tests.factories import WRITER, envelope, make_memory

pytestmark = pytest.mark.django_db

ADA_CITY: dict[str, Any] = {"subject": "user:ada", "collection": "city"}


def reject_values(*contents: str, kept_content: str) -> None:
    """Keep one value of the group, which is made of these contents and the stored ones."""
    memories = [make_memory(content=content, **ADA_CITY) for content in (*contents, kept_content)]
    members = resolve.list_members(("user:ada", "city"), WRITER)
    evidence = compute_evidence((member.memory_id, member.version) for member in members)
    choice = Resolution(outcome="keep_one", keep=[memories[-1].memory_id], reason="Asked her.")
    resolve.resolve(ResolutionRequest(key=("user:ada", "city"), evidence=evidence, resolution=choice), principal=WRITER)


@pytest.mark.parametrize("hidden", [0, 1, 30])
def test_hidden_memories_that_were_rejected_for_saying_the_same_do_not_crowd_out_the_one_that_is_seen(hidden):
    """FW-12"""
    reject_values("Berlin", kept_content="Paris")
    for index in range(hidden):
        hidden_memory = make_memory(content="Berlin", tier="restricted", labels=[f"team-{index % 3}"], **ADA_CITY)
        assert hidden_memory.status == "retired"

    visible_memory = make_memory(content="Berlin", source="crm", **ADA_CITY)

    decisions = set(Memory.objects.filter(status="retired").values_list("decision_id", flat=True))
    assert visible_memory.status == "retired"
    assert decisions == {visible_memory.decision_id}


def test_a_value_that_was_rejected_of_a_more_trusted_actor_alone_is_rejected_again():
    """However many less trusted ones have said it since."""
    reject_values("Berlin", kept_content="Paris")
    make_memory(content="Berlin", actor_type="user", payload_id="trusted", **ADA_CITY)
    reject_values(kept_content="Paris, again")
    for _ in range(30):
        make_memory(content="Berlin", actor_type="agent", **ADA_CITY)

    assert make_memory(content="Berlin", actor_type="system", **ADA_CITY).status == "retired"


SPELLINGS = (
    "Lead is Tom", "Lead is Tom.", "Lead is Tom. ", "Lead is Tom!", "Lead is Tom!!", "Lead is Tom...", "Lead is Tom…",
    "lead is tom", "lead is tom.", "Lead Is Tom", "LEAD IS TOM", "LEAD IS TOM!", " Lead is Tom", "Lead is Tom ",
    "Lead  is Tom", "Lead is\tTom", "Lead is\nTom\n", "Lead\u00a0is Tom", "\ufeffLead is Tom", "lead  is  TOM".title(),
)  # fmt: skip
OTHER_TEXTS = (
    "Lead is Tim", "Lead is not Tom", "Lead is Tom?", "Lead != Tom", "Lead = Tom", "Lead is TOM", "Lead is @Tom",
    "Lead is #Tom", "Lead is Tom 2", "Lead is -Tom", "Lead is Tom/Ann", "Lead is Tom, Ann", "Lead is Tom 👍",
    "Lead is *Tom*", "Lead is Tom_", "Lead is Tóm", "Lead isTom", "Lead is tOm", "Lead: is Tom", "~Lead is Tom",
)  # fmt: skip


def test_a_rejected_value_is_rejected_in_every_spelling_and_no_other_value_is():
    reject_values("Lead is Tom", kept_content="Lead is Ann")

    texts = (*SPELLINGS, *OTHER_TEXTS)
    receipts = write.write_memories([envelope(content=text, **ADA_CITY) for text in texts], principal=WRITER)

    assert (len(set(SPELLINGS)), len(set(OTHER_TEXTS))) == (20, 20)
    is_rejected_by_text = {text: receipt.decision_id is not None for text, receipt in zip(texts, receipts, strict=True)}
    assert is_rejected_by_text == dict.fromkeys(SPELLINGS, True) | dict.fromkeys(OTHER_TEXTS, False)
    retired_memories = Memory.objects.filter(
        memory_id__in=[receipt.memory_id for receipt in receipts], status="retired"
    )
    assert set(retired_memories.values_list("content", flat=True)) == set(SPELLINGS)


def test_an_update_to_another_spelling_of_a_rejected_value_is_retired_too():
    reject_values("Berlin", kept_content="Paris")
    make_memory(payload_id="city", content="Rome", **ADA_CITY)

    assert make_memory(payload_id="city", content="BERLIN.", **ADA_CITY).status == "retired"


def test_a_value_that_is_kept_is_not_rejected_with_its_other_spellings():
    reject_values("berlin.", "Oslo", kept_content="Berlin")

    assert make_memory(content="Berlin", **ADA_CITY).status == "active"
    assert make_memory(content="BERLIN", **ADA_CITY).status == "active"
    assert make_memory(content="berlin.", **ADA_CITY).status == "retired", "this text lost against the other spelling"
    assert make_memory(content="OSLO", **ADA_CITY).status == "retired"


def test_a_spelling_that_came_back_and_is_rejected_with_its_value_is_rejected_in_every_spelling():
    reject_values("berlin.", kept_content="Berlin")
    decision = Memory.objects.get(status="retired").decision_id
    assert decision
    resolve.undo_decisions([decision], principal=WRITER, reason="Both.")
    make_memory(payload_id=Memory.objects.get(content="Berlin").payload_id, content="Paris", **ADA_CITY)
    reject_values(kept_content="Paris")

    assert make_memory(content="BERLIN", **ADA_CITY).status == "retired"


def test_a_merged_value_is_not_rejected_with_its_other_spellings():
    memories = [make_memory(content=content, **ADA_CITY) for content in ("ada lives in Paris", "Ada lives in Rome")]
    evidence = compute_evidence((memory.memory_id, memory.version) for memory in memories)
    choice = Resolution(outcome="merge", content="Ada lives in Paris.", reason="Spelled well.")
    resolve.resolve(ResolutionRequest(key=("user:ada", "city"), evidence=evidence, resolution=choice), principal=WRITER)

    assert make_memory(content="ADA LIVES IN PARIS", **ADA_CITY).status == "active"
    assert make_memory(content="ada lives in rome", **ADA_CITY).status == "retired"


def test_a_receipt_does_not_reveal_that_somebody_elses_secret_is_the_same():
    secret = "The key is AKIA" + "IOSFODNN7EXAMPLE"
    reject_values(secret, kept_content="The key is lost")
    other_writer = replace(WRITER, source="crm")

    assert make_memory(content=secret, principal=other_writer, **ADA_CITY | {"source": "crm"}).decision_id is None
    assert make_memory(content=secret, **ADA_CITY).status == "retired", "its own source knows what it wrote"


def test_two_secrets_are_never_one_value():
    reject_values("AKIA" + "IOSFODNN7EXAMPLE", kept_content="none")

    for text in ("AKIA" + "IOSFODNN7EXAMPLF", "AKIA" + "IOSFODNN7EXAMPLE."):
        assert make_memory(content=text, **ADA_CITY).status == "active"
