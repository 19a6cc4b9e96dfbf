"""How long may it take, and for whom: until the deadline, and a read only while its caller is there."""

import asyncio
from types import TracebackType

from starlette.types import Receive

from heroes.kit.problem import Problem

COMMIT_TIMEOUT = 5.0
"""Seconds that a COMMIT may take, whatever the deadline; then nobody knows its outcome."""
WATCH_AFTER = 0.1
"""Seconds after which a read looks at the clock, and whether its caller is there; most are answered before."""
GONE = 499
"""The status that the log shows for a read whose caller left; nobody receives it."""


class Deadline:
    """A moment, so many seconds from now, at which what is awaited inside `async with` is cancelled: a 504.

    With `receive`, the caller's leaving is such a moment too. It ends a task as `asyncio.timeout` does, in a third of
    the time.
    """

    def __init__(self, seconds: float, receive: Receive | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.moment = self.loop.time() + seconds
        self.receive = receive
        self.end: Problem | None = None

    async def __aenter__(self) -> None:
        task = asyncio.current_task(self.loop)
        assert task is not None
        self.task, self.others = task, task.cancelling()
        if self.receive is None:
            self.timer = self.loop.call_at(self.moment, self.expire)
        else:
            soon = min(self.moment, self.loop.time() + WATCH_AFTER)
            self.timer = self.loop.call_at(soon, self.watch, self.receive)
        self.watcher: asyncio.Task[None] | None = None

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.timer.cancel()
        if self.watcher is not None:
            self.watcher.cancel()
        if self.end is not None and self.task.uncancel() <= self.others and kind is asyncio.CancelledError:
            raise self.end from failure

    def watch(self, receive: Receive) -> None:
        self.watcher = self.loop.create_task(self.wait_until_gone(receive))
        self.timer = self.loop.call_at(self.moment, self.expire)

    def expire(self) -> None:
        self.cancel(Problem(504, "The request took too long.", kind="timeout"))

    async def wait_until_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass  # the body of a read, at which nobody looks
        self.cancel(Problem(GONE, "The caller has left.", kind="gone"))

    def cancel(self, end: Problem) -> None:
        if self.end is None:
            self.end = end
            self.task.cancel()
