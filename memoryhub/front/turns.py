"""Who may use one of a few things next: a caller takes at most its share of them, and callers take turns."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


class BusyError(Exception):
    """Nothing became free in time. `is_own_doing`: because of what the caller itself, or its group, had under way."""

    def __init__(self, *, is_own_doing: bool) -> None:
        super().__init__("nothing became free in time")
        self.is_own_doing = is_own_doing


@dataclass(frozen=True, slots=True)
class Caller:
    name: Hashable
    group: Hashable


class Turns:
    """`size` things, of which a group of callers has at most `share` at a time. Of one event loop.

    Callers of one group take turns within it; most callers are a group of their own.
    """

    def __init__(self, size: int, *, share: int, most_waiting: int = 256, patience_seconds: float = 10) -> None:
        self.size = size
        self.share = share
        self.most_waiting = most_waiting
        self.patience_seconds = patience_seconds
        self._used: Counter[Hashable] = Counter()
        # In the order of their turns; each with those of its requests that wait, the oldest first.
        self._waiting: dict[Caller, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def taken(self, caller: Caller) -> AsyncIterator[None]:
        """One of the things, for as long as the context lasts. Raises BusyError."""
        await self._take(caller)
        try:
            yield
        finally:
            self._give_back(caller)

    async def _take(self, caller: Caller) -> None:
        queue = self._waiting.setdefault(caller, deque())
        if len(queue) >= self.most_waiting:
            raise BusyError(is_own_doing=True)
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._next()
        try:
            async with asyncio.timeout(self.patience_seconds):
                await turn
        except (TimeoutError, asyncio.CancelledError) as error:
            if turn.done() and not turn.cancelled():
                self._give_back(caller)
            else:
                self._leave(caller, turn)
            if isinstance(error, TimeoutError):
                raise BusyError(is_own_doing=self._used[caller.group] >= self.share) from None
            raise

    def _leave(self, caller: Caller, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(caller)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[caller]

    def _give_back(self, caller: Caller) -> None:
        self._used[caller.group] -= 1
        if not self._used[caller.group]:
            del self._used[caller.group]
        self._next()

    def _next(self) -> None:
        """Give what is free to the callers whose turn it is."""
        free = self.size - self._used.total()
        for caller in list(self._waiting):
            if free <= 0:
                return
            if self._used[caller.group] >= self.share:
                continue
            # A caller that gets something goes to the end of the line.
            queue = self._waiting.pop(caller)
            # Without those that gave up a moment ago.
            turn = next((turn for turn in _taken_out(queue) if not turn.done()), None)
            if turn is None:
                continue
            turn.set_result(None)
            self._used[caller.group] += 1
            free -= 1
            if queue:
                self._waiting[caller] = queue


def _taken_out(queue: deque[asyncio.Future[None]]) -> Iterator[asyncio.Future[None]]:
    """What a queue holds, which is taken out of it."""
    while queue:
        yield queue.popleft()
