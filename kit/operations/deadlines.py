"""Deadlines: a request that takes too long is cancelled, and a read whose client has disconnected."""

import asyncio
from types import TracebackType

from starlette.types import Receive

from kit.http.problems import Problem

WATCH_AFTER = 0.1
"""Seconds after which a request is watched; most are answered before."""
CLIENT_CLOSED_REQUEST = 499
"""The status that the log shows for a read whose client has disconnected; nobody receives it."""


class Deadline:
    """Cancels what is awaited inside `async with` when so many seconds have passed since it was made: a 504.

    With `receive`, it is cancelled too when the client disconnects.
    """

    def __init__(self, seconds: float, receive: Receive | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.moment = self.loop.time() + seconds
        self.receive, self.is_disconnected = receive, False

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
            if self.is_disconnected:
                raise Problem(
                    CLIENT_CLOSED_REQUEST, "The client has disconnected.", kind="client-closed-request"
                ) from late
            raise Problem(504, "The request took too long.", kind="timeout") from late

    def watch(self) -> None:
        self.scope.reschedule(self.moment)
        if self.receive is not None:
            self.watcher = self.loop.create_task(self.wait_for_disconnect(self.receive))

    async def wait_for_disconnect(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass  # the body of a read, which nobody needs
        if not self.scope.expired():  # by the clock already
            self.is_disconnected = True
            self.scope.reschedule(self.loop.time())
