"""Vectors for the search by meaning: a million around 2,000 centres, queries beside them, and their true neighbours.

Everything follows from the seed, under one version of NumPy. Each chunk has random numbers of its own, so that a chunk
does not depend on which others were made before it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float16]
Mask = NDArray[np.bool_]

DIMENSIONS, CENTRES, CHUNK_SIZE = 384, 2_000, 20_000
NOISE = 0.75
"""The length of the noise that is added to a centre of length 1: the mean cosine to the centre is 0.80.

Two vectors of one centre have a cosine of 0.64 ± 0.04; the nearest of a million has one of 0.70 on average, the tenth
nearest 0.685. With all-MiniLM-L6-v2, 3,933 texts have one of 0.73 to the centres of k-means with 25 texts each, and of
0.76 to the nearest text. So these neighbours are no copies, and harder to tell apart than those of a model: the noise
has all directions alike, and so have the centres.
"""
NAMESPACE_SHARES = {"tenth": 0.1, "hundredth": 0.01, "thousandth": 0.001}
OTHER_NAMESPACES = 500
TIER_SHARES = {"public": 0.2, "internal": 0.5, "confidential": 0.2, "restricted": 0.1}
_CENTRES_STREAM, _QUERIES_STREAM, _NAMESPACES_STREAM, _TIERS_STREAM, _ROWS_STREAM = range(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """The rows nearest to each query, the nearest first: one line a query."""

    row_ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    """Inner products; -inf where there are fewer rows than asked for, and the row id is 0."""


@dataclass(frozen=True, kw_only=True)
class VectorSet:
    """`count` unit vectors with a namespace and a tier each, both independent of the centre. Row ids start at 1."""

    count: int
    seed: int = 1
    noise: float = NOISE

    def iter_chunks(self) -> Iterator[tuple[slice, Vectors]]:
        """Yield the vectors as halfvec stores them, and which of the rows they are: the row ids are one higher."""
        for start in range(0, self.count, CHUNK_SIZE):
            rows = slice(start, min(start + CHUNK_SIZE, self.count))
            yield rows, self._sample_vectors(rows.stop - rows.start, _ROWS_STREAM, start)

    def make_queries(self, count: int = 1_000) -> Vectors:
        """Return vectors around the same centres, none of which is stored."""
        return self._sample_vectors(count, _QUERIES_STREAM)

    @cached_property
    def namespaces(self) -> NDArray[np.str_]:
        other_share = (1 - sum(NAMESPACE_SHARES.values())) / OTHER_NAMESPACES
        other_shares = {f"namespace-{index:03}": other_share for index in range(OTHER_NAMESPACES)}
        return self._sample_names(NAMESPACE_SHARES | other_shares, _NAMESPACES_STREAM)

    @cached_property
    def tiers(self) -> NDArray[np.str_]:
        return self._sample_names(TIER_SHARES, _TIERS_STREAM)

    @cached_property
    def _centres(self) -> NDArray[np.float32]:
        return _normalize(self._random(_CENTRES_STREAM).standard_normal((CENTRES, DIMENSIONS), np.float32))

    def _sample_vectors(self, count: int, *stream: int) -> Vectors:
        random = self._random(*stream)
        centres = self._centres[random.integers(CENTRES, size=count)]
        noise = random.standard_normal((count, DIMENSIONS), np.float32) * np.float32(self.noise / DIMENSIONS**0.5)
        return _normalize(centres + noise).astype(np.float16)

    def _sample_names(self, shares: Mapping[str, float], stream: int) -> NDArray[np.str_]:
        indexes = self._random(stream).choice(len(shares), size=self.count, p=list(shares.values()))
        return np.array(list(shares))[indexes]

    def _random(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *stream])


def find_neighbours(
    vectors: VectorSet, queries: Vectors, masks: Mapping[str, Mask], *, count: int = 200
) -> dict[str, Neighbours]:
    """For each mask the `count` rows with the highest inner product among the rows where the mask is true.

    In one pass over the vectors, with the precision of float32 over values that are rounded to halfvec, as pgvector
    computes.
    """
    best = {
        name: Neighbours(
            row_ids=np.zeros((len(queries), count), np.int64),
            scores=np.full((len(queries), count), -np.inf, np.float32),
        )
        for name in masks
    }
    for rows, chunk in vectors.iter_chunks():
        scores = queries.astype(np.float32) @ chunk.astype(np.float32).T
        for name, mask in masks.items():
            candidates = np.flatnonzero(mask[rows])
            best[name] = _merge_neighbours(best[name], candidates + rows.start + 1, scores[:, candidates])
    return best


def _merge_neighbours(best: Neighbours, row_ids: NDArray[np.int64], scores: NDArray[np.float32]) -> Neighbours:
    count = best.scores.shape[1]
    all_scores = np.concatenate([best.scores, scores], axis=1)
    all_row_ids = np.concatenate([best.row_ids, np.broadcast_to(row_ids, scores.shape)], axis=1)
    nearest = np.argpartition(-all_scores, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(all_scores, nearest, axis=1), axis=1, kind="stable")
    nearest = np.take_along_axis(nearest, order, axis=1)
    return Neighbours(
        row_ids=np.take_along_axis(all_row_ids, nearest, axis=1),
        scores=np.take_along_axis(all_scores, nearest, axis=1),
    )


def measure_recall(results: list[list[int]], truth: Neighbours, count: int) -> float:
    """The mean share of the true nearest `count` rows, or of all there are if fewer, that are among the results."""
    shares = []
    for row_ids, true_row_ids in zip(results, truth.row_ids[:, :count], strict=True):
        expected = set(true_row_ids.tolist()) - {0}
        shares.append(len(expected & set(row_ids[:count])) / len(expected))
    return float(np.mean(shares))


def encode_copy_rows(*columns: NDArray[np.generic]) -> bytes:
    """Rows for COPY … (FORMAT BINARY), without the header: each column as big-endian numbers or as ASCII bytes.

    All values of a column have the same length, which makes it one copy of memory for all rows. `encode_halfvecs` makes
    the column of vectors.
    """
    row_count = len(columns[0])
    fields = [np.full((row_count, 1), len(columns), ">i2").view(np.uint8)]
    for column in columns:
        values = np.ascontiguousarray(column).view(np.uint8).reshape(row_count, -1)
        fields += [np.full((row_count, 1), values.shape[1], ">i4").view(np.uint8), values]
    return np.concatenate(fields, axis=1).tobytes()


def encode_halfvecs(vectors: Vectors) -> NDArray[np.uint8]:
    """The vectors as pgvector sends and receives them: dimensions, an unused number, and the values."""
    header = np.broadcast_to(np.array([vectors.shape[1], 0], ">i2"), (len(vectors), 2))
    return np.concatenate([header.view(np.uint8), vectors.astype(">f2").view(np.uint8)], axis=1)


def _normalize(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    normalized: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normalized
