"""SQL of search indexes: the index, the tables and the triggers of one table, and the folding of its texts.

On SQLite a write to a table of FTS5 takes longer than the write of the row itself. So triggers only note the rowid of
the row in a table of changes, and the table of FTS5 takes over `MOST_CHANGES` of them at once. Searches read the texts
of changed rows. All of it belongs to the transaction of the write.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Table

from kit.database.folding import AFTER, BEFORE, EXPANDED, UNUSUAL
from kit.database.identifiers import quoted

SEARCHED = "kit.searched"
"""The key in `Table.info` of the names of the columns that have a search index, in their order."""
LONGEST_NAME = 63
"""The largest length of a name in PostgreSQL, in bytes."""
END = "\x01"
"""Stored twice after each text of FTS5, so that its last two characters begin a trigram too."""
MOST_CHANGES = 256
"""The number of changes that the table of FTS5 takes over at once: more make writes cheaper, and searches dearer."""


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
    def changes(self) -> str:
        """The name of the table of the rows that have changed since FTS5 took over changes."""
        return f"{self.name}_changes"

    @property
    def on_postgresql(self) -> str:
        return f"ix_{self.name}"[:LONGEST_NAME]

    def gin(self, schema: str) -> str:
        """Return the CREATE INDEX of PostgreSQL. `schema` is that of the extension."""
        parts = ", ".join(f"({folded(quoted(column))}) {quoted(schema)}.gin_trgm_ops" for column in self.columns)
        return f"CREATE INDEX {quoted(self.on_postgresql)} ON {quoted(self.table)} USING gin ({parts})"

    def fts5(self) -> dict[str, str]:
        """Return the statements of SQLite that create the table and its triggers, by name."""
        table, changes = quoted(self.table), quoted(self.changes)
        differs = " OR ".join(f"old.{quoted(one)} IS NOT new.{quoted(one)}" for one in self.columns)
        changed = {
            "insert": (f"INSERT ON {table}", "SELECT new.rowid"),
            "update": (
                f"UPDATE ON {table} WHEN old.rowid <> new.rowid OR {differs}",
                "SELECT old.rowid UNION SELECT new.rowid",
            ),
            "delete": (f"DELETE ON {table}", "SELECT old.rowid"),
        }
        own, columns = quoted(self.name), ", ".join(self.stored_columns())
        made = {
            self.name: f'CREATE VIRTUAL TABLE {own} USING fts5({columns}, tokenize = "trigram")',
            self.terms: f"CREATE VIRTUAL TABLE {quoted(self.terms)} USING fts5vocab({own}, instance)",
            self.changes: f"CREATE TABLE {changes} (number INTEGER PRIMARY KEY, changed INTEGER)",
        }
        for event, (condition, rowids) in changed.items():
            note = f"INSERT INTO {changes} (changed) {rowids};"
            made |= self.trigger(event, f"{condition} BEGIN {note} END")
            made |= self.trigger(
                f"{event}_taken", f"{event.upper()} ON {table} WHEN {self.is_full()} BEGIN {self.take()} END"
            )
        return made

    def trigger(self, name: str, body: str) -> dict[str, str]:
        name = f"{self.name}_{name}"
        return {name: f"CREATE TRIGGER {quoted(name)} AFTER {body}"}

    def is_full(self) -> str:
        """Return whether there are so many changes that the table of FTS5 takes them over."""
        return f"(SELECT max(number) FROM {quoted(self.changes)}) >= {MOST_CHANGES}"  # noqa: S608  our names

    def take(self) -> str:
        """Return the statements that update the table of FTS5 with all changed rows, and delete the list of changes."""
        own, changes = quoted(self.name), quoted(self.changes)
        among = f"WHERE rowid IN (SELECT changed FROM {changes})"  # noqa: S608  our names
        return f"DELETE FROM {own} {among}; {self.filling()} {among}; DELETE FROM {changes};"  # noqa: S608

    def is_made(self, there: Mapping[str, str]) -> bool:
        """Return whether these statements of a SQLite database include all of this index.

        Quotation marks do not count: SQLite may add some when a column is renamed.
        """
        return all(there.get(name, "").replace('"', "") == sql.replace('"', "") for name, sql in self.fts5().items())

    def stored_columns(self) -> list[str]:
        """Return the columns of the table of FTS5, which reserves some names."""
        return [quoted(f"of_{column}") for column in self.columns]

    def values(self) -> str:
        return ", ".join(f"{expanded(quoted(column))} || char(1, 1)" for column in self.columns)

    def filling(self) -> str:
        """Return the statement of SQLite that fills the table of FTS5 with the existing rows."""
        columns = ", ".join(self.stored_columns())
        return (
            f"INSERT INTO {quoted(self.name)} (rowid, {columns}) SELECT rowid, {self.values()} "  # noqa: S608  our names
            f"FROM {quoted(self.table)}"
        )


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
