"""Indexes: adds the id to the indexes of a table, and refuses indexes on JSON and on texts that are too long."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import JSON, Column, Index, String, Table, UniqueConstraint

from kit.models.columns import JsonColumn

LONGEST_ENTRY = 650
"""The maximum length of a text with an index, in characters of up to four bytes."""


def indexed(table: Table) -> Iterator[Column[Any]]:
    """Yield the columns that an index or a UNIQUE of the table has."""
    uniques = [part for part in table.constraints if isinstance(part, UniqueConstraint)]
    parts: list[Index | UniqueConstraint] = [*table.indexes, *uniques]
    yield from (column for part in parts for column in part.columns)


def refuse_json_entries(entity: Any, table: Table) -> None:
    """Raise a TypeError for an index or UNIQUE on a column of the type JSON, which PostgreSQL cannot compare."""
    for stored in indexed(table):
        if type(stored.type) in (JSON, JsonColumn):
            raise TypeError(
                f"{entity.__name__}.{stored.name} is JSON and has an index, but PostgreSQL cannot compare JSON: leave "
                "out the index, and write a field of its own for the value to search for."
            )


def refuse_long_entries(entity: Any, table: Table) -> None:
    """Raise a TypeError for an index or UNIQUE on a text column of more than `LONGEST_ENTRY` characters."""
    for stored in indexed(table):
        longest = getattr(stored.type, "length", None) or 0
        if isinstance(stored.type, String) and longest > LONGEST_ENTRY:
            raise TypeError(
                f"{entity.__name__}.{stored.name} has an index and up to {longest} characters, but an entry of an "
                f"index of PostgreSQL has 2704 bytes at most: write `max_length={LONGEST_ENTRY}` or less, or no index."
            )


def widen_indexes(table: Table) -> None:
    """Add the id as second column to the indexes on one column, so that they suit the total order of pages."""
    for index in list(table.indexes):
        columns = list(index.columns)
        if len(columns) != 1 or index.unique or not columns[0].index:
            continue
        table.indexes.discard(index)
        columns[0].index = False  # a copy of the table would make it again
        others = [other for other in table.indexes if [*other.columns.keys()] == [columns[0].key, "id"]]
        for other in others:
            table.indexes.discard(other)
        Index(index.name, columns[0], table.columns["id"])
