"""Single inserts: one new row, stored by the driver in its own transaction, by an INSERT that is compiled once.

    start --insert--> row is stored --commit--> committed
                      row is stored --close--> rolled back

It saves the work of the ORM's unit of work, which is for several rows. It raises the same exceptions as the ORM.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, insert, inspect
from sqlalchemy.engine import Engine
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql.compiler import SQLCompiler

from kit.auth.checked_sessions import NotStored
from kit.database.integer_values import whole_number
from kit.fast import driver, driver_failures
from kit.fast.driver_values import INTEGERS, bind_processors
from kit.fast.mappings import EntityMapping
from kit.fast.selects import MAX_STATEMENTS
from kit.models.entities import Entity

T = TypeVar("T")
_plain_types: set[type] = set()
"""A cache of types that are not SQL expressions. The ORM would render an expression into the INSERT."""


class CompiledInsert:
    """The compiled INSERT … RETURNING id of one row. Without `has_id` the database generates the id.

    If a trigger skips the row, no id is returned.
    """

    def __init__(self, mapping: EntityMapping, dialect: Dialect, *, has_id: bool) -> None:
        fields = {part.key: name for name, part in mapping.columns.items() if has_id or name != "id"}
        statement = insert(inspect(mapping.entity).local_table)
        compiled = statement.returning(mapping.columns["id"]).compile(dialect=dialect, column_keys=list(fields))
        assert isinstance(compiled, SQLCompiler)
        parameters = bind_processors(compiled, dialect)
        self.has_id = has_id
        self.sql, self.fields = str(compiled), [fields[key] for key, _ in parameters]
        self.processors = [(index, process) for index, (_, process) in enumerate(parameters) if process is not None]


_compiled = lru_cache(MAX_STATEMENTS)(CompiledInsert)


class NewRow(NamedTuple):
    """A row to store, with its INSERT and the converted arguments."""

    row: Entity
    statement: CompiledInsert
    arguments: Sequence[Any]
    identity_key: Callable[[tuple[Any, ...]], Any]

    @classmethod
    def of(cls, row: Entity, mapping: EntityMapping, dialect: Dialect) -> "NewRow":
        """Return the row with converted values. Raises the exception of a column type that refuses its value."""
        statement = _compiled(mapping, dialect, has_id=row.id is not None)
        arguments = list(map(row.__dict__.__getitem__, statement.fields))
        for index, process in statement.processors:
            if process is not whole_number or type(arguments[index]) not in INTEGERS:
                arguments[index] = process(arguments[index])
        return cls(row, statement, arguments, mapping.identity_key)


def is_insertable(row: Any, mapping: EntityMapping) -> bool:
    """Return whether an INSERT of the values of a new row stores the same as the ORM would."""
    values, version = row.__dict__, mapping.first_version
    if not mapping.is_insertable or not mapping.columns.keys() <= values.keys():
        return False
    if not mapping.relationships.isdisjoint(values) or None in map(values.get, mapping.defaults):
        return False
    if version is not None and values[version[0]] != version[1]:
        return False
    return are_plain(values.values())


def are_plain(values: Collection[Any]) -> bool:
    """Return whether none of these values is an SQL expression."""
    if _plain_types.issuperset(map(type, values)):
        return True
    kinds = set(map(type, values))
    if any(issubclass(kind, ColumnElement) or hasattr(kind, "__clause_element__") for kind in kinds):
        return False
    _plain_types.update(kinds)
    return True


class DriverTransaction:
    """A transaction by the driver, without a `Session` or `Connection` of SQLAlchemy. It raises the same exceptions."""

    is_shared = False
    """Whether a batch commits it. A batch applies the timeout of a COMMIT itself."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.connection: PoolProxiedConnection | None = None
        self.is_answered = False
        """Whether the database has answered the last statement. Otherwise the state of the connection is unknown."""
        self.at_end: Callable[[], None] | None = None
        """Called when the transaction is closed. Set by `group_commit`."""

    async def connect(self) -> PoolProxiedConnection:
        self.connection = await driver.spawn(driver.connect, self.engine)
        return self.connection

    async def commit(self) -> None:
        assert self.connection is not None
        await self.execute_step(driver.commit(self.connection))
        committed: Any = self.connection
        await driver.spawn(committed._close_special, True)  # without the ROLLBACK of the pool
        self.connection = None

    async def close(self) -> None:
        """Roll back unless the transaction was committed, and return the connection to the pool."""
        try:
            if self.connection is not None:
                connection, self.connection = self.connection, None
                await driver.spawn(self._abandon, connection)
        finally:
            if self.at_end is not None:
                at_end, self.at_end = self.at_end, None
                at_end()

    async def execute_step(self, step: Awaitable[T], sql: str | None = None, arguments: Sequence[Any] = ()) -> T:
        """Return the result of a call of the driver. Raises the exception of SQLAlchemy for its failure."""
        assert self.connection is not None
        self.is_answered = False
        try:
            result = await step
        except BaseException as failure:
            connection = self.connection
            try:
                await driver.spawn(
                    driver_failures.raise_as_sqlalchemy, failure, self.engine, connection, sql, arguments
                )
            except DBAPIError as error:
                self.is_answered = not error.connection_invalidated
                raise
            raise AssertionError from failure  # unreachable: `raise_as_sqlalchemy` never returns
        self.is_answered = True
        return result

    def _abandon(self, connection: PoolProxiedConnection) -> None:
        """Roll back, and return the connection. If its last statement was not answered, it is invalidated instead."""
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


class SingleInsert(DriverTransaction):
    """The transaction of one new row. A batch uses it for several rows with the same statement."""

    async def insert(self, *new: NewRow, lock_timeout: float | None = None, seconds: float | None = None) -> None:
        """Begin a transaction, insert these rows, and set the ids that the database generates.

        `lock_timeout` is in seconds; None for the default. Raises a TimeoutError if it takes longer than `seconds` (the
        wait for a connection not included). Raises `NotStored` if the database has skipped a row, as the ids could not
        be assigned to the others.
        """
        sql, arguments = new[0].statement.sql, [part.arguments for part in new]
        connection = await self.connect()
        step = self.execute_step(driver.insert(connection, sql, arguments, lock_timeout, seconds), sql, arguments[0])
        if seconds is None:
            ids = await step
        else:
            async with asyncio.timeout(seconds):
                ids = await step
        if len(ids) != len(new):
            raise NotStored
        if not new[0].statement.has_id:
            for part, (ident,) in zip(new, ids, strict=True):
                part.row.__dict__["id"] = ident  # not as a change: the session marks all values as stored
