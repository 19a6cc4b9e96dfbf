"""Search indexes: trigram indexes by which the parameter `q` finds substrings without reading all rows.

On PostgreSQL it is a GIN index on the folded texts, which needs the extension pg_trgm. On SQLite it is an FTS5 table,
and a table of changed rows that are not in FTS5 yet; triggers update both. Without the extension, or without FTS5, the
same searches read all rows.

Migrations do not contain search indexes. After every upgrade, `ensure_search` creates the indexes that the models
declare and the database lacks, and drops the others. A migration that rebuilds a table of SQLite may drop its index.
"""

import logging
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError

from kit.database.collations import ensure_folding
from kit.database.errors import first_line
from kit.database.identifiers import quoted
from kit.database.search_sql import SearchIndex, wanted_of
from kit.models.entities import known_tables

log = logging.getLogger("kit")
WITHOUT_EXTENSION = (
    "Searches read whole tables: the extension pg_trgm cannot be created (%s). Let a superuser run "
    "`CREATE EXTENSION pg_trgm` in this database, and then run `make migrate` again."
)
WITHOUT_FTS5 = "Searches read whole tables: this SQLite has no FTS5 with trigrams (%s)."
OURS = re.compile(r'CREATE VIRTUAL TABLE "(.+_search)" USING fts5\(.*, tokenize = "trigram"\)', re.DOTALL)
EVENTS = ("insert", "update", "delete")
TRIGGERS = (*EVENTS, *(f"{event}_taken" for event in EVENTS))


def wanted_indexes(connection: Connection) -> dict[str, SearchIndex]:
    """Return the search indexes that the models declare, by table, if the table and the columns exist."""
    inspector: Any = inspect(connection)
    there = set(inspector.get_table_names())
    wanted = [index for index in map(wanted_of, known_tables().values()) if index and index.table in there]
    return {
        index.table: index
        for index in wanted
        if {column["name"] for column in inspector.get_columns(index.table)}.issuperset(index.columns)
    }


def ensure_search(connection: Connection) -> None:
    """Create the missing search indexes, and drop those that no model declares. Called after the migrations."""
    ensure_folding(connection)
    wanted = wanted_indexes(connection)
    (ensure_fts5 if connection.dialect.name == "sqlite" else ensure_gin)(connection, wanted)


def ensure_gin(connection: Connection, wanted: dict[str, SearchIndex]) -> None:
    found: dict[str, str] = {row[0]: row[1] for row in connection.exec_driver_sql(INDEXES)}
    schema = schema_of_trigrams(connection) if wanted else None
    made = {} if schema is None else {index.on_postgresql: index.gin(schema) for index in wanted.values()}
    for name in [name for name, comment in found.items() if made.get(name) != comment]:
        connection.exec_driver_sql(f"DROP INDEX {quoted(name)}")
    for name, sql in made.items():
        if found.get(name) != sql:
            connection.exec_driver_sql(sql.replace(" INDEX ", " INDEX IF NOT EXISTS ", 1))
            comment = sql.replace("'", "''")
            connection.exec_driver_sql(f"COMMENT ON INDEX {quoted(name)} IS '{comment}'")


INDEXES = r"""
SELECT relname, obj_description(oid, 'pg_class') FROM pg_class
WHERE relkind = 'i' AND relnamespace = to_regnamespace(quote_ident(current_schema()))
AND obj_description(oid, 'pg_class') LIKE 'CREATE INDEX "ix\_%\_search" ON % USING gin (%gin\_trgm\_ops)'
"""
"""The SELECT of the search indexes of PostgreSQL, with the statements that created them, stored as their comments."""
SCHEMA = """
SELECT nspname FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'pg_trgm'
"""


def schema_of_trigrams(connection: Connection) -> str | None:
    """Return the schema of the extension pg_trgm; None if it is missing and cannot be created, with a warning."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    except DBAPIError as failure:
        log.warning(WITHOUT_EXTENSION, first_line(failure))
    schema: str | None = connection.exec_driver_sql(SCHEMA).scalar()
    return schema


def ensure_fts5(connection: Connection, wanted: dict[str, SearchIndex]) -> None:
    there = statements(connection)
    names = {index.name for index in wanted.values()}
    for name in [name for name, sql in there.items() if OURS.fullmatch(sql) and name not in names]:
        drop_fts5(connection, name.removesuffix("_search"))
    for index in wanted.values():
        if not index.is_made(there):
            drop_fts5(connection, index.table)
            create_fts5(connection, index)


def statements(connection: Connection) -> dict[str, str]:
    """Return the statements that created the tables and triggers of search indexes in a SQLite database, by name."""
    return {row[0]: row[1] for row in connection.exec_driver_sql(STATEMENTS)}


STATEMENTS = r"SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name LIKE '%\_search%' ESCAPE '\'"


def create_fts5(connection: Connection, index: SearchIndex) -> None:
    try:
        with connection.begin_nested():
            for sql in index.fts5().values():
                connection.exec_driver_sql(sql)
            connection.exec_driver_sql(index.filling())
    except DBAPIError as failure:
        if not re.search("no such (module|tokenizer)|error in tokenizer", str(failure.orig)):
            raise
        log.warning(WITHOUT_FTS5, failure.orig)


def drop_fts5(connection: Connection, table: str) -> None:
    """Drop the search index of a table of SQLite, if it has one."""
    name = f"{table}_search"
    made = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).scalar()
    if made is not None and OURS.fullmatch(made):
        for trigger in TRIGGERS:
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {quoted(f'{name}_{trigger}')}")
        for part in ("changes", "terms"):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {quoted(f'{name}_{part}')}")
        connection.exec_driver_sql(f"DROP TABLE {quoted(name)}")


def names_of_parts(connection: Connection) -> set[str]:
    """Return the names of all tables (SQLite) or indexes (PostgreSQL) that belong to search indexes."""
    if connection.dialect.name != "sqlite":
        return set(connection.exec_driver_sql(INDEXES).scalars())
    own = [name for name, sql in statements(connection).items() if OURS.fullmatch(sql)]
    return {*own, *(f"{name}_{part}" for name in own for part in SHADOWS)}


SHADOWS = ("data", "idx", "content", "docsize", "config", "changes", "terms")
"""The suffixes of the tables of a search index: FTS5's own, that of changes and that of trigrams."""


class SearchTables:
    """Tells which search indexes a SQLite file has. Read again after `INTERVAL` seconds, as a migration may change it.

    For a database in memory it tells none, because it reads the file by a connection of its own.
    """

    INTERVAL = 1.0

    def __init__(self, file: str | None) -> None:
        self.file, self.due, self.there = file, 0.0, dict[str, str]()

    def has(self, index: SearchIndex) -> bool:
        """Return whether the file has this index, with its triggers."""
        if self.file is None:
            return False
        now = time.monotonic()
        if now >= self.due:
            self.there, self.due = self.read(self.file), now + self.INTERVAL
        return index.is_made(self.there)

    @staticmethod
    def read(file: str) -> dict[str, str]:
        """Return the `statements` of a file; none if it cannot be read now."""
        try:
            with closing(
                sqlite3.connect(f"{Path(file).resolve().as_uri()}?mode=ro", uri=True, timeout=0)
            ) as connection:
                return dict(connection.execute(STATEMENTS).fetchall())
        except sqlite3.Error:
            return {}
