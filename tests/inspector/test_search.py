from datetime import timedelta

import pytest
from django.http import QueryDict

from inspector import chart
from inspector.search import Search
from memoryhub.memories.facets import Facets, FacetValue
from memoryhub.memories.timeline import Bucket, Histogram
from tests.builders import at


def search(query: str) -> Search:
    return Search(QueryDict(query))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("source=support-bot", "source is support-bot"),
        ("tier=confidential&label=pii&label=hr", "tier is confidential and labelled pii and labelled hr"),
        ("q=Ada&from=2026-10-03", "content contains Ada and from 3 Oct 2026"),
        ("to=2026-10-03T14:00:00Z&actor_type=agent", "before 2026-10-03T14:00:00Z and actor type is agent"),
        ("cursor=x&limit=50", ""),
    ],
)
def test_filters_are_told_in_words(query: str, words: str) -> None:
    assert search(query).words == words


def test_a_chip_takes_away_its_own_value_and_the_place_in_the_list() -> None:
    chips = search("label=pii&label=hr&cursor=x&limit=50").chips

    assert [chip.remove_url for chip in chips] == ["/?label=hr&limit=50", "/?label=pii&limit=50"]


def test_a_facet_asks_for_its_value_or_no_longer() -> None:
    values = {"source": [FacetValue("a", 3), FacetValue("b", 1)], "label": [FacetValue("pii", 2), FacetValue("hr", 1)]}
    counted = Facets(total=4, capped=False, dimensions=values)

    source, label = search("source=a&label=PII&cursor=x").facets(counted)

    assert [link.url for link in source.first] == ["/?label=PII", "/?source=b&label=PII"]
    assert [link.is_active for link in source.first] == [True, False]
    assert [link.url for link in label.first] == ["/?source=a", "/?source=a&label=PII&label=hr"]


def test_the_facet_of_no_value_asks_for_memories_without_one_and_its_chip_takes_it_away() -> None:
    counted = Facets(total=4, capped=False, dimensions={"collection": [FacetValue("", 3), FacetValue("city", 1)]})

    (collection,) = search("source=a").facets(counted)
    (active,) = search("source=a&collection=").facets(counted)

    assert [link.url for link in collection.first] == ["/?source=a&collection=", "/?source=a&collection=city"]
    assert [(link.is_active, link.url) for link in active.first] == [
        (True, "/?source=a"),
        (False, "/?source=a&collection=city"),
    ]
    assert search("collection=").words == "collection is none"
    assert [chip.remove_url for chip in search("collection=").chips] == ["/"]


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("form=1&q=&source=&collection=city&label=&label=pii", "collection=city&label=pii"),
        ("form=1&collection=&empty=collection&source=a", "source=a&collection="),
        ("form=1&collection=city&empty=collection", "collection=city"),
        ("collection=&source=a&q=&cursor=", "collection=&source=a"),
    ],
)
def test_what_a_form_left_empty_asks_for_nothing_unless_it_says_so(query: str, left: str) -> None:
    assert search(query).params.urlencode() == left


def test_the_form_keeps_what_asks_for_empty() -> None:
    found = search("collection=&source=a")

    assert found.empty == ["collection"]
    assert [field.hint for field in found.fields({}, ()) if field.name == "collection"] == ["none"]


def test_a_dimension_that_says_nothing_is_left_out() -> None:
    counted = Facets(total=4, capped=False, dimensions={"namespace": [FacetValue("", 4)], "label": []})

    assert search("").facets(counted) == []


def test_the_form_has_an_input_for_every_filter_and_one_more_for_the_next_label() -> None:
    fields = search("label=pii&tier=internal").fields({"source": ["agent"]}, ("active", "retired"))

    assert [field.value for field in fields if field.name == "label"] == ["pii", ""]
    assert {"from", "to", "subject", "payload_id", "role", "kind", "status"} <= {field.name for field in fields}
    assert next(field for field in fields if field.name == "tier").options == (
        "public", "internal", "confidential", "restricted",
    )  # fmt: skip
    assert next(field for field in fields if field.name == "source").suggestions == ("agent",)


def days(*counts: int, width: timedelta = timedelta(days=1)) -> Histogram:
    start = at("2026-03-01 00:00")
    buckets = [Bucket(start + n * width, start + (n + 1) * width, count) for n, count in enumerate(counts)]
    return Histogram(buckets=buckets, capped=False)


def test_the_timeline_draws_what_there_is_and_links_to_it() -> None:
    drawn = chart.draw(days(1, 0, 4), search("tier=public&cursor=x"))

    assert drawn is not None
    assert [bar.height for bar in drawn.bars] == [14.0, 56.0]
    assert [(span.words, span.count) for span in drawn.fine] == [("1 Mar 2026", 1), ("3 Mar 2026", 4)]
    assert drawn.fine[1].url == "/?tier=public&from=2026-03-03&to=2026-03-04"
    assert (drawn.range, drawn.wider_url, drawn.all_url) == ("1 Mar \u2013 3 Mar 2026", None, None)


def test_a_long_timeline_has_links_wide_enough_to_hit() -> None:
    drawn = chart.draw(days(*[1] * 60), search(""))

    assert drawn is not None
    assert len(drawn.bars) == 60
    assert (len(drawn.fine), len(drawn.coarse)) == (30, 10)
    assert sum(span.count for span in drawn.coarse) == 60


def test_hours_are_told_as_hours_and_the_way_out_is_offered() -> None:
    drawn = chart.draw(days(2, 3, width=timedelta(hours=1)), search("from=2026-03-01&to=2026-03-01T02:00:00Z"))

    assert drawn is not None
    assert drawn.range == "1 Mar 2026, 00:00 \u2013 02:00 UTC"
    assert drawn.fine[1].url == "/?from=2026-03-01T01%3A00%3A00Z&to=2026-03-01T02%3A00%3A00Z"
    assert drawn.wider_url == "/?from=2026-02-28T22%3A00%3A00Z&to=2026-03-01T04%3A00%3A00Z"
    assert drawn.all_url == "/"


def test_the_end_of_time_can_be_left() -> None:
    end = at("9999-12-31 23:59")
    histogram = Histogram(buckets=[Bucket(at("0001-01-01 00:00"), end, 1)], capped=True)

    drawn = chart.draw(histogram, search("to=9999-12-31"))

    assert drawn is not None
    assert drawn.wider_url == "/"
    assert drawn.range.endswith("(the newest only)")


@pytest.mark.parametrize("histogram", [days(), days(0, 0)])
def test_nothing_is_not_drawn(histogram: Histogram) -> None:
    assert chart.draw(histogram, search("")) is None
