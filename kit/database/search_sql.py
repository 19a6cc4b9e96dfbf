"""SQL of search indexes: the index, the table and the triggers of one table, and the folding of its texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Table

from kit.database.folding import AFTER, BEFORE, EXPANDED, UNUSUAL

SEARCHED = "kit.searched"
"""The key in `Table.info` of the names of the columns that have a search index, in their order."""
LONGEST_NAME = 63
"""The largest length of a name in PostgreSQL, in bytes."""
END = "\x01"
"""Stored twice after each text of FTS5, so that its last two characters begin a trigram too."""


@dataclass(frozen=True)
class SearchIndex:
    """The search index of a table, and the SQL of its parts."""

    table: str
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the table of FTS5."""
        return f"{self.table}_search"

    @property
    def terms(self) -> str:
        """The name of the table of the trigrams of FTS5, in order: those that begin with a shorter text are a range."""
        return f"{self.name}_terms"

    @property
    def on_postgresql(self) -> str:
        return f"ix_{self.name}"[:LONGEST_NAME]

    def gin(self, schema: str) -> str:
        """Return the CREATE INDEX of PostgreSQL. `schema` is that of the extension."""
        parts = ", ".join(f"({folded(quoted(column))}) {quoted(schema)}.gin_trgm_ops" for column in self.columns)
        return f"CREATE INDEX {quoted(self.on_postgresql)} ON {quoted(self.table)} USING gin ({parts})"

    def fts5(self) -> dict[str, str]:
        """Return the statements of SQLite that create the table and its triggers, by name."""
        own, table, columns = quoted(self.name), quoted(self.table), ", ".join(self.stored_columns())
        insert = f"INSERT OR REPLACE INTO {own} (rowid, {columns}) VALUES (new.rowid, {self.values('new.')});"  # noqa: S608  our names
        delete = f"DELETE FROM {own} WHERE rowid = old.rowid;"  # noqa: S608
        changed = " OR ".join(f"old.{quoted(one)} IS NOT new.{quoted(one)}" for one in self.columns)
        bodies = {
            "insert": f"INSERT ON {table} BEGIN {insert} END",
            "update": f"UPDATE ON {table} WHEN old.rowid <> new.rowid OR {changed} BEGIN {delete} {insert} END",
            "delete": f"DELETE ON {table} BEGIN {delete} END",
        }
        made = {
            self.name: f'CREATE VIRTUAL TABLE {own} USING fts5({columns}, tokenize = "trigram")',
            self.terms: f"CREATE VIRTUAL TABLE {quoted(self.terms)} USING fts5vocab({own}, instance)",
        }
        return made | {f"{self.name}_{event}": f"CREATE TRIGGER {quoted(f'{self.name}_{event}')} AFTER {body}"
                       for event, body in bodies.items()}  # fmt: skip

    def is_made(self, there: Mapping[str, str]) -> bool:
        """Return whether these statements of a SQLite database include all of this index.

        Quotation marks do not count: SQLite may add some when a column is renamed.
        """
        return all(there.get(name, "").replace('"', "") == sql.replace('"', "") for name, sql in self.fts5().items())

    def stored_columns(self) -> list[str]:
        """Return the columns of the table of FTS5, which reserves some names."""
        return [quoted(f"of_{column}") for column in self.columns]

    def values(self, row: str = "") -> str:
        return ", ".join(f"{expanded(f'{row}{quoted(column)}')} || char(1, 1)" for column in self.columns)

    def filling(self) -> str:
        """Return the statement of SQLite that fills the table of FTS5 with the existing rows."""
        columns = ", ".join(self.stored_columns())
        return (
            f"INSERT INTO {quoted(self.name)} (rowid, {columns}) SELECT rowid, {self.values()} "  # noqa: S608  our names
            f"FROM {quoted(self.table)}"
        )


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def replaced(expression: str, letters: Mapping[str, str]) -> str:
    """Return an SQL expression in which these letters are replaced."""
    for letter, other in letters.items():
        expression = f"replace({expression}, '{letter}', '{other}')"
    return expression


def folded(column: str) -> str:
    """Return the expression of PostgreSQL that folds a text as the function `fold` does.

    It replaces letters only in the few texts that have them, because that takes ten times as long as `lower`.
    """
    lower = f'lower({replaced(column, BEFORE)} COLLATE "folding")'
    is_usual = f"octet_length({column}) = length({column}) OR ({column} COLLATE \"C\") !~ '[{''.join(UNUSUAL)}]'"
    return f'CASE WHEN {is_usual} THEN lower({column} COLLATE "folding") ELSE {replaced(lower, AFTER)} END'


def expanded(column: str) -> str:
    """Return the expression of SQLite with the letters replaced that the tokenizer of FTS5 does not fold as `fold`."""
    return replaced(column, EXPANDED | {"İ": "i"})


def want_search(table: Table, columns: Sequence[str]) -> None:
    """Give a table a search index on these columns, beside those that it has."""
    known = table.info.get(SEARCHED, ())
    table.info[SEARCHED] = tuple(dict.fromkeys((*known, *(name for name in columns if name in table.columns))))


def wanted_of(table: Table) -> SearchIndex | None:
    """Return the search index that a table should have, if any."""
    columns = table.info.get(SEARCHED, ())
    return SearchIndex(table.name, tuple(columns)) if columns else None
