"""However far the index of words is behind, a search finds the same memories."""

from datetime import UTC, datetime

import pytest
from django.db import connection

from memoryhub.core.sql import fetch_dicts
from memoryhub.firewall.clearance import unrestricted_clearance
from memoryhub.memories import word_index
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import MemoryQuerySet
from memoryhub.memories.sql.search_conditions import SearchTerms
from memoryhub.memories.writes import classify
from memoryhub.memories.writes.classification_plan import ClassificationChange
from tests.factories import WRITER, make_memory

pytestmark = pytest.mark.django_db

CONTENTS = ("Ada lives in Paris.", "Bob lives in Rome.", "Paris is where Ada works.", "Nobody lives in Ada, Ohio.")
SEARCHES = {
    "one word": (SearchTerms(words=("ada",)), {0, 2, 3}),
    "another form of a word": (SearchTerms(words=("living",)), {0, 1, 3}),
    "several words": (SearchTerms(words=("ada", "paris")), {0, 2}),
    "a phrase": (SearchTerms(words=("ada lives",)), {0}),
    "an excluded word": (SearchTerms(words=("ada",), excluded_words=("ohio",)), {0, 2}),
    "an excluded word alone": (SearchTerms(excluded_words=("ada",)), {1}),
    "a literal text": (SearchTerms(words=("ada",), literals=("s in P",)), {0}),
    "an excluded literal text": (SearchTerms(words=("ada",), excluded_literals=("in Paris",)), {2, 3}),
    "a word that is nowhere": (SearchTerms(words=("ada", "zeppelin")), set()),
}


def store_contents(*, indexed_count: int) -> None:
    for position, content in enumerate(CONTENTS):
        if position == indexed_count:
            index_all_words()
        make_memory(payload_id=str(position), content=content, tier=("public", "internal")[position % 2])
    if indexed_count == len(CONTENTS):
        index_all_words()


def index_all_words() -> int:
    count = 0
    while added_count := word_index.index_words(2):
        count += added_count
    return count


def current_memories() -> MemoryQuerySet:
    memories: MemoryQuerySet = Memory.objects.visible_to(unrestricted_clearance()).current()
    return memories


def payload_ids(rows: MemoryQuerySet) -> set[int]:
    return {int(row["payload_id"]) for row in fetch_dicts(*rows.newest_sql(100, "payload_id"))}


@pytest.mark.parametrize("indexed_count", [0, 2, 4])
@pytest.mark.parametrize("search", SEARCHES)
def test_a_search_finds_what_matches(search, indexed_count):
    store_contents(indexed_count=indexed_count)
    terms, expected = SEARCHES[search]

    assert payload_ids(current_memories().matching_by_index(terms)) == expected
    assert payload_ids(current_memories().matching_by_scan(terms)) == expected
    sample = current_memories().sample(terms, 10)
    assert sum(is_match for _, _, is_match in sample) == len(expected)


def test_every_version_is_indexed_once():
    store_contents(indexed_count=0)
    make_memory(payload_id="0", content="Ada lives in Oslo.")
    memory = make_memory(
        payload_id="new", content="A new tier.", expires_at=datetime(2999, 1, 1, tzinfo=UTC), tier="restricted"
    )
    change = ClassificationChange(classification_tier="restricted")
    classify.apply_plan(classify.plan_for_memory(memory.memory_id, change, principal=WRITER))

    assert word_index.has_unindexed_words()
    assert index_all_words() == Memory.objects.count() >= len(CONTENTS) + 2
    assert not word_index.has_unindexed_words()
    assert index_all_words() == 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM memory_words JOIN memories ON memories.id = row_id AND tier = classification_tier"
        )
        assert cursor.fetchone() == (Memory.objects.count(),)


def test_the_words_of_an_older_version_are_found_at_its_time():
    memory = make_memory(payload_id="0", content="Ada lives in Paris.")
    index_all_words()
    make_memory(payload_id="0", content="Ada lives in Oslo.")
    index_all_words()
    visible = Memory.objects.visible_to(unrestricted_clearance())
    paris = SearchTerms(words=("paris",))

    assert payload_ids(visible.known_at(memory.recorded_at).matching_by_index(paris)) == {0}
    assert payload_ids(visible.current().matching_by_index(paris)) == set()
