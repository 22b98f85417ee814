"""A million believable memories in seconds: Zipf subjects, skewed namespaces, common and rare words, clustered vectors.

Everything follows from the seed. Rows come as tuples in the order of `COLUMNS`, so that they go into COPY unchanged.
"""

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import accumulate
from operator import add
from random import Random
from typing import NamedTuple

SUBJECTS, NAMESPACES, VOCABULARY, COLLECTIONS, RARE_LABELS = 50_000, 200, 20_000, 60, 200
ROWS_PER_RARE_WORD = 20
ROWS_PER_RARE_LABEL = 1 / 50_000
DAYS = 730
EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
TIERS = ("public", "internal", "confidential", "restricted")
TIER_SHARES = (40, 40, 15, 5)
ACTORS = (*["agent"] * 80, *["user"] * 14, *["system"] * 6)
KINDS = (*["fact"] * 85, *["summary"] * 10, *["checkpoint"] * 5)
MODELS = ("claude-sonnet-4-5", "gpt-4.1-mini", "gemini-2.5-flash", "")
SOURCES = tuple(f"agent-{index:02}" for index in range(12))
LABELS = (
    *[()] * 700,
    *[("pii",)] * 110,
    *[("financial",)] * 55,
    *[("pii", "customer-data")] * 40,
    *[("legal",)] * 30,
    *[("financial", "legal")] * 25,
    *[("health",)] * 20,
    *[("customer-data",)] * 15,
    *[("credentials",)] * 5,
)
BASE_VECTORS, CLUSTERS = 4096, 64


class Row(NamedTuple):
    payload_id: str
    source: str
    subject: str
    namespace: str
    collection: str
    content: str
    model: str
    timestamp: datetime
    actor_type: str
    actor_id: str
    sensitivity_labels: tuple[str, ...]
    classification_tier: str
    kind: str
    embedding: bytes | None
    """`dimensions` float32 in the machine's byte order, of length near 1."""


COLUMNS = Row._fields


def generate_rows(count: int, *, seed: int = 1, dimensions: int = 384) -> Iterator[Row]:
    """`count` memories; the same for the same arguments. `dimensions=0` leaves the embedding out and is faster."""
    rng = Random(seed)
    chance, choices_ = rng.random, rng.choices
    texts = _Texts(seed, count)
    vectors = _Vectors(seed, dimensions) if dimensions else None
    homes = namespaces(seed)
    step = DAYS * 86_400_000_000 / max(count, 1)  # microseconds from one memory to the next
    batch = 4096  # one weighted draw for many rows is much cheaper than one a row
    for start in range(0, count, batch):
        size = min(batch, count - start)
        subjects = choices_(subject_names(), cum_weights=_zipf_weights(SUBJECTS, 1.05), k=size)
        places = choices_(homes, cum_weights=_zipf_weights(NAMESPACES, 1.1), k=size)
        tiers = choices_(TIERS, TIER_SHARES, k=size)
        labels, actors, kinds = choices_(LABELS, k=size), choices_(ACTORS, k=size), choices_(KINDS, k=size)
        for offset in range(size):
            row_index = start + offset
            namespace, sources, collections = places[offset]
            source = sources[int(chance() * len(sources))]
            labels_of_row = labels[offset]
            if chance() < RARE_LABELS * ROWS_PER_RARE_LABEL:
                labels_of_row = (*labels_of_row, f"rare-{int(chance() * RARE_LABELS):03}")
            yield Row(
                f"{source}-{seed:x}-{row_index:08x}",
                source,
                subjects[offset],
                namespace,
                collections[int(chance() ** 2 * len(collections))],
                texts.content(),
                MODELS[row_index & 3],
                EPOCH + timedelta(microseconds=int(step * (row_index + chance()))),
                actors[offset],
                f"{source}/{row_index % 7}",
                labels_of_row,
                tiers[offset],
                kinds[offset],
                vectors.embedding() if vectors else None,
            )


@cache
def vocabulary(seed: int = 1) -> tuple[str, ...]:
    """20,000 pronounceable words, the most frequent first. None is a part of a rare word."""
    rng = Random(seed)
    onsets = ("b", "br", "d", "dr", "f", "g", "gl", "h", "k", "kl", "l", "m", "n", "p", "pr", "r", "s", "st", "t", "tr")
    nuclei = ("a", "e", "i", "o", "u", "ai", "ou", "ea")
    codas = ("", "", "n", "r", "l", "s", "t", "nd", "st", "m")
    words: dict[str, None] = {}
    while len(words) < VOCABULARY:
        syllables = 1 + (len(words) > 300) + (rng.random() < 0.5)
        word = "".join(rng.choice(onsets) + rng.choice(nuclei) + rng.choice(codas) for _ in range(syllables))
        words[word] = None
    return tuple(words)


def common_words(count: int, *, seed: int = 1) -> list[str]:
    """The most frequent words of at least four letters: the first stands in most rows, the hundredth in about 2 %."""
    return [word for word in vocabulary(seed) if len(word) >= 4][:count]


def rare_words(word_count: int, *, count: int = 1_000_000) -> list[str]:
    """`n` words that stand in about 20 of `count` rows each, as whole words and nowhere inside another word."""
    available = max(1, count // 1000)
    return [rare_word(index) for index in range(min(word_count, available))]


def rare_word(index: int) -> str:
    return f"xq{index:05}zv"


@cache
def subject_names() -> tuple[str, ...]:
    kinds = ("user", "customer", "service", "project", "ticket")
    return tuple(f"{kinds[index % 5]}:{index:05}" for index in range(SUBJECTS))


@cache
def namespaces(seed: int = 1) -> tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]:
    """Each namespace with the sources that write to it and the collections that belong to it."""
    rng = Random(seed + 1)
    collections = [f"collection-{index:02}" for index in range(COLLECTIONS)]
    return tuple(
        (
            f"namespace-{index:03}",
            tuple(rng.sample(SOURCES, rng.randint(1, 4))),
            tuple(rng.sample(collections, rng.randint(3, 12))),
        )
        for index in range(NAMESPACES)
    )


@cache
def _zipf_weights(size: int, exponent: float) -> tuple[float, ...]:
    return tuple(accumulate(1 / (rank + 1.5) ** exponent for rank in range(size)))


class _Texts:
    """Contents cut out of one long run of Zipf words: drawing every word of every row anew would take minutes."""

    words_in_run = 1_000_000

    def __init__(self, seed: int, count: int) -> None:
        rng = Random(seed + 2)
        words = rng.choices(vocabulary(seed), cum_weights=_zipf_weights(VOCABULARY, 1.0), k=self.words_in_run)
        self.run = " ".join(words)
        starts = [0, *accumulate(len(word) + 1 for word in words)]
        self.starts = starts[: bisect_left(starts, len(self.run) - 401)]
        self.random_float = rng.random
        self.rare_word_count = max(1, count // 1000)
        self.share = min(1.0, self.rare_word_count * ROWS_PER_RARE_WORD / max(count, 1))

    def content(self) -> str:
        """50 to 400 characters of whole words; most are short, as memories are."""
        chance = self.random_float
        start = self.starts[int(chance() * len(self.starts))]
        length = 70 + int(chance() ** 1.6 * 315)
        text = self.run[start : self.run.rfind(" ", start, start + length)]
        if chance() < self.share:
            text = f"{text} {rare_word(int(chance() * self.rare_word_count))}"
        return f"{text[0].upper()}{text[1:]}."


@cache
def vector_pool(seed: int = 1, dimensions: int = 384) -> tuple[tuple[float, ...], ...]:
    """4,096 unit vectors around 64 centres of unequal size."""
    rng = Random(seed + 3)
    centres = [[rng.gauss(0, 1) for _ in range(dimensions)] for _ in range(CLUSTERS)]
    cluster_indexes = rng.choices(range(CLUSTERS), cum_weights=_zipf_weights(CLUSTERS, 0.7), k=BASE_VECTORS)
    return tuple(_unit_vector([value + rng.gauss(0, 0.6) for value in centres[cluster]]) for cluster in cluster_indexes)


class _Vectors:
    """A base vector plus a stretch of a long noise: no two rows are equal, neighbours lie where they should."""

    def __init__(self, seed: int, dimensions: int) -> None:
        rng = Random(seed + 4)
        self.pool, self.dimensions, self.random_float = vector_pool(seed, dimensions), dimensions, rng.random
        noise_scale = 0.35 / dimensions**0.5
        self.noise = [rng.gauss(0, noise_scale) for _ in range(200_000)]

    def embedding(self) -> bytes:
        start = int(self.random_float() * (len(self.noise) - self.dimensions))
        base = self.pool[int(self.random_float() * BASE_VECTORS)]
        return array("f", map(add, base, self.noise[start : start + self.dimensions])).tobytes()


def decode_embedding(embedding: bytes) -> Sequence[float]:
    return array("f", embedding)


def _unit_vector(vector: list[float]) -> tuple[float, ...]:
    length = math.hypot(*vector)
    return tuple(value / length for value in vector)
