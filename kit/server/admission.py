"""Who comes in: so many requests at a time, as many again after a short wait, and no more."""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from kit.http.problems import render, unavailable

PATIENCE = 0.5
"""Seconds that a request waits for its turn."""
NEVER_REFUSED = ("/health", "/metrics")
"""Whoever looks after the service has to see how it is, above all when it is busy."""


class Admission:
    """A 503 at once is better than an answer for which nobody waits any more.

    At most `limit` requests are in work, and as many wait for at most `PATIENCE`; to the others it is said to come
    again in a second.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app, self.limit, self.waiting = app, limit, 0
        self.places = asyncio.Semaphore(limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(NEVER_REFUSED):
            await self.app(scope, receive, send)
        elif await self.admits():
            try:
                await self.app(scope, receive, send)
            finally:
                self.places.release()
        else:
            problem = unavailable("not_applied", "Too many requests at once; try again.")
            await render(scope, problem)(scope, receive, send)

    async def admits(self) -> bool:
        if not self.places.locked():
            return await self.places.acquire()
        if self.waiting >= self.limit:
            return False
        self.waiting += 1
        try:
            async with asyncio.timeout(PATIENCE):
                return await self.places.acquire()
        except TimeoutError:
            return False
        finally:
            self.waiting -= 1
