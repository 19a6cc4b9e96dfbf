"""Array inserts: one INSERT of many rows, executed by the driver on the connection of a session in a savepoint."""

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, Connection, Enum, String, bindparam, column, func, insert, inspect, select, util
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from kit.fast import driver, driver_failures, multi_row_inserts
from kit.fast.driver_values import bind_processors, unchanging
from kit.fast.mappings import EntityMapping
from kit.fast.selects import MAX_STATEMENTS
from kit.models.entities import Entity

ORDER = "row_order"


class ArrayInsert:
    """The compiled INSERT. On PostgreSQL each parameter is the array of a column's values, in the order of the rows.

    PostgreSQL generates ascending ids in the order of the rows. On SQLite it is an INSERT of one row.
    """

    def __init__(self, mapping: EntityMapping, dialect: Dialect, *, has_id: bool) -> None:
        columns = {part.key: part for name, part in mapping.columns.items() if has_id or name != "id"}
        names = {part.key: name for name, part in mapping.columns.items()}
        statement: Any = insert(inspect(mapping.entity).local_table)
        self.is_sqlite = dialect.name == "sqlite"
        if self.is_sqlite:
            compiled = statement.compile(dialect=dialect, column_keys=list(columns))
        else:
            statement = statement.from_select(list(columns), from_arrays(columns)).returning(mapping.columns["id"])
            compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        self.sql = str(compiled)
        self.columns = [
            (names[key], process, unchanging(columns[key].type, dialect))
            for key, process in bind_processors(compiled, dialect)
        ]

    def arguments(self, rows: Sequence[Entity]) -> Sequence[Sequence[Any]]:
        """Return the values of these rows: on PostgreSQL a sequence for each column, on SQLite one for each row."""
        values = [row.__dict__ for row in rows]
        found = []
        for name, process, leaves_unchanged in self.columns:
            of_column: Any = [part[name] for part in values]
            if process is not None and not leaves_unchanged(of_column):
                of_column = list(map(process, of_column)) if self.is_sqlite else process(of_column)
            found.append(of_column)
        return list(zip(*found, strict=True)) if self.is_sqlite else found


compiled_insert = lru_cache(MAX_STATEMENTS)(ArrayInsert)


def from_arrays(columns: dict[str, Column[Any]]) -> Any:
    """Return a SELECT of the rows in arrays (`unnest`), with one array parameter for each column."""
    arrays = [bindparam(key, type_=ARRAY(type_in_array(part.type))) for key, part in columns.items()]
    parts = [column(f"given_{index}", part.type) for index, part in enumerate(columns.values())]
    given = func.unnest(*arrays).table_valued(*parts, with_ordinality=ORDER, name="given").render_derived()
    return select(*(given.c[part.name] for part in parts)).order_by(given.c[ORDER])


def type_in_array(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return the element type of the array for a column: text without its length, as a cast would truncate values."""
    return String() if isinstance(kind, String) and not isinstance(kind, Enum) else kind


def insert_by_driver(connection: Connection, statement: ArrayInsert, rows: Sequence[Entity]) -> Sequence[Any]:
    """Insert rows. On PostgreSQL, returns their ids, ascending; on SQLite, a range as long as the inserted rows.

    On SQLite the rows must have ids. Must run in a greenlet. Raises the exceptions of SQLAlchemy.
    """
    pooled: Any = connection.connection
    arguments = statement.arguments(rows)
    started = time.perf_counter()
    try:
        if statement.is_sqlite:
            driver.start_clock(pooled.info)
            step = multi_row_inserts.execute_many(pooled.driver_connection, statement.sql, arguments)
            ids: Sequence[Any] = range(util.await_only(step))
        else:
            returned = util.await_only(pooled.driver_connection.fetch(statement.sql, *arguments))
            ids = sorted(ident for (ident,) in returned)
    except BaseException as failure:
        driver.record("insert", statement.sql, time.perf_counter() - started, pooled, failure)
        driver_failures.raise_as_sqlalchemy(failure, connection.engine, pooled, statement.sql, arguments, connection)
    driver.record("insert", statement.sql, time.perf_counter() - started, pooled)
    return ids
