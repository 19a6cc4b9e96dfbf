"""How are rows read when nothing of the ORM is needed: straight from the driver, by a statement compiled once."""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Select, literal, util
from sqlalchemy.engine import Engine
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql.cache_key import CacheKey
from sqlalchemy.sql.compiler import SQLCompiler

from kit.database.engines import start_clock
from kit.fast.processors import Reading, reading, writing

Rows = Sequence[Sequence[Any]]
PLANS = 500
"""So many statements are kept; those not used for longest are compiled anew."""


Complete = Callable[[Select[Any]], Select[Any]]
NOTHING: Mapping[str, Any] = MappingProxyType({})


def as_it_is(statement: Select[Any]) -> Select[Any]:
    return statement


class Plan:
    """A select as the driver wants it: its text, the order of its values, and how both ways are converted."""

    def __init__(self, statement: Select[Any], key: CacheKey, dialect: Dialect, convert: Reading) -> None:
        compiled = statement.compile(dialect=dialect, cache_key=key)
        assert isinstance(compiled, SQLCompiler)
        self.compiled, self.sql = compiled, str(compiled)
        self.values = writing(compiled, dialect)
        readers = [convert(column.type, dialect) for column in statement.selected_columns]
        self.is_whole = not compiled.post_compile_params
        """Whether its text is the same for all values; it is not with a list of them that grows."""
        self.readers = [(index, read) for index, read in enumerate(readers) if read is not None]

    def arguments(self, key: CacheKey, values: Mapping[str, Any]) -> list[Any]:
        """In the order of the text; `values` are those that the statement leaves open, by name."""
        given = self.compiled.construct_params(values, extracted_parameters=key.bindparams)
        return [given[name] if convert is None else convert(given[name]) for name, convert in self.values]

    def read(self, rows: Rows) -> Rows:
        if not self.readers or not rows:
            return rows
        columns: list[Iterable[Any]] = list(zip(*rows, strict=True))
        for index, convert in self.readers:
            columns[index] = map(convert, columns[index])
        return list(zip(*columns, strict=True))


plans: util.LRUCache[Any, Plan] = util.LRUCache(PLANS)


def plan_of(
    statement: Select[Any], key: CacheKey, shape: Hashable, complete: Complete, dialect: Dialect, convert: Reading
) -> Plan:
    plan = plans.get((dialect.name, key.key, shape, convert))
    if plan is None:
        plan = Plan(complete(statement), key, dialect, convert)
        plans[dialect.name, key.key, shape, convert] = plan
    return plan


async def fetch(
    engine: AsyncEngine,
    statement: Select[Any],
    values: Mapping[str, Any] = NOTHING,
    *,
    shape: Hashable = None,
    complete: Complete = as_it_is,
    convert: Reading = reading,
) -> Rows:
    """The rows of a select of columns, with the values that it leaves open. Raises what the driver raises.

    The select is what `complete` makes of the statement. It is called only where none was made before of a statement
    that differs in values only, in the same shape: so what it adds must follow from the shape, and its values be open.
    """
    key = statement._generate_cache_key()  # as the query cache in SQLAlchemy's own examples does
    plan = None if key is None else plan_of(statement, key, shape, complete, engine.dialect, convert)
    if key is None or plan is None or not plan.is_whole:
        async with engine.connect() as connection:
            rows: Rows = (await connection.execute(complete(statement), values)).all()
            return rows
    arguments = plan.arguments(key, values)
    if engine.echo:
        engine.sync_engine.logger.info("%s %s", plan.sql, arguments)
    return plan.read(await util.greenlet_spawn(ask, engine.sync_engine, plan.sql, arguments))


def ask(engine: Engine, sql: str, arguments: list[Any]) -> Rows:
    connection = connect(engine)
    try:
        return ask_on(connection, engine, sql, arguments)
    except BaseException:
        connection.invalidate()  # nobody has to find out in which state it is
        raise
    finally:
        connection.close()


def ask_on(connection: PoolProxiedConnection, engine: Engine, sql: str, arguments: list[Any]) -> Rows:
    driver: Any = connection.driver_connection
    if engine.dialect.name == "postgresql":
        rows: Rows = util.await_only(driver.fetch(sql, *arguments))
        return rows
    start_clock(connection.info)
    return list(util.await_only(driver.execute_fetchall(sql, arguments)))


def connect(engine: Engine) -> PoolProxiedConnection:
    """A connection from the pool, but none that is known to have ended."""
    while True:
        connection = engine.raw_connection()
        driver: Any = connection.driver_connection
        if engine.dialect.name != "postgresql" or not driver.is_closed():
            return connection
        connection.invalidate()
        connection.close()


def ceiling(number: int) -> int:
    """The next power of two, so that there are few statements that differ in their number of values only."""
    return 1 << (number - 1).bit_length()


def padded(values: Collection[Any]) -> list[Any]:
    """These values, one of them again and again, up to such a number."""
    all_of_them = list(values)
    return all_of_them + all_of_them[-1:] * (ceiling(len(all_of_them)) - len(all_of_them))


def among(column: Any, values: Collection[Any]) -> ColumnElement[bool]:
    """Is it one of these, of which there are some?"""
    condition: ColumnElement[bool] = column.in_([literal(value, column.type) for value in padded(values)])
    return condition
