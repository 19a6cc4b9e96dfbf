"""Sizes of pages: a page ends before it has more than `max_page_size` bytes of JSON; `Link` leads to the other rows.

A page is only measured if it may be larger: the fields of most tables have bounds by which every page is smaller.
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
"""The maximum number of bytes of a character in JSON, as in `\\u0001`."""
SHORT = 100
"""The assumed maximum size, in bytes, of a property with a short value: name, value and punctuation."""
LONGEST_MEMBER = 1000
"""The assumed maximum size, in bytes, of a property with a member of an enum."""
SHORT_TYPES = (Boolean, Date, DateTime, Integer, Interval, Numeric, Time, Uuid)
MAX_DEPTH = 3
"""The maximum depth of nested read variants whose size is computed. Deeper ones count as unbounded."""


def rows_that_fit(query: "ListQuery", number: int, sizes: Callable[[], Iterable[int]]) -> int:
    """Return how many of `number` rows fit in a page; at least 1.

    `sizes` returns the sizes of the rows in JSON, in bytes. It is called only if necessary.
    """
    largest = query.max_page_size
    kind: Any = type(query)
    if number * largest_row(kind, tuple(query.included)) <= largest:
        return number
    return max(1, sum(total <= largest for total in accumulate(sizes())))


@cache
def largest_row(kind: "type[ListQuery]", included: tuple[str, ...]) -> float:
    """Return an upper bound of the size in bytes of a row in JSON, with embedded rows; infinity without bound."""
    size = size_of_variant(kind.model, kind.read)
    for name in included:
        size += size_of_related(kind.model, name, read_variant(kind.includes[name], kind.model, name), 0)
    return size


def size_of_variant(model: type[Any], read: type[Read], depth: int = 0) -> float:
    """Return an upper bound of the size in bytes of a row in JSON, by its read variant; infinity without bound."""
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
