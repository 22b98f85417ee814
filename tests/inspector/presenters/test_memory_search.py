from datetime import timedelta

import pytest
from django.http import QueryDict

from inspector.presenters import histogram_chart
from inspector.presenters.memory_search import MemorySearch
from memoryhub.memories.facets import Facets, FacetValue
from memoryhub.memories.histogram import Bucket, Histogram
from tests.factories import utc

pytestmark = pytest.mark.unit


def make_search(query: str) -> MemorySearch:
    return MemorySearch(QueryDict(query))


@pytest.mark.parametrize(
    ("query", "expected_text"),
    [
        ("source=support-bot", "source is support-bot"),
        ("tier=confidential&label=pii&label=hr", "tier is confidential and labelled pii and labelled hr"),
        ("q=Ada&from=2026-10-03", "matches Ada and from 3 Oct 2026"),
        ("to=2026-10-03T14:00:00Z&actor_type=agent", "before 2026-10-03T14:00:00Z and actor type is agent"),
        ("cursor=x&limit=50", ""),
    ],
)
def test_filters_are_described_in_words(query: str, expected_text: str) -> None:
    assert make_search(query).description == expected_text


def test_a_chip_takes_away_its_own_value_and_the_place_in_the_list() -> None:
    active_filters = make_search("label=pii&label=hr&cursor=x&limit=50").active_filters

    remove_urls = [active_filter.remove_url for active_filter in active_filters]
    assert remove_urls == ["/?label=hr&limit=50", "/?label=pii&limit=50"]


def test_a_facet_asks_for_its_value_or_no_longer() -> None:
    values = {"source": [FacetValue("a", 3), FacetValue("b", 1)], "label": [FacetValue("pii", 2), FacetValue("hr", 1)]}
    facet_counts = Facets(total=4, is_capped=False, dimensions=values)

    source, label = make_search("source=a&label=PII&cursor=x").build_facets(facet_counts)

    assert [link.url for link in source.top_links] == ["/?label=PII", "/?source=b&label=PII"]
    assert [link.is_active for link in source.top_links] == [True, False]
    assert [link.url for link in label.top_links] == ["/?source=a", "/?source=a&label=PII&label=hr"]


def test_the_facet_of_no_value_asks_for_memories_without_one_and_its_chip_takes_it_away() -> None:
    facet_counts = Facets(
        total=4, is_capped=False, dimensions={"collection": [FacetValue("", 3), FacetValue("city", 1)]}
    )

    (collection,) = make_search("source=a").build_facets(facet_counts)
    (active,) = make_search("source=a&collection=").build_facets(facet_counts)

    assert [link.url for link in collection.top_links] == ["/?source=a&collection=", "/?source=a&collection=city"]
    assert [(link.is_active, link.url) for link in active.top_links] == [
        (True, "/?source=a"),
        (False, "/?source=a&collection=city"),
    ]
    assert make_search("collection=").description == "collection is none"
    assert [active_filter.remove_url for active_filter in make_search("collection=").active_filters] == ["/"]


@pytest.mark.parametrize(
    ("query", "expected_query"),
    [
        ("form=1&q=&source=&collection=city&label=&label=pii", "collection=city&label=pii"),
        ("form=1&collection=&empty=collection&source=a", "source=a&collection="),
        ("form=1&collection=city&empty=collection", "collection=city"),
        ("collection=&source=a&q=&cursor=", "collection=&source=a"),
    ],
)
def test_what_a_form_left_empty_asks_for_nothing_unless_it_says_so(query: str, expected_query: str) -> None:
    assert make_search(query).params.urlencode() == expected_query


def test_the_form_keeps_what_asks_for_empty() -> None:
    memory_search = make_search("collection=&source=a")

    assert memory_search.params_matching_empty == ["collection"]
    assert [field.hint for field in memory_search.build_fields({}, ()) if field.name == "collection"] == ["none"]


def test_a_dimension_that_says_nothing_is_left_out() -> None:
    facet_counts = Facets(total=4, is_capped=False, dimensions={"namespace": [FacetValue("", 4)], "label": []})

    assert make_search("").build_facets(facet_counts) == []


def test_the_form_has_an_input_for_every_filter_and_one_more_for_the_next_label() -> None:
    fields = make_search("label=pii&tier=internal").build_fields({"source": ["agent"]}, ("active", "retired"))

    assert [field.value for field in fields if field.name == "label"] == ["pii", ""]
    assert {"from", "to", "subject", "payload_id", "role", "kind", "status"} <= {field.name for field in fields}
    assert next(field for field in fields if field.name == "tier").options == (
        "public", "internal", "confidential", "restricted",
    )  # fmt: skip
    assert next(field for field in fields if field.name == "source").suggestions == ("agent",)


def make_histogram(*counts: int, width: timedelta = timedelta(days=1)) -> Histogram:
    start = utc("2026-03-01 00:00")
    buckets = [Bucket(start + n * width, start + (n + 1) * width, count) for n, count in enumerate(counts)]
    return Histogram(buckets=buckets, is_capped=False)


def test_the_timeline_draws_what_there_is_and_links_to_it() -> None:
    chart = histogram_chart.build_histogram_chart(make_histogram(1, 0, 4), make_search("tier=public&cursor=x"))

    assert chart is not None
    assert [bar.height for bar in chart.bars] == [14.0, 56.0]
    assert [(span.label, span.count) for span in chart.wide_links] == [("1 Mar 2026", 1), ("3 Mar 2026", 4)]
    assert chart.wide_links[1].url == "/?tier=public&from=2026-03-03&to=2026-03-04"
    assert (chart.range_label, chart.wider_url, chart.all_url) == ("1 Mar \u2013 3 Mar 2026", None, None)


def test_a_long_timeline_has_links_wide_enough_to_hit() -> None:
    chart = histogram_chart.build_histogram_chart(make_histogram(*[1] * 60), make_search(""))

    assert chart is not None
    assert len(chart.bars) == 60
    assert (len(chart.wide_links), len(chart.narrow_links)) == (30, 10)
    assert sum(span.count for span in chart.narrow_links) == 60


def test_hours_are_labelled_as_hours_and_the_wider_range_is_offered() -> None:
    chart = histogram_chart.build_histogram_chart(
        make_histogram(2, 3, width=timedelta(hours=1)), make_search("from=2026-03-01&to=2026-03-01T02:00:00Z")
    )

    assert chart is not None
    assert chart.range_label == "1 Mar 2026, 00:00 \u2013 02:00 UTC"
    assert chart.wide_links[1].url == "/?from=2026-03-01T01%3A00%3A00Z&to=2026-03-01T02%3A00%3A00Z"
    assert chart.wider_url == "/?from=2026-02-28T22%3A00%3A00Z&to=2026-03-01T04%3A00%3A00Z"
    assert chart.all_url == "/"


def test_the_end_of_time_can_be_left() -> None:
    end = utc("9999-12-31 23:59")
    histogram = Histogram(buckets=[Bucket(utc("0001-01-01 00:00"), end, 1)], is_capped=True)

    chart = histogram_chart.build_histogram_chart(histogram, make_search("to=9999-12-31"))

    assert chart is not None
    assert chart.wider_url == "/"
    assert chart.range_label.endswith("(the newest only)")


@pytest.mark.parametrize("histogram", [make_histogram(), make_histogram(0, 0)])
def test_nothing_is_not_drawn(histogram: Histogram) -> None:
    assert histogram_chart.build_histogram_chart(histogram, make_search("")) is None
