"""Reflection of SQLite: reads the parts of a table that SQLAlchemy's dialect does not read.

These are indexes on expressions, unnamed CHECKs, AUTOINCREMENT, collations, and the expressions of generated columns.
They are parsed from the CREATE statements of tables and indexes, which SQLite stores in `sqlite_master`.
"""

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite

QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/", re.DOTALL)

TEXT = re.compile(r"'(?:[^']|'')*'")
GENERATED = re.compile(r"\bAS\s*\(", re.IGNORECASE)
NAME = re.compile(r"[\[`]?(\w+)|\"((?:[^\"]|\"\")+)\"")
COLLATED = re.compile(r"[\"\[`]?(\w+)[\"\]`]?\s.*\bCOLLATE\s+\"?(\w+)", re.IGNORECASE | re.DOTALL)


class CompleteSQLiteDialect(SQLiteDialect_aiosqlite):
    """SQLAlchemy's dialect for SQLite and aiosqlite, which also reads indexes on expressions."""

    supports_statement_cache = True

    def get_columns(self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        """Return the columns. SQLAlchemy reads a generated one only in a line of its own, and without a comma."""
        columns = super().get_columns(connection, table_name, schema, **kw)  # type: ignore[no-untyped-call]
        generated = [column for column in columns if "computed" in column]
        expressions = dict(computed(table_sql(connection, table_name))) if generated else {}
        for column in generated:
            column["computed"]["sqltext"] = expressions[column["name"]]
        return columns

    def get_indexes(self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        """Return the indexes, including those on expressions, whose expressions are one text, separated by commas."""
        indexes = list(super().get_indexes(connection, table_name, schema, **kw))  # type: ignore[no-untyped-call]
        known = {index["name"] for index in indexes}
        for name, sql in stored(connection, "index", table_name).items():
            if name not in known:
                indexes.append(expression_index(name, sql))
        return indexes

    def get_check_constraints(self, *args: Any, **kw: Any) -> Any:
        """Return the named CHECKs. Alembic would warn of unnamed ones, which `CompleteSQLiteImpl` copies."""
        checks = super().get_check_constraints(*args, **kw)  # type: ignore[no-untyped-call]
        return [check for check in checks if check["name"]]

    def unnamed_checks(self, connection: Connection, table: str) -> list[str]:
        checks = super().get_check_constraints(connection, table)  # type: ignore[no-untyped-call]
        return [check["sqltext"] for check in checks if not check["name"]]


def stored(connection: Connection, kind: str, table: str) -> dict[str, str]:
    """Return the statements that created the indexes or triggers (`kind`) of a table, by name.

    Indexes that SQLite created for a constraint have no statement, and are left out.
    """
    query = "SELECT name, sql FROM sqlite_master WHERE type = ? AND lower(tbl_name) = lower(?) AND sql IS NOT NULL"
    return {row.name: row.sql for row in connection.exec_driver_sql(query, (kind, table))}


def expression_index(name: str, sql: str) -> dict[str, Any]:
    """Parse a CREATE INDEX with expressions, and return the index in the form of SQLAlchemy's `get_indexes`."""
    start = without_quoted(sql).index("(")
    end = closing(sql, start)
    _, _, condition = sql[end + 1 :].strip().partition(" ")
    where = {"sqlite_where": text(escaped(condition))} if condition else {}
    is_unique = re.match(r"\s*CREATE\s+UNIQUE\b", sql, re.IGNORECASE) is not None
    expressions = escaped(sql[start + 1 : end])
    return {
        "name": name,
        "column_names": [None],
        "expressions": [expressions],
        "unique": is_unique,
        "dialect_options": where,
    }


def closing(sql: str, start: int) -> int:
    """Return the index of the parenthesis that closes the parenthesis at `start`."""
    depth = 0
    for index, letter in enumerate(without_quoted(sql)[start:], start):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth == 0:
            return index
    raise AssertionError("SQLite stores no statement without the closing parenthesis")


def without_quoted(sql: str) -> str:
    """Replace quoted text and comments by spaces, so that every other character keeps its index."""
    return QUOTED.sub(lambda found: " " * len(found[0]), sql)


def escaped(sql: str) -> str:
    """Escape colons in SQL for `text()`, in which an unescaped colon before a letter or digit begins a parameter."""
    return re.sub(r":(?=\w)", r"\\:", sql)


def plain(sql: str) -> str:
    """Return SQL normalized for comparison: without `IF NOT EXISTS`, quotation marks of names and repeated spaces.

    Texts in single quotes stay as they are.
    """
    parts = (part if part.startswith("'") else re.sub(r"\s+", " ", part.replace('"', "")) for part in parts_of(sql))
    return re.sub(r"(?i)\s*if not exists", "", "".join(parts)).strip()


def parts_of(sql: str) -> Iterator[str]:
    """Yield the quoted parts of SQL, and the parts between them, in their order."""
    start = 0
    for found in QUOTED.finditer(sql):
        yield from (sql[start : found.start()], found[0])
        start = found.end()
    yield sql[start:]


def has_autoincrement(connection: Connection, table: str) -> bool:
    """Return whether a table has AUTOINCREMENT, so that SQLite never generates the same id twice."""
    return re.search(r"\bAUTOINCREMENT\b", without_quoted(table_sql(connection, table)), re.IGNORECASE) is not None


def table_sql(connection: Connection, table: str) -> str:
    query = "SELECT sql FROM sqlite_master WHERE type = 'table' AND lower(name) = lower(?)"
    return connection.exec_driver_sql(query, (table,)).scalar() or ""


def computed(sql: str) -> Iterator[tuple[str, str]]:
    """Yield the generated columns in a CREATE TABLE, each with its expression."""
    start = without_quoted(sql).index("(")
    for definition in split(sql[start + 1 : closing(sql, start)]):
        found, name = GENERATED.search(without_quoted(definition)), NAME.match(definition)
        if found and name:
            expression = definition[found.end() : closing(definition, found.end() - 1)]
            yield (name[1] or name[2]).replace('""', '"'), expression


def split(sql: str) -> Iterator[str]:
    """Yield the parts of SQL between commas, except those within parentheses or quotes."""
    depth = start = 0
    for index, letter in enumerate(without_quoted(sql)):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            yield sql[start:index].strip()
            start = index + 1
    yield sql[start:].strip()


def collations(sql: str) -> Iterator[tuple[str, str]]:
    """Yield the columns with a COLLATE clause in a CREATE TABLE, each with its collation."""
    start = without_quoted(sql).index("(")
    body = TEXT.sub("", sql[start + 1 : closing(sql, start)])
    while (flat := re.sub(r"\([^()]*\)", "", body)) != body:  # removes arguments of types, and expressions
        body = flat
    for column in body.split(","):
        if found := COLLATED.match(column.strip()):
            yield found[1], found[2]


def unnamed_checks(connection: Connection, table: str) -> list[str]:
    assert isinstance(connection.dialect, CompleteSQLiteDialect)
    return connection.dialect.unnamed_checks(connection, table)
