"""Sessions: `ReadSession` for handlers that only read, `WriteSession` for handlers that write in one transaction."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from sqlalchemy import Connection, Join, Result, Table, event, inspect
from sqlalchemy.ext import asyncio as asyncio_orm
from sqlalchemy.ext.asyncio import AsyncSessionTransaction
from sqlalchemy.orm import Mapper, undefer
from sqlalchemy.orm.interfaces import ORMOption
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.auth.ownership import RESTRICTED_READS, RESTRICTED_WRITES, GuardedSession, ReadOnlySession
from kit.database.concurrent_use import ExclusiveSession, make_exclusive
from kit.database.deletions import complete_references, renew_referrers
from kit.database.key_order import assign_ids, has_several_keys, sort_key, unique_keys
from kit.database.loaded_versions import keep_versions
from kit.database.statements import end_commit, expect_commit
from kit.models.entities import Entity

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

E = TypeVar("E", bound=Entity)
M = TypeVar("M")


HAS_COMMITTED = "has_committed"
"""The key in `Session.info` that is set after a commit: the request must not be retried then."""


event.listen(Mapper, "before_delete", renew_referrers)
event.listen(GuardedSession, "before_flush", complete_references)


@event.listens_for(GuardedSession, "before_commit")
def _expect_commit(_: GuardedSession) -> None:
    expect_commit()


@event.listens_for(GuardedSession, "after_commit")
def _note_commit(session: GuardedSession) -> None:
    session.info[HAS_COMMITTED] = True
    end_commit()


event.listen(GuardedSession, "do_orm_execute", keep_versions)


async def execute(session: asyncio_orm.AsyncSession, statement: Any, **options: Any) -> Result[Any]:
    """Execute a statement, also in a session of SQLModel that an override returns: its own `execute` warns."""
    result: Result[Any] = await asyncio_orm.AsyncSession.execute(session, statement, **options)
    return result


def trusted_connection(session: Any) -> Connection:
    """Return the connection for statements of the kit. A session of SQLAlchemy, of an override, has only one."""
    connection: Connection = getattr(session, "trusted_connection", session.connection)()
    return connection


async def insert_all(session: asyncio_orm.AsyncSession, rows: Sequence[Entity]) -> None:
    """Add new rows and flush them: by `WriteSession.insert_all`, or by a session of SQLAlchemy, of an override."""
    if isinstance(session, WriteSession):
        await session.insert_all(rows)
    else:
        session.add_all(rows)
        await session.flush()


class Opener(Protocol):
    """The interface of `Database` that a `ReadSession` needs for further sessions."""

    def read(self, *, restricted: bool = False) -> "ReadSession": ...


@make_exclusive
class _Session(ExclusiveSession, AsyncSession):
    """SQLModel's session, with the `execute` of SQLAlchemy in place of SQLModel's, which is deprecated and warns."""

    is_open = True
    """Whether the synchronous session was created. Only the fast path creates it later."""
    is_ended = False
    """Whether the request of the session has ended. Its statements raise `SessionEnded` then."""

    async def execute(self, statement: Any, params: Any = None, **options: Any) -> Any:
        return await asyncio_orm.AsyncSession.execute(self, statement, params, **options)

    @property
    def bind(self) -> Any:
        """The engine of the session. In a restricted session it refuses to connect: a connection is not checked."""
        return self.get_async_bind()

    @bind.setter
    def bind(self, bind: Any) -> None:
        asyncio_orm.AsyncSession.bind.fset(self, bind)  # type: ignore[attr-defined]  # a property

    def get_bind(self, *values: Any, **options: Any) -> Any:
        session: Any = self.sync_session
        return session.without_connections(session.bind_of(*values, **options))

    def get_async_bind(self, *values: Any, **options: Any) -> Any:
        session: Any = self.sync_session
        own, shown = session.bind_of(*values, **options), self.get_bind(*values, **options)
        return super().get_async_bind(*values, **options) if shown is own else asyncio_orm.AsyncEngine(shown)


class ReadSession(_Session):
    """An `AsyncSession` that only reads, in autocommit: each statement sees what is committed when it begins.

    It begins a transaction on PostgreSQL for what needs one: cursors, savepoints, `begin` and `connection`.
    With `restricted`, it returns only rows that belong to the principal, unless the principal is a superuser.
    """

    sync_session_class = ReadOnlySession
    waits_for_others = True

    def __init__(self, engine: "AsyncEngine", opener: Opener, *, restricted: bool = False) -> None:
        super().__init__(engine, expire_on_commit=False, autoflush=False, info={RESTRICTED_READS: restricted})
        self.opener = opener

    async def gather(self, *queries: Callable[[Self], Awaitable[Any]]) -> list[Any]:
        """Run queries concurrently, each with its own session and connection, and return their results in order.

        If a query fails, the others are cancelled, and its exception is raised.
        """
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._with_own_session(query)) for query in queries]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _with_own_session(self, query: Callable[[Any], Awaitable[M]]) -> M:
        async with self.opener.read(restricted=bool(self.info[RESTRICTED_READS])) as session:
            return await query(session)


class WriteSession(_Session):
    """An `AsyncSession` with one transaction, which the unit of work commits after the handler, before the response.

    With `restricted`, it writes only rows that belong to the principal, unless the principal is a superuser. With
    `restricted_reads` it also reads no other rows.
    """

    sync_session_class = GuardedSession
    shares_transaction = True
    """Whether group commit may store a single new row in a transaction with those of other requests.

    If that transaction is rolled back because of another request, this request is run again.
    """

    def __init__(self, engine: "AsyncEngine", *, restricted: bool = False, restricted_reads: bool = False) -> None:
        info = {RESTRICTED_WRITES: restricted, RESTRICTED_READS: restricted_reads}
        super().__init__(engine, expire_on_commit=False, info=info)

    def begin(self) -> AsyncSessionTransaction:
        """Begin a transaction; a savepoint if the session has a transaction already."""
        return self.begin_nested() if self.in_transaction() else super().begin()

    async def get(self, entity: type[M], ident: Any, **options: Any) -> M | None:  # type: ignore[override]
        """Return the row with this id, locked until the transaction ends, unless `with_for_update=False`.

        Rows that are loaded together with it by a join are not locked: PostgreSQL refuses that for an outer join. Nor
        is a row that a UNION of tables finds, as for a class with `ConcreteBase`.
        Raises a 403 if the session is restricted and the row belongs to another user. A row of a table without
        `belongs_to` can be read, and not changed.
        """
        if options.setdefault("with_for_update", lock_of(entity)) is False:
            del options["with_for_update"]
        elif options.get("options"):  # SQLAlchemy compares the version of a locked row, so it must be loaded
            options["options"] = [*options["options"], *_version_of(entity)]
        row = await super().get(entity, ident, **options)
        if getattr(row, "belongs_to", None) is not None:
            await self._check_owner(row)
        return row

    async def _check_owner(self, row: object) -> None:
        session: Any = self.sync_session
        if session.is_restricted:
            await self.run_sync(lambda _: session.check_owner(row))

    async def insert_all(self, rows: Sequence[Entity]) -> None:
        """Add new rows and flush them. Then their ids are set, in ascending order."""
        self.add_all(await self.in_key_order(rows))
        await self.flush()

    async def in_key_order(self, rows: Sequence[E]) -> Sequence[E]:
        """Return new rows in an order in which concurrent transactions can insert them without a deadlock.

        On PostgreSQL the rows get their ids here, in the given order. Rows for SQLite, which has one writer, and rows
        of several entities are returned unchanged.
        """
        entity = type(rows[0]) if len(rows) > 1 else None
        is_alike = entity is not None and all(type(row) is entity for row in rows)
        if entity is None or not is_alike or self.get_bind().dialect.name != "postgresql" or not unique_keys(entity):
            return rows
        if has_several_keys(entity):
            await self.lock_exclusively(f"insert {entity.__tablename__}")
        await self.run_sync(lambda session: assign_ids(session.trusted_connection(), entity, rows))  # type: ignore[attr-defined]
        return sorted(rows, key=lambda row: sort_key(entity, row))

    async def reload(self, entity: type[E], rows: Sequence[E], *options: ORMOption) -> list[E]:
        """Flush, load the rows again by one SELECT with these loader options, and return them in the same order."""
        await self.flush()
        statement = select(entity).where(col(entity.id).in_([row.id for row in rows])).options(*options)
        loaded = {row.id: row for row in await self.exec(statement.execution_options(populate_existing=True))}
        return [loaded[row.id] for row in rows]

    async def delete(self, instance: object) -> None:
        """Mark a row for deletion, as SQLAlchemy does. Raises a 403 as `get`.

        Rows that refer to it by ON DELETE SET NULL or SET DEFAULT get a new version (`kit.database.deletions`).
        """
        await self._check_owner(instance)
        await super().delete(instance)

    async def execute_trusted(self, statement: Any) -> None:
        """Execute a statement of the kit without the restrictions for statements of handlers."""
        await self.run_sync(lambda session: session.trusted_connection().execute(statement))  # type: ignore[attr-defined]

    async def find_trusted(self, statement: Any) -> Any:
        """Execute a statement of the kit on the rows of all owners. Returns the first value, or None without a row."""
        return await self.run_sync(lambda session: session.trusted_connection().scalar(statement))  # type: ignore[attr-defined]

    async def prepare_commit(self) -> None:
        """Flush, so that statements which fail do so before the COMMIT is sent."""
        await self.flush()

    async def commit_within(self, seconds: float) -> None:
        """Commit. Raises a TimeoutError if it takes longer than `seconds`."""
        async with asyncio.timeout(seconds):
            await self.commit()

    async def gather(self, *queries: Callable[[Self], Awaitable[Any]]) -> list[Any]:
        """Run queries one after the other, because a transaction has one connection, and return their results."""
        return [await query(self) for query in queries]

    async def set_lock_timeout(self, seconds: float | None) -> None:
        """Set PostgreSQL's `lock_timeout` for the rest of the transaction; None for the default. Not on SQLite."""
        if self.get_bind().dialect.name == "postgresql":
            value = None if seconds is None else str(round(seconds * 1000))
            await self.exec(select(func.set_config("lock_timeout", value, True)))

    async def lock_exclusively(self, purpose: str) -> None:
        """Acquire an exclusive advisory lock with this name until the transaction ends, among all processes.

        Does nothing on SQLite, which has one writer at a time.
        """
        if self.get_bind().dialect.name == "postgresql":
            await self.exec(select(func.pg_advisory_xact_lock(func.hashtext(purpose))))


def lock_of(entity: Any) -> Any:
    """Return the `with_for_update` that locks a row of a mapped class; False if PostgreSQL cannot lock it.

    A class with subclasses may be read by an outer join with their tables, or by a UNION of these.
    """
    mapper = inspect(entity, raiseerr=False)
    if mapper is None or not mapper.with_polymorphic_mappers:
        return {"of": entity}
    return {"of": mapper.tables} if isinstance(mapper.selectable, Table | Join) else False


def _version_of(entity: Any) -> list[ORMOption]:
    """Return a loader option for the version counter, which `load_only` of other columns leaves out."""
    mapper = inspect(entity)
    column = mapper.version_id_col
    return [] if column is None else [undefer(mapper.get_property_by_column(column).class_attribute)]
