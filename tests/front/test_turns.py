"""A caller takes at most its share, and callers take turns."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest

from memoryhub.front.turns import BusyError, Caller, Turns

ADA, BOB, EVE = (Caller(name=name, group=name) for name in ("ada", "bob", "eve"))


class Work:
    """What callers do with what they take, in the order in which they began."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.begun: list[str] = []
        self.refused: list[BusyError] = []
        self.end = asyncio.Event()
        self.most_at_once = 0
        self._at_once = 0

    def start(self, caller: Caller) -> asyncio.Task[None]:
        return asyncio.create_task(self._do(caller))

    async def _do(self, caller: Caller) -> None:
        try:
            async with self.turns.taken(caller):
                self.begun.append(str(caller.name))
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
                await self.end.wait()
                self._at_once -= 1
        except BusyError as error:
            self.refused.append(error)


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 10))


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_caller_has_its_share_and_the_others_the_rest():
    async def story() -> None:
        work = Work(Turns(4, share=2))
        tasks = [work.start(ADA) for _ in range(5)]
        await settle()
        tasks += [work.start(BOB), work.start(EVE)]
        await settle()
        assert work.begun == ["ada", "ada", "bob", "eve"]
        work.end.set()
        await asyncio.gather(*tasks)
        assert sorted(work.begun) == ["ada"] * 5 + ["bob", "eve"]
        assert work.most_at_once == 4

    run(story())


def test_callers_take_turns_however_often_they_ask():
    async def story() -> None:
        turns = Turns(1, share=1)
        begun: list[str] = []

        async def ask(caller: Caller) -> None:
            async with turns.taken(caller):
                begun.append(str(caller.name))
                await asyncio.sleep(0)

        await asyncio.gather(*(ask(caller) for caller in [ADA] * 4 + [BOB] * 2 + [EVE]))
        assert begun == ["ada", "ada", "bob", "eve", "ada", "bob", "ada"]

    run(story())


def test_a_group_shares_and_its_callers_take_turns():
    async def story() -> None:
        flood, other = (Caller(name=name, group="strangers") for name in ("flood", "other"))
        work = Work(Turns(2, share=1))
        tasks = [work.start(flood) for _ in range(3)] + [work.start(other)]
        await settle()
        tasks.append(work.start(ADA))
        await settle()
        assert work.begun == ["flood", "ada"]
        work.end.set()
        await asyncio.gather(*tasks)
        assert work.begun[2:] == ["flood", "other", "flood"]

    run(story())


@pytest.mark.parametrize(("busy", "is_own_doing"), [(ADA, True), (BOB, False)])
def test_who_waits_too_long_is_refused_and_is_told_whose_doing_it_is(busy, is_own_doing):
    async def story() -> None:
        work = Work(Turns(1, share=1, patience_seconds=0.05))
        first = work.start(busy)
        await settle()
        await work.start(ADA)
        assert [error.is_own_doing for error in work.refused] == [is_own_doing]
        work.end.set()
        await first
        await work.start(ADA)
        assert work.begun == [str(busy.name), "ada"]

    run(story())


def test_more_than_may_wait_are_refused_at_once():
    async def story() -> None:
        work = Work(Turns(1, share=1, most_waiting=2))
        tasks = [work.start(ADA) for _ in range(3)]
        await settle()
        await work.start(ADA)
        assert [error.is_own_doing for error in work.refused] == [True]
        work.end.set()
        await asyncio.gather(*tasks)
        assert work.begun == ["ada"] * 3

    run(story())


def test_who_leaves_while_waiting_leaves_nothing_behind():
    async def story() -> None:
        turns = Turns(1, share=1)
        work = Work(turns)
        first, second, third = (work.start(caller) for caller in (ADA, BOB, EVE))
        await settle()
        # In this order: what is given back goes to the next one before the second has noticed anything.
        work.end.set()
        second.cancel()
        with suppress(asyncio.CancelledError):
            await second
        await asyncio.gather(first, third)
        assert work.begun == ["ada", "eve"]
        assert not turns._used
        assert not turns._waiting

    run(story())
