"""Substring searches (`q`, `__contains`): SQL conditions for a search index, and with the same result without one."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Integer,
    Select,
    String,
    and_,
    column,
    false,
    func,
    inspect,
    literal,
    literal_column,
    or_,
    select,
    union_all,
)
from sqlalchemy import table as from_clause
from sqlalchemy.dialects import sqlite

from kit.database.databases import Database
from kit.database.folding import EXPANDED, fold, glob_of
from kit.database.identifiers import quoted
from kit.database.search_sql import SearchIndex, wanted_of
from kit.models.entities import Entity
from kit.query.search_letters import is_exact, is_known_in

SQLITE = sqlite.dialect()
SHORTEST = 3
"""The length of a trigram. SQLite finds shorter texts as prefixes of trigrams; PostgreSQL reads all rows for them."""

SAME_IN_GLOB = frozenset("\ufffd\ufffe\uffff")
"""The characters that SQLite's GLOB and LIKE read as U+FFFD."""


def found_in(
    database: Database, model: type[Entity], fields: Sequence[str], text: str, *, by_index: bool
) -> ColumnElement[bool]:
    """Return the condition that one of these fields contains a text, ignoring case. Without fields it is false.

    With `by_index` it uses the search index, if possible; otherwise it compares the texts of each row.
    """
    if not fields:  # all of them are private
        return false()
    columns = [getattr(model, name) for name in fields]
    substring = str(fold(text))
    if not database.is_sqlite:
        contains = folded_like if by_index and has_trigram(substring) else folded_contains
        return or_(*(contains(column, substring) for column in columns))
    index = index_of(database, model, fields) if by_index else None
    rows = None if index is None else rows_found(index, fields, substring)
    if index is not None and rows is not None and is_exact(substring):
        return is_among(model, rows_containing(model, index, rows, fields, substring))
    compared = or_(*(sqlite_contains(column, substring) for column in columns))
    return compared if index is None or rows is None else and_(is_among(model, with_changed(index, rows)), compared)


def prefilters(database: Database, model: type[Entity], field: str, text: str) -> list[ColumnElement[bool]]:
    """Return conditions for the search index, for a filter `__contains`: true for all rows whose field contains a text.

    They are true for further rows too, as in another case. The filter itself has to be added. None without an index.
    """
    substring, index = str(fold(text)), wanted_of(inspect(model).local_table)
    if index is None or field not in index.columns:
        return []
    if not database.is_sqlite:
        return [folded_like(getattr(model, field), substring)] if has_trigram(substring) else []
    usable = index_of(database, model, [field])
    rows = None if usable is None else rows_found(usable, [field], substring)
    return [] if usable is None or rows is None else [is_among(model, with_changed(usable, rows))]


def index_of(database: Database, model: type[Entity], fields: Sequence[str]) -> SearchIndex | None:
    """Return the search index of SQLite for these fields; None if the database does not have it."""
    index = wanted_of(inspect(model).local_table)
    usable = index is not None and set(index.columns).issuperset(fields) and database.search_tables.has(index)
    return index if usable else None


def folded_like(text: Any, substring: str) -> ColumnElement[bool]:
    """Return the condition for PostgreSQL that a text contains another, which can use the search index."""
    condition: ColumnElement[bool] = func.fold(text).like(literal(f"%{escaped(substring)}%", String))
    return condition


def folded_contains(text: Any, substring: str) -> ColumnElement[bool]:
    """Return the condition that a text contains another, which uses no index, by a call of `fold` for each row."""
    return func.strpos(func.fold(text), literal(substring, String)) > 0


def escaped(text: str) -> str:
    """Escape the wildcards of LIKE."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def has_trigram(text: str) -> bool:
    """Return whether pg_trgm extracts a trigram from a text: whether it has three letters or digits in a row."""
    return any(len(run) >= SHORTEST for run in runs(text, str.isalnum))


def runs(text: str, belongs: Any) -> Iterator[str]:
    """Yield the longest parts of a text for whose characters `belongs` is true. Some parts may be empty."""
    return iter("".join(letter if belongs(letter) else "\0" for letter in text).split("\0"))


def sqlite_contains(text: Any, substring: str) -> ColumnElement[bool]:
    """Return the condition for SQLite that a text contains another, by GLOB, without calls of Python for each row.

    GLOB does not distinguish the characters `SAME_IN_GLOB`, so a text with one of them is compared by `fold` too.
    """
    value = text
    for letter, other in EXPANDED.items() if "s" in substring else ():
        value = func.replace(value, letter, other)
    condition: ColumnElement[bool] = value.op("GLOB", is_comparison=True)(literal(glob_of(substring), String))
    return condition if SAME_IN_GLOB.isdisjoint(substring) else and_(condition, folded_contains(text, substring))


def rows_found(index: SearchIndex, fields: Sequence[str], substring: str) -> Select[Any] | None:
    """Return the SELECT of the rowids that FTS5 finds for a folded text; None if it cannot find them."""
    if not substring:  # every row contains it
        return None
    find = rows_with_prefix if len(substring) < SHORTEST else rows_matching
    return find(index, fields, substring)


def rows_matching(index: SearchIndex, fields: Sequence[str], substring: str) -> Select[Any] | None:
    """Return the SELECT of the rowids with the trigrams of a text; None if the text has none.

    The result is exact if `is_exact(substring)`, except for rows in the table of changes.
    """
    known = [part for part in runs(substring, is_known_in(substring)) if len(part) >= SHORTEST]
    if not known:
        return None
    columns = " ".join(quoted(f"of_{name}") for name in fields)
    phrases = " AND ".join(quoted(part) for part in known)
    own = from_clause(index.name, column("rowid", Integer))
    matching = literal_column(quoted(index.name)).op("MATCH", is_comparison=True)
    return select(own.c.rowid).where(matching(literal(f"{{{columns}}} : ({phrases})", String)))


def rows_with_prefix(index: SearchIndex, fields: Sequence[str], substring: str) -> Select[Any] | None:
    """Return the SELECT of the rowids with a trigram that begins with a short text, as exact as `rows_matching`."""
    if not all(map(is_known_in(substring), substring)):
        return None
    own = from_clause(index.terms, column("doc", Integer), column("term", String), column("col", String))
    last = chr(ord(substring[-1]) + (0xE000 - 0xD7FF if substring[-1] == "\ud7ff" else 1))
    first, after = literal(substring, String), literal(substring[:-1] + last, String)
    is_of_field = own.c.col.in_([literal(f"of_{name}", String) for name in fields])
    return select(own.c.doc).where(own.c.term >= first, own.c.term < after, is_of_field)


def with_changed(index: SearchIndex, rows: Select[Any]) -> CompoundSelect[Any]:
    """Return the SELECT of the rowids that FTS5 finds, and of all those in the table of changes."""
    return union_all(rows, changed_rows(index))


def rows_containing(
    model: type[Entity], index: SearchIndex, rows: Select[Any], fields: Sequence[str], substring: str
) -> CompoundSelect[Any]:
    """Return the SELECT of exactly the rowids whose texts contain another text.

    These are the rows that FTS5 finds and that are not in the table of changes, and the changed rows that contain it.
    """
    (found,) = rows.selected_columns
    table: Any = inspect(model).local_table
    changed = table.alias("changed_rows")
    names = [getattr(model, name).property.columns[0].name for name in fields]
    rowid: Any = literal_column('"changed_rows".rowid', Integer)
    contains = or_(*(sqlite_contains(changed.c[name], substring) for name in names))
    others = select(rowid).select_from(changed).where(rowid.in_(changed_rows(index)), contains)
    return union_all(rows.where(found.not_in(changed_rows(index))), others)


def changed_rows(index: SearchIndex) -> Select[Any]:
    return select(from_clause(index.changes, column("changed", Integer)).c.changed)


def is_among(model: type[Entity], rows: CompoundSelect[Any]) -> ColumnElement[bool]:
    """Return the condition that SQLite's rowid is one of those that `rows` selects."""
    (key,) = inspect(model).primary_key
    is_rowid = key.type.compile(SQLITE) == "INTEGER"
    rowid: Any = key if is_rowid else literal_column(f"{quoted(str(model.__tablename__))}.rowid", Integer)
    condition: ColumnElement[bool] = rowid.in_(rows)
    return condition


class Search(NamedTuple):
    """The SELECTs of a search by a search index of SQLite."""

    rows: Select[Any]
    """The SELECT of the rowids that FTS5 finds, some of them repeatedly if the text is short."""
    exact: CompoundSelect[Any] | None
    """The SELECT of exactly the rowids whose texts contain the text, without duplicates; None if it is not possible."""


def search_of(database: Database, model: type[Entity], fields: Sequence[str], text: str) -> Search | None:
    """Return the search for a text in these fields; None on PostgreSQL, or if no search index can be used."""
    substring, index = str(fold(text)), index_of(database, model, fields) if database.is_sqlite else None
    rows = None if index is None else rows_found(index, fields, substring)
    if index is None or rows is None:
        return None
    is_once = len(substring) >= SHORTEST and is_exact(substring)
    return Search(rows, rows_containing(model, index, rows, fields, substring) if is_once else None)
