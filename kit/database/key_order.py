"""Key order: an order of new rows in which concurrent bulk inserts cannot deadlock on unique keys in PostgreSQL.

An INSERT of a unique value that another transaction has inserted waits for the end of that transaction. If all
transactions insert in the order of the values, they cannot wait for each other in a cycle. With several unique keys no
order suits all of them, so bulk inserts into such a table run one after the other, by a lock.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, Index, UniqueConstraint, inspect, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint

from kit.auth.owners import table_of
from kit.models.entities import Entity

NEXT_IDS = text(
    "SELECT nextval(sequence.name) FROM generate_series(1, :number), "
    "(SELECT CAST(pg_get_serial_sequence(:table, :column) AS regclass) AS name OFFSET 0) AS sequence"
)


class UniqueKey(NamedTuple):
    """A unique constraint, or a unique index on columns, which may have a condition (a partial index)."""

    fields: tuple[str, ...]
    columns: tuple[Column[Any], ...]
    unique_index: Index | None
    """The index, which may have a condition; None for a constraint."""

    def of(self, row: Any) -> tuple[Any, ...] | None:
        """Return the values of a row; None if one of them is None, because NULLs are never equal."""
        values = tuple(getattr(row, field) for field in self.fields)
        return None if None in values else values

    def condition(self, dialect: str) -> Any:
        """Return the condition of a partial index; None for other keys."""
        return None if self.unique_index is None else self.unique_index.dialect_options[dialect]["where"]

    def values_of_condition(self, row: Any, condition: Any) -> list[Any]:
        """Return the values of a row in the columns of the condition of a partial index, as text.

        Two rows with the same values are both in the index, or both not.
        """
        words = re.findall(r"\w+", "" if condition is None else str(condition))
        return [str(getattr(row, word, None)) for word in words]


@cache
def unique_keys(entity: type[Entity]) -> list[UniqueKey]:
    """Return the unique keys of an entity except its primary key, sorted by column names."""
    mapper, table = inspect(entity), table_of(entity)
    found = [(tuple(part.columns), None) for part in table.constraints if isinstance(part, UniqueConstraint)]
    found += [(tuple(index.columns), index) for index in table.indexes if index.unique and not has_expressions(index)]  # type: ignore[misc]
    return [
        UniqueKey(tuple(mapper.get_property_by_column(column).key for column in columns), columns, index)
        for columns, index in sorted(found, key=lambda pair: [column.name for column in pair[0]])
    ]


@cache
def has_several_keys(entity: type[Entity]) -> bool:
    """Return whether no order of rows suits all unique keys: there are several, or one on expressions or ranges."""
    table = table_of(entity)
    others: list[Any] = [index for index in table.indexes if index.unique and has_expressions(index)]
    others += [part for part in table.constraints if isinstance(part, ExcludeConstraint)]
    return len(unique_keys(entity)) + len(others) > 1 or bool(others)


def has_expressions(index: Index) -> bool:
    return not all(isinstance(part, Column) for part in index.expressions)


def sort_key(entity: type[Entity], row: Any) -> list[str]:
    """Return the sort key of a row: the values of its unique keys, as text."""
    return [str(key.of(row)) for key in unique_keys(entity)]


def assign_ids(connection: Connection, entity: type[Entity], rows: Sequence[Any]) -> None:
    """Assign the next ids of the PostgreSQL sequence to rows without an id, in the given order.

    Does nothing if a row has an id, or if the ids do not come from a sequence that may be set by the client.
    """
    key = inspect(entity).primary_key[0]
    if any(row.id is not None for row in rows) or (key.identity is not None and key.identity.always):
        return
    table = connection.dialect.identifier_preparer.format_table(table_of(entity))
    ids = connection.scalars(NEXT_IDS, {"number": len(rows), "table": table, "column": key.name}).all()
    if None not in ids:
        for row, ident in zip(rows, ids, strict=True):
            row.id = ident
