"""SQL of search indexes: the statements for the index, tables and triggers of one table, and for folding its texts.

On SQLite a write to an FTS5 table takes longer than the write of the row itself. Therefore triggers only insert the
rowid of the changed row into a table of changes. When it has `MOST_CHANGES` rows, another trigger updates the FTS5
table with all of them at once. Searches use FTS5, and read the texts of the rows in the table of changes. All of it is
part of the transaction of the write.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Table

from kit.database.folding import AFTER, BEFORE, EXPANDED, UNUSUAL
from kit.database.identifiers import quoted

SEARCHED = "kit.searched"
"""The key in `Table.info` of the names of the columns in the search index, in their order."""
LONGEST_NAME = 63
"""The maximum length of a name in PostgreSQL, in bytes."""
END = "\x01"
"""Appended twice to each text in FTS5, so that a trigram begins at each of its characters, the last two included."""
MOST_CHANGES = 256
"""The number of changes after which FTS5 is updated. A larger number makes writes faster, and searches slower."""


@dataclass(frozen=True)
class SearchIndex:
    """The search index of a table on some of its columns, and the SQL of its parts."""

    table: str
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the FTS5 table."""
        return f"{self.table}_search"

    @property
    def terms(self) -> str:
        """The name of the `fts5vocab` table of trigrams. It is sorted: a search for 1 or 2 characters reads a range."""
        return f"{self.name}_terms"

    @property
    def changes(self) -> str:
        """The name of the table of the rows that have changed since the last update of FTS5."""
        return f"{self.name}_changes"

    @property
    def on_postgresql(self) -> str:
        return f"ix_{self.name}"[:LONGEST_NAME]

    def gin(self, schema: str) -> str:
        """Return the CREATE INDEX for PostgreSQL. `schema` is the schema of the extension pg_trgm."""
        parts = ", ".join(f"({folded(quoted(column))}) {quoted(schema)}.gin_trgm_ops" for column in self.columns)
        return f"CREATE INDEX {quoted(self.on_postgresql)} ON {quoted(self.table)} USING gin ({parts})"

    def fts5(self) -> dict[str, str]:
        """Return the statements for SQLite that create the FTS5 table, its companions and the triggers, by name."""
        table, changes = quoted(self.table), quoted(self.changes)
        differs = " OR ".join(f"old.{quoted(name)} IS NOT new.{quoted(name)}" for name in self.columns)
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
        """Return the SQL condition that there are enough changes for an update of FTS5."""
        return f"(SELECT max(number) FROM {quoted(self.changes)}) >= {MOST_CHANGES}"  # noqa: S608  our names

    def take(self) -> str:
        """Return the statements that update the FTS5 table with all changed rows, and delete the list of changes."""
        own, changes = quoted(self.name), quoted(self.changes)
        among = f"WHERE rowid IN (SELECT changed FROM {changes})"  # noqa: S608  our names
        return f"DELETE FROM {own} {among}; {self.filling()} {among}; DELETE FROM {changes};"  # noqa: S608

    def is_made(self, there: Mapping[str, str]) -> bool:
        """Return whether `there`, the statements of a SQLite database by name, include all parts of this index.

        Quotation marks are ignored: SQLite may add some when a column is renamed.
        """
        return all(there.get(name, "").replace('"', "") == sql.replace('"', "") for name, sql in self.fts5().items())

    def stored_columns(self) -> list[str]:
        """Return the columns of the FTS5 table, with a prefix, because FTS5 reserves some names."""
        return [quoted(f"of_{column}") for column in self.columns]

    def values(self) -> str:
        return ", ".join(f"{expanded(quoted(column))} || char(1, 1)" for column in self.columns)

    def filling(self) -> str:
        """Return the statement for SQLite that inserts all rows into the FTS5 table."""
        columns = ", ".join(self.stored_columns())
        return (
            f"INSERT INTO {quoted(self.name)} (rowid, {columns}) SELECT rowid, {self.values()} "  # noqa: S608  our names
            f"FROM {quoted(self.table)}"
        )


def replaced(expression: str, letters: Mapping[str, str]) -> str:
    """Return the SQL that replaces these letters in the text of an SQL expression."""
    for letter, other in letters.items():
        expression = f"replace({expression}, '{letter}', '{other}')"
    return expression


def folded(column: str) -> str:
    """Return the SQL for PostgreSQL that folds the text of a column as the function `fold` does.

    It replaces letters only in texts that contain them, because this takes ten times as long as `lower`.
    """
    lower = f'lower({replaced(column, BEFORE)} COLLATE "folding")'
    is_usual = f"octet_length({column}) = length({column}) OR ({column} COLLATE \"C\") !~ '[{''.join(UNUSUAL)}]'"
    return f'CASE WHEN {is_usual} THEN lower({column} COLLATE "folding") ELSE {replaced(lower, AFTER)} END'


def expanded(column: str) -> str:
    """Return the SQL for SQLite that replaces the letters of a column which FTS5 does not fold as `fold` does."""
    return replaced(column, EXPANDED | {"İ": "i"})


def want_search(table: Table, columns: Sequence[str]) -> None:
    """Declare a search index on these columns of a table, in addition to those that were declared before."""
    known = table.info.get(SEARCHED, ())
    table.info[SEARCHED] = tuple(dict.fromkeys((*known, *(name for name in columns if name in table.columns))))


def wanted_of(table: Table) -> SearchIndex | None:
    """Return the search index that was declared for a table, if any."""
    columns = table.info.get(SEARCHED, ())
    return SearchIndex(table.name, tuple(columns)) if columns else None
