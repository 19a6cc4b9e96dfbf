"""Single inserts: one new row, stored by the driver in a transaction of its own, with an INSERT that is compiled once.

    start --insert--> row is stored --commit--> committed
                      row is stored --leave--> rolled back

What is left out is what the ORM does for rows that depend on each other. Failures are those of the ORM.
"""

from collections.abc import Awaitable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, insert, inspect, util
from sqlalchemy.engine import Engine
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql.compiler import SQLCompiler

from kit.fast import driver
from kit.fast.driver import bind_processors
from kit.fast.mappings import EntityMapping
from kit.fast.selects import MAX_STATEMENTS
from kit.models.entities import Entity

T = TypeVar("T")
_plain_types: set[type] = set()
"""Types that were met whose values are no SQL expressions, which the ORM would write into the INSERT."""


class CompiledInsert:
    """The INSERT of one row of a table: with its id, or without, then it returns the id."""

    def __init__(self, mapping: EntityMapping, dialect: Dialect, *, has_id: bool) -> None:
        fields = {part.key: name for name, part in mapping.columns.items() if has_id or name != "id"}
        statement = insert(inspect(mapping.entity).local_table)
        returning = statement if has_id else statement.returning(mapping.columns["id"])
        compiled = returning.compile(dialect=dialect, column_keys=list(fields))
        assert isinstance(compiled, SQLCompiler)
        parameters = bind_processors(compiled, dialect)
        self.sql, self.fields = str(compiled), [fields[key] for key, _ in parameters]
        self.processors = [(index, process) for index, (_, process) in enumerate(parameters) if process is not None]


_compiled = lru_cache(MAX_STATEMENTS)(CompiledInsert)


class NewRow(NamedTuple):
    """A row that is to be stored, with its INSERT and the arguments of that."""

    row: Entity
    statement: CompiledInsert
    arguments: Sequence[Any]

    @classmethod
    def of(cls, row: Entity, mapping: EntityMapping, dialect: Dialect) -> "NewRow":
        """Raises what the type of a column raises for its value."""
        statement = _compiled(mapping, dialect, has_id=row.id is not None)
        arguments = list(map(row.__dict__.__getitem__, statement.fields))
        for index, process in statement.processors:
            arguments[index] = process(arguments[index])
        return cls(row, statement, arguments)


def is_insertable(row: Any, mapping: EntityMapping) -> bool:
    """Whether an INSERT of its fields is all that a new row needs."""
    values, version = row.__dict__, mapping.first_version
    if not mapping.is_insertable or not mapping.columns.keys() <= values.keys():
        return False
    if not mapping.relationships.isdisjoint(values) or None in map(values.get, mapping.defaults):
        return False
    if version is not None and values[version[0]] != version[1]:
        return False
    return _plain_types.issuperset(map(type, values.values())) or _are_plain(set(map(type, values.values())))


def _are_plain(kinds: set[type]) -> bool:
    if any(issubclass(kind, ColumnElement) or hasattr(kind, "__clause_element__") for kind in kinds):
        return False
    _plain_types.update(kinds)
    return True


class SingleInsert:
    """The transaction of one new row; a batch uses it for several rows that have the same statement."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.connection: PoolProxiedConnection | None = None
        self.is_answered = False
        """Whether the database has answered the last statement, so that the state of the connection is known."""

    async def insert(self, *new: NewRow, lock_timeout: float | None = None) -> None:
        """Store these rows, and give them the ids that the database gives. `lock_timeout` is in seconds."""
        sql, arguments = new[0].statement.sql, [part.arguments for part in new]
        self.connection = await util.greenlet_spawn(driver.connect, self.engine)
        ids = await self._answer(driver.insert(self.connection, sql, arguments, lock_timeout), sql, arguments[0])
        for part, (ident,) in zip(new, ids, strict=False):  # none is returned for rows that have their ids
            set_committed_value(part.row, "id", ident)

    async def commit(self) -> None:
        assert self.connection is not None
        await self._answer(driver.control(self.connection, "COMMIT"))
        await util.greenlet_spawn(self.connection.close)
        self.connection = None

    async def leave(self) -> None:
        """Give the connection back to the pool, and roll back unless it was committed."""
        if self.connection is not None:
            connection, self.connection = self.connection, None
            await util.greenlet_spawn(self._abandon, connection)

    async def _answer(self, step: Awaitable[T], sql: str | None = None, arguments: Sequence[Any] = ()) -> T:
        """What the database answers."""
        assert self.connection is not None
        self.is_answered = False
        try:
            answer = await step
        except BaseException as failure:
            connection = self.connection
            try:
                await util.greenlet_spawn(driver.raise_as_sqlalchemy, failure, self.engine, connection, sql, arguments)
            except DBAPIError as error:
                self.is_answered = not error.connection_invalidated
                raise
            raise AssertionError from failure  # it was raised as SQLAlchemy does
        self.is_answered = True
        return answer

    def _abandon(self, connection: PoolProxiedConnection) -> None:
        """Roll back; but a connection that has not answered is invalidated."""
        try:
            if connection.is_valid and self.is_answered:
                driver.roll_back(connection)
            elif connection.is_valid:
                connection.invalidate()
        except BaseException:
            connection.invalidate()
            raise
        finally:
            connection.close()
