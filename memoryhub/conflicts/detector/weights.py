"""Weights of the features: data with a version. A changed number needs another version."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Question = Literal["same_topic", "contradicts", "supersedes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    version: str
    biases: Mapping[Question, float]
    weights: Mapping[Question, Mapping[str, float]]
    uncertainty_margins: Mapping[Question, float]
    """A question with log-odds closer to zero than this is in doubt: the language model is called, if there is one."""


WEIGHTS = Weights(
    version="2026-11-30.1",
    biases=MappingProxyType({"same_topic": -5.0, "contradicts": -3.0, "supersedes": -6.0}),
    weights=MappingProxyType(
        {
            # Are both values about the same topic?
            "same_topic": {
                "shared_words": 6.0,
                "contained_words": 3.0,
                "shared_frame": 3.0,
                "same_kind": 7.0,
                "null_value": 9.0,
                "specific_key": 1.0,
                "both_add_words": -2.0,
                "opposites": 1.5,
                "only_opposites_differ": 3.0,
                "double_negation": 2.0,
                "different_object": -4.0,
                "multi_valued_key": -5.0,
                "cosine": 6.0,
                "nli_neutral": -4.0,
            },
            # Can both be true at once?
            "contradicts": {
                "negation": 6.0,
                "antonyms": 5.0,
                "quantities": 5.0,
                "dates": 5.0,
                "mutually_exclusive": 5.0,
                "swapped_roles": 5.0,
                "substituted_value": 4.5,
                "different_short_values": 6.0,
                "null_value": 8.0,
                "different_lists": 4.5,
                "contained_text": -2.0,
                "nli_contradiction": 4.0,
            },
            # Does the later value supersede the earlier one?
            "supersedes": {
                "later_timestamp": 5.0,
                "same_actor": 2.5,
                "more_trusted": 2.5,
                "less_trusted": -5.0,
                "same_record": 2.0,
            },
        }
    ),
    # Chosen by reasoning, not fitted. Without a sign that two statements cannot both be true, the log-odds of the
    # second question are its bias, -3.
    uncertainty_margins=MappingProxyType({"same_topic": 3.0, "contradicts": 3.5, "supersedes": 0.0}),
)
