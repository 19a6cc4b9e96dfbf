"""Estimated numbers of rows: of PostgreSQL's planner, or on SQLite of a sample, for `count=estimated`."""

import json
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Executable, Integer, Select, func, literal_column, select, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

from kit.database.identifiers import quoted

if TYPE_CHECKING:
    from kit.query.choices import Choices
    from kit.query.list_query import ListQuery

BLOCKS, BLOCK = 50, 200
"""A sample of a table in SQLite: `BLOCKS` ranges of `BLOCK` ids each, evenly spread."""
Rows = Sequence[Sequence[Any]]


class Reader(Protocol):
    """Reads rows by the session of a request."""

    database_id: int
    """The identity of its database."""
    may_estimate: bool
    """Whether an estimate may be returned: it counts all rows, also those that the session does not show."""
    sees_all: bool
    """Whether the session certainly shows all rows: it has no restriction, and no listener that adds conditions."""

    async def rows(self, statement: Any, name: Hashable, complete: Callable[[Any], Select[Any]]) -> Rows:
        """Return the rows of the select that `complete` makes of a statement. Equal names are of equal functions."""

    async def explained(self, statement: "Explain") -> Rows:
        """Return the plan of a select."""


class Explain(Executable, ClauseElement):
    """EXPLAIN: shows how PostgreSQL would execute a select."""

    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(Explain, "postgresql")
def compile_explain(element: Explain, compiler: SQLCompiler, **options: Any) -> str:
    return f"EXPLAIN (FORMAT JSON) {compiler.process(element.statement, **options)}"


async def estimated(query: "ListQuery", choices: "Choices", reader: Reader) -> int:
    """Return an estimate of the number of rows."""
    if not query.runtime.database.is_sqlite:
        key: Any = query.model.id
        ((plan,),) = await reader.explained(Explain(choices.indexed.with_only_columns(key, maintain_column_froms=True)))
        (root,) = json.loads(plan) if isinstance(plan, str) else plan
        return int(root["Plan"]["Plan Rows"])
    table = str(query.model.__tablename__)
    ((first, last),) = await reader.rows(bounds(table), f"bounds {table}", unchanged)
    step = max(BLOCK, (last - first + 1) // BLOCKS)
    sample = partial(sampled, table=table, first=first, step=step)
    ((found,),) = await reader.rows(choices.walking, f"sample {first} {step}", sample)
    return int(found * step / BLOCK)


def unchanged(statement: Select[Any]) -> Select[Any]:
    return statement


def rowid(table: str) -> Any:
    return literal_column(f"{quoted(table)}.rowid", Integer)


def bounds(table: str) -> Select[Any]:
    """Return the select of the first and the last row id, each of which SQLite finds at once."""
    first, last = (select(function(rowid(table))).select_from(text(quoted(table))) for function in (func.min, func.max))
    return select(first.scalar_subquery(), last.scalar_subquery())


def sampled(statement: Select[Any], table: str, first: int, step: int) -> Select[Any]:
    """Return the select of the number of rows within the sample."""
    numbers = (
        f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {BLOCKS * BLOCK - 1}) "  # noqa: S608
        f"SELECT {first} + i / {BLOCK} * {step} + i % {BLOCK} FROM n"
    )
    within = rowid(table).in_(text(numbers))
    return statement.with_only_columns(func.count(), maintain_column_froms=True).where(within)
