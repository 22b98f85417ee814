"""The rules by which one value of a group survives: pure, and blind to the order in which anything is given."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from memoryhub.conflicts.rules import RULES, Candidate, Rule, Said, decide
from memoryhub.firewall.types import ACTOR_TYPES

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=1)
SOURCES = ("crm", "mail", "chat")


def said(source: str = "crm", actor_type: str = "agent", *, seconds: float = 0.0) -> Said:
    return Said(source=source, actor_type=actor_type, timestamp=NOON + timedelta(seconds=seconds))


def value(name: str, *by: Said) -> Candidate:
    return Candidate(content_sha256=name.encode(), said=by or (said(),))


def rules(*names: str) -> list[Rule]:
    return [Rule(rule=name, sources=list(SOURCES[:2]) if name == "trusted_sources" else []) for name in names]


def ruled(values: list[Candidate], *names: str) -> tuple[str, str] | None:
    found = decide(values, rules(*names), now=LATER)
    return None if found is None else (found.winner.decode(), found.rule)


@pytest.mark.parametrize(
    ("names", "values", "expected"),
    [
        # The first source that says anything, if it says one thing.
        (("trusted_sources",), [value("a", said("crm")), value("b", said("mail"))], ("a", "trusted_sources")),
        (("trusted_sources",), [value("a", said("chat")), value("b", said("mail"))], ("b", "trusted_sources")),
        (("trusted_sources",), [value("a", said("crm")), value("b", said("crm"))], None),
        (("trusted_sources",), [value("a", said("chat")), value("b", said("chat"))], None),
        (
            ("trusted_sources",),
            [value("a", said("crm"), said("chat")), value("b", said("crm"), said("mail")), value("c", said("mail"))],
            None,
        ),
        # A user over a system over an agent.
        (("actor_trust",), [value("a", said(actor_type="user")), value("b")], ("a", "actor_trust")),
        (("actor_trust",), [value("a", said(actor_type="system")), value("b")], ("a", "actor_trust")),
        (("actor_trust",), [value("a"), value("b")], None),
        (("actor_trust",), [value("a", said(), said(actor_type="user")), value("b")], ("a", "actor_trust")),
        # What happened last; what happened within a second has no order, and what is to come has not happened.
        (("latest_event",), [value("a", said(seconds=1)), value("b")], ("a", "latest_event")),
        (("latest_event",), [value("a", said(seconds=0.9)), value("b")], None),
        (("latest_event",), [value("a", said(seconds=10**9)), value("b")], ("b", "latest_event")),
        (("latest_event",), [value("a", said(seconds=10**9)), value("b", said(seconds=10**8))], None),
        (("latest_event",), [value("a", said(), said(seconds=9)), value("b", said(seconds=5))], ("a", "latest_event")),
        # What most distinct sources say.
        (("most_sources",), [value("a", said("crm"), said("chat")), value("b", said("mail"))], ("a", "most_sources")),
        (("most_sources",), [value("a", said("crm"), said("crm")), value("b", said("mail"))], None),
        # What one rule leaves, the next one narrows down.
        (
            ("trusted_sources", "latest_event"),
            [value("a", said("crm")), value("b", said("crm", seconds=5)), value("c", said("chat", seconds=9))],
            ("b", "latest_event"),
        ),
        (("human", "actor_trust"), [value("a", said(actor_type="user")), value("b")], None),
        (("actor_trust", "human"), [value("a", said(actor_type="user")), value("b")], ("a", "actor_trust")),
        # A group that is none needs no rule.
        (("actor_trust",), [value("a")], None),
        ((), [value("a"), value("b")], None),
    ],
)
def test_a_rule_names_one_winner_or_leaves_it_to_the_next(names, values, expected):
    assert ruled(values, *names) == expected


VALUES = st.lists(
    st.lists(
        st.builds(
            said, st.sampled_from(SOURCES), st.sampled_from(ACTOR_TYPES), seconds=st.sampled_from([0, 0.5, 1, 9])
        ),
        min_size=1,
        max_size=4,
    ),
    min_size=0,
    max_size=5,
).map(lambda all_said: [value(str(number), *by) for number, by in enumerate(all_said)])


@given(VALUES, st.lists(st.sampled_from(list(RULES)), max_size=5), st.integers())
def test_the_order_of_values_and_of_who_said_them_never_matters(values, names, seed):
    shuffle = Random(seed)
    others = [
        Candidate(content_sha256=each.content_sha256, said=shuffle.sample(each.said, len(each.said))) for each in values
    ]
    shuffle.shuffle(others)

    assert decide(values, rules(*names), now=LATER) == decide(others, rules(*names), now=LATER)


@given(VALUES, st.lists(st.sampled_from(list(RULES)), max_size=5))
def test_there_is_one_winner_at_most_and_it_is_a_value_of_the_group(values, names):
    found = ruled(values, *names)

    assert found is None or (found[0] in {each.content_sha256.decode() for each in values} and found[1] in names)


@given(VALUES, st.lists(st.sampled_from([*RULES]), max_size=4), st.lists(st.sampled_from([*RULES]), max_size=2))
def test_what_a_rule_decides_no_later_rule_takes_back(values, first, then):
    found = ruled(values, *first)

    assert found is None or ruled(values, *first, *then) == found


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"rule": "newest"}, "must be one of trusted_sources, actor_trust"),
        ({"rule": "trusted_sources"}, "needs 1 to 100 sources"),
        ({"rule": "trusted_sources", "sources": []}, "needs 1 to 100 sources"),
        ({"rule": "trusted_sources", "sources": ["crm", "crm"]}, "names a source twice"),
        ({"rule": "actor_trust", "sources": ["crm"]}, "takes no sources"),
        ({"rule": "actor_trust", "because": "x"}, "Extra inputs"),
        ({}, "Field required"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_in_words(sent, words):
    with pytest.raises(ValidationError, match=words):
        Rule.model_validate(sent)
