"""Facets, totals and the histogram against a recount in Python of every row that there is."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.firewall.clearance import Clearance, normalize_label
from memoryhub.memories import facets, histogram
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory, MemoryDayRollup, MemoryRollup
from memoryhub.memories.writes.identity import OnConflict
from tests.factories import store_drafts, utc
from tests.harness.strategies import clearance_strategy, example_settings, prepare_memory, roll_back
from tests.memories.raw_rows import execute, insert_whole_row

pytestmark = pytest.mark.django_db

SOURCES = ("crm", "mail", "CRM")
LABELS = ("pii", "PII", "eu", "caf\u00e9", "cafe\u0301")
# Midnights and their neighbours, a leap day, the ends of time, and clusters that a narrow range cuts through.
INSTANT_TEXTS = (
    "2026-03-01T00:00:00Z", "2026-02-28T23:59:59.999999Z", "2026-03-01T13:37:00Z", "2026-03-01T18:00:00Z",
    "2026-03-02T06:00:00Z", "2026-03-02T23:30:00-05:00", "2026-03-05T09:00:00Z", "2026-05-20T12:00:00Z",
    "2024-02-29T12:00:00Z", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z",
)  # fmt: skip
EDGE_INSTANTS = (
    "2026-02-01", "2026-03-01", "2026-03-02", "2026-03-01T12:00:00Z", "2026-03-01T13:37:00Z", "2026-03-02T18:30:00Z",
    "2026-03-04", "2026-06-01T00:00:01Z", "0001-01-01", "9999-12-31T23:59:59.999999Z",
)  # fmt: skip
# Three days by the hour, or BARS of whole days; one more where a range begins within an hour or a day.
MAX_BARS = max(72, histogram.TARGET_BUCKETS) + 1


def write_strategy() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            # Few ids, so that many writes are updates.
            "payload_id": st.sampled_from("abcdefgh"),
            "source": st.sampled_from(SOURCES),
            "namespace": st.sampled_from(("", "team")),
            "tier": st.sampled_from(("", "public", "internal", "secret")),
            "labels": st.lists(st.sampled_from(LABELS), max_size=3),
            "actor_type": st.sampled_from(("user", "agent", "system")),
            "collection": st.sampled_from(("", "city", "City")),
            "subject": st.sampled_from(("user:ada", "user:bob")),
            "kind": st.sampled_from(("fact", "summary")),
            "content": st.sampled_from(("Paris", "London")),
            "timestamp": st.sampled_from(INSTANT_TEXTS),
            "expires_at": st.sampled_from((None, None, "2001-01-01T00:00:00Z", "9999-01-01T00:00:00Z")),
        }
    )


def filter_strategy() -> st.SearchStrategy[list[tuple[str, str]]]:
    options: dict[str, tuple[str, ...]] = {
        "source": SOURCES,
        "actor_type": ("user", "agent"),
        "namespace": ("team", "none", ""),
        "collection": ("city", ""),
        "tier": ("public", "internal", ""),
        "kind": ("fact", "summary"),
        "status": ("active", "erased", "expired"),
        "subject": ("user:ada", ""),
        "q": ("PARIS",),
        "from": EDGE_INSTANTS,
        "to": EDGE_INSTANTS,
    }
    pair_strategy = st.one_of(*(st.tuples(st.just(name), st.sampled_from(values)) for name, values in options.items()))
    labels = st.lists(st.tuples(st.just("label"), st.sampled_from((*LABELS, ""))), max_size=2)
    pair_lists = st.lists(pair_strategy, max_size=3, unique_by=lambda pair: pair[0])
    return st.builds(lambda base_params, label_params: [*base_params, *label_params], pair_lists, labels).filter(
        _is_valid_range
    )


def _is_valid_range(params: list[tuple[str, str]]) -> bool:
    values_by_name = dict(params)
    return (
        "from" not in values_by_name
        or "to" not in values_by_name
        or _parse_instant(values_by_name["from"]) < _parse_instant(values_by_name["to"])
    )


def _parse_instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def expected_memories(clearance: Clearance, params: list[tuple[str, str]]) -> list[Memory]:
    """The rows that the filters mean, told in Python."""
    values_by_name = dict(params)
    labels = [value for name, value in params if name == "label"]
    label_keys_sought = {normalize_label(value) for value in labels if value}
    column_names = {"tier": "classification_tier"}
    current_instant = datetime.now(UTC)
    return [
        row
        for row in Memory.objects.all()
        if row.superseded_at is None
        and clearance.permits(row)
        and _status_at(row, current_instant) == values_by_name.get("status", "active")
        and not ("" in labels and row.sensitivity_labels)
        and label_keys_sought <= set(map(normalize_label, row.sensitivity_labels))
        and values_by_name.get("q", "").lower() in row.content.lower()
        and ("from" not in values_by_name or row.timestamp >= _parse_instant(values_by_name["from"]))
        and ("to" not in values_by_name or row.timestamp < _parse_instant(values_by_name["to"]))
        and all(
            getattr(row, column_names.get(name, name)) == value
            for name, value in params
            if name not in ("status", "label", "q", "from", "to")
        )
    ]


def _status_at(memory: Memory, instant: datetime) -> str:
    return (
        "expired" if memory.status == "active" and memory.expires_at and memory.expires_at <= instant else memory.status
    )


def ranked_counts(counter: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counter.items(), key=lambda pair: (-pair[1], pair[0].encode()))[: facets.MAX_FACET_VALUES]


def assert_facets(facet_counts: facets.Facets, rows: list[Memory]) -> None:
    values = {
        "source": [row.source for row in rows],
        "actor_type": [row.actor_type for row in rows],
        "namespace": [row.namespace for row in rows],
        "collection": [row.collection for row in rows],
        "tier": [row.classification_tier for row in rows],
        "label": [key for row in rows for key in {*map(normalize_label, row.sensitivity_labels)}],
    }
    assert not facet_counts.is_capped
    assert facet_counts.total == len(rows)
    counts_by_dimension = {
        name: [(facet_value.value, facet_value.count) for facet_value in facet_values]
        for name, facet_values in facet_counts.dimensions.items()
    }
    assert counts_by_dimension == {name: ranked_counts(Counter(facet_values)) for name, facet_values in values.items()}


def assert_histogram(drawn_histogram: histogram.Histogram, rows: list[Memory], params: list[tuple[str, str]]) -> None:
    buckets = drawn_histogram.buckets
    assert not drawn_histogram.is_capped
    assert sum(bucket.count for bucket in buckets) == len(rows)
    if not rows:
        return
    assert len(buckets) <= histogram.TARGET_BUCKETS
    assert all(previous.end == after.start for previous, after in pairwise(buckets))
    last = datetime.max.replace(tzinfo=UTC)
    for bucket in buckets:
        # Of the last microsecond there is no later end.
        rows_inside = [
            r for r in rows if bucket.start <= r.timestamp and (r.timestamp < bucket.end or bucket.end == last)
        ]
        assert bucket.count == len(rows_inside), (bucket, [row.timestamp for row in rows], params)
    assert len({bucket.end - bucket.start for bucket in buckets[:-1]}) <= 1


@pytest.mark.soak
@given(
    batches=st.lists(st.lists(write_strategy(), min_size=1, max_size=6), max_size=4),
    erased_ids=st.booleans(),
    questions=st.lists(st.tuples(filter_strategy(), clearance_strategy()), min_size=1, max_size=4),
)
@example_settings(40)
def test_every_count_is_what_a_recount_finds(batches, erased_ids, questions):
    with roll_back():
        for batch in batches:
            store_drafts([prepare_memory(**fields) for fields in batch], on_conflict=OnConflict.REPLACE)
        if erased_ids:
            execute(
                "UPDATE memories SET status = 'erased', content = '', embedding = NULL, metadata = '{}',"
                " propagation = NULL, fingerprint = '' WHERE payload_id < 'd'"
            )
        low_clearance = Clearance(max_tier="internal")
        for params, clearance in [
            *questions,
            *((params, low_clearance) for params, _ in questions),
            ([], low_clearance),
        ]:
            rows = expected_memories(clearance, params)
            filter_set = MemoryFilterSet(QueryDict(urlencode(params)), clearance=clearance)
            assert {row.id for row in filter_set.results} == {row.id for row in rows}
            assert_facets(facets.count_facets(filter_set), rows)
            assert_histogram(histogram.build_histogram(filter_set), rows, params)
        assert facets.count_versions_written(low_clearance) == sum(
            low_clearance.permits(row) for row in Memory.objects.all()
        )
        assert facets.count_active(low_clearance) == len(expected_memories(low_clearance, []))


def test_the_tallies_hold_what_the_table_holds():
    """Kept by trigger: whatever the way in, the numbers follow."""
    insert_whole_row(payload_id="by-sql")
    insert_whole_row(payload_id="expiring", expires_at=utc("9999-01-01"))
    store_drafts([prepare_memory(payload_id="by-copy"), prepare_memory(payload_id="by-copy-too", tier="secret")])
    store_drafts([prepare_memory(payload_id="by-copy", content="changed")], on_conflict=OnConflict.REPLACE)

    for tally in (MemoryRollup, MemoryDayRollup):
        numbers = [(row.classification_tier, row.count, row.versions_written) for row in tally.objects.all()]
        assert sum(count for _, count, _ in numbers) == 3, "the expiring one and the closed version are not counted"
        assert sum(written_count for _, _, written_count in numbers) == 5
        assert sum(written_count for tier, _, written_count in numbers if tier == "secret") == 1


def test_a_facet_shows_its_most_frequent_values_and_the_total_counts_all():
    rows = [prepare_memory(source=f"source-{index:03}") for index in range(facets.MAX_FACET_VALUES + 5)]
    store_drafts([*rows, prepare_memory(source="source-054")])

    facet_counts = facets.count_facets(MemoryFilterSet(QueryDict(), clearance=Clearance()))

    assert facet_counts.total == facets.MAX_FACET_VALUES + 6
    assert len(facet_counts.dimensions["source"]) == facets.MAX_FACET_VALUES
    assert facet_counts.dimensions["source"][0] == facets.FacetValue("source-054", 2)
    assert [facet_value.value for facet_value in facet_counts.dimensions["source"][1:4]] == [
        "source-000",
        "source-001",
        "source-002",
    ]


def test_a_count_that_met_its_cap_says_so(monkeypatch):
    store_drafts([prepare_memory(subject="user:ada") for _ in range(8)])
    filter_set = MemoryFilterSet(QueryDict("subject=user:ada"), clearance=Clearance())
    assert (facets.count_facets(filter_set).total, facets.count_facets(filter_set).is_capped) == (8, False)

    monkeypatch.setattr(facets, "MAX_LIVE_COUNTED", 5)

    assert (facets.count_facets(filter_set).total, facets.count_facets(filter_set).is_capped) == (5, True)
    unfiltered = MemoryFilterSet(QueryDict(), clearance=Clearance())
    assert (facets.count_facets(unfiltered).total, facets.count_facets(unfiltered).is_capped) == (8, False)


@pytest.mark.parametrize(
    ("query", "unit"),
    [
        ("from=2026-03-01&to=2026-03-03", timedelta(hours=1)),
        ("from=2026-03-01&to=2026-03-04", timedelta(hours=1)),
        ("from=2026-03-01&to=2026-03-05", timedelta(days=1)),
        ("from=2026-03-01&to=2026-06-01", timedelta(days=1)),
        ("from=2024-03-01&to=2026-06-01", timedelta(days=7)),
        ("from=0001-01-01&to=9999-12-31", timedelta(days=1)),
    ],
)
def test_the_bars_are_hours_days_or_weeks_and_never_too_many(query, unit):
    store_drafts([prepare_memory(timestamp="2026-03-01T13:00:00Z")])

    buckets = histogram.build_histogram(MemoryFilterSet(QueryDict(query), clearance=Clearance())).buckets

    assert sum(bucket.count for bucket in buckets) == 1
    assert len(buckets) <= MAX_BARS
    (width,) = {bucket.end - bucket.start for bucket in buckets[:-1]}
    assert width % unit == timedelta()


def test_the_day_of_a_memory_is_the_day_in_utc():
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE 'Asia/Kathmandu'")
    store_drafts([prepare_memory(timestamp="2026-03-01T23:30:00-05:00")])

    assert MemoryDayRollup.objects.get().day.isoformat() == "2026-03-02"


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-03-01T12:00:00Z",
        "from=2026-03-01T12:00:00Z&to=2026-03-20",
        "from=2026-03-01T12:00:00Z&to=2026-06-20T12:00:00Z",
        "from=2026-03-01T12:30:00Z&to=2026-03-03T12:15:00Z",
        "to=2026-03-05T12:30:00Z",
    ],
)
def test_a_bar_counts_what_a_click_on_it_finds_though_the_range_begins_within_a_day(query):
    store_drafts(
        [
            prepare_memory(timestamp=f"2026-03-{day:02}T{hour:02}:{minute:02}:00Z")
            for day in range(1, 8)
            for hour, minute in ((6, 0), (12, 0), (12, 20), (12, 45), (18, 0))
        ]
    )
    filter_set = MemoryFilterSet(QueryDict(query), clearance=Clearance())

    assert_histogram(histogram.build_histogram(filter_set), list(filter_set.results), [])


def test_the_number_of_all_memories_is_not_joined_whatever_is_known_of_the_table():
    """How a join is made is a guess, and on a table that was never analyzed it was the wrong one."""
    with CaptureQueriesContext(connection) as queries:
        facets.count_active(Clearance(max_tier="restricted"))
    for query in queries.captured_queries:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {query['sql']}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "Nested Loop" not in plan
        assert "Join" not in plan
