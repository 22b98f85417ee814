"""What each feature weighs: data, with a version. Change a number, and give it another version."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Question = Literal["related", "incompatible", "replaces"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    version: str
    biases: Mapping[Question, float]
    weights: Mapping[Question, Mapping[str, float]]
    doubts: Mapping[Question, float]
    """Nearer to zero than this, a question's log-odds are in doubt: the language model is asked, if there is one."""


WEIGHTS = Weights(
    version="2026-11-30.1",
    biases=MappingProxyType({"related": -5.0, "incompatible": -3.0, "replaces": -6.0}),
    weights=MappingProxyType(
        {
            # Do both values speak of one matter?
            "related": {
                "shared_words": 6.0,
                "contained_words": 3.0,
                "same_frame": 3.0,
                "same_kind": 7.0,
                "cleared": 9.0,
                "specific_key": 1.0,
                "both_say_more": -2.0,
                "opposed": 1.5,
                "nothing_else": 3.0,
                "turned_twice": 2.0,
                "another_object": -4.0,
                "many_valued_key": -5.0,
                "cosine": 6.0,
                "nli_neutral": -4.0,
            },
            # Can both be true at once?
            "incompatible": {
                "negation": 6.0,
                "antonyms": 5.0,
                "quantities": 5.0,
                "dates": 5.0,
                "exclusive": 5.0,
                "swapped": 5.0,
                "another_value": 4.5,
                "short_values": 6.0,
                "cleared": 8.0,
                "lists": 4.5,
                "contained": -2.0,
                "nli_contradiction": 4.0,
            },
            # Does the later one take the place of the earlier one?
            "replaces": {
                "later": 5.0,
                "same_actor": 2.5,
                "more_trusted": 2.5,
                "less_trusted": -5.0,
                "same_record": 2.0,
            },
        }
    ),
    # Set by thought. Without a sign that two statements cannot both be true, the odds of the second are its bias, -3.
    doubts=MappingProxyType({"related": 3.0, "incompatible": 3.5, "replaces": 0.0}),
)
