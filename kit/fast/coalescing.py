"""Who asks the same at the same time, asks together: reads of one kind are answered by one query.

The invariant: a read joins only a query that has not started. So it sees everything that was committed before it
arrived, exactly as if it had asked alone. While a query is under way, those who come collect for the next one; where
none is under way there is nothing to wait for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable
from typing import Any

MOST = 100
"""Reads that one query answers."""
PATIENCE = 0.05
"""Seconds to wait for the query under way; a slow one does not hold up the next for longer."""

Query = Callable[[Collection[Any]], Awaitable[Any]]


class Flight:
    """A query for these items, and those who wait for its result."""

    def __init__(self) -> None:
        self.items: dict[Any, None] = {}
        self.waiters: list[asyncio.Future[Any]] = []
        self.task: asyncio.Task[None] | None = None

    def land(self, result: Any = None, failure: BaseException | None = None) -> None:
        """Tell all who are still there."""
        for waiter in self.waiters:
            if waiter.done():  # cancelled: they have left
                continue
            if failure is None:
                waiter.set_result(result)
            else:
                waiter.set_exception(failure)


class Coalescer:
    """The flights of one process: of each key, those under way and the one that collects."""

    def __init__(self) -> None:
        self.collecting: dict[Hashable, Flight] = {}
        self.under_way: dict[Hashable, Flight] = {}

    async def ask(self, key: Hashable, item: Any, query: Query) -> Any:
        """The result of one query for this item and those of others who ask under this key; or its exception.

        All callers under a key must give queries that do the same. Whoever is cancelled leaves the others alone.
        """
        flight = self.collecting.get(key)
        if flight is None or len(flight.items) >= MOST:
            flight = self.collecting[key] = Flight()
            flight.task = asyncio.create_task(self.fly(key, flight, query))
        flight.items[item] = None
        waiter = asyncio.get_running_loop().create_future()
        flight.waiters.append(waiter)
        return await waiter

    async def fly(self, key: Hashable, flight: Flight, query: Query) -> None:
        if key in self.under_way and (before := self.under_way[key].task):
            await asyncio.wait([before], timeout=PATIENCE)
        if self.collecting.get(key) is flight:
            del self.collecting[key]  # from here on nobody joins: the query starts
        self.under_way[key] = flight
        try:
            flight.land(await query(flight.items))
        except Exception as failure:
            flight.land(failure=failure)
        except asyncio.CancelledError as end:
            flight.land(failure=end)
            raise
        finally:
            if self.under_way.get(key) is flight:
                del self.under_way[key]
