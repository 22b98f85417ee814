"""Share a few slots fairly: a group of callers holds at most its share, and callers take turns."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


class BusyError(Exception):
    """No slot became free in time.

    `is_caller_at_limit`: the caller's group held its whole share, or the caller had too many requests waiting.
    """

    def __init__(self, *, is_caller_at_limit: bool) -> None:
        super().__init__("nothing became free in time")
        self.is_caller_at_limit = is_caller_at_limit


@dataclass(frozen=True, slots=True)
class Caller:
    name: Hashable
    group: Hashable


class FairSemaphore:
    """`size` slots, of which a group of callers holds at most `max_per_group`. For one event loop only.

    Callers of one group take turns within it; most groups have one caller.
    """

    def __init__(self, size: int, *, max_per_group: int, max_waiting: int = 256, timeout_seconds: float = 10) -> None:
        self.size = size
        self.max_per_group = max_per_group
        self.max_waiting = max_waiting
        self.timeout_seconds = timeout_seconds
        self._used_by_group: Counter[Hashable] = Counter()
        # In the order of their turns; each caller with its waiting requests, the oldest first.
        self._waiting_by_caller: dict[Caller, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def hold_slot(self, caller: Caller) -> AsyncIterator[None]:
        """Hold a slot within the context. Raises BusyError."""
        await self._acquire(caller)
        try:
            yield
        finally:
            self._release(caller)

    async def _acquire(self, caller: Caller) -> None:
        queue = self._waiting_by_caller.setdefault(caller, deque())
        if len(queue) >= self.max_waiting:
            raise BusyError(is_caller_at_limit=True)
        slot_future = asyncio.get_running_loop().create_future()
        queue.append(slot_future)
        self._grant_free_slots()
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await slot_future
        except (TimeoutError, asyncio.CancelledError) as error:
            if slot_future.done() and not slot_future.cancelled():
                self._release(caller)
            else:
                self._cancel_wait(caller, slot_future)
            if isinstance(error, TimeoutError):
                raise BusyError(is_caller_at_limit=self._used_by_group[caller.group] >= self.max_per_group) from None
            raise

    def _cancel_wait(self, caller: Caller, slot_future: asyncio.Future[None]) -> None:
        queue = self._waiting_by_caller.get(caller)
        if queue is not None and slot_future in queue:
            queue.remove(slot_future)
            if not queue:
                del self._waiting_by_caller[caller]

    def _release(self, caller: Caller) -> None:
        self._used_by_group[caller.group] -= 1
        if not self._used_by_group[caller.group]:
            del self._used_by_group[caller.group]
        self._grant_free_slots()

    def _grant_free_slots(self) -> None:
        """Grant the free slots to the callers whose turn it is."""
        free_slots = self.size - self._used_by_group.total()
        for caller in list(self._waiting_by_caller):
            if free_slots <= 0:
                return
            if self._used_by_group[caller.group] >= self.max_per_group:
                continue
            # A caller that gets a slot goes to the end of the line.
            queue = self._waiting_by_caller.pop(caller)
            # Skip requests that gave up a moment ago.
            slot_future = next((slot_future for slot_future in _drain_queue(queue) if not slot_future.done()), None)
            if slot_future is None:
                continue
            slot_future.set_result(None)
            self._used_by_group[caller.group] += 1
            free_slots -= 1
            if queue:
                self._waiting_by_caller[caller] = queue


def _drain_queue(queue: deque[asyncio.Future[None]]) -> Iterator[asyncio.Future[None]]:
    """Yield the items of a queue, removing each."""
    while queue:
        yield queue.popleft()
