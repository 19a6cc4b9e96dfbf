"""How does a handler write: in one transaction, which the unit of work flushes and commits when the handler is done."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Table, inspect, update
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm.interfaces import ORMOption
from sqlmodel import SQLModel, col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from kit.auth.ownership import ONLY_THEIRS, OwnedSession, insist, look_at
from kit.database.reading import of_ids
from kit.fast.batches import Grouping
from kit.fast.bulk_insert import are_alike, insert_all, is_complete
from kit.fast.group_commit import Member
from kit.fast.instances import detached
from kit.fast.single_insert import Lone
from kit.models.entities import Entity, now

E = TypeVar("E", bound=Entity)


class WriteSession(AsyncSession):
    """One transaction, which the unit of work flushes and commits when the handler is done.

    What SQLAlchemy's session needs is made when something is asked of it. A row that is added, and is all there is,
    does without.
    """

    sync_session_class = OwnedSession
    lone: Lone | Member | None = None

    def __init__(self, engine: AsyncEngine, grouping: Grouping | None = None, *, only_theirs: bool = False) -> None:
        self.engine, self.grouping, self.only_theirs = engine, grouping, only_theirs
        self.waiting: list[Entity] = []
        """New rows of which SQLAlchemy's session does not know yet."""

    if not TYPE_CHECKING:  # where it would allow any name

        def __getattr__(self, name: str) -> Any:
            """Called for what only the constructor of the session sets, which is called now."""
            if self.is_open:
                raise AttributeError(name)
            super().__init__(self.engine, expire_on_commit=False, info={ONLY_THEIRS: self.only_theirs})
            super().add_all(self.waiting)
            return getattr(self, name)

    @property
    def is_open(self) -> bool:
        return "sync_session" in vars(self)

    def add(self, instance: object, *, _warn: bool = True) -> None:
        if isinstance(instance, Entity) and not self.is_open and inspect(instance).transient:
            self.waiting.append(instance)
        else:
            super().add(instance, _warn=_warn)

    async def get(self, entity: type[E], ident: Any) -> E | None:  # type: ignore[override]  # always locks
        """The row, locked until the transaction ends, so that no other writer changes what was read."""
        key = inspect(entity).identity_key_from_primary_key((ident,))
        if key in self.identity_map:
            return self.theirs(await super().get(entity, ident, with_for_update=True))
        return self.theirs(await self.load(entity, ident))

    def theirs(self, row: E | None) -> E | None:
        """The row, or a 403 if it is not for the caller to write."""
        if row is not None and self.only_theirs:
            insist(row)
        return row

    async def load(self, entity: type[E], ident: Any) -> E | None:
        """As the ORM loads one, in two thirds of its time: it is made for many, and all that comes with them."""
        names, statement = of_ids(entity, 1, locking=True)
        found: Any = await self.exec(statement, params={"id_0": ident})  # type: ignore[call-overload]  # knows no columns
        values = found.first()
        if values is None:
            return None
        row = detached(entity, dict(zip(names, values, strict=True)))
        self.add(row)
        return row

    async def insert_all(self, rows: Sequence[Entity]) -> None:
        """Add new rows and flush them; if nothing but an INSERT is to be done, in half the time that the ORM takes."""
        await self.flush()
        if are_alike(rows):
            look_at(rows, only_theirs=self.only_theirs)
            await insert_all(await self.connection(), rows)
        self.add_all(rows)
        await self.flush()

    async def first(self, statement: SelectOfScalar[E]) -> E | None:
        """The first row of a select, locked like one that is got by its id."""
        locked = statement.with_for_update(of=statement.column_descriptions[0]["entity"])
        return self.theirs((await self.exec(locked)).first())

    async def reload(self, entity: type[E], rows: Sequence[E], *options: ORMOption) -> list[E]:
        """The same rows, in this order, with what these options load; one statement, however many there are."""
        await self.flush()
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

    async def finish(self) -> None:
        """Flush what the handler has left, of which nothing but the COMMIT comes after."""
        match self.waiting:
            case [row] if not self.is_open and is_complete(row):
                look_at([row], only_theirs=self.only_theirs)
                self.lone = self.grouping.place(row) if self.grouping else Lone(self.engine.sync_engine)
                await self.lone.insert(row)
            case _:
                await self.flush()

    async def commit(self) -> None:
        await (self.lone.commit() if self.lone else super().commit())

    async def __aexit__(self, kind: Any, failure: Any, trace: Any) -> None:
        """After a COMMIT there is nothing left to close, and closing takes a task of its own."""
        if self.lone:
            await self.lone.leave(failure)
        elif self.is_open and self.in_transaction():
            await super().__aexit__(kind, failure, trace)

    async def wait_for_locks(self, seconds: float | None) -> None:
        """How long a statement waits for a row from now on; None for the default. On SQLite only one writes anyway."""
        if self.get_bind().dialect.name == "postgresql":
            value = None if seconds is None else str(round(seconds * 1000))
            await self.exec(select(func.set_config("lock_timeout", value, True)))

    async def exclusive(self, purpose: str) -> None:
        """Wait until no other transaction, of any process, is at this purpose; on SQLite only one writes anyway."""
        if self.get_bind().dialect.name == "postgresql":
            await self.exec(select(func.pg_advisory_xact_lock(func.hashtext(purpose))))
