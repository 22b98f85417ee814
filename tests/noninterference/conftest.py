"""The two worlds with write steps, in which a test runs stories."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine

from tests.noninterference.writes.handwritten_stories import NOW
from tests.noninterference.writes.steps import Step, Story
from tests.noninterference.writes.story_run import StoryRun, run_story
from tests.noninterference.writes.writers import WriteWorlds, create_write_worlds


@pytest.fixture(scope="module")
def clock() -> Iterator[Any]:
    with time_machine.travel(NOW, tick=False) as coordinates:
        yield coordinates


@pytest.fixture(scope="module")
def write_worlds(django_db_blocker: Any, clock: Any) -> Iterator[WriteWorlds]:
    with django_db_blocker.unblock(), create_write_worlds() as both_worlds:
        yield both_worlds


@pytest.fixture
def run(write_worlds: WriteWorlds, clock: Any) -> Callable[..., StoryRun]:
    """Runs a story in both worlds, in which each step is a second later than the one before."""

    def move_clock(seconds: int) -> None:
        clock.move_to(NOW + timedelta(seconds=seconds), tick=False)

    def run(*steps: Step, row_security: bool = True) -> StoryRun:
        return run_story(write_worlds, Story(steps, row_security=row_security), move_clock=move_clock)

    return run
