"""With what values are compared now: the weights, and the language model if there is one."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from memoryhub.conflicts import entailment
from memoryhub.conflicts.entailment import Model, Opinion
from memoryhub.conflicts.features import Measured, Pair
from memoryhub.conflicts.weights import WEIGHTS, Question, Weights

MODEL_COST = 25
"""What a pair costs if a model may be asked about it, in pairs that are compared without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    weights: Weights = WEIGHTS
    model: Model | None = None

    @property
    def version(self) -> str:
        """What a class is kept under and told with: other weights or another model, another version."""
        return f"{self.weights.version}+nli-{self.model.digest[:12]}" if self.model else self.weights.version

    @property
    def cost(self) -> int:
        return MODEL_COST if self.model else 1


def current() -> Method:
    return Method(model=entailment.in_use())


class Advice:
    """What the language model says of one pair of texts: asked once at most, and only where a question is in doubt.

    Bare values it is not asked about: it would tell how alike they are, and they are no statements.
    """

    def __init__(self, method: Method, pair: Pair, one: str, other: str) -> None:
        self.method, self.texts = method, (one, other)
        self.model = None if pair.are_short else method.model
        self.version = method.version
        """Of what was used: without the model's part if it was needed and did not answer."""

    def on(self, question: Question, odds: float) -> Iterator[Measured]:
        """What it adds to a question that has these log-odds without it."""
        if self.model is None or abs(odds) >= self.method.weights.doubts[question] or not self.opinion:
            return
        yield from _neutral(self.opinion) if question == "related" else _contradiction(self.opinion)

    @cached_property
    def opinion(self) -> Opinion | None:
        found = self.model.opinion(*self.texts) if self.model else None
        if found is None:
            self.version = self.method.weights.version
        return found


def _neutral(opinion: Opinion) -> Iterator[Measured]:
    value = 2 * opinion.neutral - 1
    finds = "that neither bears on the other" if value > 0 else "that one bears on the other"
    yield "nli_neutral", value, f"the language model finds {finds} ({(1 + abs(value)) / 2:.2f})"


def _contradiction(opinion: Opinion) -> Iterator[Measured]:
    value = opinion.contradiction - opinion.entailment
    if value > 0:
        words = f"the language model finds a contradiction ({opinion.contradiction:.2f})"
    else:
        words = f"the language model finds that one follows from the other ({opinion.entailment:.2f})"
    yield "nli_contradiction", value, words
