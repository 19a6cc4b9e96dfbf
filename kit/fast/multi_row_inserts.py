"""Multi-row inserts: INSERTs of SQLite that store several rows each.

A statement for each row would wait for the interpreter's lock after each, which a busy event loop keeps for some
milliseconds.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import aiosqlite

Statement = tuple[str, str, Sequence[Any]]
"""The kind of a statement, its SQL text and its arguments."""
MAX_PARAMETERS = 5000
"""Of an INSERT of many rows: SQLite admits 32,766 or more, and a row of 2,000 columns fits."""


async def execute_many(driver: aiosqlite.Connection, sql: str, rows: Sequence[Sequence[Any]]) -> int:
    """Execute an INSERT for these rows, in one visit to SQLite's thread. Returns the number stored."""
    at_once = max(1, MAX_PARAMETERS // len(rows[0]))

    def insert_parts() -> int:
        parts = (rows[start : start + at_once] for start in range(0, len(rows), at_once))
        cursors = (driver._conn.execute(for_rows(sql, len(part)), list(chain.from_iterable(part))) for part in parts)
        return sum(cursor.rowcount for cursor in cursors)

    execute: Callable[..., Awaitable[int]] = driver._execute
    return await execute(insert_parts)


def inserts_of_many(sql: str, rows: Sequence[Sequence[Any]]) -> Iterator[Statement]:
    """Yield INSERTs of these rows. Their numbers of rows are powers of two, so that there are few different ones."""
    largest, start = max(1, MAX_PARAMETERS // len(rows[0])), 0
    while start < len(rows):
        size = 1 << min(len(rows) - start, largest).bit_length() - 1
        part = rows[start : start + size]
        yield "insert", for_rows(sql, size), list(chain.from_iterable(part))
        start += size


@lru_cache
def for_rows(sql: str, number: int) -> str:
    """Repeat the row of `VALUES` in an INSERT, so that the statement inserts `number` rows."""
    head, values, rest = sql.rpartition(" VALUES ")
    row, returning, columns = rest.partition(" RETURNING ")
    return f"{head}{values}{', '.join([row] * number)}{returning}{columns}"
