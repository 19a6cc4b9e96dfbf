"""How do we reach the database: one engine to write, one to read, and the sessions on them."""

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import URL, Table, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm.interfaces import ORMOption
from sqlmodel import SQLModel, col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from heroes.kit.coalesce import Coalescer
from heroes.kit.engine import Pool, postgres_engines, sqlite_engines
from heroes.kit.model import Entity, now
from heroes.kit.ownership import OwnedSession, insist
from heroes.kit.reading import ReadSession

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

    async def __aexit__(self, *failure: Any) -> None:
        """After a COMMIT there is nothing left to close, and closing takes a task of its own."""
        if self.in_transaction():
            await super().__aexit__(*failure)

    async def wait_for_locks(self, seconds: float | None) -> None:
        """How long a statement waits for a row from now on; None for the default. On SQLite only one writes anyway."""
        if self.get_bind().dialect.name == "postgresql":
            value = None if seconds is None else str(round(seconds * 1000))
            await self.exec(select(func.set_config("lock_timeout", value, True)))

    async def exclusive(self, purpose: str) -> None:
        """Wait until no other transaction, of any process, is at this purpose; on SQLite only one writes anyway."""
        if self.get_bind().dialect.name == "postgresql":
            await self.exec(select(func.pg_advisory_xact_lock(func.hashtext(purpose))))


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
