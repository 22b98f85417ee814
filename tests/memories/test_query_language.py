"""How the text of a search box is read: never an error, and always told in a sentence."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.core.storable_text import unsearchable_reason, unstorable_reason
from memoryhub.core.words import split_words
from memoryhub.memories.query_language import (
    INSTANT_FIELDS,
    MAX_WORDS,
    FieldTerm,
    ParsedQuery,
    Term,
    TermKind,
    describe_query,
    parse_query,
)
from tests.harness.strategies import example_settings
from tests.memories.odd_filters import READINGS_OF_FILTERS
from tests.memories.odd_queries import READINGS_OF_TEXTS

pytestmark = pytest.mark.unit

NOW = datetime(2026, 3, 31, 12, 0, 0, 123456, tzinfo=UTC)
READINGS = READINGS_OF_TEXTS | READINGS_OF_FILTERS
NAMES = {
    "subject", "source", "namespace", "collection", "destination", "label", "role", "model", "actor_id", "payload_id",
}  # fmt: skip
CHOICES = {
    "tier": ("", "public", "internal", "confidential", "restricted"),
    "status": ("active", "retired"),
    "kind": ("fact", "preference"),
    "actor_type": ("agent", "user"),
    "has": ("secret",),
}
PIECES = st.sampled_from([
    *READINGS, " ", '"', "-", ":", ",", "*", "\\", "\u201c", "\uff1a", "subject:", "before:", "contains:", "7d", "none",
])  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=12).map("".join))


def accepts(name: str, value: str, is_excluded: bool) -> bool:
    if name in INSTANT_FIELDS:
        return not is_excluded and is_instant(value)
    return name in NAMES or value in CHOICES.get(name, ())


def is_instant(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def parse(text: str, *, now: datetime = NOW) -> ParsedQuery:
    return parse_query(text, accepts=accepts, now=now)


def describe(text: str) -> str:
    return describe_query(parse(text))


def reading(parsed: ParsedQuery) -> list[str]:
    """The reading as the tables of odd texts have it."""
    return [
        *(f"{'not ' if term.is_excluded else ''}{describe_term(term)}" for term in parsed.terms),
        *(
            f"{filter_.name} {'is not' if filter_.is_excluded else 'is'} {' | '.join(filter_.values)}"
            for filter_ in parsed.field_terms
        ),
        *(f"no filter {text}" for text in parsed.rejected_fields),
        *(f"ignored {text}" for text in parsed.ignored),
    ]


def describe_term(term: Term) -> str:
    if term.kind == TermKind.LITERAL:
        return f"text {term.text}"
    return f"{'phrase' if term.words[1:] else 'word'} {' '.join(term.words)}"


def test_there_are_more_than_three_hundred_odd_texts():
    assert len(READINGS) > 400


@pytest.mark.parametrize("text", READINGS, ids=map(ascii, READINGS))
def test_an_odd_text_has_a_reading(text):
    assert reading(parse(text)) == READINGS[text]
    assert describe(text).isprintable() or not text.isprintable()


@given(text=TEXTS)
@example_settings(500)
def test_every_text_has_a_reading_that_can_be_searched_for_and_told(text):
    parsed = parse(text)

    assert describe_query(parsed)
    for term in parsed.terms:
        assert unstorable_reason(term.text) is None
        assert unsearchable_reason(term.text) is None
        assert term.kind == TermKind.LITERAL or term.words
    for field_term in parsed.field_terms:
        assert field_term.values
        assert all(accepts(field_term.name, value, field_term.is_excluded) for value in field_term.values)
    assert len(set(parsed.terms)) == len(parsed.terms)


@given(text=TEXTS)
@example_settings(300)
def test_no_word_of_a_text_is_lost_unless_the_reading_says_so(text):
    parsed = parse(text)

    read_text = " ".join(
        [term.text for term in parsed.terms]
        + [field_term.name for field_term in parsed.field_terms]
        + [value for field_term in parsed.field_terms for value in field_term.values]
        + ["contains none before after is id actor"]
    )
    if not parsed.surplus_word_count and not any(filter_.name in INSTANT_FIELDS for filter_ in parsed.field_terms):
        letters = "".join(split_words(read_text))
        assert all(word in letters for word in split_words(text.replace("\\", " ")))


@given(text=TEXTS, other_text=TEXTS)
@example_settings(200)
def test_texts_are_read_alike_side_by_side_and_alone(text, other_text):
    if not any(quote in text for quote in '"\u201c\u201d\u201e\u201f\u00ab\u00bb\u301d\u301e\u301f\uff02'):
        both, first, second = parse(f"{text} {other_text}"), parse(text), parse(other_text)

        assert set(both.field_terms) == {*first.field_terms, *second.field_terms}
        assert {(term.kind, term.is_excluded, *term.words) for term in both.terms} == {
            (term.kind, term.is_excluded, *term.words) for term in (*first.terms, *second.terms)
        }


@given(text=TEXTS)
@example_settings(200)
def test_without_filters_nothing_is_a_filter(text):
    assert parse_query(text, accepts=lambda *_: False, now=NOW).field_terms == ()


def test_a_query_has_terms_and_filters():
    assert parse('Ada "lives in" -contains:"a  b" -Subject:Bob,"a b" after:7d') == ParsedQuery(
        terms=(
            Term(kind=TermKind.WORDS, text="Ada"),
            Term(kind=TermKind.WORDS, text="lives in", is_explicit=True),
            Term(kind=TermKind.LITERAL, text="a  b", is_excluded=True, is_explicit=True),
        ),
        field_terms=(
            FieldTerm(name="subject", values=("Bob", "a b"), is_excluded=True),
            FieldTerm(name="from", values=("2026-03-24T12:00:00Z",)),
        ),
    )


@pytest.mark.parametrize(
    ("text", "term_text"),
    [("(Caf\u00e9?)", "Caf\u00e9"), ("cafe\u0301!", "cafe\u0301"), ("O'Brien's,", "O'Brien's"), ("--x-y-", "x-y")],
)
def test_a_term_keeps_its_spelling_without_the_punctuation_around_it(text, term_text):
    assert [term.text for term in parse(text).terms] == [term_text]


@pytest.mark.parametrize(
    ("now", "value", "instant"),
    [
        ("2026-03-31T12:00:00+00:00", "1m", "2026-02-28T12:00:00Z"),
        ("2024-03-31T12:00:00+00:00", "1m", "2024-02-29T12:00:00Z"),
        ("2026-01-15T12:00:00+00:00", "1m", "2025-12-15T12:00:00Z"),
        ("2026-01-15T12:00:00+00:00", "25m", "2023-12-15T12:00:00Z"),
        ("2024-02-29T12:00:00+00:00", "1y", "2023-02-28T12:00:00Z"),
        ("2026-03-31T12:00:00+00:00", "2025y", "0001-03-31T12:00:00Z"),
        ("2026-03-31T01:30:00+02:00", "30min", "2026-03-30T23:00:00Z"),
    ],
)
def test_a_time_before_now_is_an_instant(now, value, instant):
    parsed = parse(f"before:{value}", now=datetime.fromisoformat(now))

    assert parsed.field_terms == (FieldTerm(name="to", values=(instant,)),)


@pytest.mark.parametrize("value", ["2026y", "999999y", "999999w", "24400m", "1000000min", "\u0667d", "7\u00b2d"])
def test_a_time_before_the_year_one_is_read_as_words(value):
    parsed = parse(f"after:{value}")

    assert parsed.field_terms == ()
    assert parsed.rejected_fields == (f"after:{value}",)


def test_a_hundred_words_of_three_thousand_are_searched_for():
    parsed = parse(" ".join(f"w{number}" for number in range(3_000)))

    assert [term.text for term in parsed.terms] == [f"w{number}" for number in range(MAX_WORDS)]
    assert parsed.surplus_word_count == 2_900
    assert describe_query(parsed).endswith("Ignored after the first 100 words: 2,900 more.")


def test_of_a_phrase_of_too_many_words_the_beginning_is_searched_for():
    words = [f"w{number}" for number in range(3_000)]

    parsed = parse(f'"{" ".join(words)}"')

    assert [term.words for term in parsed.terms] == [words[:MAX_WORDS]]
    assert parsed.surplus_word_count == 2_900


def test_an_excluded_phrase_of_too_many_words_is_not_searched_for():
    words = " ".join(f"w{number}" for number in range(101))

    parsed = parse(f'-"{words}" ada')

    assert [term.text for term in parsed.terms] == ["ada"]
    assert parsed.surplus_word_count == 101


def test_a_literal_text_counts_as_one_word():
    texts = [f'contains:"the {number} words"' for number in range(150)]

    parsed = parse(" ".join(texts))

    assert len(parsed.terms) == MAX_WORDS
    assert parsed.surplus_word_count == 50


def test_filters_and_repeated_words_do_not_count():
    words = [f"w{number}" for number in range(MAX_WORDS)]

    parsed = parse(" ".join([*words, *words, "subject:ada"]))

    assert (len(parsed.terms), len(parsed.field_terms), parsed.surplus_word_count) == (MAX_WORDS, 1, 0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Every memory."),
        ("& (", "Every memory. Ignored: & ("),
        ("Ada", "All of: the word Ada."),
        (
            'ada "lives in" foo-bar contains:a.b -paris -"the bar" -contains:x',
            'All of: the word ada; the phrase "lives in"; the phrase "foo-bar"; the text "a.b"; without the word paris;'
            ' without the phrase "the bar"; without the text "x".',
        ),
        ("subject:ada,bob before:2026-03-01", "All of: subject is ada or bob; event time before 2026-03-01."),
        ("from:2026-03-01 as_of:7d", "All of: event time 2026-03-01 or later; as of 2026-03-24T12:00:00Z."),
        ("known_at:2026-03-01", "All of: as known at 2026-03-01."),
        ("-subject:ada -label:pii,hr", "All of: subject is not ada; label is neither pii nor hr."),
        ("has:secret", "All of: has secret."),
        ("-has:secret", "All of: does not have secret."),
        ("actor_type:agent", "All of: actor type is agent."),
        (
            "subject:customer:*,a\\*,none -source:*",
            "All of: subject is anything that begins with customer: or a* or empty; source is not anything.",
        ),
        ("user:ada", 'All of: the phrase "user:ada". Not a filter, and read as words: user:ada'),
    ],
)
def test_a_reading_is_told_in_a_sentence(text, sentence):
    assert describe(text) == sentence


@pytest.mark.large_input
@pytest.mark.parametrize(
    "part", ['"', '" ', "\\", '"\\', "- ", "-", ":", "a:", "a,", "'", "a ", "a", "!", "\u6771 ", "\u0301"]
)
def test_a_long_text_takes_time_in_proportion_to_its_length(part):
    def measure(length: int) -> float:
        text = "subject:" + part * (length // len(part))
        start = time.process_time()
        describe_query(parse(text))
        return time.process_time() - start

    # Ten times the length; a quadratic reading would take a hundred times as long.
    assert measure(100_000) < 40 * max(min(measure(10_000) for _ in range(3)), 0.001)


@pytest.mark.parametrize("now", [NOW, NOW + timedelta(days=1)])
def test_an_absolute_instant_does_not_depend_on_now(now):
    assert parse("before:2026-03-01", now=now).field_terms == (FieldTerm(name="to", values=("2026-03-01",)),)
