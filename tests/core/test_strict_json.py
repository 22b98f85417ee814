"""How much a JSON document may hold: what takes seconds to decode is refused before it is decoded (BI-03)."""

import json
import time

import pytest

from memoryhub.core.strict_json import InvalidJsonError, decode_json

pytestmark = pytest.mark.unit

DOCUMENT_BYTES = 16 * 2**20


def fill_document(prefix: bytes, unit: bytes, suffix: bytes) -> bytes:
    """16 MiB of the same."""
    return prefix + unit * ((DOCUMENT_BYTES - len(prefix) - len(suffix)) // len(unit)) + suffix


HOSTILE_DOCUMENTS = {
    "empty objects": fill_document(b"[", b"{},", b"{}]"),
    "empty objects, never closed": fill_document(b"[", b"{},", b""),
    "empty objects in an object": fill_document(b'{"a":[', b"{},", b"{}]}"),
    "empty arrays": fill_document(b"[", b"[],", b"[]]"),
    "arrays in arrays": fill_document(b"[", b"[[]],", b"0]"),
    "objects in objects": fill_document(b"[", b'{"":{}},', b"0]"),
    "the same key": fill_document(b"{", b'"":0,', b'"":0}'),
    "numbers": fill_document(b"[", b"0,", b"0]"),
    "empty texts": fill_document(b"[", b'"",', b'""]'),
    "escaped texts between objects": fill_document(b"[", b'"\\\\",{},', b"0]"),
    "quotation marks between objects": fill_document(b"[", b'"\\"",{},', b"0]"),
    "different keys": b"{" + b",".join(b'"%x":0' % index for index in range(1_500_000)) + b"}",
}


@pytest.mark.large_input
@pytest.mark.parametrize("shape", HOSTILE_DOCUMENTS)
def test_16_mib_of_many_values_are_refused_within_half_a_second(shape):
    body = HOSTILE_DOCUMENTS[shape]
    start_time = time.thread_time()

    with pytest.raises(InvalidJsonError) as refusal:
        decode_json(body)

    assert time.thread_time() - start_time < 0.5
    assert refusal.value.code == "too_large"
    assert len(str(refusal.value)) < 100


@pytest.mark.large_input
@pytest.mark.parametrize(
    "body",
    [fill_document(b"", b"[", b""), fill_document(b"", b"{", b""), fill_document(b"[", b"1", b"]")],
    ids=[0, 1, 2],
)
def test_16_mib_that_are_no_document_are_refused_within_half_a_second(body):
    start_time = time.thread_time()

    with pytest.raises(InvalidJsonError) as refusal:
        decode_json(body)

    assert time.thread_time() - start_time < 0.5
    assert len(str(refusal.value)) < 100


@pytest.mark.large_input
def test_a_full_batch_with_embeddings_is_read():
    embedding = [index / 1_000 for index in range(1_024)]
    envelope = {f"field_{index}": "x" for index in range(20)} | {"embedding": embedding, "metadata": {"a": [{}]}}
    body = json.dumps([envelope] * 1_000).encode()

    assert len(decode_json(body)) == 1_000


@pytest.mark.large_input
@pytest.mark.parametrize(
    "text", ["{}," * 5_000_000, '[{},"' * 1_000_000, "\\" * 4_000_000, '\\"{},' * 1_000_000], ids=range(4)
)
def test_punctuation_within_a_text_is_no_value(text):
    assert decode_json(json.dumps([text, "\\", {}]).encode()) == [text, "\\", {}]


def test_long_integers_are_converted_up_to_what_that_may_cost():
    long_number = b"9" * 4_000
    assert decode_json(b"[" + b",".join([long_number] * 300) + b"]") == [int(long_number)] * 300
    assert len(decode_json(b"[" + b",".join([b"9" * 100] * 10_000) + b"]")) == 10_000

    with pytest.raises(InvalidJsonError, match="too many long numbers"):
        decode_json(b'{"a": [' + b",".join([long_number] * 320) + b"]}")
