import re
import time
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.conflicts.detector.compare import CLASSES, MAX_VALUES, ComparedValue, classify_group, compare
from memoryhub.conflicts.detector.weights import WEIGHTS
from tests.harness.strategies import example_settings

pytestmark = pytest.mark.unit

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make_value(
    content: str, *, days: float = 0, actor: str = "agent:a", source: str = "notes", key: str = "", **fields
) -> ComparedValue:
    kind, _, name = actor.partition(":")
    return ComparedValue(
        content=content,
        timestamp=NOON + timedelta(days=days),
        actor_type=kind,
        actor_id=name,
        source=source,
        collection=key,
        **fields,
    )


def class_of_group(values: list[ComparedValue] | tuple[ComparedValue, ...]) -> str:
    return classify_group(values).conflict_class


def class_at_same_time(text_a: str, text_b: str, key: str = "") -> str:
    """The class of two values that two agents gave at one instant."""
    return compare(make_value(text_a, key=key), make_value(text_b, key=key, actor="agent:b")).conflict_class


@pytest.mark.parametrize(
    ("text_a", "text_b"),
    [
        ("Grace keeps bees.", "grace Keeps bees"),
        ("Grace keeps bees.", "GRACE KEEPS BEES"),
        ("Grace keeps bees.", "  Grace\tkeeps\n bees!"),
        ("The café is open.", "The cafe\u0301 is open."),
        ("!?", "!?"),
        ("", "  "),
    ],
)
def test_case_of_words_white_space_closing_marks_and_composition_make_no_second_value(text_a: str, text_b: str) -> None:
    assert class_at_same_time(text_a, text_b) == "duplicate"


@pytest.mark.parametrize(
    ("text_a", "text_b"),
    [
        ("Grace’s bees – all of them", "Grace's bees - all of them"),
        ("The ﬁle is large", "The file is large"),
        ("\uff27\uff52\uff41\uff43\uff45", "Grace"),
        ("Straße", "STRASSE"),
        ("zero\u200bwidth", "zerowidth"),
        ("The limit is 1,000.", "The limit is 1000"),
        ("Grace keeps bees.", "grace KEEPS bees"),
    ],
)
def test_another_way_of_writing_the_same_is_a_paraphrase(text_a: str, text_b: str) -> None:
    assert class_at_same_time(text_a, text_b) == "paraphrase"


@pytest.mark.parametrize(
    ("text_a", "text_b"),
    [("-5", "5"), ("1.5", "15"), ("1 2", "12"), ("C", "C++"), ("C#", "C"), ("$5", "€5"), ("No table", "Notable")],
)
def test_signs_that_change_a_value_are_no_punctuation(text_a: str, text_b: str) -> None:
    assert class_at_same_time(text_a, text_b) != "duplicate"


@pytest.mark.parametrize(
    ("text_a", "text_b"),
    [
        ("The library is located in Leeds.", "The library lies in Leeds."),
        ("Grace doesn't eat fish.", "Grace does not eat fish."),
        ("The team has three testers.", "The team has 3 testers."),
        ("In 2019, Grace moved to Leeds.", "Grace moved to Leeds in 2019."),
        ("The cable is 2 km long.", "The cable is 2,000 metres long."),
        ("The audit starts on March 3, 2026.", "The audit begins on 2026-03-03."),
        ("The train leaves at 7:30 pm.", "The train departs at 19:30."),
        ("The talk begins at 9 a.m. on 3 March 2026.", "On March 3rd, 2026 the talk starts at 09:00."),
        ("The budget is $5k.", "The budget is 5,000 dollars."),
        ("The budget is €1.5m.", "The budget is 1.5 million euros."),
        ("The site has 5k users.", "The site has 5,000 users."),
        ("Grace moved to Leeds.", "Grace lives in Leeds."),
        ("Grace was hired by Kofi.", "Kofi hired Grace."),
        ("It is not possible to log in.", "It is impossible to log in."),
        ("The gate is not open.", "The gate is closed."),
        ("Kofi is older than Grace.", "Grace is younger than Kofi."),
        ("Grace married Kofi.", "Kofi married Grace."),
        ("Grace works for the post.", "Grace works for the post as a courier."),
        ("Grace is an owner of the gate.", "Kofi is an owner of the gate."),
        ("10 GB", "10,000 MB"),
        ("1 hour", "60 minutes"),
        ("Leeds", "Leeds, England"),
        ("tea, milk, sugar", "sugar, tea, milk"),
    ],
)
def test_the_same_said_otherwise_is_a_paraphrase(text_a: str, text_b: str) -> None:
    assert class_at_same_time(text_a, text_b) == "paraphrase"


@pytest.mark.parametrize(
    ("text_a", "text_b"),
    [
        ("The gate is open.", "The gate is not open."),
        ("Grace has seen the report.", "Grace has never seen the report."),
        ("Every test passes.", "Not every test passes."),
        ("The signing key is known.", "The signing key is unknown."),
        ("Deploys on Friday are allowed.", "Deploys on Friday are forbidden."),
        ("The review is on Monday.", "The review is on Thursday."),
        ("The cable is 2 km long.", "The cable is 3 km long."),
        ("The rate limit is 1,000 requests a minute.", "The rate limit is 500 requests a minute."),
        ("The audit starts on March 3, 2026.", "The audit starts on 2026-03-04."),
        ("Grace lives in Leeds.", "Grace lives in York."),
        ("We use PostgreSQL for billing.", "We use MySQL for billing."),
        ("Indent with tabs.", "Indent with spaces."),
        ("Kofi is older than Grace.", "Grace is older than Kofi."),
        ("Grace manages Kofi.", "Kofi manages Grace."),
        ("Grace is the owner of the gate.", "Kofi is the owner of the gate."),
        ("Grace lives in Leeds. She keeps bees.", "Kofi called. Grace lives in York."),
        ("The deploy failed.", "The deploy succeeded."),
        ("Das Tor ist offen.", "Das Tor ist nicht offen."),
        ("tea, milk", "tea, sugar"),
        ("8080", "8081"),
        ("v1.2.3", "v1.2.4"),
        ("true", "false"),
        ("👍", "👎"),
        ("grace@example.org", "kofi@example.org"),
    ],
)
def test_what_cannot_both_be_true_is_a_contradiction(text_a: str, text_b: str) -> None:
    assert class_at_same_time(text_a, text_b, key="state") == "contradiction"


@pytest.mark.parametrize(
    ("text_a", "text_b"),
    [
        ("Grace keeps bees.", "Grace works for the post."),
        ("Grace likes tea.", "Grace likes coffee."),
        ("The user prefers dark mode.", "The user's laptop has 16 GB of memory."),
        ("The bridge was painted.", "Interest rates rose sharply."),
        ("Grace does not eat fish.", "Grace and Kofi went to Leeds by train."),
        ("Breakfast is at 7:00.", "Dinner is at 19:00."),
        ("Grace has 2 dogs.", "Grace has 3 cats."),
        ("Grace rises early.", "Grace comes home late."),
        ("Grace likes red.", "Grace likes blue."),
    ],
)
def test_facts_that_merely_share_a_key_are_unrelated(text_a: str, text_b: str) -> None:
    assert class_at_same_time(text_a, text_b, key="notes") == "unrelated"


@pytest.mark.parametrize(
    ("text_a", "text_b"),
    [
        ("The ticket was closed.", "The ticket is still open."),
        ("She is married.", "She is single."),
        ("The door is locked.", "The door is unlocked."),
        ("The meeting is on Monday.", "The meeting is on Tuesday."),
        ("The train leaves at 7:30 am.", "The train leaves at 7:30 pm."),
        ("The build ended at 12:00:05.", "The build ended at 12:00:07."),
        ("The budget is $5k.", "The budget is $50k."),
        ("Grace wants the mails weekly.", "Grace wants the mails daily."),
    ],
)
def test_what_nothing_but_opposites_sets_apart_speaks_of_one_matter(text_a: str, text_b: str) -> None:
    assert class_at_same_time(text_a, text_b, key="notes") == "contradiction"


def test_a_time_of_day_is_recognized_as_one() -> None:
    verdict = compare(
        make_value("The train leaves at 7:30 pm."), make_value("The train leaves at 8:05.", actor="agent:b")
    )

    assert "numbers differ: 08:05 / 19:30" in {feature.explanation for feature in verdict.features}


def test_a_key_that_names_many_things_holds_many_values() -> None:
    assert class_at_same_time("bees", "chess", key="hobbies") == "unrelated"
    assert class_at_same_time("Leeds", "York", key="city") == "contradiction"


@pytest.mark.parametrize(
    ("earlier_text", "later_text", "conflict_class"),
    [
        ("agent:a", "agent:a", "update"),
        ("agent:a", "agent:b", "contradiction"),
        ("agent:a", "system:s", "update"),
        ("agent:a", "user:u", "update"),
        ("system:s", "user:u", "update"),
        ("user:u", "agent:a", "contradiction"),
        ("user:u", "system:s", "contradiction"),
        ("system:s", "agent:a", "contradiction"),
    ],
)
def test_a_later_value_updates_an_earlier_one_by_the_same_or_a_more_trusted_actor(
    earlier_text: str, later_text: str, conflict_class: str
) -> None:
    before = make_value("Grace lives in Leeds.", actor=earlier_text)
    after = make_value("Grace lives in York.", actor=later_text, days=30, source="mail")

    assert compare(before, after).conflict_class == compare(after, before).conflict_class == conflict_class


def test_the_state_of_one_record_is_updated_by_its_keeper() -> None:
    before = make_value("open", key="status", source="tracker")

    assert (
        compare(before, make_value("closed", key="status", source="tracker", actor="agent:b", days=1)).conflict_class
        == "update"
    )
    assert (
        compare(before, make_value("closed", key="status", source="mail", actor="agent:b", days=1)).conflict_class
        == "contradiction"
    )


@pytest.mark.parametrize("cleared_text", ["(none)", "null", "N/A", ""])
def test_a_value_that_is_cleared_is_updated(cleared_text: str) -> None:
    assert (
        compare(make_value("Grace", key="assignee"), make_value(cleared_text, key="assignee", days=1)).conflict_class
        == "update"
    )
    assert (
        compare(make_value("Grace keeps bees in Leeds."), make_value(cleared_text, days=1)).conflict_class == "update"
    )


def test_what_was_said_within_a_second_has_no_order() -> None:
    before = make_value("Grace lives in Leeds.")

    assert compare(before, make_value("Grace lives in York.", days=0.5 / 86_400)).conflict_class == "contradiction"
    assert compare(before, make_value("Grace lives in York.", days=2 / 86_400)).conflict_class == "update"


def test_embeddings_speak_for_or_against_one_matter() -> None:
    texts = ("The invoice was settled promptly.", "Payment of the bill arrived without delay.")
    near_vectors, far_vectors = ([1.0, 0.1], [1.0, 0.0]), ([1.0, 0.0], [-1.0, 0.2])
    verdicts = [
        [bar.contribution for bar in compare(*map(_embedded_value, texts, pair)).features if bar.name == "cosine"]
        for pair in (near_vectors, far_vectors)
    ]

    assert verdicts[0][0] > 0 > verdicts[1][0]


@pytest.mark.parametrize("embedding", [[], [0.0, 0.0], [float("nan"), 1.0], [float("inf"), 1.0], [1.0], [1e308, 1e308]])
def test_an_embedding_that_says_nothing_is_left_out(embedding: list[float]) -> None:
    verdict = compare(_embedded_value("one thing", [1.0, 2.0]), _embedded_value("another matter entirely", embedding))

    assert "cosine" not in {bar.name for bar in verdict.features}


def _embedded_value(content: str, embedding: list[float]) -> ComparedValue:
    return make_value(content, embedding=embedding)


def test_the_bars_of_a_question_add_up_to_its_answer() -> None:
    verdict = compare(make_value("Grace lives in Leeds."), make_value("Grace lives in York.", days=1))
    sums = {
        question: sum(bar.contribution for bar in verdict.features if bar.question == question)
        for question in ("same_topic", "contradicts", "supersedes")
    }

    assert verdict.conflict_class == "update"
    assert all(total > 0 for total in sums.values())
    assert all(bar.contribution == bar.value * bar.weight and bar.explanation for bar in verdict.features)
    assert verdict.version == WEIGHTS.version


def test_a_verdict_says_why_in_words() -> None:
    verdict = compare(make_value("Grace lives in Leeds."), make_value("Grace lives in York.", days=1))

    assert {"leeds / york", "both are from the same actor"} <= {bar.explanation for bar in verdict.features}


def test_no_word_of_a_text_with_a_secret_is_shown() -> None:
    first, second = (make_value(f"The key is sk-{part * 12} today, red.") for part in ("Ab1", "Cd2"))
    displayed_text = " ".join(bar.explanation for bar in compare(first, second).features)

    assert not any(part in displayed_text.lower() for part in ("ab", "cd", "sk", "red", "today"))


def test_the_similarity_of_two_texts_reveals_nothing_of_a_secret() -> None:
    """Otherwise a writer of a value of the key could spell it out: so many letters in common, so many words."""
    key = "AKIA" + "IOSFODNN7EXAMPLE"
    guesses = [
        replace(make_value(f"The key is {guess} {'I' * 60}."), embedding=[1.0, 0.0]) for guess in (key[:8], "AKIAXXXX")
    ]
    vectors = ([1.0, 0.0], [0.9, 0.1], [0.0, 1.0])
    similarities = [
        replace(compare(replace(make_value(f"The key is {key}."), embedding=vector), guess), features=())
        for vector in vectors
        for guess in guesses
    ]
    bars = [
        [
            (bar.name, bar.value)
            for bar in compare(replace(make_value(f"The key is {secret}."), embedding=vector), guess).features
        ]
        for secret in (key, "AKIA" + "X" * 16)
        for vector in vectors
        for guess in guesses[:1]
    ]

    assert len({repr(verdict) for verdict in similarities}) == 1
    assert len({repr(feature) for feature in bars}) == 1


# ---- Groups


def test_a_group_is_as_serious_as_its_most_serious_pair() -> None:
    rivals = [make_value("Grace lives in Leeds."), make_value("Grace lives in York.", actor="agent:b")]
    other_values = [
        make_value("grace lives in leeds"),
        make_value("Grace resides in Leeds."),
        make_value("Kofi plays chess."),
    ]

    assert class_of_group([*other_values, *rivals]) == "contradiction"
    assert class_of_group([rivals[0], *other_values]) == "paraphrase"
    assert class_of_group([rivals[0], other_values[0]]) == "duplicate"
    assert class_of_group([rivals[0], other_values[2]]) == "unrelated"
    assert class_of_group([make_value("open", key="state"), make_value("closed", key="state", days=1)]) == "update"


def test_a_group_has_one_class_in_whatever_order_it_is_read() -> None:
    values = [
        make_value("Leeds", days=1),
        make_value("York"),
        make_value("leeds!", days=2),
        make_value("Grace keeps bees."),
    ]

    assert len({class_of_group(order) for order in permutations(values)}) == 1


def test_many_spellings_of_one_value_crowd_out_no_other_value() -> None:
    spellings = [
        make_value(f"Grace lives{' ' * space_count}in Leeds.", days=space_count) for space_count in range(1, 30)
    ]

    assert class_of_group(spellings) == "duplicate"
    assert class_of_group([make_value("Grace lives in York."), *spellings]) == "update"


def test_two_secrets_are_no_duplicates() -> None:
    first_secret, second_secret = "AKIA" + "IOSFODNN7EXAMPLE", "AKIA" + "IOSFODNN7EXAMPLF"

    assert (
        class_at_same_time(first_secret, second_secret)
        == class_at_same_time(first_secret, f"{first_secret}.")
        == "paraphrase"
    )


def test_of_a_large_group_the_newest_values_are_compared() -> None:
    old = [make_value("Grace lives in Leeds."), make_value("Grace lives in York.", actor="agent:b")]
    new = [
        make_value(f"{name} {name}ology {name}ist {name}ful", days=5) for name in map("abc{}".format, "defghijklmno")
    ]

    assert len(new) == MAX_VALUES
    assert class_of_group(old) == "contradiction"
    assert class_of_group([*old, *new]) == "unrelated"


# ---- Whatever is written

TOKENS = """
    Grace Kofi is not never no open closed 3 3.5 2026-03-01 March , . and likes in Leeds than before km $ un impossible
    possible 不 n't cannot - red blue 5 GB MB
""".split()  # noqa: SIM905  -  prose is easier to keep than a list of strings
text_strategy = st.text(max_size=80) | st.lists(st.sampled_from(TOKENS), max_size=14).map(" ".join)
instant_strategy = st.datetimes(timezones=st.none() | st.timezones())
vector_strategy = st.none() | st.lists(st.floats(), max_size=3)
value_strategy = st.builds(
    ComparedValue,
    content=text_strategy,
    timestamp=instant_strategy,
    actor_type=st.sampled_from(["user", "agent", "system", "", "ghost"]),
    actor_id=st.sampled_from(["", "a", "b"]),
    source=st.sampled_from(["", "s", "t"]),
    collection=st.sampled_from(["", "status", "notes", "hobbies"]) | st.text(max_size=5),
    embedding=vector_strategy,
)


@given(value_strategy, value_strategy)
def test_the_order_of_the_two_makes_no_difference(a: ComparedValue, b: ComparedValue) -> None:
    forward, backward = compare(a, b), compare(b, a)

    assert forward.conflict_class in CLASSES
    assert forward.conflict_class == backward.conflict_class
    assert forward.confidence == pytest.approx(backward.confidence)
    assert {bar.name: bar.explanation for bar in forward.features} == {
        bar.name: bar.explanation for bar in backward.features
    }


@given(value_strategy)
def test_every_value_is_its_own_duplicate(a: ComparedValue) -> None:
    assert compare(a, a).conflict_class == class_of_group([a, a]) == "duplicate"


letter_strategy = st.text("abcXYZéÄñøЖ中ひ가 .,!?'0123456789", min_size=1, max_size=60).filter(
    lambda text: re.search(r"\w", text)
)


@given(
    letter_strategy,
    st.sampled_from(
        [
            lambda text: f" {text}\n",
            lambda text: text.replace(" ", "  \u00a0"),
            lambda text: f"{text}\u200b",
            *(lambda text, form=form: unicodedata.normalize(form, text) for form in ("NFC", "NFD")),
        ]
    ),
)
def test_a_duplicate_stays_one_under_each_normalisation(text: str, rewrite) -> None:
    assert class_at_same_time(text, rewrite(text)) == "duplicate"


@pytest.mark.large_input
@pytest.mark.parametrize(
    "part",
    ["a\u0300\u0345", "not ", "1:", ".!", "a b ", "Ada, ", "\u0f73", "#a", "\n", "x@", "http://", "-", "一", "9"],
)
def test_a_megabyte_of_anything_is_compared_in_bounded_time(part: str) -> None:
    long_text = (part * (1_000_000 // len(part) + 1))[:1_000_000]
    start_time = time.process_time()

    compare(make_value(long_text), make_value(long_text[:-9] + "different"))

    assert time.process_time() - start_time < 5


def test_long_texts_are_compared_where_they_part() -> None:
    repeated_text = "The minutes say nothing new. " * 1_000

    assert (
        class_at_same_time(f"{repeated_text}Grace lives in Leeds.", f"{repeated_text}Grace does not live in Leeds.")
        == "contradiction"
    )


@example_settings(25)
@given(st.lists(value_strategy, max_size=15))
def test_every_group_has_a_class(group: list[ComparedValue]) -> None:
    assert class_of_group(group) in CLASSES
