"""Checks at start, on SQLite alone: declarations that only PostgreSQL has, and that SQLAlchemy would ignore."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, Index, Sequence, Table, UniqueConstraint
from sqlalchemy.sql.functions import next_value

from kit.models.entities import known_tables


def ignored_on_sqlite() -> Iterator[str]:
    """Yield an error for each column, index and UNIQUE of a table that would not do on SQLite what it says."""
    for table in known_tables().values():
        for column in table.columns:
            if is_numbered(column):
                yield (
                    f"{table.name}.{column.name} is numbered by the database, which SQLite does for the primary key "
                    "only: use the id, set the number in the handler or by a `default_factory`, or run the service on "
                    "PostgreSQL alone."
                )
        yield from uniques_of(table)


def is_numbered(column: Column[Any]) -> bool:
    """Return whether a column other than the primary key has an `Identity`, a `Sequence` or `autoincrement=True`."""
    if column.primary_key:
        return False
    is_next = isinstance(getattr(column.server_default, "arg", None), next_value)
    return is_next or isinstance(column.default, Sequence) or bool(column.identity) or column.autoincrement is True


def uniques_of(table: Table) -> Iterator[str]:
    uniques: list[Index | UniqueConstraint] = [index for index in table.indexes if index.unique]
    uniques += [part for part in table.constraints if isinstance(part, UniqueConstraint)]
    for part in uniques:
        options, described = part.dialect_kwargs, f"The unique columns {', '.join(part.columns.keys())} of {table.name}"
        if options.get("postgresql_nulls_not_distinct"):
            yield (
                f"{described} have `postgresql_nulls_not_distinct`, but SQLite takes two NULLs for different values: "
                "make the columns NOT NULL, write `Index(None, func.coalesce(…), unique=True)`, or run the service on "
                "PostgreSQL alone."
            )
        if isinstance(part, UniqueConstraint) and (part.deferrable is not None or part.initially is not None):
            yield (
                f"{described} have `deferrable` or `initially`, but SQLite checks a UNIQUE at once, and refuses the "
                "table: leave these out, or run the service on PostgreSQL alone."
            )
        if isinstance(part, Index) and is_partial_elsewhere(options):
            yield (
                f"{described} have `postgresql_where`, but all rows on SQLite: add `sqlite_where` with the same "
                "condition."
            )


def is_partial_elsewhere(options: Any) -> bool:
    return options.get("postgresql_where") is not None and options.get("sqlite_where") is None
