"""The database of one process: opens sessions, and keeps the engines of each event loop."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kit.database.engines import Engines, Pool
from kit.database.errors import FAILURES
from kit.database.event_loops import before_loop_ends
from kit.database.postgresql_engines import postgres_engines
from kit.database.retry import READ_SECONDS, retried_after
from kit.database.search_indexes import SearchTables
from kit.database.sessions import ReadSession, WriteSession
from kit.database.sqlite_engines import sqlite_engines
from kit.database.urls import usable
from kit.models.entities import Entity

E = TypeVar("E", bound=Entity)
T = TypeVar("T")


class Database:
    """Opens sessions. On SQLite one connection writes and others read; on PostgreSQL reads and writes share one pool.

    Connections belong to the event loop that opened them. The first loop uses the engines `primary`. When it ends,
    their connections are closed, and the next loop can use them. A second loop at the same time gets separate engines
    with the same settings, but without the event listeners that the application registered on `primary`.
    """

    def __init__(self, url: URL, pool: Pool | None = None) -> None:
        self.url, self.pool = url, pool or Pool()
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.is_in_memory = self.is_sqlite and url.database in (None, "", ":memory:")
        self.search_tables = SearchTables(str(url.database) if self.is_sqlite and not self.is_in_memory else None)
        self.primary = self._create_engines()
        self.read: Callable[..., ReadSession] = self.open_read
        """Opens a read session, by default by `open_read`. The fast path replaces it."""
        self.write: Callable[..., WriteSession] = self.open_write
        """Opens a write session, by default by `open_write`. The fast path replaces it."""
        self.read_row: Callable[[type[Any], Any], Awaitable[Any]] = self.read_row_by_session
        """Returns the row of an entity with an id, or None. The fast path replaces it."""
        self.choose_reader: Callable[[], AsyncEngine] | None = None
        """Returns the engine for a new read session. Set by `kit.replicas`; None without replicas."""
        self.owner: asyncio.AbstractEventLoop | None = None
        """The event loop that uses the primary engines."""
        self._others: dict[asyncio.AbstractEventLoop, Engines] = {}
        self._clean_ups: dict[asyncio.AbstractEventLoop, AsyncGenerator[None]] = {}
        self._lock = threading.Lock()

    @property
    def engines(self) -> Engines:
        """The engines of the running event loop; the primary ones outside of any loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # there is none
            return self.primary
        if loop is self.owner:
            return self.primary
        return self._others.get(loop) or self._engines_for(loop)

    @property
    def writer(self) -> AsyncEngine:
        """The engine for writing."""
        return self.engines.writer

    @property
    def reader(self) -> AsyncEngine:
        """The engine for reading, in autocommit."""
        return self.engines.reader

    def open_read(self, *, restricted: bool = False) -> ReadSession:
        """Return a read session. With `restricted` it returns only rows that belong to the principal."""
        engine = self.reader if self.choose_reader is None else self.choose_reader()
        return ReadSession(engine, self, restricted=restricted)

    async def find(self, entity: type[E], ident: Any) -> E | None:
        """Return the row with this id, read by a new session; None if there is none.

        Conflicts are retried, and an unavailable database for `READ_SECONDS`. Raises the problem (such as a 503) for
        the last failure.
        """
        try:
            row: E | None = await self.read_row(entity, ident)
        except FAILURES as failure:
            row = await retried_after(failure, partial(self.read_row, entity, ident), READ_SECONDS)
        return row

    async def find_as(self, entity: type[E], ident: Any, make: Callable[[E], T]) -> T | None:
        """Read a row as `find` does, and return `make(row)`; None if there is no row.

        On the fast path, requests that read the row at the same time share the result, so it must be immutable.
        """
        row = await self.find(entity, ident)
        return None if row is None else make(row)

    async def read_row_by_session(self, entity: type[Any], ident: Any) -> Any:
        """Return the row with this id, read by a new session."""
        async with self.read() as session:
            return await session.get(entity, ident)

    def open_write(self, *, restricted: bool = False, restricted_reads: bool = False) -> WriteSession:
        """Return a write session. With `restricted` it writes only rows that belong to the principal.

        With `restricted_reads` it also reads no other rows.
        """
        return WriteSession(self.writer, restricted=restricted, restricted_reads=restricted_reads)

    def connect(self) -> AsyncConnection:
        """Return a connection for reading, in autocommit."""
        return self.reader.connect()

    async def dispose(self) -> None:
        """Close the connections of the running event loop. The database can be used again, with new connections."""
        await self.engines.dispose()

    def _create_engines(self) -> Engines:
        return create_engines(self.url, self.pool)

    def _engines_for(self, loop: asyncio.AbstractEventLoop) -> Engines:
        """Assign engines to an event loop that uses the database for the first time."""
        with self._lock:
            self._forget_closed_loops()
            if self.owner is None:
                self.owner, engines = loop, self.primary
            else:
                self._others[loop] = engines = self._create_engines()
            self._clean_ups[loop] = before_loop_ends(partial(self._release, loop, engines))
        return engines

    async def _release(self, loop: asyncio.AbstractEventLoop, engines: Engines) -> None:
        """Close the connections of an event loop that ends, except that of a database in memory: it would be lost."""
        try:
            if engines is not self.primary or not self.is_in_memory:
                await engines.dispose()
        finally:
            with self._lock:
                self._forget(loop)

    def _forget_closed_loops(self) -> None:
        """Drop the connections of event loops that were closed without clean-up. They cannot be closed any more."""
        for loop in [loop for loop in self._clean_ups if loop.is_closed()]:
            engines = self.primary if loop is self.owner else self._others[loop]
            if engines is not self.primary or not self.is_in_memory:
                engines.abandon()
            self._forget(loop)

    def _forget(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is self.owner:
            self.owner = None
        self._others.pop(loop, None)
        self._clean_ups.pop(loop, None)


def create_engines(url: URL, pool: Pool) -> Engines:
    """Return the engines for a URL, which connect on first use. Raises a ValueError for an invalid URL."""
    url = usable(url)
    return sqlite_engines(url, pool) if url.get_backend_name() == "sqlite" else postgres_engines(url, pool)
