"""Searches over the API, with the model that the hub brings."""

from typing import Any

import pytest

from memoryhub.language import embedder
from memoryhub.language.errors import EmbedderUnavailableError
from memoryhub.memories.models import Memory
from tests.conftest import ApiClient
from tests.factories import index_all, make_memory
from tests.search.conftest import contents, search

pytestmark = pytest.mark.django_db

# No question shares a stem with its answer.
PAIRS = {
    "Which pet does the girl own?": "Mia bought a small brown dog.",
    "Who is ill?": "Tom caught a bad flu and stays in bed.",
    "What does he do for a living?": "Karl works as a baker.",
    "Which vehicle was purchased?": "Nina bought a red car.",
    "Is anybody getting married?": "The wedding of Eva and Paul takes place in June.",
}
OTHER_CONTENTS = (
    "The build fails on Windows.", "Rust compiles slowly.", "The invoice is due on Friday.", "Rome lies in Italy.",
    "The server restarts every night.", "Coffee is served at nine.", "The password policy was changed.",
    "It rains a lot in Bergen.", "The museum closes at five.", "Ada lives in Paris.",
)  # fmt: skip


@pytest.fixture
def memories() -> None:
    for content in (*PAIRS.values(), *OTHER_CONTENTS):
        make_memory(content=content)
    index_all()


@pytest.mark.usefixtures("memories")
class TestSearch:
    def test_a_question_finds_its_answer_by_words(self, reader):
        assert contents(search(reader, "where does Ada live"))[0] == "Ada lives in Paris."
        (first, *_) = search(reader, "where does Ada live", mode="keyword")["results"]
        assert first["matched_words"] == ["ada", "lives"]
        assert not first["has_all_words"]
        assert search(reader, "living Ada")["results"][0]["has_all_words"]

    @pytest.mark.parametrize("question", PAIRS)
    def test_a_question_finds_an_answer_in_other_words_by_meaning_alone(self, reader, question):
        assert PAIRS[question] in contents(search(reader, question, mode="semantic"))[:3]
        assert PAIRS[question] not in contents(search(reader, question, mode="keyword"))

    def test_a_search_shows_no_memory_above_the_clearance(self, reader):
        make_memory(content="Ada lives in secret.", tier="restricted")
        index_all()

        for mode in ("keyword", "semantic", "hybrid"):
            assert "Ada lives in secret." not in contents(search(reader, "Ada lives in secret", mode=mode, limit=200))

    def test_phrases_exclusions_and_filters_are_conditions(self, reader):
        assert contents(search(reader, '"lives in"', mode="semantic")) == ["Ada lives in Paris."]
        assert "Ada lives in Paris." not in contents(search(reader, "Ada -paris", limit=200))
        assert contents(search(reader, "subject:nobody Ada")) == []
        assert contents(search(reader, "Ada", subject="nobody")) == []

    def test_without_words_the_newest_memories_are_found(self, reader):
        assert len(search(reader, "", limit=200)["results"]) == len(PAIRS) + len(OTHER_CONTENTS)

    @pytest.mark.parametrize("profile", ["fast", "balanced", "deep"])
    @pytest.mark.parametrize("sort", ["relevance", "timestamp", "recorded_at"])
    def test_pages_repeat_nothing_and_leave_nothing_out(self, reader, profile, sort):
        options = {"profile": profile, "sort": sort}
        expected = contents(search(reader, "the in", limit=200, **options))
        collected: list[str] = []
        cursor = ""
        while True:
            answer = search(reader, "the in", limit=4, cursor=cursor, **options)
            collected += contents(answer)
            if not answer["has_more"]:
                break
            cursor = answer["next_cursor"]
            # What is written meanwhile belongs to no page.
            make_memory(content="The in the in.")

        assert collected == expected
        assert len(collected) > 4

    def test_a_cursor_of_another_search_is_refused(self, reader):
        cursor = search(reader, "the", limit=1)["next_cursor"]

        assert reader.get("/api/search", q="in", limit=1, cursor=cursor).json()["code"] == "invalid_cursor"
        assert reader.get("/api/search", q="the", limit=1, cursor=cursor, mode="keyword").status_code == 400

    def test_explain_names_the_stages_and_what_each_left(self, reader):
        stages = {stage["name"]: stage for stage in search(reader, "Ada", explain="true")["stages"]}

        assert list(stages) == ["policy", "filters", "embed", "semantic", "keyword", "merge"]
        assert stages["policy"]["candidates"] == len(PAIRS) + len(OTHER_CONTENTS)
        assert stages["keyword"]["candidates"] == 1
        assert all(stage["milliseconds"] >= 0 for stage in stages.values())
        assert "stages" not in search(reader, "Ada")

    def test_an_old_event_counts_for_less_with_a_half_life(self, reader):
        make_memory(content="Zoe lives in Oslo.", timestamp="2020-01-01T00:00:00Z")
        make_memory(content="Zoe moved to Rome and lives there.", timestamp="2026-11-01T00:00:00Z")
        index_all()

        old_first = search(reader, "Zoe lives in Oslo")
        assert contents(old_first)[0] == "Zoe lives in Oslo."
        decayed = contents(search(reader, "Zoe lives in Oslo", half_life_days="30", limit=200))
        assert decayed.index("Zoe moved to Rome and lives there.") < decayed.index("Zoe lives in Oslo.")

    @pytest.mark.parametrize(
        "params", [{"mode": "any"}, {"profile": ""}, {"sort": "up"}, {"half_life_days": "0"}, {"explain": "1"}]
    )
    def test_an_option_that_there_is_not_is_named(self, reader, params):
        response = reader.get("/api/search", q="Ada", **params)

        assert response.status_code == 400
        assert list(response.json()["errors"]) == list(params)


@pytest.mark.usefixtures("memories")
class TestVectors:
    def post(self, reader: ApiClient, **body: Any) -> Any:
        return reader.post("/api/search", body)

    def test_a_vector_is_compared_in_place_of_the_text(self, reader):
        configured = embedder.configured_embedder()
        assert configured is not None
        vector = configured.embed_query("Which vehicle was purchased?")

        answer = self.post(reader, embedding=[3 * number for number in vector], mode="semantic").json()
        assert contents(answer)[0] == "Nina bought a red car."
        assert answer["results"][0]["scores"]["semantic"] < 1.001

    @pytest.mark.parametrize(
        "vector", [[], [1.0], [0.0] * 384, [1e39] + [0.0] * 383, [1.0] * 16_001], ids=["none", "1", "0", "huge", "long"]
    )
    def test_a_vector_that_cannot_be_compared_is_refused(self, reader, vector):
        response = self.post(reader, embedding=vector)

        if vector[:1] == [1e39]:
            assert response.status_code == 200
        else:
            assert response.status_code == 400
            assert list(response.json()["errors"]) == ["embedding"]

    def test_nan_is_no_json(self, reader):
        response = reader.client.post("/api/search", '{"embedding": [NaN]}', content_type="application/json")

        assert response.status_code == 400

    def test_a_long_text_is_posted(self, reader):
        answer = self.post(reader, filter={"q": "word " * 3_000 + "Ada"}, mode="keyword").json()

        assert "Ignored after the first 100 words" in answer["reading"] or answer["results"]


class TestWithoutMeaning:
    @pytest.mark.parametrize("mode", ["hybrid", "semantic"])
    def test_words_answer_and_the_answer_says_so(self, reader, monkeypatch, mode):
        def fail() -> None:
            raise EmbedderUnavailableError("The embedding endpoint does not answer in time.")

        make_memory(content="Ada lives in Paris.")
        index_all()
        monkeypatch.setattr("memoryhub.search.search.configured_embedder", fail)

        answer = search(reader, "Ada", mode=mode)
        assert contents(answer) == ["Ada lives in Paris."]
        assert answer["meaning"]["reason"] == "The embedding endpoint does not answer in time."
        assert not answer["meaning"]["is_used"]

    def test_what_is_not_embedded_yet_is_counted_and_found_by_words(self, reader):
        make_memory(content="Ada lives in Paris.")
        index_all()
        make_memory(content="Ada works in Rome.")
        make_memory(content="Ada is hidden.", tier="restricted")

        answer = search(reader, "Ada")
        assert set(contents(answer)) == {"Ada lives in Paris.", "Ada works in Rome."}
        assert answer["meaning"]["not_embedded"] == 1


class TestSimilar:
    def test_the_nearest_memories_are_found_and_no_hidden_one(self, reader):
        memory = make_memory(content="Ada lives in Paris.")
        make_memory(content="Ada's home is in Paris, France.")
        make_memory(content="Ada lives in Paris, they say.", tier="restricted")
        make_memory(content="Rust compiles slowly.")
        index_all()

        answer = reader.get(f"/api/memories/{memory.memory_id}/similar").json()
        assert contents(answer) == ["Ada's home is in Paris, France."]
        assert 0.5 <= answer["results"][0]["similarity"] <= 1

    def test_a_hidden_memory_is_missing(self, reader):
        memory = make_memory(content="Ada is hidden.", tier="restricted")

        assert reader.get(f"/api/memories/{memory.memory_id}/similar").status_code == 404


def test_a_search_at_an_instant_finds_what_was_known_then(reader):
    memory = make_memory(payload_id="1", content="Ada lives in Paris.")
    index_all()
    make_memory(payload_id="1", content="Ada lives in Oslo.")
    index_all()
    known_at = Memory.objects.get(memory_id=memory.memory_id, version=1).recorded_at.isoformat()

    for mode in ("keyword", "semantic", "hybrid"):
        assert contents(search(reader, "Ada lives", known_at=known_at, mode=mode)) == ["Ada lives in Paris."]
        assert contents(search(reader, "Ada lives", mode=mode)) == ["Ada lives in Oslo."]
