"""Searches for a part of a text: conditions that a search index can answer, with the same results without one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cache
from sqlite3 import connect
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Integer,
    Select,
    String,
    and_,
    column,
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
from kit.database.search_sql import END, SearchIndex, expanded, wanted_of
from kit.models.entities import Entity

SQLITE = sqlite.dialect()
SHORTEST = 3
"""The length of a trigram: shorter texts are found by the beginnings of trigrams, which PostgreSQL cannot look up."""
UNKNOWN = frozenset(f"{END}\ufffe\uffff\U0010ffff")
"""Characters that FTS5 does not find: that of the ends of its texts, those that it replaces by U+FFFD, and the last."""
INEXACT = UNKNOWN | {"\ufffd"}
CASED = (*range(0x80, 0x2E00), *range(0xA640, 0xAC00), *range(0xFB00, 0xFB18), *range(0xFF21, 0xFF5B),
         *range(0x10400, 0x10600), *range(0x10C80, 0x10D00), *range(0x118A0, 0x11900), *range(0x16E40, 0x16F00),
         *range(0x1E900, 0x1EA00))  # fmt: skip
"""The blocks of Unicode whose letters have upper and lower case."""


def found_in(
    database: Database, model: type[Entity], fields: Sequence[str], text: str, *, by_index: bool
) -> ColumnElement[bool]:
    """Return whether one of these fields contains a text, ignoring case.

    With `by_index` the condition is for the search index, else for a comparison with row after row.
    """
    columns = [getattr(model, name) for name in fields]
    wished = str(fold(text))
    if not database.is_sqlite:
        contains = folded_like if by_index and has_trigram(wished) else folded_contains
        return or_(*(contains(one, wished) for one in columns))
    index = index_of(database, model, fields) if by_index else None
    rows = None if index is None else rows_found(index, fields, wished)
    if index is not None and rows is not None and is_exact(wished):
        return is_among(model, rows_containing(model, index, rows, fields, wished))
    compared = or_(*(sqlite_contains(one, wished) for one in columns))
    return compared if index is None or rows is None else and_(is_among(model, with_changed(index, rows)), compared)


def prefilters(database: Database, model: type[Entity], field: str, text: str) -> list[ColumnElement[bool]]:
    """Return the conditions, for the search index, that are true for all rows whose field contains a text."""
    wished, index = str(fold(text)), wanted_of(inspect(model).local_table)
    if index is None or field not in index.columns:
        return []
    if not database.is_sqlite:
        return [folded_like(getattr(model, field), wished)] if has_trigram(wished) else []
    usable = index_of(database, model, [field])
    rows = None if usable is None else rows_found(usable, [field], wished)
    return [] if usable is None or rows is None else [is_among(model, with_changed(usable, rows))]


def index_of(database: Database, model: type[Entity], fields: Sequence[str]) -> SearchIndex | None:
    """Return the search index of SQLite for these fields, if it exists."""
    index = wanted_of(inspect(model).local_table)
    usable = index is not None and set(index.columns).issuperset(fields) and database.search_tables.has(index)
    return index if usable else None


def folded_like(text: Any, wished: str) -> ColumnElement[bool]:
    """Return a condition of PostgreSQL that uses the search index."""
    condition: ColumnElement[bool] = func.fold(text).like(literal(f"%{escaped(wished)}%", String))
    return condition


def folded_contains(text: Any, wished: str) -> ColumnElement[bool]:
    """Return a condition of PostgreSQL that uses no index."""
    return func.strpos(func.fold(text), literal(wished, String)) > 0


def escaped(text: str) -> str:
    """Escape the wildcards of LIKE."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def has_trigram(text: str) -> bool:
    """Return whether pg_trgm finds a trigram within a text. It ignores what is neither letter nor digit."""
    return any(len(run) >= SHORTEST for run in runs(text, str.isalnum))


def runs(text: str, belongs: Any) -> Iterator[str]:
    """Yield the parts of a text whose characters all belong."""
    return iter("".join(letter if belongs(letter) else "\0" for letter in text).split("\0"))


def sqlite_contains(text: Any, wished: str) -> ColumnElement[bool]:
    """Return a condition that SQLite evaluates by itself, without a function of Python for each row."""
    value = text
    for letter, other in EXPANDED.items() if "s" in wished else ():
        value = func.replace(value, letter, other)
    condition: ColumnElement[bool] = value.op("GLOB", is_comparison=True)(literal(glob_of(wished), String))
    return condition


def rows_found(index: SearchIndex, fields: Sequence[str], wished: str) -> Select[Any] | None:
    """Return the select of the rows that FTS5 finds. None if it cannot."""
    if not wished:  # every row contains it
        return None
    find = rows_with_prefix if len(wished) < SHORTEST else rows_matching
    return find(index, fields, wished)


def rows_matching(index: SearchIndex, fields: Sequence[str], wished: str) -> Select[Any] | None:
    """Return the select of the rows whose trigrams FTS5 finds. None if the text has none.

    It is exact for the rows that have not changed since, unless the text has letters that FTS5 folds in another way
    (`is_exact`).
    """
    known = [part for part in runs(wished, is_known_in(wished)) if len(part) >= SHORTEST]
    if not known:
        return None
    columns = " ".join(quoted(f"of_{name}") for name in fields)
    phrases = " AND ".join(quoted(part) for part in known)
    own = from_clause(index.name, column("rowid", Integer))
    matching = literal_column(quoted(index.name)).op("MATCH", is_comparison=True)
    return select(own.c.rowid).where(matching(literal(f"{{{columns}}} : ({phrases})", String)))


def rows_with_prefix(index: SearchIndex, fields: Sequence[str], wished: str) -> Select[Any] | None:
    """Return the select of the rows with a trigram that begins with a text. It is as exact as `rows_matching`."""
    if not all(map(is_known_in(wished), wished)):
        return None
    own = from_clause(index.terms, column("doc", Integer), column("term", String), column("col", String))
    last = chr(ord(wished[-1]) + (0xE000 - 0xD7FF if wished[-1] == "\ud7ff" else 1))
    first, after = literal(wished, String), literal(wished[:-1] + last, String)
    is_of_field = own.c.col.in_([literal(f"of_{name}", String) for name in fields])
    return select(own.c.doc).where(own.c.term >= first, own.c.term < after, is_of_field)


def is_known_in(wished: str) -> Callable[[str], bool]:
    """Return whether FTS5 finds a letter of this text."""
    missed = UNKNOWN if wished.isascii() else UNKNOWN | other_letters().missed
    return lambda letter: letter not in missed


def with_changed(index: SearchIndex, rows: Select[Any]) -> CompoundSelect[Any]:
    """Return the select of the rows that FTS5 finds, and of all that have changed since."""
    return union_all(rows, changed_rows(index))


def rows_containing(
    model: type[Entity], index: SearchIndex, rows: Select[Any], fields: Sequence[str], wished: str
) -> CompoundSelect[Any]:
    """Return the select of the rows that FTS5 finds exactly, and of the changed ones that contain a text."""
    (found,) = rows.selected_columns
    table: Any = inspect(model).local_table
    changed = table.alias("changed_rows")
    names = [getattr(model, name).property.columns[0].name for name in fields]
    rowid: Any = literal_column('"changed_rows".rowid', Integer)
    contains = or_(*(sqlite_contains(changed.c[name], wished) for name in names))
    others = select(rowid).select_from(changed).where(rowid.in_(changed_rows(index)), contains)
    return union_all(rows.where(found.not_in(changed_rows(index))), others)


def changed_rows(index: SearchIndex) -> Select[Any]:
    return select(from_clause(index.changes, column("changed", Integer)).c.changed)


def is_among(model: type[Entity], rows: CompoundSelect[Any]) -> ColumnElement[bool]:
    """Return whether the rowid of SQLite is one of these."""
    (key,) = inspect(model).primary_key
    is_rowid = key.type.compile(SQLITE) == "INTEGER"
    rowid: Any = key if is_rowid else literal_column(f"{quoted(str(model.__tablename__))}.rowid", Integer)
    condition: ColumnElement[bool] = rowid.in_(rows)
    return condition


def is_exact(wished: str) -> bool:
    """Return whether FTS5 finds exactly the texts that contain this one, which is folded."""
    if wished.isascii():
        return END not in wished
    return INEXACT.isdisjoint(wished) and not any(letter in letters for letters in other_letters() for letter in wished)


class Search(NamedTuple):
    """A search of a request, as the search index of SQLite answers it."""

    rows: Select[Any]
    """The select of the rows that FTS5 finds, some of them several times if the text is short."""
    exact: CompoundSelect[Any] | None
    """The select of exactly the rows that contain the text, each once, if there is one."""


def search_of(database: Database, model: type[Entity], fields: Sequence[str], text: str) -> Search | None:
    """Return the search for a text. None on PostgreSQL, or if no index can answer it."""
    wished, index = str(fold(text)), index_of(database, model, fields) if database.is_sqlite else None
    rows = None if index is None else rows_found(index, fields, wished)
    if index is None or rows is None:
        return None
    is_once = len(wished) >= SHORTEST and is_exact(wished)
    return Search(rows, rows_containing(model, index, rows, fields, wished) if is_once else None)


class OtherLetters(NamedTuple):
    """Letters that FTS5 folds in another way than `fold`: by those of Unicode 6.1, and Greek symbols as letters."""

    missed: frozenset[str]
    """Letters that FTS5 may not find."""
    merged: frozenset[str]
    """Letters for which FTS5 finds others, too."""


@cache
def other_letters() -> OtherLetters:
    """Compare the tokenizer of this SQLite with `fold`, for all letters with case; some 20 ms."""
    letters = [letter for letter in map(chr, CASED) if letter.upper() != letter or letter.lower() != letter]
    with closing(connect(":memory:")) as connection:
        connection.execute('CREATE VIRTUAL TABLE one USING fts5(letter, tokenize = "trigram")')
        connection.execute("CREATE VIRTUAL TABLE term USING fts5vocab(one, instance)")
        insert = f"INSERT INTO one (rowid, letter) VALUES (?1, {expanded('?2')} || '--')"  # noqa: S608  a constant
        connection.executemany(insert, [(ord(letter), letter) for letter in letters])
        terms = connection.execute('SELECT doc, term FROM term WHERE "offset" = 0').fetchall()
    pairs = [(str(fold(chr(code))), term.rstrip("-")) for code, term in terms]
    differing = [pair for pair in pairs if pair[0] != pair[1]]
    return OtherLetters(*(frozenset("".join(pair[side] for pair in differing)) for side in (0, 1)))
