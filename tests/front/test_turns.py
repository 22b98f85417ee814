"""A caller takes at most its share, and callers take turns."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest

from memoryhub.front.turns import BusyError, Caller, FairSemaphore
from tests.front.event_loops import run_in_new_loop

pytestmark = pytest.mark.unit

ADA, BOB, EVE = (Caller(name=name, group=name) for name in ("ada", "bob", "eve"))


class FakeWork:
    """What callers do with what they take, in the order in which they began."""

    def __init__(self, turns: FairSemaphore) -> None:
        self.turns = turns
        self.begun_names: list[str] = []
        self.refusals: list[BusyError] = []
        self.finish_event = asyncio.Event()
        self.max_concurrent = 0
        self._concurrent = 0

    def start(self, caller: Caller) -> asyncio.Task[None]:
        return asyncio.create_task(self._do_work(caller))

    async def _do_work(self, caller: Caller) -> None:
        try:
            async with self.turns.hold_slot(caller):
                self.begun_names.append(str(caller.name))
                self._concurrent += 1
                self.max_concurrent = max(self.max_concurrent, self._concurrent)
                await self.finish_event.wait()
                self._concurrent -= 1
        except BusyError as error:
            self.refusals.append(error)


def run_scenario(scenario: Coroutine[Any, Any, None]) -> None:
    run_in_new_loop(asyncio.wait_for(scenario, 10))


async def yield_to_loop() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_caller_has_its_share_and_the_others_the_rest():
    async def scenario() -> None:
        fake_work = FakeWork(FairSemaphore(4, max_per_group=2))
        tasks = [fake_work.start(ADA) for _ in range(5)]
        await yield_to_loop()
        tasks += [fake_work.start(BOB), fake_work.start(EVE)]
        await yield_to_loop()
        assert fake_work.begun_names == ["ada", "ada", "bob", "eve"]
        fake_work.finish_event.set()
        await asyncio.gather(*tasks)
        assert sorted(fake_work.begun_names) == ["ada"] * 5 + ["bob", "eve"]
        assert fake_work.max_concurrent == 4

    run_scenario(scenario())


def test_callers_take_turns_however_often_they_ask():
    async def scenario() -> None:
        turns = FairSemaphore(1, max_per_group=1)
        begun_names: list[str] = []

        async def request_turn(caller: Caller) -> None:
            async with turns.hold_slot(caller):
                begun_names.append(str(caller.name))
                await asyncio.sleep(0)

        await asyncio.gather(*(request_turn(caller) for caller in [ADA] * 4 + [BOB] * 2 + [EVE]))
        assert begun_names == ["ada", "ada", "bob", "eve", "ada", "bob", "ada"]

    run_scenario(scenario())


def test_a_group_shares_and_its_callers_take_turns():
    async def scenario() -> None:
        flood, other_caller = (Caller(name=name, group="strangers") for name in ("flood", "other"))
        fake_work = FakeWork(FairSemaphore(2, max_per_group=1))
        tasks = [fake_work.start(flood) for _ in range(3)] + [fake_work.start(other_caller)]
        await yield_to_loop()
        tasks.append(fake_work.start(ADA))
        await yield_to_loop()
        assert fake_work.begun_names == ["flood", "ada"]
        fake_work.finish_event.set()
        await asyncio.gather(*tasks)
        assert fake_work.begun_names[2:] == ["flood", "other", "flood"]

    run_scenario(scenario())


@pytest.mark.parametrize(("busy_caller", "is_own_doing"), [(ADA, True), (BOB, False)])
def test_a_request_that_waits_too_long_is_refused_with_the_cause(busy_caller, is_own_doing):
    async def scenario() -> None:
        fake_work = FakeWork(FairSemaphore(1, max_per_group=1, timeout_seconds=0.05))
        first = fake_work.start(busy_caller)
        await yield_to_loop()
        await fake_work.start(ADA)
        assert [error.is_caller_at_limit for error in fake_work.refusals] == [is_own_doing]
        fake_work.finish_event.set()
        await first
        await fake_work.start(ADA)
        assert fake_work.begun_names == [str(busy_caller.name), "ada"]

    run_scenario(scenario())


def test_more_than_may_wait_are_refused_at_once():
    async def scenario() -> None:
        fake_work = FakeWork(FairSemaphore(1, max_per_group=1, max_waiting=2))
        tasks = [fake_work.start(ADA) for _ in range(3)]
        await yield_to_loop()
        await fake_work.start(ADA)
        assert [error.is_caller_at_limit for error in fake_work.refusals] == [True]
        fake_work.finish_event.set()
        await asyncio.gather(*tasks)
        assert fake_work.begun_names == ["ada"] * 3

    run_scenario(scenario())


def test_who_leaves_while_waiting_leaves_nothing_behind():
    async def scenario() -> None:
        turns = FairSemaphore(1, max_per_group=1)
        fake_work = FakeWork(turns)
        first, second, third = (fake_work.start(caller) for caller in (ADA, BOB, EVE))
        await yield_to_loop()
        # In this order: what is given back goes to the next one before the second has noticed anything.
        fake_work.finish_event.set()
        second.cancel()
        with suppress(asyncio.CancelledError):
            await second
        await asyncio.gather(first, third)
        assert fake_work.begun_names == ["ada", "eve"]
        assert not turns._used_by_group
        assert not turns._waiting_by_caller

    run_scenario(scenario())
