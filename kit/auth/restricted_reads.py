"""Restricted reads: statements of every form return only rows that belong to the principal.

In each statement, `FROM item` becomes `FROM (SELECT … FROM item WHERE owner_id = :principal) AS item`. This happens
when SQL is compiled, so it applies to joins, aliases, subqueries and tables alike. It is not done by
`with_loader_criteria`, which misses `select(func.rank().over(order_by=Item.price))`, full outer joins and others.
PostgreSQL does not know the primary key of a subquery, so `grouped_reads` lists all columns in `GROUP BY`.

SQL text is refused, because its tables are unknown: before the execution if the text is visible in the statement,
otherwise when it is compiled.
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

from kit.auth.own_rows import PlainTable, select_own
from kit.auth.owners import OwnershipError, entity_of
from kit.models.sqlite_assignments import compile_update

OWN_ROWS = "kit_own_rows"
"""The execution option by which a statement is compiled to return only rows of the principal."""
CHECKED = "kit_checked"
"""The execution option by which the compiler refuses SQL text in a statement."""
ALIASED = "kit_aliased"
"""A compiler option that is set while `FROM item AS alias` is rendered."""
CHANGED = "kit_changed"
"""The compiler attribute for an UPDATE or DELETE: a list with the entity of its table, until that table is rendered."""
MAX_STATEMENTS = 500
"""The maximum number of statements in each cache of compiled statements."""
ALLOWED_TEXT = ("*", "1")
"""The SQL text in SQLAlchemy's own `count(*)` and `EXISTS (SELECT 1 …)`."""


# --- Text


def parts_of(state: ORMExecuteState) -> list[Any]:
    """Return a statement and the SQL elements in it. Prefixes and the rows of an INSERT of several rows are missing."""
    statement: Any = state.statement
    return list(visitors.iterate(statement))


def refuse_text(state: ORMExecuteState) -> None:
    parts = parts_of(state)
    if any(map(is_text, parts)):
        raise text_refused()
    if any(isinstance(part, TableSample) for part in parts):
        raise OwnershipError("A restricted session cannot sample a table, of which it finds some rows only.")


def is_text(element: object) -> bool:
    """Return whether an element is SQL text, whose tables are unknown."""
    is_words = isinstance(element, ColumnClause) and element.is_literal and element.name not in ALLOWED_TEXT
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
    """A cache of the compiled statements that have an execution option. It is cleared when it is full."""

    def __init__(self, option: str) -> None:
        super().__init__()
        self.option = option

    def __setitem__(self, key: Any, compiled: Compiled) -> None:
        if self.option not in compiled.execution_options:  # SQLAlchemy's own statement of the same call
            return
        if len(self) >= MAX_STATEMENTS:
            self.clear()
        super().__setitem__(key, compiled)


COMPILED = {option: CompiledStatements(option) for option in (OWN_ROWS, CHECKED)}
"""The caches by execution option. SQLAlchemy's own cache does not distinguish statements by execution options."""


def set_execution_option(state: ORMExecuteState, option: str) -> None:
    """Give the statement an execution option, which changes how it is compiled."""
    state.statement = state.statement.execution_options(**{option: True})
    state.update_execution_options(compiled_cache=COMPILED[option])


# --- SQL


@compiles(TextClause)
def render_text(words: TextClause, compiler: SQLCompiler, **options: Any) -> str:
    """Render SQL text, or refuse it in a checked statement. Prefixes such as OR REPLACE are visible here only."""
    if compiler.execution_options.keys() & COMPILED.keys():
        raise text_refused()
    return str(compiler.visit_textclause(words, **options))  # type: ignore[no-untyped-call]


@compiles(Table)
def render_table(rows: Table, compiler: SQLCompiler, **options: Any) -> str:
    """Render a table; in FROM of a restricted statement, render a subquery of the rows of the principal."""
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
    """Render an alias, and tell `render_table` that the subquery for its table needs no second name."""
    is_of_table = {ALIASED: True} if isinstance(alias.element, Table) else {}
    return str(compiler.visit_alias(alias, **options, **is_of_table))  # type: ignore[no-untyped-call]


class RowsToChange(Select[Any]):
    """A SELECT of the rows that an UPDATE or DELETE will change, of all owners. The first column is the id."""

    inherit_cache = True


@compiles(RowsToChange)
def render_rows_to_change(statement: RowsToChange, compiler: SQLCompiler, **options: Any) -> str:
    with rendering_change(compiler, statement.selected_columns[0].table):
        return str(compiler.visit_select(statement, **options))  # type: ignore[no-untyped-call]


@compiles(Update)
def render_update(statement: Update, compiler: SQLCompiler, **options: Any) -> str:
    with rendering_change(compiler, statement.table):
        return compiler.visit_update(statement, **options)


@compiles(Update, "sqlite")
def render_update_on_sqlite(statement: Update, compiler: SQLCompiler, **options: Any) -> Any:
    """Render an UPDATE as `render_update` does, by `compile_update`: SQLAlchemy calls only one function for SQLite."""
    with rendering_change(compiler, statement.table):
        return compile_update(statement, compiler, **options)


@compiles(Delete)
def render_delete(statement: Delete, compiler: SQLCompiler, **options: Any) -> str:
    with rendering_change(compiler, statement.table):
        return str(compiler.visit_delete(statement, **options))  # type: ignore[no-untyped-call]


@contextmanager
def rendering_change(compiler: SQLCompiler, rows: Any) -> Iterator[None]:
    """Within the block, render the first occurrence of this table unrestricted; later ones are in subqueries."""
    before = getattr(compiler, CHANGED, None)
    setattr(compiler, CHANGED, [entity_of(rows)])
    yield
    setattr(compiler, CHANGED, before)
