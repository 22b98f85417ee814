"""What embeddings would do to the conflict detector: vectors made here, for no model is at hand."""

import math
import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache

from memoryhub.conflicts.detector import Value

DIMENSIONS = 384
Pairs = Callable[[Value, Value], tuple[Value, Value]]


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


def ways() -> Iterable[tuple[str, Pairs]]:
    yield "character trigrams, 384-d", spelt
    for cosine in (0.2, 0.5, 0.8, 0.95):
        yield f"every cosine {cosine}", at_an_angle(cosine)
