"""Multi-row inserts: INSERTs for SQLite with the values of several rows (`VALUES (…), (…)`).

With one statement for each row, SQLite's thread would wait for the global interpreter lock after each of them. A busy
event loop holds it for some milliseconds.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import aiosqlite

Statement = tuple[str, str, Sequence[Any]]
"""The kind of a statement, its SQL text and its arguments."""
MAX_PARAMETERS = 5000
"""The maximum number of parameters of an INSERT, below SQLite's limit of 32,766 and above its 2,000 columns."""


async def execute_many(driver: aiosqlite.Connection, sql: str, rows: Sequence[Sequence[Any]]) -> int:
    """Execute an INSERT for all these rows, by one call to aiosqlite's thread. Returns the number of stored rows."""
    at_once = max(1, MAX_PARAMETERS // len(rows[0]))

    def insert_parts() -> int:
        parts = (rows[start : start + at_once] for start in range(0, len(rows), at_once))
        cursors = (driver._conn.execute(for_rows(sql, len(part)), list(chain.from_iterable(part))) for part in parts)
        return sum(cursor.rowcount for cursor in cursors)

    execute: Callable[..., Awaitable[int]] = driver._execute
    return await execute(insert_parts)


def inserts_of_many(sql: str, rows: Sequence[Sequence[Any]]) -> Iterator[Statement]:
    """Yield INSERTs of these rows, each for a power of two of rows, so that there are few different statements."""
    largest, start = max(1, MAX_PARAMETERS // len(rows[0])), 0
    while start < len(rows):
        size = 1 << min(len(rows) - start, largest).bit_length() - 1
        part = rows[start : start + size]
        yield "insert", for_rows(sql, size), list(chain.from_iterable(part))
        start += size


@lru_cache
def for_rows(sql: str, number: int) -> str:
    """Return an INSERT of `number` rows, made of an INSERT of one row by repeating its VALUES."""
    head, values, rest = sql.rpartition(" VALUES ")
    row, returning, columns = rest.partition(" RETURNING ")
    return f"{head}{values}{', '.join([row] * number)}{returning}{columns}"
