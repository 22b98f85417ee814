"""How many of the memories that answer a question a search finds: LoCoMo's questions, over all its observations.

`python -m tests.benchmarks search-quality`. The measure is the mean over the questions of recall@10, with a 95 %
bootstrap interval. The questions of conversations 26, 41 and 47 were looked at while the ranking was made, those of 43
and 49 were only measured. No text of LoCoMo is shown: its licence is for evaluation only.
"""

import gzip
import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.http import QueryDict

from memoryhub.firewall import rls
from memoryhub.memories import word_index
from memoryhub.memories.filters import MemoryFilterSet
from memoryhub.memories.models import Memory
from memoryhub.memories.writes import write
from memoryhub.operations import embedded_postgres
from memoryhub.search.embedding_index import embed_memories
from memoryhub.search.options import SearchOptions
from memoryhub.search.profiles import PROFILES, Mode
from memoryhub.search.search import search_page
from tests.benchmarks.pages import p95
from tests.factories import WRITER

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
TUNING_CONVERSATIONS = ("conv-26", "conv-41", "conv-47")
ADVERSARIAL = 5
"""The category of questions that name the wrong person."""
RESAMPLES = 2_000
METHODS = {
    "keyword": SearchOptions(mode=Mode.KEYWORD),
    "semantic": SearchOptions(mode=Mode.SEMANTIC),
    "balanced": SearchOptions(),
    "deep": SearchOptions(profile=PROFILES["deep"]),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedQuestion:
    """A question, and the recall@10 and the milliseconds of each method to search."""

    conversation: str
    category: int
    recalls: dict[str, float]
    milliseconds: dict[str, float]

    @property
    def is_tuned_on(self) -> bool:
        return self.conversation.endswith(TUNING_CONVERSATIONS)


def evaluate() -> list[AskedQuestion]:
    """Ask all questions, in a store of its own that is made at the first time."""
    with embedded_postgres.run_server(settings.APP_CONFIG):
        call_command("migrate", verbosity=0)
        _fill_store()
        return [_send_question(question) for question in _read_lines("locomo-questions-dev.jsonl.gz")]


def _fill_store() -> None:
    with rls.as_writer(None):
        is_filled = Memory.objects.exists()
    envelopes = [
        {**{name: value for name, value in line.items() if value not in ("", [], {})}, "actor_type": "user"}
        for line in _read_lines("locomo-memories.jsonl.gz")
    ]
    for start in range(0, 0 if is_filled else len(envelopes), 500):
        # An operator may write for any source.
        write.write_memories(envelopes[start : start + 500], principal=replace(WRITER, source="", is_operator=True))
    while word_index.index_words(2_000):
        pass
    while embed_memories(256):
        pass


def _send_question(question: dict[str, Any]) -> AskedQuestion:
    recalls, milliseconds = {}, {}
    relevant = set(question["relevant"])
    for name, options in METHODS.items():
        params = QueryDict(mutable=True)
        params["q"] = question["question"]
        started_at = time.perf_counter()
        with rls.as_reader(WRITER.clearance):
            filters = MemoryFilterSet(params, clearance=WRITER.clearance)
            page = search_page(filters, options, principal=WRITER, params={"limit": "10"})
            milliseconds[name] = (time.perf_counter() - started_at) * 1_000
            results = (
                Memory.objects.visible_to(WRITER.clearance).current().with_ids([row.memory_id for row in page.rows])
            )
            found_ids = set(results.values_list("payload_id", flat=True))
        recalls[name] = len(found_ids & relevant) / len(relevant)
    return AskedQuestion(
        conversation=question["source"], category=question["category"], recalls=recalls, milliseconds=milliseconds
    )


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean."""
    random = Random(1)
    means = sorted(fmean(random.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return means[int(RESAMPLES * 0.025)], means[int(RESAMPLES * 0.975)]


def search_quality_section(questions: Sequence[AskedQuestion]) -> list[str]:
    """The lines of "Search quality"."""
    groups = {
        "all": questions,
        "categories 1-4": [question for question in questions if question.category != ADVERSARIAL],
        "category 5": [question for question in questions if question.category == ADVERSARIAL],
        "looked at": [question for question in questions if question.is_tuned_on],
        "only measured": [question for question in questions if not question.is_tuned_on],
    }
    lines = [
        "## Search quality",
        "",
        f"{datetime.now(UTC).date()}: LoCoMo, recall@10 over all 2,541 observations, mean and 95 % bootstrap interval."
        f" {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; times are of the search alone, in one process.",
        "",
        "| method | " + " | ".join(f"{name} ({len(group)})" for name, group in groups.items()) + " | p50 / p95 ms |",
        "|---|" + "---|" * (len(groups) + 1),
    ]
    for method in METHODS:
        cells = [_format_recall([question.recalls[method] for question in group]) for group in groups.values()]
        times = [question.milliseconds[method] for question in questions]
        lines.append(f"| {method} | {' | '.join(cells)} | {median(times):.0f} / {p95(times):.0f} |")
    return lines


def _format_recall(values: Sequence[float]) -> str:
    low, high = interval(values)
    return f"{fmean(values):.3f} ({low:.3f}-{high:.3f})"


def _read_lines(name: str) -> Iterable[dict[str, Any]]:
    with gzip.open(DATA / name, "rt") as lines:
        yield from map(json.loads, lines)
