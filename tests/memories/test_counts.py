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

from memoryhub.firewall.types import Clearance, label_key
from memoryhub.memories import facets, timeline
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.ingest import OnConflict
from memoryhub.memories.models import Memory, MemoryCount, MemoryDay
from tests.builders import at, store
from tests.harness.generated import clearances, examples, planted, rolled_back
from tests.memories.rows import execute, insert

pytestmark = pytest.mark.django_db

SOURCES = ("crm", "mail", "CRM")
LABELS = ("pii", "PII", "eu", "caf\u00e9", "cafe\u0301")
# Midnights and their neighbours, a leap day, the ends of time, and clusters that a narrow range cuts through.
MOMENTS = (
    "2026-03-01T00:00:00Z", "2026-02-28T23:59:59.999999Z", "2026-03-01T13:37:00Z", "2026-03-01T18:00:00Z",
    "2026-03-02T06:00:00Z", "2026-03-02T23:30:00-05:00", "2026-03-05T09:00:00Z", "2026-05-20T12:00:00Z",
    "2024-02-29T12:00:00Z", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z",
)  # fmt: skip
EDGES = (
    "2026-02-01", "2026-03-01", "2026-03-02", "2026-03-01T12:00:00Z", "2026-03-01T13:37:00Z", "2026-03-02T18:30:00Z",
    "2026-03-04", "2026-06-01T00:00:01Z", "0001-01-01", "9999-12-31T23:59:59.999999Z",
)  # fmt: skip
# Three days by the hour, or BARS of whole days; one more where a range begins within an hour or a day.
MOST_BARS = max(72, timeline.BARS) + 1


def writes() -> st.SearchStrategy[dict[str, Any]]:
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
            "timestamp": st.sampled_from(MOMENTS),
            "expires_at": st.sampled_from((None, None, "2001-01-01T00:00:00Z", "9999-01-01T00:00:00Z")),
        }
    )


def filters() -> st.SearchStrategy[list[tuple[str, str]]]:
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
        "from": EDGES,
        "to": EDGES,
    }
    one = st.one_of(*(st.tuples(st.just(name), st.sampled_from(values)) for name, values in options.items()))
    labels = st.lists(st.tuples(st.just("label"), st.sampled_from((*LABELS, ""))), max_size=2)
    some = st.lists(one, max_size=3, unique_by=lambda pair: pair[0])
    return st.builds(lambda chosen, more: [*chosen, *more], some, labels).filter(_is_a_range)


def _is_a_range(chosen: list[tuple[str, str]]) -> bool:
    given = dict(chosen)
    return "from" not in given or "to" not in given or _instant(given["from"]) < _instant(given["to"])


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def expected(clearance: Clearance, chosen: list[tuple[str, str]]) -> list[Memory]:
    """The rows that the filters mean, told in Python."""
    given = dict(chosen)
    labels = [value for name, value in chosen if name == "label"]
    sought = {label_key(value) for value in labels if value}
    plain = {"tier": "classification_tier"}
    now = datetime.now(UTC)
    return [
        row
        for row in Memory.objects.all()
        if row.superseded_at is None
        and clearance.permits(row)
        and _status(row, now) == given.get("status", "active")
        and not ("" in labels and row.sensitivity_labels)
        and sought <= set(map(label_key, row.sensitivity_labels))
        and given.get("q", "").lower() in row.content.lower()
        and ("from" not in given or row.timestamp >= _instant(given["from"]))
        and ("to" not in given or row.timestamp < _instant(given["to"]))
        and all(
            getattr(row, plain.get(name, name)) == value
            for name, value in chosen
            if name not in ("status", "label", "q", "from", "to")
        )
    ]


def _status(row: Memory, now: datetime) -> str:
    return "expired" if row.status == "active" and row.expires_at and row.expires_at <= now else row.status


def ranked(counter: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counter.items(), key=lambda pair: (-pair[1], pair[0].encode()))[: facets.TOP]


def assert_facets(found: facets.Facets, rows: list[Memory]) -> None:
    values = {
        "source": [row.source for row in rows],
        "actor_type": [row.actor_type for row in rows],
        "namespace": [row.namespace for row in rows],
        "collection": [row.collection for row in rows],
        "tier": [row.classification_tier for row in rows],
        "label": [key for row in rows for key in {*map(label_key, row.sensitivity_labels)}],
    }
    assert not found.capped
    assert found.total == len(rows)
    counted = {name: [(one.value, one.count) for one in ones] for name, ones in found.dimensions.items()}
    assert counted == {name: ranked(Counter(ones)) for name, ones in values.items()}


def assert_histogram(drawn: timeline.Histogram, rows: list[Memory], chosen: list[tuple[str, str]]) -> None:
    buckets = drawn.buckets
    assert not drawn.capped
    assert sum(bucket.count for bucket in buckets) == len(rows)
    if not rows:
        return
    assert len(buckets) <= timeline.BARS
    assert all(one.end == after.start for one, after in pairwise(buckets))
    last = datetime.max.replace(tzinfo=UTC)
    for bucket in buckets:
        # Of the last microsecond there is no later end.
        inside = [r for r in rows if bucket.start <= r.timestamp and (r.timestamp < bucket.end or bucket.end == last)]
        assert bucket.count == len(inside), (bucket, [row.timestamp for row in rows], chosen)
    assert len({bucket.end - bucket.start for bucket in buckets[:-1]}) <= 1


@pytest.mark.soak
@given(
    batches=st.lists(st.lists(writes(), min_size=1, max_size=6), max_size=4),
    erased=st.booleans(),
    questions=st.lists(st.tuples(filters(), clearances()), min_size=1, max_size=4),
)
@examples(40)
def test_every_count_is_what_a_recount_finds(batches, erased, questions):
    with rolled_back():
        for batch in batches:
            store([planted(**fields) for fields in batch], on_conflict=OnConflict.REPLACE)
        if erased:
            execute(
                "UPDATE memories SET status = 'erased', content = '', embedding = NULL, metadata = '{}',"
                " propagation = NULL, fingerprint = '' WHERE payload_id < 'd'"
            )
        seen = Clearance(max_tier="internal")
        for chosen, clearance in [*questions, *((chosen, seen) for chosen, _ in questions), ([], seen)]:
            rows = expected(clearance, chosen)
            asked = MemoryFilterSet(QueryDict(urlencode(chosen)), clearance=clearance)
            assert {row.id for row in asked.found} == {row.id for row in rows}
            assert_facets(facets.count(asked), rows)
            assert_histogram(timeline.histogram(asked), rows, chosen)
        assert facets.written(seen) == sum(seen.permits(row) for row in Memory.objects.all())
        assert facets.total(seen) == len(expected(seen, []))


def test_the_tallies_hold_what_the_table_holds():
    """Kept by trigger: whatever the way in, the numbers follow."""
    insert(payload_id="by-sql")
    insert(payload_id="mortal", expires_at=at("9999-01-01"))
    store([planted(payload_id="by-copy"), planted(payload_id="by-copy-too", tier="secret")])
    store([planted(payload_id="by-copy", content="changed")], on_conflict=OnConflict.REPLACE)

    for tally in (MemoryCount, MemoryDay):
        numbers = [(row.classification_tier, row.count, row.written) for row in tally.objects.all()]
        assert sum(count for _, count, _ in numbers) == 3, "the mortal one and the closed version are not counted"
        assert sum(written for _, _, written in numbers) == 5
        assert sum(written for tier, _, written in numbers if tier == "secret") == 1


def test_a_facet_shows_its_most_frequent_values_and_the_total_counts_all():
    rows = [planted(source=f"source-{number:03}") for number in range(facets.TOP + 5)]
    store([*rows, planted(source="source-054")])

    found = facets.count(MemoryFilterSet(QueryDict(), clearance=Clearance()))

    assert found.total == facets.TOP + 6
    assert len(found.dimensions["source"]) == facets.TOP
    assert found.dimensions["source"][0] == facets.FacetValue("source-054", 2)
    assert [one.value for one in found.dimensions["source"][1:4]] == ["source-000", "source-001", "source-002"]


def test_a_count_that_met_its_cap_says_so(monkeypatch):
    store([planted(subject="user:ada") for _ in range(8)])
    asked = MemoryFilterSet(QueryDict("subject=user:ada"), clearance=Clearance())
    assert (facets.count(asked).total, facets.count(asked).capped) == (8, False)

    monkeypatch.setattr(facets, "LIVE_CAP", 5)

    assert (facets.count(asked).total, facets.count(asked).capped) == (5, True)
    everything = MemoryFilterSet(QueryDict(), clearance=Clearance())
    assert (facets.count(everything).total, facets.count(everything).capped) == (8, False)


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
    store([planted(timestamp="2026-03-01T13:00:00Z")])

    buckets = timeline.histogram(MemoryFilterSet(QueryDict(query), clearance=Clearance())).buckets

    assert sum(bucket.count for bucket in buckets) == 1
    assert len(buckets) <= MOST_BARS
    (width,) = {bucket.end - bucket.start for bucket in buckets[:-1]}
    assert width % unit == timedelta()


def test_the_day_of_a_memory_is_the_day_in_utc():
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE 'Asia/Kathmandu'")
    store([planted(timestamp="2026-03-01T23:30:00-05:00")])

    assert MemoryDay.objects.get().day.isoformat() == "2026-03-02"


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
    store(
        [
            planted(timestamp=f"2026-03-{day:02}T{hour:02}:{minute:02}:00Z")
            for day in range(1, 8)
            for hour, minute in ((6, 0), (12, 0), (12, 20), (12, 45), (18, 0))
        ]
    )
    asked = MemoryFilterSet(QueryDict(query), clearance=Clearance())

    assert_histogram(timeline.histogram(asked), list(asked.found), [])


def test_the_number_of_all_memories_is_not_joined_whatever_is_known_of_the_table():
    """How a join is made is a guess, and on a table that was never analyzed it was the wrong one."""
    with CaptureQueriesContext(connection) as asked:
        facets.total(Clearance(max_tier="restricted"))
    for query in asked.captured_queries:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {query['sql']}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "Nested Loop" not in plan
        assert "Join" not in plan
