"""How is something read: outside of any transaction, detached, and together with others who ask for the same."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from functools import cache, cached_property, partial
from typing import Any, Self, TypeVar

from sqlalchemy import Executable, ScalarResult, Select, bindparam, select
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm.interfaces import ORMOption
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from kit.fast.coalescing import Coalescer
from kit.fast.instances import detached
from kit.fast.processors import columns_of, showing
from kit.fast.rows import NOTHING, Complete, as_it_is, ceiling, fetch, padded
from kit.models.entities import Entity

T = TypeVar("T")
E = TypeVar("E", bound=Entity)


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

    async def fetch(
        self,
        statement: Select[Any],
        values: Mapping[str, Any] = NOTHING,
        *,
        shape: Hashable = None,
        complete: Complete = as_it_is,
    ) -> Sequence[Sequence[Any]]:
        """The rows of a select of columns, past the ORM, to be shown as JSON; as to the arguments, see `rows.fetch`."""
        return await fetch(self._engine, statement, values, shape=shape, complete=complete, convert=showing)

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
def of_ids(entity: type[Entity], number: int, *, locking: bool = False) -> tuple[Sequence[str], Select[Any]]:
    """The names of a table's columns, and a select of them for so many ids."""
    columns = columns_of(entity)
    ids = [bindparam(f"id_{index}", type_=columns["id"].type) for index in range(number)]
    statement = select(*columns.values()).where(columns["id"].in_(ids))
    return list(columns), statement.with_for_update() if locking else statement
