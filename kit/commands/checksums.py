"""Checksums of tables: the number of rows, and the sum of the hashes of the rows, which is the same in any order."""

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from kit.database.identifiers import quoted

Sums = dict[str, tuple[int, str]]
"""The number of rows and the checksum by table; the last value and an empty text by `sequence NAME`."""
SEQUENCES = "SELECT schemaname || '.' || sequencename, coalesce(last_value, 0) FROM pg_sequences ORDER BY 1"
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1"
SUM = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text FROM {} AS t"


def sqlite_sums(connection: sqlite3.Connection) -> Sums:
    """Return the sums of all tables of a SQLite database."""
    named = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    return {name: rows_sum(connection, name) for (name,) in connection.execute(named).fetchall()}


def rows_sum(connection: sqlite3.Connection, table: str) -> tuple[int, str]:
    number, total = 0, 0
    for row in connection.execute(f"SELECT * FROM {quoted(table)}"):  # noqa: S608  a name from the database itself
        number += 1
        total += int.from_bytes(hashlib.blake2b(repr(row).encode(), digest_size=8).digest())
    return number, str(total)


async def postgresql_sums(connection: Any) -> Sums:
    """Return the sums of all tables and sequences that a connection of asyncpg sees."""
    sums: Sums = {}
    for (table,) in await connection.fetch(TABLES):
        sums[table] = tuple(await connection.fetchrow(SUM.format(quoted(table))))
    for name, last in await connection.fetch(SEQUENCES):
        sums[f"sequence {name}"] = (int(last), "")
    return sums


def differences(expected: Mapping[str, tuple[int, str]], found: Mapping[str, tuple[int, str]]) -> list[str]:
    """Return a sentence for each table or sequence that differs from `expected`. Further tables are ignored."""
    return [text for name, sums in expected.items() for text in difference(name, sums, found.get(name))]


def difference(name: str, expected: tuple[int, str], found: tuple[int, str] | None) -> Iterator[str]:
    """Yield a sentence if a table or sequence differs. A sequence may be ahead, because no snapshot includes it."""
    if found is None:
        yield f"{name} is missing"
    elif name.startswith("sequence "):
        if found[0] < expected[0]:
            yield f"{name} is at {found[0]} instead of {expected[0]}"
    elif found[0] != expected[0]:
        yield f"{name} has {found[0]} rows instead of {expected[0]}"
    elif found[1] != expected[1]:
        yield f"{name} has other values"
