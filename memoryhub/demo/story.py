"""The demo's story: a company, its agents and what they write. The words are data, in `memoryhub/demo/data/`.

This module says which shape the data has, and loads it once. `generator` puts it on a clock.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

DATA_DIR = Path(__file__).parent / "data"
STORY_FILES = ("company.toml", "words.toml", "attributes.toml", "topics.toml", "events.toml")

Row = dict[str, str]
"""A row of a table: the words of its slots, by the name of the slot."""
Texts = tuple[str, ...]
Tier = Literal["public", "internal", "confidential", "restricted"]


class StoryData(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Attribute(StoryData):
    """Something a subject has one of. Agents repeat it, reword it, contradict it and correct it."""

    subject_kind: Literal["user", "customer", "service", "project", "team"]
    collection: str
    namespace: str
    sources: Texts
    tiers: str
    """One letter for each chance of a tier."""
    true_value: str = ""
    """Without it, chance decides which of `values` is true."""
    values: Texts
    templates: Texts
    labels: Texts = ()


class Step(StoryData):
    """One memory of a thread. With `is_update` it rewrites the memory of the step before under the same payload_id."""

    subject_template: str
    collection: str
    templates: Texts
    probability: float = 1.0
    hour_range: tuple[float, float] = (0.0, 0.0)
    is_update: bool = False
    kind: str = "fact"
    tiers: str = ""
    labels: Texts = ()


class Topic(StoryData):
    """A kind of thread that keeps happening, as often as its weight says."""

    weight: int
    source: str
    namespace: str
    tiers: str
    steps: tuple[Step, ...]


class ScriptedEvent(StoryData):
    """A memory that is written once, at a time of the story. Events of one thread have one payload_id."""

    week: int
    weekday: str
    clock: str
    source: str
    subject: str
    collection: str
    namespace: str
    tier: Tier
    content: str
    labels: Texts = ()
    thread: str = ""


class HandbookPage(StoryData):
    collection: str
    tier: Tier
    content: str


class Story(StoryData):
    """All data of the story but its conflicts."""

    people: tuple[Row, ...]
    customers: tuple[Row, ...]
    services: tuple[Row, ...]
    projects: tuple[Row, ...]
    teams: Texts
    changes: tuple[Row, ...]
    issues: tuple[Row, ...]
    alerts: tuple[Row, ...]
    specific_agenda: tuple[Row, ...]
    common_agenda: tuple[Row, ...]
    libraries: dict[str, Texts]
    words_by_slot: dict[str, Texts]
    templates_by_language: dict[str, Texts]
    attributes: tuple[Attribute, ...]
    topics: tuple[Topic, ...]
    scripted_events: tuple[ScriptedEvent, ...]
    handbook: tuple[HandbookPage, ...]
    outage_signs: Texts
    outage_calls: Texts
    outage_notes: Texts
    hostile_texts: tuple[Row, ...]


def read_data(file_name: str) -> dict[str, Any]:
    return tomllib.loads((DATA_DIR / file_name).read_text(encoding="utf-8"))


STORY = Story.model_validate({name: value for file in STORY_FILES for name, value in read_data(file).items()})
