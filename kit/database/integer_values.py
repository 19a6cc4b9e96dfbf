"""Values of integer columns: a fraction is rounded, as in an expression of SQL, and a text is refused.

asyncpg would cut the fraction off, and SQLite would store it, or the text, in a column of integers.
"""

from collections.abc import Callable
from decimal import Decimal
from math import isfinite
from typing import Any

from sqlalchemy import BigInteger, Dialect, Integer, SmallInteger
from sqlalchemy.types import TypeEngine

from kit.models.integer_assignments import whole

KINDS: tuple[type[Integer], ...] = (SmallInteger, Integer, BigInteger)


def round_values(dialect: Dialect) -> None:
    """Make a dialect round the values of parameters of integer types."""
    before = dialect.colspecs
    dialect.colspecs = {**before, **{kind: rounding(before.get(kind, kind)) for kind in KINDS}}


def rounding(kind: type[TypeEngine[Any]]) -> type[TypeEngine[Any]]:
    """Return a subclass of a type of the dialect with a bind processor."""
    return type(f"Rounding{kind.__name__}", (RoundingType, kind), {})


class RoundingType:
    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        return whole_number


def whole_number(value: Any) -> Any:
    """Return a number as an integer, rounded by `whole`.

    Raises an OverflowError for a text, and for a number that no integer is close to.
    """
    if value.__class__ is int or not isinstance(value, float | Decimal | str):
        return value
    if isinstance(value, str) or not isfinite(value):
        raise OverflowError(f"{value} is not an integer.")
    return whole(value)
