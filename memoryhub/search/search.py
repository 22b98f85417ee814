"""Search in stages: policy, filters, words, meaning, merge. Every stage honours every filter.

The first two stages are one queryset: the visible rows that match the filters (`MemoryFilterSet.candidates`). Two more
rank its rows, by words and by meaning, and their results are merged.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter

from memoryhub.core.sql import fetch_dicts
from memoryhub.firewall.cursors import create_cursor_codec
from memoryhub.firewall.principal import Principal
from memoryhub.language.embedder import Embedder, configured_embedder
from memoryhub.language.embedding_values import Vector
from memoryhub.language.errors import EmbedderUnavailableError
from memoryhub.memories import clock
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.pagination import parse_limit
from memoryhub.memories.querysets import MemoryQuerySet
from memoryhub.memories.text_search import all_matching
from memoryhub.search import embedding_index
from memoryhub.search.fusion import MergedRow, merge_stages, with_recency
from memoryhub.search.keyword_stage import rank_by_words
from memoryhub.search.options import SearchOptions
from memoryhub.search.profiles import Mode, Sort
from memoryhub.search.question import Question, read_question
from memoryhub.search.ranked_rows import StageResult
from memoryhub.search.semantic_stage import rank_by_meaning

MERGE_K = 10
MAX_COUNTED = 10_000
"""Candidates and memories without a vector are counted up to here."""
KEYWORD, SEMANTIC = "keyword", "semantic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """Whether memories were compared by meaning."""

    is_used: bool = False
    reason: str = ""
    """Why not, as a sentence."""
    model: str = ""
    not_embedded: int = 0
    """How many visible memories that match the filters have no vector yet; at most MAX_COUNTED."""


@dataclass(slots=True)
class StageReport:
    """What a stage did."""

    name: str
    candidates: int = 0
    milliseconds: float = 0.0
    is_complete: bool = True
    """Whether all candidates were ranked, or counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPage:
    """A page of results, and how they were found."""

    rows: list[MergedRow]
    next_cursor: str | None
    filters: MemoryFilterSet
    """The filters of this page: on a later page, at the record time of the first one."""
    question: Question
    meaning: Meaning
    stages: list[StageReport] = field(default_factory=list)


def search_page(
    filters: MemoryFilterSet, options: SearchOptions, *, principal: Principal, params: Mapping[str, str]
) -> SearchPage:
    """Return the page of results that `limit` and `cursor` in `params` select.

    All pages are those of the store as it was when the first one was asked for, so that none repeats a result of
    another or leaves one out. Raises InvalidQueryError.
    """
    limit = parse_limit(params.get("limit", ""))
    codec = create_cursor_codec(principal, "search", sorted(filters.active_filters), options)
    if cursor := params.get("cursor"):
        offset, record_time = codec.decode(cursor, int, datetime)
        filters = filters.at_record_time(record_time)
    else:
        offset, record_time = 0, clock.latest_stable_record_time()
    run = _SearchRun(filters, options)
    rows = run.merged_rows()
    next_cursor = codec.encode(offset + limit, record_time) if len(rows) > offset + limit else None
    return SearchPage(
        rows=rows[offset : offset + limit],
        next_cursor=next_cursor,
        filters=filters,
        question=run.question,
        meaning=run.meaning,
        stages=run.reports if options.explain else [],
    )


class _SearchRun:
    """One search: it runs the stages, and keeps what they report."""

    def __init__(self, filters: MemoryFilterSet, options: SearchOptions) -> None:
        self.filters, self.options = filters, options
        self.question = read_question(filters.query, filters.search_terms)
        self.meaning = Meaning(reason="Neither the profile nor the mode compares by meaning.")
        self.reports: list[StageReport] = []
        candidates = filters.candidates
        self.candidates = (
            all_matching(candidates, self.question.required_terms) if self.question.required_terms else candidates
        )

    def merged_rows(self) -> list[MergedRow]:
        """Return the results in the order that was asked for."""
        if self.options.explain:
            self._count_candidates("policy", self.filters.point_in_time.current_versions(self.filters.visible_versions))
            self._count_candidates("filters", self.candidates)
        stages: dict[str, StageResult] = {}
        if self._uses_meaning:
            stages |= self._run_semantic_stage()
        # If meaning is not available, words answer.
        if self.options.mode is not Mode.SEMANTIC or not self.meaning.is_used:
            with self._report(KEYWORD) as report:
                stages[KEYWORD] = rank_by_words(self.candidates, self.question.words, self.options.profile)
                report.candidates, report.is_complete = len(stages[KEYWORD].rows), stages[KEYWORD].is_complete
        with self._report("merge") as report:
            rows = self._merge(stages)
            report.candidates = len(rows)
        return rows

    @property
    def _uses_meaning(self) -> bool:
        is_asked = self.options.mode is Mode.SEMANTIC or self.options.profile.has_meaning
        return is_asked and self.options.mode is not Mode.KEYWORD

    def _run_semantic_stage(self) -> dict[str, StageResult]:
        try:
            embedder = configured_embedder()
            if embedder is None:
                raise EmbedderUnavailableError("The operator has chosen no embedding model.")
            vector = self._embed_question(embedder)
        except EmbedderUnavailableError as error:
            self.meaning = Meaning(reason=str(error))
            return {}
        model = embedding_index.find_model(embedder)
        if vector is None or model is None:
            reason = "There is no text to compare." if vector is None else "No memory has been embedded yet."
            self.meaning = Meaning(reason=reason)
            return {}
        unembedded_rows = self.candidates.recorded_after(model.embedded_through)
        self.meaning = Meaning(is_used=True, model=model.name, not_embedded=_count_up_to(unembedded_rows, MAX_COUNTED))
        with self._report(SEMANTIC) as report:
            limit = self.options.profile.candidate_count
            result = rank_by_meaning(self.candidates, embedding_index.format_vector(vector), model, limit=limit)
            report.candidates, report.is_complete = len(result.rows), result.is_complete
        return {SEMANTIC: result}

    def _embed_question(self, embedder: Embedder) -> Vector | None:
        if self.options.embedding is not None:
            return self.options.embedding
        with self._report("embed"):
            return embedder.embed_query(self.question.text) if self.question.text else None

    def _merge(self, stages: Mapping[str, StageResult]) -> list[MergedRow]:
        rows = merge_stages({name: result.rows for name, result in stages.items()}, MERGE_K)
        if self.options.half_life:
            now = self.filters.point_in_time.valid_at or clock.database_now()
            rows = with_recency(rows, half_life=self.options.half_life, now=now)
        if self.options.sort is not Sort.RELEVANCE:
            # Equal instants stay in the order of relevance.
            rows.sort(key=attrgetter(self.options.sort), reverse=True)
        return rows

    def _count_candidates(self, name: str, rows: MemoryQuerySet) -> None:
        with self._report(name) as report:
            report.candidates = _count_up_to(rows, MAX_COUNTED + 1)
            report.is_complete = report.candidates <= MAX_COUNTED
            report.candidates = min(report.candidates, MAX_COUNTED)

    @contextmanager
    def _report(self, name: str) -> Iterator[StageReport]:
        report = StageReport(name)
        started_at = time.perf_counter()
        yield report
        report.milliseconds = (time.perf_counter() - started_at) * 1_000
        self.reports.append(report)


def _count_up_to(rows: MemoryQuerySet, maximum: int) -> int:
    rows_sql, params = rows.newest_sql(maximum, "id")
    return int(fetch_dicts(f"SELECT count(*) AS count FROM ({rows_sql}) AS counted", params)[0]["count"])  # noqa: S608 - compiled here
