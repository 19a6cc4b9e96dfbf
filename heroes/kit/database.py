"""How do we reach the database: one engine to write, one to read, and the sessions on them."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from functools import cache, cached_property, partial
from typing import Any, Self, TypeVar

from sqlalchemy import URL, Executable, ScalarResult, Select, Table, bindparam, inspect, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.orm.interfaces import ORMOption
from sqlmodel import SQLModel, col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from heroes.kit.coalesce import Coalescer
from heroes.kit.engine import Pool, postgres_engines, sqlite_engines
from heroes.kit.model import Entity, now
from heroes.kit.ownership import OwnedSession, insist
from heroes.kit.rows import ceiling, detached, fetch, padded

T = TypeVar("T")
E = TypeVar("E", bound=Entity)


class WriteSession(AsyncSession):
    """One transaction. The unit of work commits it; a handler only flushes."""

    sync_session_class = OwnedSession

    async def get(self, entity: type[T], ident: Any, **options: Any) -> T | None:  # type: ignore[override]  # always locks
        """The row, locked until the transaction ends, so that no other writer changes what was read."""
        row = await super().get(entity, ident, with_for_update=True, **options)
        if row is not None:
            insist(self.sync_session, row)
        return row

    async def first(self, statement: SelectOfScalar[E]) -> E | None:
        """The first row of a select, locked like one that is got by its id."""
        locked = statement.with_for_update(of=statement.column_descriptions[0]["entity"])
        row = (await self.exec(locked)).first()
        if row is not None:
            insist(self.sync_session, row)
        return row

    async def reload(self, entity: type[E], rows: Sequence[E], *options: ORMOption) -> list[E]:
        """The same rows, in this order, with what these options load; one statement, however many there are."""
        wanted = select(entity).where(col(entity.id).in_([row.id for row in rows]))
        loaded = {
            row.id: row for row in await self.exec(wanted.options(*options).execution_options(populate_existing=True))
        }
        return [loaded[row.id] for row in rows]

    async def delete(self, instance: object) -> None:
        """Delete the row; whoever loses its reference by ON DELETE SET NULL gets a new version, as by any change."""
        assert isinstance(instance, Entity)
        for table in SQLModel.metadata.tables.values():
            await self.release(table, instance)
        await super().delete(instance)

    async def release(self, table: Table, target: Entity) -> None:
        for key in table.foreign_keys:
            if key.ondelete == "SET NULL" and key.column.table.name == target.__tablename__:
                values = {key.parent: None, table.c.version: table.c.version + 1, table.c.updated_at: now()}
                await self.exec(update(table).where(key.parent == target.id).values(values))

    async def wait_for_locks(self, seconds: float | None) -> None:
        """How long a statement waits for a row from now on; None for the default. On SQLite only one writes anyway."""
        if self.get_bind().dialect.name == "postgresql":
            value = None if seconds is None else str(round(seconds * 1000))
            await self.exec(select(func.set_config("lock_timeout", value, True)))

    async def exclusive(self, purpose: str) -> None:
        """Wait until no other transaction, of any process, is at this purpose; on SQLite only one writes anyway."""
        if self.get_bind().dialect.name == "postgresql":
            await self.exec(select(func.pg_advisory_xact_lock(func.hashtext(purpose))))


class ReadSession:
    """Reads, each outside of any transaction: no BEGIN and ROLLBACK around one SELECT, and nothing to commit."""

    def __init__(self, engine: AsyncEngine, coalescer: Coalescer | None) -> None:
        self._engine, self._coalescer = engine, coalescer

    @cached_property
    def _session(self) -> AsyncSession:
        return AsyncSession(self._engine, expire_on_commit=False, autoflush=False)

    async def get(self, entity: type[E], ident: Any, options: Sequence[ORMOption] = ()) -> E | None:
        """The thing, detached; those who ask for things of a kind at the same time share a query."""
        if options:
            return await self._session.get(entity, ident, options=options)
        query = partial(by_id, self._engine, entity)
        things = await (self._coalescer.ask(entity, ident, query) if self._coalescer else query([ident]))
        return detached(entity, things[ident]) if ident in things else None

    async def once(self, key: Hashable, work: Callable[["ReadSession"], Awaitable[T]]) -> T:
        """What this work returns: done once for all who ask under this key before it begins. They share the result."""
        if self._coalescer is None:
            return await work(self)
        result: T = await self._coalescer.ask(key, None, lambda _: self.alone(work))
        return result

    async def fetch(self, statement: Select[Any]) -> Sequence[Sequence[Any]]:
        """The rows of a select of columns, past the ORM; for lists."""
        return await fetch(self._engine, statement)

    async def exec(self, statement: SelectOfScalar[T]) -> ScalarResult[T]:
        return await self._session.exec(statement)

    async def rows(self, statement: Executable) -> Sequence[Any]:
        """The rows of a select of columns, for sums and counts."""
        result: Any = await self._session.exec(statement)  # type: ignore[call-overload]  # SQLModel's has no columns
        return list(result.all())

    async def together(self, *queries: Callable[["ReadSession"], Awaitable[Any]]) -> list[Any]:
        """The results of queries that run at the same time, each on a connection of its own.

        If one fails, the others are cancelled, and its failure is the failure of all.
        """
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.alone(query)) for query in queries]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def alone(self, query: Callable[["ReadSession"], Awaitable[T]]) -> T:
        async with ReadSession(self._engine, self._coalescer) as session:
            return await query(session)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if "_session" in self.__dict__:
            await self._session.close()


async def by_id(engine: AsyncEngine, entity: type[Entity], idents: Collection[Any]) -> dict[Any, dict[str, Any]]:
    """The values of these things; those that are not there are left out."""
    names, statement = of_ids(entity, ceiling(len(idents)))
    values = {f"id_{index}": ident for index, ident in enumerate(padded(idents))}
    things = [dict(zip(names, row, strict=True)) for row in await fetch(engine, statement, values)]
    return {thing["id"]: thing for thing in things}


@cache
def of_ids(entity: type[Entity], number: int) -> tuple[Sequence[str], Select[Any]]:
    """The names of a table's columns, and a select of them for so many ids."""
    columns = {attribute.key: attribute.columns[0] for attribute in inspect(entity).column_attrs}
    ids = [bindparam(f"id_{index}", type_=columns["id"].type) for index in range(number)]
    return list(columns), select(*columns.values()).where(columns["id"].in_(ids))


class Database:
    """The engines of one process. On SQLite one connection writes and others read; PostgreSQL has one pool for both."""

    def __init__(self, url: URL, pool: Pool | None = None, *, coalesce: bool = True) -> None:
        self.url, pool = url, pool or Pool()
        self.is_sqlite = url.get_backend_name() == "sqlite"
        build = sqlite_engines if self.is_sqlite else postgres_engines
        self.writer, self.reader = build(url, pool)
        self.coalescer = Coalescer() if coalesce else None

    def write(self) -> WriteSession:
        return WriteSession(self.writer, expire_on_commit=False)

    def read(self) -> ReadSession:
        return ReadSession(self.reader, self.coalescer)

    def connect(self) -> AsyncConnection:
        return self.reader.connect()

    async def dispose(self) -> None:
        await self.writer.dispose()
        await self.reader.dispose()
