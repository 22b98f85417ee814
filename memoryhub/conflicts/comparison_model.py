"""The current means of comparison: the detector's weights and, if configured, the language model."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from memoryhub.conflicts.detector.features import Measurement, TextPair
from memoryhub.conflicts.detector.weights import WEIGHTS, Question, Weights
from memoryhub.language import nli
from memoryhub.language.nli import NliModel, NliScores

MODEL_COST = 25
"""Cost of a pair for which the language model may be called, in pairs that are compared without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonModel:
    weights: Weights = WEIGHTS
    nli_model: NliModel | None = None

    @property
    def version(self) -> str:
        """Classes are cached and reported under this version; other weights or another language model change it."""
        return f"{self.weights.version}+nli-{self.nli_model.digest[:12]}" if self.nli_model else self.weights.version

    @property
    def cost(self) -> int:
        return MODEL_COST if self.nli_model else 1


def current_comparison_model() -> ComparisonModel:
    return ComparisonModel(nli_model=nli.configured_model())


class NliAdvice:
    """The language model's features for one pair of texts.

    The model is called at most once, and only if a question is in doubt. It is not called for short values: these are
    no statements, and the model would only report how similar they are.
    """

    def __init__(self, comparison_model: ComparisonModel, pair: TextPair, left_text: str, right_text: str) -> None:
        self.comparison_model, self.texts = comparison_model, (left_text, right_text)
        self.nli_model = None if pair.are_short else comparison_model.nli_model
        self.version = comparison_model.version
        """Version of what was used: without the model's part if the model was needed and gave no answer."""

    def measure(self, question: Question, log_odds: float) -> Iterator[Measurement]:
        """The model's features for a question with these log-odds; none unless the question is in doubt."""
        if (
            self.nli_model is None
            or abs(log_odds) >= self.comparison_model.weights.uncertainty_margins[question]
            or not self.scores
        ):
            return
        yield from _measure_neutral(self.scores) if question == "same_topic" else _measure_contradiction(self.scores)

    @cached_property
    def scores(self) -> NliScores | None:
        scores = self.nli_model.predict_or_none(*self.texts) if self.nli_model else None
        if scores is None:
            self.version = self.comparison_model.weights.version
        return scores


def _measure_neutral(scores: NliScores) -> Iterator[Measurement]:
    value = 2 * scores.neutral - 1
    finding = "that neither bears on the other" if value > 0 else "that one bears on the other"
    yield "nli_neutral", value, f"the language model finds {finding} ({(1 + abs(value)) / 2:.2f})"


def _measure_contradiction(scores: NliScores) -> Iterator[Measurement]:
    value = scores.contradiction - scores.entailment
    if value > 0:
        explanation = f"the language model finds a contradiction ({scores.contradiction:.2f})"
    else:
        explanation = f"the language model finds that one follows from the other ({scores.entailment:.2f})"
    yield "nli_contradiction", value, explanation
