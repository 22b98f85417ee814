"""How much a JSON document may hold: what takes seconds to decode is refused before it is decoded (BI-03)."""

import json
import time

import pytest

from memoryhub.memories.strict_json import BadJson, decode

SIZE = 16 * 2**20


def filled(begin: bytes, unit: bytes, end: bytes) -> bytes:
    """16 MiB of the same."""
    return begin + unit * ((SIZE - len(begin) - len(end)) // len(unit)) + end


HOSTILE = {
    "empty objects": filled(b"[", b"{},", b"{}]"),
    "empty objects, never closed": filled(b"[", b"{},", b""),
    "empty objects in an object": filled(b'{"a":[', b"{},", b"{}]}"),
    "empty arrays": filled(b"[", b"[],", b"[]]"),
    "arrays in arrays": filled(b"[", b"[[]],", b"0]"),
    "objects in objects": filled(b"[", b'{"":{}},', b"0]"),
    "the same key": filled(b"{", b'"":0,', b'"":0}'),
    "numbers": filled(b"[", b"0,", b"0]"),
    "empty texts": filled(b"[", b'"",', b'""]'),
    "escaped texts between objects": filled(b"[", b'"\\\\",{},', b"0]"),
    "quotation marks between objects": filled(b"[", b'"\\"",{},', b"0]"),
    "different keys": b"{" + b",".join(b'"%x":0' % number for number in range(1_500_000)) + b"}",
}


@pytest.mark.parametrize("shape", HOSTILE)
def test_16_mib_of_many_values_are_refused_within_half_a_second(shape):
    body = HOSTILE[shape]
    started = time.thread_time()

    with pytest.raises(BadJson) as refusal:
        decode(body)

    assert time.thread_time() - started < 0.5
    assert refusal.value.code == "too_large"
    assert len(str(refusal.value)) < 100


@pytest.mark.parametrize(
    "body", [filled(b"", b"[", b""), filled(b"", b"{", b""), filled(b"[", b"1", b"]")], ids=[0, 1, 2]
)
def test_16_mib_that_are_no_document_are_refused_within_half_a_second(body):
    started = time.thread_time()

    with pytest.raises(BadJson) as refusal:
        decode(body)

    assert time.thread_time() - started < 0.5
    assert len(str(refusal.value)) < 100


def test_a_full_batch_with_embeddings_is_read():
    embedding = [number / 1_000 for number in range(1_024)]
    envelope = {f"field_{number}": "x" for number in range(20)} | {"embedding": embedding, "metadata": {"a": [{}]}}
    body = json.dumps([envelope] * 1_000).encode()

    assert len(decode(body)) == 1_000


@pytest.mark.parametrize(
    "text", ["{}," * 5_000_000, '[{},"' * 1_000_000, "\\" * 4_000_000, '\\"{},' * 1_000_000], ids=range(4)
)
def test_punctuation_within_a_text_is_no_value(text):
    assert decode(json.dumps([text, "\\", {}]).encode()) == [text, "\\", {}]
