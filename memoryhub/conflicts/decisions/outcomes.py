"""The outcomes of decisions: the one table of them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRule:
    """What a resolution with an outcome has to give, and which members of the group stay active."""

    required_field: str = ""
    optional_field: str = ""
    keeps_all: bool = False
    """Whether all members stay active. Otherwise those in `keep` do, and the others are retired."""

    @property
    def fields(self) -> set[str]:
        return {self.required_field, self.optional_field}


RESOLUTION_OUTCOMES = {
    "keep_one": OutcomeRule(required_field="keep"),
    "keep_several": OutcomeRule(required_field="keep", optional_field="validity"),
    "merge": OutcomeRule(required_field="content"),
    "not_a_conflict": OutcomeRule(keeps_all=True),
    "defer": OutcomeRule(keeps_all=True, optional_field="deferred_until"),
}
"""What a curator or a policy can choose."""
OUTCOMES = (*RESOLUTION_OUTCOMES, "undo")
"""The values of `Decision.outcome`. A check constraint has them too, so another one needs a migration."""
