"""How do we reach the database: one engine to write, one to read, and the sessions on them."""

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database.engines import Pool, postgres_engines, sqlite_engines
from kit.database.reading import ReadSession
from kit.database.writing import WriteSession
from kit.fast.batches import Grouping
from kit.fast.coalescing import Coalescer


class Database:
    """The engines of one process. On SQLite one connection writes and others read; PostgreSQL has one pool for both."""

    def __init__(self, url: URL, pool: Pool | None = None, *, coalesce: bool = True, group: bool = True) -> None:
        self.url, pool = url, pool or Pool()
        self.is_sqlite = url.get_backend_name() == "sqlite"
        build = sqlite_engines if self.is_sqlite else postgres_engines
        self.writer, self.reader = build(url, pool)
        self.coalescer = Coalescer() if coalesce else None
        self.grouping = Grouping(self.writer.sync_engine) if group else None

    def write(self, *, only_theirs: bool = False) -> WriteSession:
        """With `only_theirs` nothing is written but what belongs to the caller."""
        return WriteSession(self.writer, self.grouping, only_theirs=only_theirs)

    def read(self) -> ReadSession:
        return ReadSession(self.reader, self.coalescer)

    def connect(self) -> AsyncConnection:
        return self.reader.connect()

    async def dispose(self) -> None:
        await self.writer.dispose()
        await self.reader.dispose()
