"""A story is a list of these steps. Plain data, so that hypothesis shrinks a story and prints it as it can be run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Fields = Mapping[str, Any]


class Step:
    """One step of a story."""


class StepInBoth(Step):
    """A step that is taken in both worlds, with answers that must be equal."""


class StepInCrowded(Step):
    """A step that is taken in the world with hidden rows alone."""


@dataclass(frozen=True)
class Write(StepInBoth):
    """One envelope, or an array of them, over the API."""

    writer: str
    items: tuple[Fields, ...]
    on_conflict: str = ""
    is_batch: bool = False


@dataclass(frozen=True)
class RepeatWrite(StepInBoth):
    """What the writer sent `offset` writes ago, with these fields changed."""

    writer: str
    offset: int = 0
    changes: Fields = field(default_factory=dict)
    on_conflict: str = ""


@dataclass(frozen=True)
class Import(StepInBoth):
    """Lines of JSON that the operator imports from the shell."""

    lines: tuple[Fields, ...]


@dataclass(frozen=True)
class Read(StepInBoth):
    """A question of a writer; `{}` in the path is the id of a memory that some writer got a receipt for."""

    writer: str
    path: str
    index: int = 0


@dataclass(frozen=True)
class ImportHidden(StepInCrowded):
    """The operator imports rows, some of them under the writers' own sources."""

    lines: tuple[Fields, ...]


@dataclass(frozen=True)
class WriteHidden(StepInCrowded):
    """A key of another source, who sees all, writes over the API."""

    items: tuple[Fields, ...]


@dataclass(frozen=True)
class WriteOutsideClearance(StepInCrowded):
    """A key writes as a source beyond that source's clearance, or an admin as a source that is not its own.

    This must be refused, and so must change nothing.
    """

    writer: str
    item: Fields


@dataclass(frozen=True)
class Reclassify(StepInCrowded):
    """A steward changes what a memory of a writer, number `index` of them, is classified as, or quarantines it."""

    change: Fields
    index: int = 0
    over_api: bool = False


@dataclass(frozen=True)
class Move(StepInCrowded):
    """The operator imports a memory that a writer wrote again, as it is but for these fields of its classification."""

    change: Fields
    index: int = 0


@dataclass(frozen=True)
class ResolveHidden(StepInCrowded):
    """A steward keeps one of the hidden memories of a subject and collection, and so rejects the others.

    Among them may be memories of the writers that a steward took out of everybody's sight. `content` is what is kept;
    without it number `index` of them is.
    """

    key: tuple[str, ...]
    index: int = 0
    content: str = ""


@dataclass(frozen=True)
class Story:
    steps: tuple[Step, ...]
    row_security: bool = True
    """Without it row-level security hides nothing, and what the application forgets comes to light."""
