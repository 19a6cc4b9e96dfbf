"""Estimated row counts for `count=estimated`: by PostgreSQL's planner, or on SQLite by a sample."""

import json
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Executable, Integer, Select, func, literal_column, select, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

from kit.database.identifiers import quoted
from kit.models.entities import Entity
from kit.query.page_selects import count_all

if TYPE_CHECKING:
    from kit.query.choices import Choices
    from kit.query.list_query import ListQuery

BLOCKS, BLOCK = 50, 200
"""The sample of a SQLite table: `BLOCKS` evenly spaced ranges of `BLOCK` rowids each."""
Rows = Sequence[Sequence[Any]]


class Reader(Protocol):
    """Executes the SELECTs for counts and estimates, by the session of a request."""

    database_id: int
    """Identifies the database, as a part of cache keys."""
    may_estimate: bool
    """Whether an estimate may be returned. It must not for a restricted session: an estimate includes all rows."""
    sees_all: bool
    """Whether the session certainly returns all rows, without a restriction or a listener that adds conditions."""

    async def rows(self, statement: Any, name: Hashable, complete: Callable[[Any], Select[Any]]) -> Rows:
        """Return the rows of the SELECT `complete(statement)`. `name` identifies the function, as a cache key."""

    async def explained(self, statement: "Explain") -> Rows:
        """Return the rows of EXPLAIN."""


class Explain(Executable, ClauseElement):
    """PostgreSQL's EXPLAIN of a SELECT, in JSON."""

    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(Explain, "postgresql")
def compile_explain(element: Explain, compiler: SQLCompiler, **options: Any) -> str:
    return f"EXPLAIN (FORMAT JSON) {compiler.process(element.statement, **options)}"


async def estimated(query: "ListQuery", choices: "Choices", reader: Reader) -> int:
    """Return an estimate of the number of rows that a query finds."""
    if not query.runtime.database.is_sqlite:
        key: Any = query.model.id
        ((plan,),) = await reader.explained(Explain(choices.indexed.with_only_columns(key, maintain_column_froms=True)))
        (root,) = json.loads(plan) if isinstance(plan, str) else plan
        return int(root["Plan"]["Plan Rows"])
    table = str(query.model.__tablename__)
    ((first, last),) = await reader.rows(bounds(table), f"bounds {table}", unchanged)
    step = max(BLOCK, (last - first + 1) // BLOCKS)
    sample = partial(sampled, model=query.model, first=first, step=step)
    ((found,),) = await reader.rows(choices.scanned, f"sample {first} {step}", sample)
    return int(found * step / BLOCK)


def unchanged(statement: Select[Any]) -> Select[Any]:
    return statement


def rowid(table: str) -> Any:
    return literal_column(f"{quoted(table)}.rowid", Integer)


def bounds(table: str) -> Select[Any]:
    """Return the SELECT of the lowest and the highest rowid, which SQLite finds without a scan."""
    first, last = (select(function(rowid(table))).select_from(text(quoted(table))) for function in (func.min, func.max))
    return select(first.scalar_subquery(), last.scalar_subquery())


def sampled(statement: Select[Any], model: type[Entity], first: int, step: int) -> Select[Any]:
    """Return the SELECT of the number of matching rows in the sample, whose ranges begin at `first` + n * `step`."""
    numbers = (
        f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {BLOCKS * BLOCK - 1}) "  # noqa: S608
        f"SELECT {first} + i / {BLOCK} * {step} + i % {BLOCK} FROM n"
    )
    within = rowid(str(model.__tablename__)).in_(text(numbers))
    return count_all(statement.where(within), model)
