"""Why a memory is among the results: the words of the question that stand in it."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from memoryhub.core.sql import LateralColumn, compile_expression, fetch_dicts
from memoryhub.core.words import split_words
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.sql.search_conditions import SEARCHED_TEXT
from memoryhub.search.question import Question

MAX_READ_CHARACTERS = 10_000
"""Of a longer text, the words in its beginning are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """`matched_words` are words of the memory, folded, that have the stems of words in the question."""

    matched_words: list[str]
    has_all_words: bool
    """Whether the memory matches the text as a filter: all words, phrases and literal texts."""


def explain_matches(filters: MemoryFilterSet, question: Question, memory_ids: Collection[UUID]) -> dict[UUID, Reason]:
    """Return the reason for each of the memories."""
    rows = _read_texts(filters, question, memory_ids)
    words_by_memory = {row["memory_id"]: split_words(row["text"]) for row in rows}
    matching_words = _find_matching_words({word for words in words_by_memory.values() for word in words}, question)
    return {
        row["memory_id"]: Reason(
            matched_words=list(dict.fromkeys(filter(matching_words.__contains__, words_by_memory[row["memory_id"]]))),
            has_all_words=row["has_all_words"],
        )
        for row in rows
    }


def _read_texts(filters: MemoryFilterSet, question: Question, memory_ids: Collection[UUID]) -> list[dict[str, Any]]:
    rows = filters.point_in_time.current_versions(filters.visible_versions).with_ids(list(memory_ids))
    rows_sql, params = rows.unordered_sql("id", "memory_id", "recorded_at", searched_text=SEARCHED_TEXT)
    columns = (LateralColumn("candidate", name) for name in ("id", "recorded_at", "searched_text"))
    conditions = list(map(compile_expression, question.all_words.text_conditions(*columns)))
    sql = _TEXTS_SQL.format(conditions=" AND ".join(["true", *(sql for sql, _ in conditions)]), rows=rows_sql)
    condition_params = [param for _, params_of_condition in conditions for param in params_of_condition]
    return fetch_dicts(sql, [MAX_READ_CHARACTERS, *condition_params, *params])


def _find_matching_words(words: Collection[str], question: Question) -> set[str]:
    rows = fetch_dicts(_MATCHING_WORDS_SQL, [list(words), list(question.words)])
    return {row["word"] for row in rows}


_TEXTS_SQL = """
SELECT memory_id, left(searched_text, %s) AS text, {conditions} AS has_all_words FROM ({rows}) AS candidate
"""
_MATCHING_WORDS_SQL = """
SELECT word FROM unnest(%s::text[]) AS word
WHERE memory_word_query(word)::text IN (SELECT memory_word_query(asked)::text FROM unnest(%s::text[]) AS asked)
"""
