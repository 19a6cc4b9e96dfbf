"""Sizes of pages: a page ends before `max_page_size` bytes of JSON, and its `Link` leads to the other rows.

Only pages that may be so large are measured: the rows of most tables have bounds by which a page is always smaller.
"""

from collections.abc import Callable, Iterable
from functools import cache
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING, Any, get_args

from sqlalchemy import Boolean, Column, Date, DateTime, Integer, Interval, Numeric, String, Time, Uuid, inspect

from kit.models.columns import EnumColumn
from kit.models.reads import Read
from kit.query.embedding import MAX_RELATED, read_variant

if TYPE_CHECKING:
    from kit.query.list_query import ListQuery

PER_CHARACTER = 6
"""The largest number of bytes of a character in JSON, as in `\\u0001`."""
SHORT = 100
"""The largest number of bytes of a member whose value is short, with its name and marks."""
LONGEST_MEMBER = 1000
"""The largest number of bytes of a member whose value is one of an enum."""
SHORT_TYPES = (Boolean, Date, DateTime, Integer, Interval, Numeric, Time, Uuid)
MAX_DEPTH = 3
"""The largest nesting of read variants whose size is computed."""


def rows_that_fit(query: "ListQuery", number: int, sizes: Callable[[], Iterable[int]]) -> int:
    """Return the number of rows, of so many, that fit in a page; at least one.

    `sizes` are their sizes in JSON, in bytes.
    """
    largest = query.max_page_size
    kind: Any = type(query)
    if number * largest_row(kind, tuple(query.included)) <= largest:
        return number
    return max(1, sum(total <= largest for total in accumulate(sizes())))


@cache
def largest_row(kind: "type[ListQuery]", included: tuple[str, ...]) -> float:
    """Return the largest size of a row in JSON, with what it embeds, in bytes; infinite if it has no bound."""
    size = size_of_variant(kind.model, kind.read)
    for name in included:
        size += size_of_related(kind.model, name, read_variant(kind.includes[name]), 0)
    return size


def size_of_variant(model: type[Any], read: type[Read], depth: int = 0) -> float:
    """Return the largest size of a row of a model in JSON, as this variant shows it."""
    if read.model_computed_fields or depth > MAX_DEPTH:
        return inf
    mapper, size = inspect(model), 0.0
    for name, field in read.model_fields.items():
        if name in mapper.column_attrs:
            size += size_of_column(mapper.column_attrs[name].columns[0])
        elif name in mapper.relationships:
            variants = [part for part in (field.annotation, *get_args(field.annotation)) if is_variant(part)]
            size += size_of_related(model, name, variants[0], depth + 1) if variants else inf
        else:
            return inf
    return size


def size_of_related(model: type[Any], name: str, read: type[Read], depth: int) -> float:
    relationship = inspect(model).relationships[name]
    return (MAX_RELATED if relationship.uselist else 1) * size_of_variant(relationship.mapper.class_, read, depth)


def size_of_column(column: Column[Any]) -> float:
    if isinstance(column.type, EnumColumn):
        return LONGEST_MEMBER
    kind = getattr(column.type, "impl", column.type)
    if isinstance(kind, String):
        return SHORT + (PER_CHARACTER * kind.length if kind.length else inf)
    return SHORT if isinstance(kind, SHORT_TYPES) else inf


def is_variant(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, Read)
