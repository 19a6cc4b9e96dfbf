"""Failover: closes the connections to a former primary of PostgreSQL when another server has become the primary.

The operating system of a crashed server closes its connections. That of a frozen or disconnected host does not: each
request with such a connection would wait until its deadline. Therefore a separate connection queries the primary each
second, with these states:

    answering --no answer within a second--> looking for a primary
    looking --the same server answers--> answering
    looking --another server is the primary--> answering; the connections to the former primary are closed

While no other server has become the primary, a slow server keeps its connections.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any
from weakref import WeakKeyDictionary

from kit.database.errors import ASYNCPG_ERRORS, FAILURES

log = logging.getLogger("kit")
INTERVAL = 1.0
"""Seconds between two queries."""
LOOKING_INTERVAL = 0.2
"""Seconds between two attempts to find a primary."""
ANSWER_SECONDS = 1.0
"""The timeout of a query to the primary."""
IDENTITY = "SELECT pg_postmaster_start_time(), inet_server_addr(), inet_server_port()"
Connect = Callable[..., Awaitable[Any]]


class FollowedPrimary:
    """Opens connections of asyncpg to the primary among several hosts, and closes those to a former one."""

    def __init__(self, connect: Connect) -> None:
        self.connect = connect
        self.opened: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
        """When each open connection was opened, by `loop.time()`."""
        self.probe: Any = None
        """The separate connection; None while a primary is looked for."""
        self.identity: object = None
        self.last_answer = 0.0
        self.task: asyncio.Task[None] | None = None

    async def __call__(self, *values: Any, **options: Any) -> Any:
        """Return a new connection."""
        connection = await self.connect(*values, **options)
        loop = asyncio.get_running_loop()
        self.opened[connection] = loop.time()
        connection.add_termination_listener(self.forget)
        if self.task is None or self.task.get_loop() is not loop:
            self.probe = None
            # an empty context, not that of the request that has opened the first connection
            self.task = loop.create_task(self.follow(values, options), context=Context())
        return connection

    def forget(self, connection: Any) -> None:
        """Forget a closed connection. After the last one, stop the queries."""
        self.opened.pop(connection, None)
        if not self.opened and self.task is not None:
            self.task.cancel()
            self.task = None

    async def follow(self, values: Any, options: Any) -> None:
        try:
            while True:
                await self.query_primary(values, options)
                await asyncio.sleep(LOOKING_INTERVAL if self.probe is None else INTERVAL)
        finally:
            self.close_probe()

    async def query_primary(self, values: Any, options: Any) -> None:
        """Query the primary, after connecting to it if necessary. Close the old connections if it is another server."""
        loop = asyncio.get_running_loop()
        try:
            if self.probe is None:
                self.probe = await self.connect(*values, **options)
            async with asyncio.timeout(ANSWER_SECONDS):
                identity = tuple(await self.probe.fetchrow(IDENTITY))
        except (*FAILURES, *ASYNCPG_ERRORS, OSError):  # there is no primary, or it is lost
            self.close_probe()
            return
        if identity != self.identity and self.identity is not None:
            self.close_former()
        self.identity, self.last_answer = identity, loop.time()

    def close_probe(self) -> None:
        probe, self.probe = self.probe, None
        if probe is not None:
            probe.terminate()

    def close_former(self) -> None:
        """Close the connections that were opened before the last answer of the former primary.

        Later ones may lead to the new primary. The statements of closed connections fail at once, and are retried if
        nothing was committed.
        """
        former = [connection for connection, opened in self.opened.items() if opened <= self.last_answer]
        for connection in former:
            connection.terminate()
        log.warning("Another server is the primary now: closed %s connections to the former one", len(former))
