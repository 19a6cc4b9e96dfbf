"""Compiled selects: SELECTs that are compiled once for all values, and executed by the driver without the ORM."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sqlalchemy import CompoundSelect, Select, util
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql.cache_key import CacheKey
from sqlalchemy.sql.compiler import SQLCompiler

from kit.fast import driver
from kit.fast.driver import Rows, spawn
from kit.fast.driver_values import bind_processors, result_processor
from kit.http.events import COUNTS

MAX_STATEMENTS = 500
"""The maximum size of the LRU cache of compiled statements."""

Query = Select[Any] | CompoundSelect[Any]
Complete = Callable[[Any], Query]
NO_VALUES: Mapping[str, Any] = MappingProxyType({})


def unchanged(statement: Query) -> Query:
    return statement


class CompiledSelect:
    """A SELECT for the driver: its text, its parameters in order, and the processors of parameters and columns."""

    def __init__(self, statement: Query, key: CacheKey | None, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect, cache_key=key)
        assert isinstance(compiled, SQLCompiler)
        self.compiled, self.sql = compiled, str(compiled)
        self.parameters = bind_processors(compiled, dialect)
        processors = [result_processor(column.type, dialect) for column in statement.selected_columns]
        self.processors = [(index, process) for index, process in enumerate(processors) if process is not None]
        self.is_constant = not compiled.post_compile_params
        """Whether the text is the same for all values. With an `IN` list of any length, it is not."""

    def arguments(self, key: CacheKey, values: Mapping[str, Any]) -> list[Any]:
        """Return the arguments for the driver, in the order of the text.

        They are the values in `key`, the cache key of an equal statement, and `values` by name for parameters without
        a value.
        """
        given = self.compiled.construct_params(values, extracted_parameters=key.bindparams)
        return [given[name] if process is None else process(given[name]) for name, process in self.parameters]

    def converted(self, rows: Rows) -> Rows:
        return driver.converted(rows, self.processors) if self.processors and rows else rows


_compiled: util.LRUCache[Any, CompiledSelect] = util.LRUCache(MAX_STATEMENTS)


def cache_key(statement: Query) -> CacheKey | None:
    """Return SQLAlchemy's cache key of a statement, in which values are separate; None if it has none."""
    return statement._generate_cache_key()


def _compiled_select(
    statement: Query, key: CacheKey, shape: Hashable, complete: Complete, dialect: Dialect
) -> CompiledSelect:
    known = (dialect.name, key.key, shape)
    select = _compiled.get(known)
    COUNTS["plans", "hit" if select else "miss"] += 1
    if select is None:
        select = _compiled[known] = CompiledSelect(complete(statement), key, dialect)
    return select


async def fetch(
    engine: AsyncEngine,
    statement: Query,
    values: Mapping[str, Any] = NO_VALUES,
    *,
    shape: Hashable = None,
    complete: Complete = unchanged,
) -> Sequence[Sequence[Any]]:
    """Execute the SELECT `complete(statement)` in autocommit, and return its rows.

    `complete` adds, for example, an order and a limit. It is called only when the statement is compiled: the result is
    cached by the statement (without its values) and `shape`. Therefore what it adds must depend on `shape` alone, and
    have parameters in place of values. `values` are the values of these parameters by name.
    """
    key = cache_key(statement)
    select = None if key is None else _compiled_select(statement, key, shape, complete, engine.dialect)
    if key is None or select is None or not select.is_constant:
        async with engine.connect() as connection:
            rows: Rows = (await connection.execute(complete(statement), values)).all()
            return rows
    arguments = select.arguments(key, values)
    return select.converted(await spawn(driver.read, engine.sync_engine, select.sql, arguments))
