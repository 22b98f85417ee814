"""The embedder that asks an endpoint, against one that is strict about the wire format and fails in every way."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import SecretStr

from memoryhub.language import endpoint_embedder
from memoryhub.language.embedder import Embedder
from memoryhub.language.embedding_values import MAX_TEXT_CHARACTERS
from memoryhub.language.endpoint_embedder import MAX_ATTEMPTS, MAX_BATCH_TEXTS, EndpointEmbedder, iter_batches
from memoryhub.language.endpoint_protocol import parse_retry_after
from memoryhub.language.errors import EmbedderUnavailableError, TextsRejectedError
from tests.language.embedding_server import (
    KEY,
    LETTERS,
    MODEL,
    Answer,
    EmbeddingServer,
    changed_answer,
    dripping_answer,
    raw_answer,
    run_embedding_server,
    slow_answer,
    status_fault,
    vector_of,
)

TEXT = "Ada's diagnosis is private."
CreateEmbedder = Callable[..., EndpointEmbedder]


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with run_embedding_server() as embedding_server:
        yield embedding_server


@pytest.fixture
def create_embedder(server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[CreateEmbedder]:
    """Creates embedders for the server, which pause shortly between attempts."""
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(endpoint_embedder, "_exponential_pause", lambda _: 0.01)
    embedders = []

    def create(**changes: Any) -> EndpointEmbedder:
        options: dict[str, Any] = {
            "url": server.url,
            "key": SecretStr(KEY),
            "model": MODEL,
            "dimensions": 4,
            "shorten": False,
        }
        embedders.append(EndpointEmbedder(**(options | changes)))
        return embedders[-1]

    yield create
    for embedder in embedders:
        embedder.close()


@pytest.fixture
def embedder(create_embedder: CreateEmbedder) -> EndpointEmbedder:
    return create_embedder()


def unit(vector: list[float]) -> list[float]:
    return [number / math.hypot(*vector) for number in vector]


def test_texts_become_vectors_of_unit_length_in_their_order(embedder, server):
    texts = ["a banana", "an idea", "a banana", "oiio"]

    vectors = embedder.embed_documents(texts)

    assert vectors == [pytest.approx(unit(vector_of(text))) for text in texts]
    assert embedder.embed_query("an idea") == vectors[1]
    assert server.requests[0] == {"model": MODEL, "input": texts}
    assert embedder.embed_documents([]) == []
    assert len(server.requests) == 2


def test_an_endpoint_is_asked_to_shorten_its_vectors_if_the_operator_says_so(create_embedder, server):
    create_embedder(shorten=True).embed_query("a")

    assert server.requests == [{"model": MODEL, "input": ["a"], "dimensions": 4}]


def test_many_texts_are_sent_in_batches(embedder, server):
    texts = ["a" * (index % 5 + 1) for index in range(2 * MAX_BATCH_TEXTS + 1)]

    vectors = embedder.embed_documents(texts)

    assert vectors == [pytest.approx(unit(vector_of(text))) for text in texts]
    assert [len(request["input"]) for request in server.requests] == [MAX_BATCH_TEXTS, MAX_BATCH_TEXTS, 1]


def test_a_batch_has_a_limit_of_bytes(monkeypatch):
    monkeypatch.setattr(endpoint_embedder, "MAX_BATCH_BYTES", 10)

    assert list(iter_batches(["éé", "éééé", "a", "b" * 30, "c"])) == [["éé"], ["éééé", "a"], ["b" * 30], ["c"]]


@pytest.mark.parametrize("text", ["", " \n", "\ud800", "a" * 10**6, "\u202e\u0007🙂", "[SEP]"], ids=ascii)
def test_an_odd_text_has_a_vector(embedder, server, text):
    assert math.hypot(*embedder.embed_query(text[: 10**6])) == pytest.approx(1.0)
    assert 1 <= len(server.requests[0]["input"][0]) <= MAX_TEXT_CHARACTERS


def test_the_order_of_the_answer_is_that_of_its_indexes(embedder, server):
    server.next_answers = [changed_answer(lambda answer: answer | {"data": answer["data"][::-1]})]

    assert embedder.embed_documents(["a", "e"])[0] == pytest.approx(unit(vector_of("a")))


def replace_vector(*numbers: Any) -> Answer:
    return changed_answer(
        lambda answer: answer | {"data": [item | {"embedding": [*numbers]} for item in answer["data"]]}
    )


def replace_index(*indexes: Any) -> Answer:
    return changed_answer(
        lambda answer: (
            answer | {"data": [{**item, "index": index} for item, index in zip(answer["data"], indexes, strict=True)]}
        )
    )


OTHER_JSON = "something other than the JSON of embeddings"
UNUSABLE_ANSWERS = {
    "wrong dimension": (replace_vector(1.0, 2.0), "vectors of 2 numbers, but MEMORYHUB_EMBEDDING_DIMENSIONS is 4"),
    "NaN": (replace_vector(1.0, math.nan, 0.0, 0.0), OTHER_JSON),
    "infinity": (replace_vector(1.0, math.inf, 0.0, 0.0), OTHER_JSON),
    "too large": (replace_vector(1e308, 1e308, 1e308, 1e308), "numbers that are not finite"),
    "zeros": (replace_vector(0.0, 0.0, 0.0, 0.0), "a vector of zeros"),
    "null": (replace_vector(1.0, None, 0.0, 0.0), OTHER_JSON),
    "booleans": (replace_vector(True, True, True, True), OTHER_JSON),
    "base64": (
        changed_answer(lambda answer: {"data": [item | {"embedding": "AAA="} for item in answer["data"]]}),
        OTHER_JSON,
    ),
    "too few": (changed_answer(lambda answer: answer | {"data": answer["data"][:1]}), "1 vectors for 2 texts"),
    "too many": (changed_answer(lambda answer: answer | {"data": answer["data"] * 2}), "4 vectors for 2 texts"),
    "an index twice": (replace_index(0, 0), "other indexes"),
    "a strange index": (replace_index(0, 2), "other indexes"),
    "an index that is a list": (replace_index([0], [1]), OTHER_JSON),
    "no data": (changed_answer(lambda _: {}), OTHER_JSON),
    "a list": (changed_answer(lambda answer: answer["data"]), OTHER_JSON),
    "null data": (changed_answer(lambda _: {"data": None}), OTHER_JSON),
    "HTML": (raw_answer(b"<!doctype html><title>Sign in</title>", "text/html"), OTHER_JSON),
    "nothing": (raw_answer(b""), OTHER_JSON),
    "deep": (raw_answer(b"[" * 4000), OTHER_JSON),
    "a huge answer": (raw_answer(b" " * 2**20), "more bytes than vectors can have"),
    "redirect": (status_fault(307, Location="http://127.0.0.1:9/v1/embeddings"), "redirects (status 307)"),
    "refused key": (status_fault(401), "check MEMORYHUB_EMBEDDER_KEY"),
    "no such model": (status_fault(404), "check MEMORYHUB_EMBEDDER_URL and MEMORYHUB_EMBEDDER_MODEL"),
    "teapot": (status_fault(418), "status 418"),
}


@pytest.mark.parametrize("fault", UNUSABLE_ANSWERS)
def test_an_unusable_answer_is_an_error_and_no_second_attempt(embedder, server, fault):
    answer, message = UNUSABLE_ANSWERS[fault]
    server.next_answers = [answer]

    with pytest.raises(EmbedderUnavailableError) as exc_info:
        embedder.embed_documents([TEXT, "e"])

    assert message in str(exc_info.value)
    assert str(exc_info.value).endswith(".")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_busy_endpoint_is_asked_again(embedder, server, status):
    server.next_answers = [status_fault(status)] * (MAX_ATTEMPTS - 1)

    assert embedder.embed_query("a") == pytest.approx(unit(vector_of("a")))
    assert len(server.requests) == MAX_ATTEMPTS


def test_it_is_not_asked_for_ever(embedder, server):
    server.permanent_fault = status_fault(500)

    with pytest.raises(EmbedderUnavailableError, match="status 500"):
        embedder.embed_query("a")

    assert len(server.requests) == MAX_ATTEMPTS


def test_the_pause_that_an_endpoint_asks_for_is_made(embedder, server):
    server.next_answers = [status_fault(429, Retry_After="1")]
    started_at = time.monotonic()

    embedder.embed_query("a")

    assert time.monotonic() - started_at >= 1


def test_a_pause_that_is_longer_than_the_limit_is_not_waited_for(embedder, server):
    server.next_answers = [status_fault(429, Retry_After="3600")]
    started_at = time.monotonic()

    with pytest.raises(EmbedderUnavailableError, match="status 429"):
        embedder.embed_query("a")

    assert time.monotonic() - started_at < 1
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("9" * 400, 999999999.0),
    ],
)
def test_a_retry_after_that_says_nothing_is_none(header, seconds):
    assert parse_retry_after(header) == seconds


def test_a_retry_after_may_be_a_date():
    header = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)

    assert 55 < parse_retry_after(header) <= 60


@pytest.mark.parametrize("answer", [slow_answer(5), dripping_answer(5, 0.05)], ids=["slow", "dripping"])
def test_an_endpoint_that_takes_too_long_is_given_up(embedder, server, monkeypatch, answer):
    monkeypatch.setattr(endpoint_embedder, "QUERY_SECONDS", 0.5)
    server.permanent_fault = answer
    started_at = time.monotonic()

    with pytest.raises(EmbedderUnavailableError, match="does not answer in time"):
        embedder.embed_query("a")

    assert time.monotonic() - started_at < 2


def test_an_endpoint_that_is_down_is_said(create_embedder):
    embedder = create_embedder(url="http://127.0.0.1:9/v1")

    with pytest.raises(EmbedderUnavailableError, match=r"cannot be reached \(ConnectError\)"):
        embedder.embed_query("a")


def test_an_endpoint_that_fails_again_and_again_is_left_alone_for_a_while(create_embedder, server, monkeypatch):
    monkeypatch.setattr(endpoint_embedder, "MAX_ATTEMPTS", 1)
    monkeypatch.setattr(endpoint_embedder, "RECOVERY_SECONDS", 0.5)
    embedder = create_embedder()
    server.next_answers = [status_fault(500)] * endpoint_embedder.FAILURE_THRESHOLD
    for _ in range(endpoint_embedder.FAILURE_THRESHOLD):
        with pytest.raises(EmbedderUnavailableError, match="status 500"):
            embedder.embed_query("a")

    with pytest.raises(EmbedderUnavailableError, match="is left alone for a while"):
        embedder.embed_query("a")
    assert len(server.requests) == endpoint_embedder.FAILURE_THRESHOLD

    time.sleep(1.1)
    assert len(embedder.embed_query("a")) == 4


@pytest.mark.parametrize("status", [400, 413, 422])
def test_texts_that_are_refused_are_told_apart_and_do_not_open_the_circuit(embedder, server, status):
    server.next_answers = [status_fault(status)] * 10

    for _ in range(10):
        with pytest.raises(TextsRejectedError, match=f"status {status}"):
            embedder.embed_documents([TEXT])

    assert len(embedder.embed_query("a")) == 4
    assert len(server.requests) == 11


def test_neither_the_key_nor_a_text_is_in_an_error_or_a_log(create_embedder, server, caplog):
    wrong_key = "sk-another-key"
    bad_answers = [status_fault(status) for status in (400, 401, 404, 418, 301)] + [
        raw_answer(f"{KEY} {TEXT}".encode())
    ]
    with caplog.at_level(logging.DEBUG):
        for key, fault in [(KEY, fault) for fault in bad_answers] + [(wrong_key, None)]:
            embedder = create_embedder(key=SecretStr(key))
            server.next_answers = [fault] if fault else []
            with pytest.raises(EmbedderUnavailableError) as exc_info:
                embedder.embed_documents([TEXT])
            assert exc_info.value.__cause__ is None
            assert exc_info.value.__suppress_context__
            description = f"{exc_info.value} {exc_info.value!r} {embedder!r} {vars(embedder)}"
            assert not [secret for secret in (KEY, wrong_key, TEXT, "diagnosis") if secret in description]

    assert not [secret for secret in (KEY, wrong_key, TEXT, "diagnosis") if secret in caplog.text]


def test_the_name_changes_with_everything_that_chooses_the_vectors(create_embedder, server):
    name = create_embedder().name

    assert name == create_embedder(key=None).name
    assert name.startswith(f"{MODEL}@")
    assert len(create_embedder(model="m" * 128).name) <= 255
    changes: list[dict[str, Any]] = [
        {"url": f"{server.url}2"}, {"model": "other"}, {"dimensions": 8}, {"shorten": True}
    ]  # fmt: skip
    assert len({name, *(create_embedder(**change).name for change in changes)}) == 5


def test_it_is_an_embedder(embedder):
    contract: Embedder = embedder

    assert contract.dimensions == len(LETTERS)
