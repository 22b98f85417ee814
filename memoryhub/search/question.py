"""What a search asks: words to rank by, texts that are required, and a text to compare by meaning."""

from dataclasses import dataclass

from memoryhub.core.sql import fetch_dicts
from memoryhub.core.words import split_words
from memoryhub.memories.query_language import ParsedQuery, TermKind
from memoryhub.memories.query_params import build_search_terms
from memoryhub.memories.sql.search_conditions import SearchTerms

MAX_WORDS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The parts of a search text.

    `words` has each stem once, without words such as "the" if there are others. `required_terms` are phrases in quotes,
    exclusions and literal texts: every result matches them.
    """

    text: str
    words: tuple[str, ...]
    all_words: SearchTerms
    required_terms: SearchTerms


def read_question(query: ParsedQuery, search_terms: SearchTerms) -> Question:
    """Return what `query` asks. `search_terms` are its condition as a filter, with labels."""
    included_texts = [term.text for term in query.terms if term.kind is TermKind.WORDS and not term.is_excluded]
    required_terms = [term for term in query.terms if term.is_explicit or term.is_excluded]
    words = [word for text in included_texts for word in split_words(text)][:MAX_WORDS]
    return Question(
        text=" ".join(included_texts),
        words=tuple(_choose_ranking_words(words)),
        all_words=search_terms,
        required_terms=build_search_terms(required_terms, search_terms.labels),
    )


def _choose_ranking_words(words: list[str]) -> list[str]:
    """Return one word for each stem, without the stop words of English unless there are no others."""
    rows = fetch_dicts(_STEMS_SQL, [words]) if words else []
    content_rows = [row for row in rows if not row["is_stop_word"]] or rows
    return list({row["stem"]: row["word"] for row in reversed(content_rows)}.values())[::-1]


_STEMS_SQL = """
SELECT word, memory_word_query(word)::text AS stem,
       numnode(plainto_tsquery('pg_catalog.english', word)) = 0 AS is_stop_word
FROM unnest(%s::text[]) WITH ORDINALITY AS words(word, position)
ORDER BY position
"""
