"""Restricted reads: statements that find only rows that belong to the principal, whatever their shape.

In each statement, `FROM item` becomes `FROM (SELECT … FROM item WHERE owner_id = :principal) AS item`. This happens
where SQL is compiled, so it holds for joins, aliases, subqueries and tables alike. It is not done by
`with_loader_criteria`, which leaves out `select(func.rank().over(order_by=Item.price))`, a full outer join and others.
PostgreSQL does not know the primary key of a subquery: `GROUP BY` must list all columns selected.

SQL in words is refused, since nobody knows its tables: where it can be seen in the statement before it is executed,
elsewhere when it is compiled.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    Alias,
    ColumnClause,
    Delete,
    Select,
    Table,
    TableClause,
    TableSample,
    TextClause,
    TextualSelect,
    TString,
    Update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import ORMExecuteState
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import Compiled, SQLCompiler

from kit.auth.owners import OwnershipError, PlainTable, entity_of, select_own

OWN_ROWS = "kit_own_rows"
"""The execution option of a statement that finds only rows that belong to the principal."""
CHECKED = "kit_checked"
"""The execution option of a statement that may not hold text."""
ALIASED = "kit_aliased"
"""A compiler option that is set while `FROM item AS alias` is rendered."""
CHANGED = "kit_changed"
"""An attribute of the compiler, within an UPDATE or DELETE: the entity of its table, in a list emptied by its use."""
MAX_STATEMENTS = 500
"""How many compiled statements of a kind are kept."""
HARMLESS = ("*", "1")
"""The text with which SQLAlchemy writes `count(*)` and `EXISTS (SELECT 1 …)`."""


# --- Text


def parts_of(state: ORMExecuteState) -> list[Any]:
    """A statement, and all elements in it. It shows neither prefixes nor the values of an INSERT of several rows."""
    statement: Any = state.statement
    return list(visitors.iterate(statement))


def refuse_text(state: ORMExecuteState) -> None:
    parts = parts_of(state)
    if any(map(is_text, parts)):
        raise text_refused()
    if any(isinstance(part, TableSample) for part in parts):
        raise OwnershipError("A restricted session cannot sample a table, of which it finds some rows only.")


def is_text(element: object) -> bool:
    """Whether an element is SQL in words, of which nobody knows the tables."""
    is_words = isinstance(element, ColumnClause) and element.is_literal and element.name not in HARMLESS
    is_name = isinstance(element, TableClause) and not isinstance(element, Table | PlainTable)
    return (
        is_words
        or (is_name and entity_of(element) is not None)
        or isinstance(element, TextClause | TextualSelect | TString)
    )


def text_refused() -> OwnershipError:
    return OwnershipError(
        "A restricted session cannot tell whose rows text concerns: write select(), insert(), update() or delete() of "
        "an entity, and its attributes in place of text(), literal_column() and table()."
    )


# --- Caches


class CompiledStatements(dict[Any, Compiled]):
    """A cache of compiled statements that have an execution option. It is emptied when it is full."""

    def __init__(self, option: str) -> None:
        super().__init__()
        self.option = option

    def __setitem__(self, key: Any, compiled: Compiled) -> None:
        if self.option not in compiled.execution_options:  # one of SQLAlchemy's own, for the same call
            return
        if len(self) >= MAX_STATEMENTS:
            self.clear()
        super().__setitem__(key, compiled)


COMPILED = {option: CompiledStatements(option) for option in (OWN_ROWS, CHECKED)}
"""Caches in place of SQLAlchemy's own, which does not distinguish statements by their execution options."""


def mark(state: ORMExecuteState, option: str) -> None:
    """Give the statement an execution option, which changes how it is compiled."""
    state.statement = state.statement.execution_options(**{option: True})
    state.update_execution_options(compiled_cache=COMPILED[option])


# --- SQL


@compiles(TextClause)
def render_text(words: TextClause, compiler: SQLCompiler, **options: Any) -> str:
    """SQL for text; refused in a checked statement. Prefixes such as OR REPLACE are found here only."""
    if compiler.execution_options.keys() & COMPILED.keys():
        raise text_refused()
    return str(compiler.visit_textclause(words, **options))  # type: ignore[no-untyped-call]


@compiles(Table)
def render_table(rows: Table, compiler: SQLCompiler, **options: Any) -> str:
    """SQL for a table; in FROM, if the statement finds only rows that belong to the principal, a subquery of these."""
    is_aliased, changed = options.pop(ALIASED, False), getattr(compiler, CHANGED, None)
    rendered = str(compiler.visit_table(rows, **options))  # type: ignore[no-untyped-call]
    is_read = options.get("asfrom") and compiler.execution_options.get(OWN_ROWS)
    entity = entity_of(rows) if is_read else None
    if entity is None or entity.belongs_to is None:
        return rendered
    if changed == [entity] and not is_aliased:
        changed.clear()
        return rendered
    own_rows = compiler.process(select_own(entity), asfrom=True)
    return f"({own_rows})" if is_aliased else f"({own_rows}) AS {compiler.preparer.quote(rows.name)}"


@compiles(Alias)
def render_alias(alias: Alias, compiler: SQLCompiler, **options: Any) -> str:
    """SQL for an alias; a table in it need not name itself."""
    is_of_table = {ALIASED: True} if isinstance(alias.element, Table) else {}
    return str(compiler.visit_alias(alias, **options, **is_of_table))  # type: ignore[no-untyped-call]


class RowsToChange(Select[Any]):
    """A SELECT of the rows that an UPDATE or DELETE will change, of whomever they are; their id is its first column."""

    inherit_cache = True


@compiles(RowsToChange)
def render_rows_to_change(statement: RowsToChange, compiler: SQLCompiler, **options: Any) -> str:
    with changing(compiler, statement.selected_columns[0].table):
        return str(compiler.visit_select(statement, **options))  # type: ignore[no-untyped-call]


@compiles(Update)
def render_update(statement: Update, compiler: SQLCompiler, **options: Any) -> str:
    with changing(compiler, statement.table):
        return compiler.visit_update(statement, **options)


@compiles(Delete)
def render_delete(statement: Delete, compiler: SQLCompiler, **options: Any) -> str:
    with changing(compiler, statement.table):
        return str(compiler.visit_delete(statement, **options))  # type: ignore[no-untyped-call]


@contextmanager
def changing(compiler: SQLCompiler, rows: Any) -> Iterator[None]:
    """Within, this table is rendered as it is where it comes first; later it stands in a subquery, which reads it."""
    before = getattr(compiler, CHANGED, None)
    setattr(compiler, CHANGED, [entity_of(rows)])
    yield
    setattr(compiler, CHANGED, before)
