"""Rank memories by the words of a question that they contain.

A row's score is the sum over its stems of ln(1 + n / d): of n candidates that have any stem of the question, d have
this one. A rare word says more than a frequent one. Candidates are rows that the caller may see, so no hidden row moves
a score; a statistic of the whole table, as BM25 has it, would tell of hidden rows. How often a word stands in a text
and how long the text is made no difference for memories, which are short (docs/usage/search.md).

Ranking every memory with any of the words would take seconds where a word is frequent in a large store. So words are
told apart by a sample of the newest candidates: memories with a rare word are looked up and ranked, however old they
are; of those that have frequent words alone, the memories with all of the words and the newest ones are ranked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import F

from memoryhub.core.sql import LateralColumn, compile_expression, fetch_dicts
from memoryhub.memories.querysets import MemoryQuerySet
from memoryhub.memories.sql.search_conditions import SEARCHED_TEXT, AnyWordQuery, RowWords
from memoryhub.search.profiles import Profile
from memoryhub.search.ranked_rows import COLUMNS, StageResult, to_ranked_rows

SAMPLE_SIZE = 1_000
MAX_RARE_HITS = 3
"""A word with at most so many hits in the sample is rare."""


def rank_by_words(candidates: MemoryQuerySet, words: Sequence[str], profile: Profile) -> StageResult:
    """Return the candidates that score best for `words`, at most `profile.candidate_count`.

    Each word has another stem. Without words the newest candidates are returned, all with the same rank.
    """
    if not words:
        rows_sql, params = candidates.newest_sql(profile.candidate_count, *COLUMNS)
        rows = fetch_dicts(rows_sql, params)
        return StageResult(to_ranked_rows({**row, "score": 0.0, "rank": (len(rows) + 1) / 2} for row in rows))
    sample = _sample_words(candidates, words)
    newest_rows = candidates.newest_range(profile.scanned_rows) if sample.is_full else None
    if newest_rows is None:
        return _rank([candidates], words, [0.0] * len(words), profile)
    rare_words = [word for word, hits in zip(words, sample.hits, strict=True) if hits <= MAX_RARE_HITS]
    row_sets = [candidates.with_any_words([[word] for word in rare_words])] if rare_words else []
    if len(rare_words) < len(words):
        row_sets += [newest_rows, candidates.with_any_words([words])]
    min_counts = [hits / SAMPLE_SIZE * profile.scanned_rows for hits in sample.hits]
    return _rank(row_sets, words, min_counts, profile, is_complete=len(rare_words) == len(words))


@dataclass(frozen=True, slots=True)
class _Sample:
    hits: list[int]
    is_full: bool


def _sample_words(candidates: MemoryQuerySet, words: Sequence[str]) -> _Sample:
    """Count how many of the newest candidates have each word."""
    rows_sql, params = candidates.newest_sql(SAMPLE_SIZE, "id", "recorded_at", searched_text=SEARCHED_TEXT)
    row_words_sql, _ = compile_expression(
        RowWords(*(LateralColumn("newest", name) for name in ("id", "recorded_at", "searched_text")))
    )
    matches_sql, match_params = _matches_sql(words)
    counts_sql = ", ".join(f"count(*) FILTER (WHERE has_{index}) AS hits_{index}" for index in range(len(words)))
    (row,) = fetch_dicts(
        _SAMPLE_SQL.format(counts=counts_sql, matches=matches_sql, words=row_words_sql, rows=rows_sql),
        [*match_params, *params],
    )
    return _Sample([row[f"hits_{index}"] for index in range(len(words))], is_full=row["row_count"] == SAMPLE_SIZE)


def _rank(
    row_sets: Sequence[MemoryQuerySet],
    words: Sequence[str],
    min_counts: Sequence[float],
    profile: Profile,
    *,
    is_complete: bool = True,
) -> StageResult:
    """Return the best of the rows that have any of the words.

    `min_counts` are lower bounds of how many candidates have each word, where `row_sets` are only a part of them.
    """
    any_word_sql, any_word_params = compile_expression(AnyWordQuery(words))
    matches_sql, match_params = _matches_sql(words)
    compiled_sets = [
        rows.unordered_sql(*COLUMNS, words=RowWords(F("id"), F("recorded_at"), SEARCHED_TEXT)) for rows in row_sets
    ]
    positions = range(len(words))
    sql = _RANK_SQL.format(
        columns=", ".join(f'"{name}"' for name in COLUMNS),
        rows=" UNION ALL ".join(rows_sql for rows_sql, _ in compiled_sets),
        matches=matches_sql,
        any_word=any_word_sql,
        counts=", ".join(f"greatest(count(*) FILTER (WHERE has_{i}), %s, 1) AS count_{i}" for i in positions),
        score=" + ".join(f"CASE WHEN has_{i} THEN ln(1 + total::float8 / count_{i}) ELSE 0 END" for i in positions),
    )
    set_params = [param for _, params in compiled_sets for param in params]
    min_total = max(min_counts) and profile.scanned_rows
    params = [*match_params, *set_params, *any_word_params, min_total, *min_counts, profile.candidate_count]
    return StageResult(to_ranked_rows(fetch_dicts(sql, params)), is_complete=is_complete)


def _matches_sql(words: Sequence[str]) -> tuple[str, list[object]]:
    """Return SQL of a column for each word: whether a row has it."""
    queries = [compile_expression(AnyWordQuery([word])) for word in words]
    columns_sql = ", ".join(f"words @@ {sql} AS has_{index}" for index, (sql, _) in enumerate(queries))
    return columns_sql, [param for _, params in queries for param in params]


# OFFSET 0 and MATERIALIZED: the words of a row are read once, and compared once.
_SAMPLE_SQL = """
SELECT count(*) AS row_count, {counts}
FROM (SELECT {matches} FROM (SELECT {words} AS words FROM ({rows}) AS newest OFFSET 0) AS texts OFFSET 0) AS sample
"""
# Rows with the same score share the mean of their ranks: which of them is the newest says nothing about the question.
_RANK_SQL = """
WITH matched AS MATERIALIZED (
    SELECT DISTINCT ON (id) {columns}, {matches}
    FROM (SELECT * FROM ({rows}) AS parts OFFSET 0) AS candidate
    WHERE words @@ {any_word}
),
counts AS MATERIALIZED (SELECT greatest(count(*), %s) AS total, {counts} FROM matched),
scored AS MATERIALIZED (SELECT {columns}, round(({score})::numeric, 4)::float8 AS score FROM matched, counts)
SELECT {columns}, score,
       (rank() OVER (ORDER BY score DESC) + (count(*) OVER (PARTITION BY score) - 1) / 2.0)::float8 AS rank
FROM scored
ORDER BY score DESC, "timestamp" DESC, memory_id DESC
LIMIT %s
"""
