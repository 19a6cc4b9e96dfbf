"""Rebuilt tables of SQLite: what Alembic's batch mode does not see of a table is kept when it copies the table.

SQLite cannot alter most of a table. Alembic therefore reads the table, creates a new one, copies the rows, drops the
old one and renames the new one. Reading it overlooks indexes on expressions, triggers, AUTOINCREMENT with its counter,
collations, and CHECKs without a name. The dialect here reads the former, and the implementation carries over the rest.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from alembic.ddl.impl import ComparisonResult
from alembic.ddl.sqlite import SQLiteImpl
from alembic.operations.batch import ApplyBatchImpl, BatchOperationsImpl
from sqlalchemy import CheckConstraint, Connection, Index, String, Table, text
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.schema import CreateIndex

DRIVER = "sqlite+whole"
"""The driver name, in the URL of an engine that migrates."""
QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/", re.DOTALL)

TEXT = re.compile(r"'(?:[^']|'')*'")
COLLATED = re.compile(r"[\"\[`]?(\w+)[\"\]`]?\s.*\bCOLLATE\s+\"?(\w+)", re.IGNORECASE | re.DOTALL)


class WholeSQLite(SQLiteDialect_aiosqlite):
    """The dialect of SQLite, which also reads indexes on expressions."""

    supports_statement_cache = True

    def get_indexes(self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        """As SQLAlchemy's, and the others. The expressions of an index are given as one text."""
        indexes = list(super().get_indexes(connection, table_name, schema, **kw))  # type: ignore[no-untyped-call]
        known = {index["name"] for index in indexes}
        for name, sql in stored(connection, "index", table_name).items():
            if name not in known:
                indexes.append(expression_index(name, sql))
        return indexes

    def get_check_constraints(self, *args: Any, **kw: Any) -> Any:
        """The CHECKs with a name: Alembic would warn of the others, which `WholeTables` keeps."""
        checks = super().get_check_constraints(*args, **kw)  # type: ignore[no-untyped-call]
        return [check for check in checks if check["name"]]

    def unnamed_checks(self, connection: Connection, table: str) -> list[str]:
        checks = super().get_check_constraints(connection, table)  # type: ignore[no-untyped-call]
        return [check["sqltext"] for check in checks if not check["name"]]


registry.register("sqlite.whole", __name__, "WholeSQLite")


def stored(connection: Connection, kind: str, table: str) -> dict[str, str]:
    """The statements that made the indexes or triggers of a table, by name; none for those that SQLite made itself."""
    query = "SELECT name, sql FROM sqlite_master WHERE type = ? AND lower(tbl_name) = lower(?) AND sql IS NOT NULL"
    return {row.name: row.sql for row in connection.exec_driver_sql(query, (kind, table))}


def expression_index(name: str, sql: str) -> dict[str, Any]:
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
    """The place of the parenthesis that closes the one at `start`."""
    depth = 0
    for place, letter in enumerate(without_quoted(sql)[start:], start):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth == 0:
            return place
    raise AssertionError("SQLite stores no statement without the closing parenthesis")


def without_quoted(sql: str) -> str:
    """The statement with blanks for all that is quoted or a comment, so that each letter keeps its place."""
    return QUOTED.sub(lambda found: " " * len(found[0]), sql)


def escaped(sql: str) -> str:
    """As `text` wants it: a colon would begin a parameter."""
    return sql.replace(":", "\\:")


def plain(sql: str) -> str:
    """A statement by which two definitions can be compared: without quotation marks and repeated blanks."""
    return " ".join(re.sub(r"(?i)if not exists", "", sql).replace('"', "").split())


@dataclass
class Kept:
    """What a rebuilt table gets back: its counter, and the statements that make its indexes and triggers."""

    counter: int | None = None
    statements: list[str] = field(default_factory=list)
    indexes: list[Index] = field(default_factory=list)


class WholeTables(SQLiteImpl):
    """Alembic's operations on SQLite. By its definition this class replaces Alembic's own: the last one is used."""

    __dialect__ = "sqlite"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.rebuilt: dict[str, Kept] = {}
        """By the temporary names of the tables that are being rebuilt."""

    def requires_recreate_in_batch(self, batch_op: BatchOperationsImpl) -> bool:
        """As Alembic's; but SQLite itself renames columns, in indexes, triggers, CHECKs and views too."""
        batch_op.batch[:] = self.without_renames(batch_op.table_name, batch_op.batch)
        return super().requires_recreate_in_batch(batch_op)

    def without_renames(self, table: str, batch: list[Any]) -> Iterator[Any]:
        renamed: dict[str, str] = {}
        for name, args, options in list(batch):
            if name != "alter_column":
                yield name, args, options
                continue
            column = renamed.get(args[1], args[1])
            if (new := options.pop("name", None)) not in (None, column):
                super().alter_column(table, column, name=new)
                renamed[args[1]] = column = new
            if any(options.get(change) is not None for change in ("nullable", "type_", "autoincrement")) or (
                options.get("server_default", False) is not False
            ):
                yield name, (args[0], column, *args[2:]), options

    def prep_table_for_batch(self, batch_impl: ApplyBatchImpl, table: Table) -> None:
        """Before the new table is created: complete it, and note what is to be made anew after its renaming."""
        connection, new = self.connection, batch_impl.new_table
        assert connection is not None
        assert new is not None
        kept = Kept(indexes=list(batch_impl.new_indexes.values()))
        indexes, triggers = stored(connection, "index", table.name), stored(connection, "trigger", table.name)
        kept.statements += [sql for name, sql in indexes.items() if name in batch_impl.indexes]
        kept.statements += triggers.values()
        batch_impl.indexes, batch_impl.new_indexes = {}, {}
        keep_collations(connection, table.name, new)
        if not any(isinstance(arg, CheckConstraint) for arg in batch_impl.table_args):
            for check in unnamed_checks(connection, table.name):
                new.append_constraint(CheckConstraint(text(escaped(check))))
        if is_numbered(connection, table.name) and "sqlite_autoincrement" not in batch_impl.table_kwargs:
            new.dialect_options["sqlite"]["autoincrement"] = True
            counter = connection.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = ?", (table.name,))
            kept.counter = counter.scalar()
        self.rebuilt[batch_impl.temp_table_name] = kept

    def rename_table(self, old_table_name: str, new_table_name: str, schema: str | None = None) -> None:
        """As Alembic's. After the renaming of a rebuilt table, its indexes and triggers are made anew.

        Meanwhile views, and triggers of other tables, may name the table that is not there.
        """
        kept, connection = self.rebuilt.pop(old_table_name, None), self.connection
        if kept is None or connection is None:
            super().rename_table(old_table_name, new_table_name, schema)
            return
        connection.exec_driver_sql("PRAGMA legacy_alter_table=ON")
        super().rename_table(old_table_name, new_table_name, schema)
        connection.exec_driver_sql("PRAGMA legacy_alter_table=OFF")
        if kept.counter is not None:
            connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (new_table_name,))
            counter = (new_table_name, kept.counter)
            connection.exec_driver_sql("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", counter)
        for sql in kept.statements:
            connection.exec_driver_sql(sql)
        for index in kept.indexes:
            self.create_index(index)

    def correct_for_autogen_constraints(self, *_: Any) -> None:
        """Alembic leaves out indexes on expressions here, which it cannot read without our dialect."""

    def compare_indexes(self, metadata_index: Index, reflected_index: Index) -> ComparisonResult:
        """Compare the statements that make the indexes: they tell of expressions and conditions too."""
        assert self.connection is not None
        assert reflected_index.table is not None
        made = stored(self.connection, "index", reflected_index.table.name)[str(reflected_index.name)]
        wanted = str(CreateIndex(metadata_index).compile(dialect=self.dialect))
        if plain(made) == plain(wanted):
            return ComparisonResult.Equal()
        return ComparisonResult.Different([f"{plain(made)} to {plain(wanted)}"])


def is_numbered(connection: Connection, table: str) -> bool:
    """Whether SQLite never gives an id of this table twice."""
    return re.search(r"\bAUTOINCREMENT\b", without_quoted(table_sql(connection, table)), re.IGNORECASE) is not None


def table_sql(connection: Connection, table: str) -> str:
    query = "SELECT sql FROM sqlite_master WHERE type = 'table' AND lower(name) = lower(?)"
    return connection.exec_driver_sql(query, (table,)).scalar() or ""


def collations(sql: str) -> Iterator[tuple[str, str]]:
    """The columns of a table that have a collation of their own, and which."""
    start = without_quoted(sql).index("(")
    body = TEXT.sub("", sql[start + 1 : closing(sql, start)])
    while (flat := re.sub(r"\([^()]*\)", "", body)) != body:  # the arguments of types, and expressions
        body = flat
    for column in body.split(","):
        if found := COLLATED.match(column.strip()):
            yield found[1], found[2]


def keep_collations(connection: Connection, old: str, new: Table) -> None:
    """Give the columns of text their old collations where they have no new ones."""
    for name, collation in collations(table_sql(connection, old)):
        column: Any = new.columns.get(name)
        if column is not None and isinstance(column.type, String) and column.type.collation is None:
            column.type = column.type.copy()
            column.type.collation = collation


def unnamed_checks(connection: Connection, table: str) -> list[str]:
    assert isinstance(connection.dialect, WholeSQLite)
    return connection.dialect.unnamed_checks(connection, table)
