"""How long may it take, and for whom: until the deadline, and a read only while its caller is there."""

import asyncio
from types import TracebackType

from starlette.types import Receive

from kit.http.problems import Problem

COMMIT_TIMEOUT = 5.0
"""Seconds that a COMMIT may take, whatever the deadline; then nobody knows its outcome."""
WATCH_AFTER = 0.1
"""Seconds after which we look at the clock, and whether the caller of a read is there; most are answered before."""
GONE = 499
"""The status that the log shows for a read whose caller left; nobody receives it."""


class Deadline:
    """A moment, so many seconds from now, at which what is awaited inside `async with` is cancelled: a 504.

    With `receive`, the caller's leaving is such a moment too.
    """

    def __init__(self, seconds: float, receive: Receive | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.moment = self.loop.time() + seconds
        self.receive, self.gone = receive, False

    async def __aenter__(self) -> None:
        self.scope = asyncio.timeout(None)
        await self.scope.__aenter__()
        soon = min(self.moment, self.loop.time() + WATCH_AFTER)
        self.watcher: asyncio.TimerHandle | asyncio.Task[None] = self.loop.call_at(soon, self.watch)

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.watcher.cancel()
        try:
            await self.scope.__aexit__(kind, failure, trace)
        except TimeoutError as late:
            if self.gone:
                raise Problem(GONE, "The caller has left.", kind="gone") from late
            raise Problem(504, "The request took too long.", kind="timeout") from late

    def watch(self) -> None:
        self.scope.reschedule(self.moment)
        if self.receive is not None:
            self.watcher = self.loop.create_task(self.wait_until_gone(self.receive))

    async def wait_until_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass  # the body of a read, at which nobody looks
        if not self.scope.expired():  # by the clock already
            self.gone = True
            self.scope.reschedule(self.loop.time())
