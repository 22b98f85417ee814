"""What was rejected and arrives again: those that said it, too, count if whoever sees the new one sees them."""

from dataclasses import replace
from typing import Any

import pytest

from memoryhub.conflicts import decide
from memoryhub.conflicts.choices import Choice, Wish
from memoryhub.conflicts.keys import evidence_of
from memoryhub.memories import ingest
from memoryhub.memories.models import Memory
from tests.builders import WRITER, envelope, make_memory

pytestmark = pytest.mark.django_db

ABOUT: dict[str, Any] = {"subject": "user:ada", "collection": "city"}


def reject(*contents: str, kept: str) -> None:
    """Keep one value of the group, which is made of these contents and what stands there."""
    made = [make_memory(content=content, **ABOUT) for content in (*contents, kept)]
    found = decide.members(("user:ada", "city"), WRITER)
    evidence = evidence_of((member.memory_id, member.version) for member in found)
    choice = Choice(outcome="keep_one", keep=[made[-1].memory_id], reason="Asked her.")
    decide.decide(Wish(key=("user:ada", "city"), evidence=evidence, choice=choice), by=WRITER)


@pytest.mark.parametrize("hidden", [0, 1, 30])
def test_hidden_memories_that_were_rejected_for_saying_the_same_do_not_crowd_out_the_one_that_is_seen(hidden):
    """FW-12"""
    reject("Berlin", kept="Paris")
    for number in range(hidden):
        again = make_memory(content="Berlin", tier="restricted", labels=[f"team-{number % 3}"], **ABOUT)
        assert again.status == "retired"

    seen = make_memory(content="Berlin", source="crm", **ABOUT)

    decisions = set(Memory.objects.filter(status="retired").values_list("decision", flat=True))
    assert seen.status == "retired"
    assert decisions == {seen.decision}


def test_a_value_that_was_rejected_of_a_more_trusted_actor_alone_is_rejected_again():
    """However many less trusted ones have said it since."""
    reject("Berlin", kept="Paris")
    make_memory(content="Berlin", actor_type="user", payload_id="trusted", **ABOUT)
    reject(kept="Paris, again")
    for _ in range(30):
        make_memory(content="Berlin", actor_type="agent", **ABOUT)

    assert make_memory(content="Berlin", actor_type="system", **ABOUT).status == "retired"


SPELLINGS = (
    "Lead is Tom", "Lead is Tom.", "Lead is Tom. ", "Lead is Tom!", "Lead is Tom!!", "Lead is Tom...", "Lead is Tom…",
    "lead is tom", "lead is tom.", "Lead Is Tom", "LEAD IS TOM", "LEAD IS TOM!", " Lead is Tom", "Lead is Tom ",
    "Lead  is Tom", "Lead is\tTom", "Lead is\nTom\n", "Lead\u00a0is Tom", "\ufeffLead is Tom", "lead  is  TOM".title(),
)  # fmt: skip
OTHERS = (
    "Lead is Tim", "Lead is not Tom", "Lead is Tom?", "Lead != Tom", "Lead = Tom", "Lead is TOM", "Lead is @Tom",
    "Lead is #Tom", "Lead is Tom 2", "Lead is -Tom", "Lead is Tom/Ann", "Lead is Tom, Ann", "Lead is Tom 👍",
    "Lead is *Tom*", "Lead is Tom_", "Lead is Tóm", "Lead isTom", "Lead is tOm", "Lead: is Tom", "~Lead is Tom",
)  # fmt: skip


def test_a_rejected_value_is_rejected_in_every_spelling_and_no_other_value_is():
    reject("Lead is Tom", kept="Lead is Ann")

    texts = (*SPELLINGS, *OTHERS)
    receipts = ingest.write([envelope(content=text, **ABOUT) for text in texts], by=WRITER)

    assert (len(set(SPELLINGS)), len(set(OTHERS))) == (20, 20)
    told = {text: receipt.decision is not None for text, receipt in zip(texts, receipts, strict=True)}
    assert told == dict.fromkeys(SPELLINGS, True) | dict.fromkeys(OTHERS, False)
    stored = Memory.objects.filter(memory_id__in=[receipt.memory_id for receipt in receipts], status="retired")
    assert set(stored.values_list("content", flat=True)) == set(SPELLINGS)


def test_an_update_to_another_spelling_of_a_rejected_value_is_retired_too():
    reject("Berlin", kept="Paris")
    make_memory(payload_id="city", content="Rome", **ABOUT)

    assert make_memory(payload_id="city", content="BERLIN.", **ABOUT).status == "retired"


def test_a_value_that_is_kept_is_not_rejected_with_its_other_spellings():
    reject("berlin.", "Oslo", kept="Berlin")

    assert make_memory(content="Berlin", **ABOUT).status == "active"
    assert make_memory(content="BERLIN", **ABOUT).status == "active"
    assert make_memory(content="berlin.", **ABOUT).status == "retired", "this text lost against the other spelling"
    assert make_memory(content="OSLO", **ABOUT).status == "retired"


def test_a_spelling_that_came_back_and_is_rejected_with_its_value_is_rejected_in_every_spelling():
    reject("berlin.", kept="Berlin")
    decision = Memory.objects.get(status="retired").decision
    assert decision
    decide.undo([decision], by=WRITER, reason="Both.")
    make_memory(payload_id=Memory.objects.get(content="Berlin").payload_id, content="Paris", **ABOUT)
    reject(kept="Paris")

    assert make_memory(content="BERLIN", **ABOUT).status == "retired"


def test_a_merged_value_is_not_rejected_with_its_other_spellings():
    made = [make_memory(content=content, **ABOUT) for content in ("ada lives in Paris", "Ada lives in Rome")]
    evidence = evidence_of((memory.memory_id, memory.version) for memory in made)
    choice = Choice(outcome="merge", content="Ada lives in Paris.", reason="Spelled well.")
    decide.decide(Wish(key=("user:ada", "city"), evidence=evidence, choice=choice), by=WRITER)

    assert make_memory(content="ADA LIVES IN PARIS", **ABOUT).status == "active"
    assert make_memory(content="ada lives in rome", **ABOUT).status == "retired"


def test_a_receipt_does_not_tell_that_somebody_elses_secret_is_the_same():
    secret = "The key is AKIA" + "IOSFODNN7EXAMPLE"
    reject(secret, kept="The key is lost")
    other = replace(WRITER, source="crm")

    assert make_memory(content=secret, by=other, **ABOUT | {"source": "crm"}).decision is None
    assert make_memory(content=secret, **ABOUT).status == "retired", "its own source knows what it wrote"


def test_two_secrets_are_never_one_value():
    reject("AKIA" + "IOSFODNN7EXAMPLE", kept="none")

    for text in ("AKIA" + "IOSFODNN7EXAMPLF", "AKIA" + "IOSFODNN7EXAMPLE."):
        assert make_memory(content=text, **ABOUT).status == "active"
