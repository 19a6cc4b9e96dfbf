"""How do we reach the database: one engine to write, one to read, and the sessions on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, ScalarResult, Table, event, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.orm.interfaces import ORMOption
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlmodel import SQLModel, func, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from heroes.kit.model import Entity, now

T = TypeVar("T")
E = TypeVar("E", bound=Entity)


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The knobs of the connection pool; sizes in connections, times in seconds."""

    size: int = 20
    overflow: int = 10
    timeout: float = 3
    recycle: float = 1800
    pre_ping: bool = False
    application_name: str = "heroes"
    statement_timeout: float = 10
    jit: bool = False
    echo: bool = False


class WriteSession(AsyncSession):
    """One transaction. The unit of work commits it; a handler only flushes."""

    async def get(self, entity: type[T], ident: Any, **options: Any) -> T | None:  # type: ignore[override]
        """The row, locked until the transaction ends, so that no other writer changes what was read."""
        return await super().get(entity, ident, with_for_update=True, **options)

    async def delete(self, instance: object) -> None:
        """Delete the row; whoever loses its reference by ON DELETE SET NULL gets a new version, as by any change."""
        if isinstance(instance, Entity):
            for table in SQLModel.metadata.tables.values():
                await self.release(table, instance)
        await super().delete(instance)

    async def release(self, table: Table, target: Entity) -> None:
        for key in table.foreign_keys:
            if key.ondelete == "SET NULL" and key.column.table.name == target.__tablename__:
                values = {key.parent: None, table.c.version: table.c.version + 1, table.c.updated_at: now()}
                await self.exec(update(table).where(key.parent == target.id).values(values))

    async def exclusive(self, purpose: str) -> None:
        """Wait until no other transaction, of any process, is at this purpose; on SQLite only one writes anyway."""
        if self.get_bind().dialect.name == "postgresql":
            await self.exec(select(func.pg_advisory_xact_lock(func.hashtext(purpose))))


class ReadSession:
    """Reads, each outside of any transaction: no BEGIN and ROLLBACK around one SELECT, and nothing to commit."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, entity: type[E], ident: Any, options: Sequence[ORMOption] = ()) -> E | None:
        return await self._session.get(entity, ident, options=options)

    async def exec(self, statement: SelectOfScalar[T]) -> ScalarResult[T]:
        return await self._session.exec(statement)

    async def close(self) -> None:
        await self._session.close()


class Database:
    """The engines of one process. On SQLite one connection writes and others read; PostgreSQL has one pool for both."""

    def __init__(self, url: URL, pool: Pool | None = None) -> None:
        self.url, pool = url, pool or Pool()
        self.is_sqlite = url.get_backend_name() == "sqlite"
        build = sqlite_engines if self.is_sqlite else postgres_engines
        self.writer, self.reader = build(url, pool)

    def write(self) -> WriteSession:
        return WriteSession(self.writer, expire_on_commit=False)

    def read(self) -> ReadSession:
        return ReadSession(AsyncSession(self.reader, expire_on_commit=False, autoflush=False))

    def connect(self) -> AsyncConnection:
        return self.reader.connect()

    async def dispose(self) -> None:
        await self.writer.dispose()
        await self.reader.dispose()


def postgres_engines(url: URL, pool: Pool) -> tuple[AsyncEngine, AsyncEngine]:
    server_settings = {
        "application_name": pool.application_name,
        "jit": "on" if pool.jit else "off",  # compiling a plan costs more than these short queries
        "statement_timeout": str(round(pool.statement_timeout * 1000)),
    }
    engine = create_async_engine(
        url,
        echo=pool.echo,
        hide_parameters=not pool.echo,
        pool_size=pool.size,
        max_overflow=pool.overflow,
        pool_timeout=pool.timeout,
        pool_recycle=pool.recycle,
        pool_pre_ping=pool.pre_ping,
        pool_use_lifo=True,
        connect_args={"server_settings": server_settings, "timeout": pool.timeout},
    )
    return engine, engine.execution_options(isolation_level="AUTOCOMMIT")


def sqlite_engines(url: URL, pool: Pool) -> tuple[AsyncEngine, AsyncEngine]:
    in_memory = url.database in (None, "", ":memory:")
    writer = sqlite_engine(url, pool, size=1, pragmas=("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"))
    event.listen(writer.sync_engine, "begin", begin_immediate)
    if in_memory:  # the database is the connection: readers and writers take turns on it
        return writer, writer.execution_options(reading=True)
    return writer, sqlite_engine(url, pool, size=pool.size, pragmas=("query_only=ON",))


def sqlite_engine(url: URL, pool: Pool, *, size: int, pragmas: Sequence[str]) -> AsyncEngine:
    engine = create_async_engine(
        url,
        echo=pool.echo,
        hide_parameters=not pool.echo,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=pool.timeout,
        connect_args={"timeout": pool.statement_timeout},  # how long to wait for another process that writes
    )

    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver would begin too late, and not before a SELECT
        connection.create_function("fold", 1, fold, deterministic=True)
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine.sync_engine, "connect", prepare)
    return engine


def begin_immediate(connection: Connection) -> None:
    """Take the write lock first: a transaction that reads and then writes cannot be overtaken."""
    if not connection.get_execution_options().get("reading"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def fold(text: str | None) -> str | None:
    """Lower case, letter by letter, as PostgreSQL's `lower` does; SQLite's own knows ASCII only."""
    return text and "".join(letter.lower()[0] for letter in text)
