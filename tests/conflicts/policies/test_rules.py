"""The rules by which one value of a group survives: pure, and blind to the order in which anything is given."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from memoryhub.conflicts.policies.rules import RULES, Assertion, CandidateValue, Rule, apply_rules
from memoryhub.firewall.principal import ACTOR_TYPES

pytestmark = pytest.mark.unit

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER_INSTANT = NOON + timedelta(days=1)
SOURCES = ("crm", "mail", "chat")


def make_assertion(source: str = "crm", actor_type: str = "agent", *, seconds: float = 0.0) -> Assertion:
    return Assertion(source=source, actor_type=actor_type, timestamp=NOON + timedelta(seconds=seconds))


def make_candidate(name: str, *assertions: Assertion) -> CandidateValue:
    return CandidateValue(content_sha256=name.encode(), assertions=assertions or (make_assertion(),))


def parse_rule_names(*names: str) -> list[Rule]:
    return [Rule(rule=name, sources=list(SOURCES[:2]) if name == "trusted_sources" else []) for name in names]


def apply_rule_names(values: list[CandidateValue], *names: str) -> tuple[str, str] | None:
    outcome = apply_rules(values, parse_rule_names(*names), now=LATER_INSTANT)
    return None if outcome is None else (outcome.winner.decode(), outcome.rule)


@pytest.mark.parametrize(
    ("names", "values", "expected"),
    [
        # The first source that says anything, if it says one thing.
        (
            ("trusted_sources",),
            [make_candidate("a", make_assertion("crm")), make_candidate("b", make_assertion("mail"))],
            ("a", "trusted_sources"),
        ),
        (
            ("trusted_sources",),
            [make_candidate("a", make_assertion("chat")), make_candidate("b", make_assertion("mail"))],
            ("b", "trusted_sources"),
        ),
        (
            ("trusted_sources",),
            [make_candidate("a", make_assertion("crm")), make_candidate("b", make_assertion("crm"))],
            None,
        ),
        (
            ("trusted_sources",),
            [make_candidate("a", make_assertion("chat")), make_candidate("b", make_assertion("chat"))],
            None,
        ),
        (
            ("trusted_sources",),
            [
                make_candidate("a", make_assertion("crm"), make_assertion("chat")),
                make_candidate("b", make_assertion("crm"), make_assertion("mail")),
                make_candidate("c", make_assertion("mail")),
            ],
            None,
        ),
        # A user over a system over an agent.
        (
            ("actor_trust",),
            [make_candidate("a", make_assertion(actor_type="user")), make_candidate("b")],
            ("a", "actor_trust"),
        ),
        (
            ("actor_trust",),
            [make_candidate("a", make_assertion(actor_type="system")), make_candidate("b")],
            ("a", "actor_trust"),
        ),
        (("actor_trust",), [make_candidate("a"), make_candidate("b")], None),
        (
            ("actor_trust",),
            [make_candidate("a", make_assertion(), make_assertion(actor_type="user")), make_candidate("b")],
            ("a", "actor_trust"),
        ),
        # What happened last; what happened within a second has no order, and what is to come has not happened.
        (
            ("latest_event",),
            [make_candidate("a", make_assertion(seconds=1)), make_candidate("b")],
            ("a", "latest_event"),
        ),
        (("latest_event",), [make_candidate("a", make_assertion(seconds=0.9)), make_candidate("b")], None),
        (
            ("latest_event",),
            [make_candidate("a", make_assertion(seconds=10**9)), make_candidate("b")],
            ("b", "latest_event"),
        ),
        (
            ("latest_event",),
            [make_candidate("a", make_assertion(seconds=10**9)), make_candidate("b", make_assertion(seconds=10**8))],
            None,
        ),
        (
            ("latest_event",),
            [
                make_candidate("a", make_assertion(), make_assertion(seconds=9)),
                make_candidate("b", make_assertion(seconds=5)),
            ],
            ("a", "latest_event"),
        ),
        # What most distinct sources say.
        (
            ("most_sources",),
            [
                make_candidate("a", make_assertion("crm"), make_assertion("chat")),
                make_candidate("b", make_assertion("mail")),
            ],
            ("a", "most_sources"),
        ),
        (
            ("most_sources",),
            [
                make_candidate("a", make_assertion("crm"), make_assertion("crm")),
                make_candidate("b", make_assertion("mail")),
            ],
            None,
        ),
        # What one rule leaves, the next one narrows down.
        (
            ("trusted_sources", "latest_event"),
            [
                make_candidate("a", make_assertion("crm")),
                make_candidate("b", make_assertion("crm", seconds=5)),
                make_candidate("c", make_assertion("chat", seconds=9)),
            ],
            ("b", "latest_event"),
        ),
        (
            ("manual_review", "actor_trust"),
            [make_candidate("a", make_assertion(actor_type="user")), make_candidate("b")],
            None,
        ),
        (
            ("actor_trust", "manual_review"),
            [make_candidate("a", make_assertion(actor_type="user")), make_candidate("b")],
            ("a", "actor_trust"),
        ),
        # A group that is none needs no rule.
        (("actor_trust",), [make_candidate("a")], None),
        ((), [make_candidate("a"), make_candidate("b")], None),
    ],
)
def test_a_rule_names_one_winner_or_leaves_it_to_the_next(names, values, expected):
    assert apply_rule_names(values, *names) == expected


CANDIDATE_STRATEGY = st.lists(
    st.lists(
        st.builds(
            make_assertion,
            st.sampled_from(SOURCES),
            st.sampled_from(ACTOR_TYPES),
            seconds=st.sampled_from([0, 0.5, 1, 9]),
        ),
        min_size=1,
        max_size=4,
    ),
    min_size=0,
    max_size=5,
).map(
    lambda assertion_lists: [
        make_candidate(str(index), *assertions) for index, assertions in enumerate(assertion_lists)
    ]
)


@given(CANDIDATE_STRATEGY, st.lists(st.sampled_from(list(RULES)), max_size=5), st.integers())
def test_the_order_of_values_and_of_who_said_them_never_matters(values, names, seed):
    random_source = Random(seed)
    shuffled_values = [
        CandidateValue(
            content_sha256=candidate.content_sha256,
            assertions=random_source.sample(candidate.assertions, len(candidate.assertions)),
        )
        for candidate in values
    ]
    random_source.shuffle(shuffled_values)

    assert apply_rules(values, parse_rule_names(*names), now=LATER_INSTANT) == apply_rules(
        shuffled_values, parse_rule_names(*names), now=LATER_INSTANT
    )


@given(CANDIDATE_STRATEGY, st.lists(st.sampled_from(list(RULES)), max_size=5))
def test_there_is_one_winner_at_most_and_it_is_a_value_of_the_group(values, names):
    outcome = apply_rule_names(values, *names)

    assert outcome is None or (
        outcome[0] in {candidate.content_sha256.decode() for candidate in values} and outcome[1] in names
    )


@given(
    CANDIDATE_STRATEGY, st.lists(st.sampled_from([*RULES]), max_size=4), st.lists(st.sampled_from([*RULES]), max_size=2)
)
def test_what_a_rule_decides_no_later_rule_takes_back(values, first, later_names):
    outcome = apply_rule_names(values, *first)

    assert outcome is None or apply_rule_names(values, *first, *later_names) == outcome


@pytest.mark.parametrize(
    ("rule_fields", "error_text"),
    [
        ({"rule": "newest"}, "must be one of trusted_sources, actor_trust"),
        ({"rule": "trusted_sources"}, "needs 1 to 100 sources"),
        ({"rule": "trusted_sources", "sources": []}, "needs 1 to 100 sources"),
        ({"rule": "trusted_sources", "sources": ["crm", "crm"]}, "names a source twice"),
        ({"rule": "actor_trust", "sources": ["crm"]}, "only the rule trusted_sources takes sources"),
        ({"rule": "actor_trust", "because": "x"}, "Extra inputs"),
        ({}, "Field required"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_in_words(rule_fields, error_text):
    with pytest.raises(ValidationError, match=error_text):
        Rule.model_validate(rule_fields)
