"""The worker embeds every version once, with the text that searches read."""

import pytest
from django.db import connection

from memoryhub.language import embedder
from memoryhub.language.errors import EmbedderUnavailableError, TextsRejectedError
from memoryhub.memories.models import Memory
from memoryhub.search import embedding_index
from memoryhub.search.embedding_index import embed_memories, has_unembedded_memories
from memoryhub.search.models import MemoryEmbedding
from tests.factories import make_memory

pytestmark = pytest.mark.django_db


class RecordingEmbedder:
    """The hub's own model, which says what it was given; it refuses texts with `refused` in them."""

    def __init__(self) -> None:
        configured = embedder.configured_embedder()
        assert configured is not None
        self.embedder = configured
        self.texts: list[str] = []
        self.is_down = False

    name = property(lambda self: self.embedder.name)
    dimensions = property(lambda self: self.embedder.dimensions)

    def embed_documents(self, texts):
        if self.is_down:
            raise EmbedderUnavailableError("Down.")
        if any("refused" in text for text in texts):
            raise TextsRejectedError("These texts are refused.")
        self.texts += texts
        return self.embedder.embed_documents(texts)


@pytest.fixture
def recording(monkeypatch) -> RecordingEmbedder:
    recording_embedder = RecordingEmbedder()
    monkeypatch.setattr(embedding_index, "configured_embedder", lambda: recording_embedder)
    return recording_embedder


def embed_all() -> int:
    count = 0
    while batch_count := embed_memories(2):
        count += batch_count
    return count


def embedded_versions() -> dict[tuple[str, int], tuple[bool, bool]]:
    """By payload_id and version: whether the row is live, and whether it has a vector."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT payload_id, version, is_live, memory_embeddings.embedding IS NOT NULL"
            " FROM memory_embeddings JOIN memories ON id = row_id AND tier = classification_tier"
        )
        return {(payload_id, version): (is_live, has_vector) for payload_id, version, is_live, has_vector in cursor}


def test_every_version_is_embedded_once_and_superseded_ones_are_not_live(recording):
    for payload_id in ("a", "b", "c"):
        make_memory(payload_id=payload_id, content=f"It is {payload_id}.")
    embed_all()
    make_memory(payload_id="a", content="It is another.", tier="internal")
    make_memory(payload_id="b", content="It is b.", tier="internal")

    assert has_unembedded_memories()
    embed_all()
    assert not has_unembedded_memories()
    assert embed_all() == 0
    assert embedded_versions() == {
        ("a", 1): (False, True), ("a", 2): (True, True), ("b", 1): (False, True), ("b", 2): (True, True),
        ("c", 1): (True, True),
    }  # fmt: skip
    assert sorted(recording.texts) == ["It is a.", "It is another.", "It is b.", "It is c."]


def test_an_empty_hub_has_nothing_to_embed(recording):
    assert has_unembedded_memories()
    assert embed_memories(10) == 0
    assert not has_unembedded_memories()
    assert embedding_index.measure_lag_seconds() == 0

    make_memory(content="Ada lives in Paris.")
    assert embedding_index.measure_lag_seconds() > 0


def test_secrets_are_masked_before_a_model_reads_them(recording):
    make_memory(content="The key is AKIA" + "IOSFODNN7EXAMPLE.")
    embed_all()

    assert recording.texts == ["The key is AKIA••••••••."]


def test_while_the_model_is_down_nothing_is_stored_and_nothing_is_lost(recording):
    make_memory(content="Ada lives in Paris.")
    recording.is_down = True
    with pytest.raises(EmbedderUnavailableError):
        embed_memories(10)
    assert MemoryEmbedding.objects.count() == 0

    recording.is_down = False
    assert embed_all() == 1


def test_a_text_that_a_model_refuses_does_not_stop_the_others(recording):
    for content in ("One.", "This is refused.", "Two.", "Three."):
        make_memory(payload_id=content, content=content)
    embed_all()

    refused = {key[0] for key, (_, has_vector) in embedded_versions().items() if not has_vector}
    assert refused == {"This is refused."}
    assert Memory.objects.count() == 4
