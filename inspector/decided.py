"""Decisions about the conflicts of a subject, as its page tells of them."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from inspector.deciding import OUTCOMES
from memoryhub.conflicts import decisions
from memoryhub.conflicts.decisions import Told
from memoryhub.conflicts.keys import Key
from memoryhub.firewall.types import Clearance
from memoryhub.timetravel.life import MOST_KEYS, Life


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """A decision, and the undo of it if there was one."""

    told: Told
    undo: Told | None

    @property
    def words(self) -> str:
        return OUTCOMES[self.told.outcome]

    @property
    def became(self) -> str:
        """What became of the memories that it was made on."""
        numbers = (
            (len(self.told.kept), "kept"),
            (len(self.told.retired), "retired"),
            (len(self.told.left), "left in force, for readers who may not see all of it"),
            (1 if self.told.merged else 0, "made of them"),
        )
        return ", ".join(f"{number} {words}" for number, words in numbers if number)


def deeds(life: Life, clearance: Clearance, known_at: datetime | None) -> list[Deed]:
    """What was decided about the keys of a life by `known_at`, as far as `clearance` may see it; the newest first."""
    told = [
        one
        for of_key in decisions.about(sorted(set(_keys(life))), clearance=clearance).values()
        for one in of_key
        if known_at is None or one.recorded_at <= known_at
    ]
    undos = {one.reverses: one for one in told if one.reverses}
    made = [Deed(told=one, undo=undos.get(one.decision_id)) for one in told if one.outcome != "undo"]
    return sorted(made, key=lambda deed: (deed.told.at, deed.told.decision_id), reverse=True)


def instants(found: list[Deed]) -> dict[str, list[datetime]]:
    """When there was a decision about each collection, or the undo of one."""
    held: dict[str, list[datetime]] = defaultdict(list)
    for deed in found:
        held[deed.told.collection] += [one.at for one in (deed.told, deed.undo) if one]
    return held


def by_their_ids(found: list[Deed]) -> dict[UUID | None, UUID]:
    """Where the page tells of what a version stands by: of a decision, or of the one that an undo is of."""
    return {one.decision_id: deed.told.decision_id for deed in found for one in (deed.told, deed.undo) if one}


def _keys(life: Life) -> Iterator[Key]:
    for key in life.keys[:MOST_KEYS]:
        for spell in key.spells:
            about = (spell.record["subject"], key.collection)
            yield about
            yield (*about, spell.record["namespace"])
