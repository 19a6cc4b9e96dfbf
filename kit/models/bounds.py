"""Bounds of fields: combines the bounds of a field, and adds those without which its column could not store values.

A bound may be in `Field`, in `Annotated`, or in a type alias such as `Name`. Of several, the narrowest applies. With
pydantic alone, the last one would replace the others.
"""

from collections.abc import Iterable, Iterator
from copy import copy
from functools import cache
from typing import Any

import pydantic
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf
from pydantic.fields import FieldInfo
from sqlalchemy import BigInteger, Integer, Numeric, SmallInteger
from sqlalchemy.types import TypeDecorator

from kit.models.columns import DecimalColumn
from kit.models.json_forms import UNBOUNDED_DIGITS, JSONForm
from kit.models.json_values import MAX_INTEGER, MIN_INTEGER
from kit.models.kinds import BOUNDS, Shape, option

MAX_TEXT = 10_000
"""The maximum length, in characters, of a text field without `max_length`."""
MAX_INDEXED_TEXT = 500
"""The same for a field with an index, because an index entry of PostgreSQL has at most 2704 bytes."""
MAX_EMAIL, MAX_URL, MAX_BYTES = 254, 2083, 65_536
LONGEST = {"text": MAX_TEXT, "email": MAX_EMAIL, "url": MAX_URL, "bytes": MAX_BYTES}
"""The maximum length of a field without `max_length`, by the kind of its type."""
DIGITS = ("max_digits", "decimal_places")
PURE = (Ge, Gt, Le, Lt, MinLen, MaxLen, MultipleOf)


def flattened(metadata: Iterable[Any]) -> Iterator[Any]:
    """Yield the annotations, with groups and nested fields replaced by their members, as pydantic does."""
    for part in metadata:
        if isinstance(part, FieldInfo):
            yield from flattened(part.metadata)
            rest = copy(part)
            rest.metadata = []
            yield rest
        elif is_group(part.__class__):
            yield from flattened(part)
        else:
            yield part


@cache
def is_group(kind: type) -> bool:
    """Return whether annotations of a class are `GroupedMetadata`, without `isinstance`, which takes 20 µs."""
    return hasattr(kind, "__is_annotated_types_grouped_metadata__")


def without_bounds(metadata: Iterable[Any]) -> Iterator[Any]:
    """Yield the annotations without bounds and patterns."""
    for part in flattened(metadata):
        named = vars(part) if hasattr(part, "__dict__") and not isinstance(part, FieldInfo) else {}
        if isinstance(part, PURE):
            continue
        if named.keys().isdisjoint((*BOUNDS, "pattern")):
            yield part
        elif rest := {name: value for name, value in named.items() if name not in (*BOUNDS, "pattern")}:
            other = copy(part)
            vars(other).clear()
            vars(other).update(rest)
            yield other


def combined(shape: Shape, pattern: Any = None) -> list[Any]:
    """Return the narrowest bounds of a type as annotations, together with a pattern, if any."""
    bounds = dict(shape.bounds)
    if shape.kind == "decimal" and bounds.keys() >= {*DIGITS}:
        whole, places, _ = digits_of(shape)
        bounds["max_digits"] = whole + places
    return list(pydantic.Field(**bounds, pattern=pattern).metadata)


def patterns_of(metadata: Iterable[Any]) -> list[Any]:
    """Return the patterns among the annotations. A text has to match all of them."""
    parts = list(flattened(metadata))
    found = [getattr(part, "pattern", None) for part in parts]
    found += [pattern for part in parts if isinstance(part, JSONForm) for pattern in part.patterns]
    return list(dict.fromkeys(pattern for pattern in found if pattern is not None))


def patterns_to_check(shape: Shape) -> tuple[Any, tuple[Any, ...]]:
    """Return the pattern that pydantic's type checks (or None), and the other ones, which its `JSONForm` checks."""
    patterns = patterns_of(shape.metadata)
    if shape.kind == "email" or not patterns:
        return None, tuple(patterns)
    return patterns[0], tuple(patterns[1:])


def digits_of(shape: Shape) -> tuple[int, int, bool]:
    """Return a decimal's maximum number of digits before and after the point, and whether trailing zeros are kept."""
    digits, places = shape.bounds.get("max_digits"), shape.bounds.get("decimal_places")
    if places is None:
        return digits or UNBOUNDED_DIGITS, digits or UNBOUNDED_DIGITS, False
    pairs = [[getattr(part, name, None) for name in DIGITS] for part in flattened(shape.metadata)]
    whole = [most - few for most, few in (*pairs, (digits, places)) if most is not None and few is not None]
    return max(min(whole, default=UNBOUNDED_DIGITS), 0), places, True


def missing_bounds(shape: Shape, field: FieldInfo | None) -> list[Any]:
    """Return the bounds that a field lacks so that its column can store all values, in addition to those it has.

    `field` is None for a type within another one.
    """
    stored = None if field is None else stored_type(field)
    if shape.kind == "integer":
        return missing_limits(shape, stored, is_reference=field is not None and bool(option(field, "foreign_key")))
    if field is None:
        return []
    return missing_digits(shape, stored) if shape.kind == "decimal" else missing_length(shape, field, stored)


def missing_limits(shape: Shape, stored: Any, *, is_reference: bool) -> list[Any]:
    """Return the missing bounds of an integer: those of its column; the lowest is 1 for a foreign key without one."""
    values, bounds = range_of_integers(stored), shape.bounds
    has_low, has_high = not bounds.keys().isdisjoint(("ge", "gt")), not bounds.keys().isdisjoint(("le", "lt"))
    low, high = bounds.get("ge", bounds.get("gt", 0) + 1), bounds.get("le", bounds.get("lt", 0) - 1)
    lower = [] if has_low and low >= values[0] else [Ge(1 if is_reference and not has_low else values[0])]
    return lower if has_high and high <= values[-1] else [*lower, Le(values[-1])]


def missing_length(shape: Shape, field: FieldInfo, stored: Any) -> list[Any]:
    """Return the missing maximum length of a text or of bytes: that of the column type, or else of the field's type."""
    longest = LONGEST.get(shape.kind or "")
    if longest is None:
        return []
    given, length = shape.bounds.get("max_length"), length_of(stored)
    if shape.kind == "text" and any(option(field, name) is True for name in ("index", "unique", "primary_key")):
        longest = MAX_INDEXED_TEXT
    if length is not None:
        longest = length if shape.kind in ("text", "bytes") else min(length, longest)
        return [MaxLen(longest)] if given is None or given > longest else []
    return [MaxLen(longest)] if given is None else []


def missing_digits(shape: Shape, stored: Any) -> list[Any]:
    """Return the missing digits of a decimal whose column type sets them."""
    if isinstance(stored, DecimalColumn):
        digits, places = stored.digits, stored.places
        if not stored.is_fixed:
            return []
    elif isinstance(stored, Numeric) and stored.precision is not None:
        digits, places = stored.precision, stored.scale or 0
    else:
        return []
    return list(pydantic.Field(max_digits=digits, decimal_places=places).metadata)


def range_of_integers(stored: Any) -> range:
    """Return the range of the integers that a column type stores; of 64 bits for another type."""
    stored = stored.impl if isinstance(stored, TypeDecorator) else stored
    bits = 16 if isinstance(stored, SmallInteger) else 32
    is_large = isinstance(stored, BigInteger) or not isinstance(stored, Integer)
    return range(MIN_INTEGER, MAX_INTEGER + 1) if is_large else range(-(2 ** (bits - 1)), 2 ** (bits - 1))


def stored_type(field: FieldInfo) -> Any:
    """Return the column type that a field sets by `sa_type` or `sa_column`; None if it sets none."""
    chosen = option(field, "sa_type") or getattr(option(field, "sa_column"), "type", None)
    return chosen() if isinstance(chosen, type) else chosen


def length_of(stored: Any) -> int | None:
    length: int | None = getattr(stored, "length", None)
    return length
