"""Column types for values without a type in one of the databases, stored so that both sort them in the same way.

Each is a `TypeDecorator`; `python_type` is the type of its values. None is stored as NULL.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum
from functools import cache
from math import isfinite
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import BigInteger, Dialect, Integer, Interval, Numeric, String
from sqlalchemy.orm import LoaderCallableStatus
from sqlalchemy.sql import operators
from sqlalchemy.types import NULLTYPE, TypeDecorator, TypeEngine

from kit.models.decimal_forms import Form, compared, decode, encode, exact, rounded
from kit.models.decimals import EXACT, plain_decimal
from kit.models.json_comparisons import ComparedJSON
from kit.models.json_equality import is_same_json
from kit.models.texts import codec_of

BIGINT = BigInteger().with_variant(Integer, "sqlite")  # SQLite generates ids for INTEGER only
MAX_ID = 2**63 - 1
MICROSECOND = timedelta(microseconds=1)
NUMBER_DIGITS = 18
"""The maximum number of digits of a decimal that SQLite stores as an integer."""


def text_type(length: int | None) -> String:
    """Return a text type that is sorted by code point: on SQLite by default, on PostgreSQL by the collation "C"."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


class DecimalColumn(TypeDecorator[Decimal]):
    """Decimals with a maximum number of digits before and after the decimal point.

    PostgreSQL stores NUMERIC. SQLite stores an integer in units of the last decimal place (cents); if that may have
    more than 18 digits, a text of fixed length that is sorted like the numbers.
    """

    impl = Numeric
    cache_ok = True

    def __init__(self, whole: int, places: int, *, is_fixed: bool) -> None:
        """Set the maximum digits before and after the point. With `is_fixed`, values keep trailing zeros, as money."""
        super().__init__(whole + places if is_fixed else None, places if is_fixed else None)
        self.whole, self.places, self.is_fixed = whole, places, is_fixed

    @property
    def python_type(self) -> type[Decimal]:
        return Decimal

    @property
    def digits(self) -> int:
        return self.whole + self.places

    @property
    def is_number(self) -> bool:
        """Whether SQLite stores an integer, not text."""
        return self.digits <= NUMBER_DIGITS

    @property
    def on_sqlite(self) -> TypeEngine[Any]:
        return BigInteger() if self.is_number else String(self.digits + 1)

    @property
    def on_postgresql(self) -> TypeEngine[Any]:
        return Numeric(self.digits, self.places) if self.is_fixed else Numeric()

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(self.on_sqlite if dialect.name == "sqlite" else self.on_postgresql)

    @property
    def form(self) -> Form:
        """The form in which SQLite stores the values."""
        return Form(0 if self.is_number else self.digits, self.places)

    def stored(self, value: Any) -> Decimal:
        """Return a number as it is read after it was stored: rounded half away from zero to the places of the type."""
        if self.is_fixed and isinstance(value, Decimal) and value and value.as_tuple().exponent == -self.places:
            return value
        number = exact(value)
        if not number.is_finite():
            return number
        return plain_decimal(rounded(number, self.places), self.places, is_fixed=self.is_fixed)

    def process_bind_param(self, value: Decimal | float | str | None, dialect: Dialect) -> Any:
        """Return the value that is stored: on SQLite rounded half away from zero, as PostgreSQL does itself.

        Raises an OverflowError for a value that is not a finite number, or, on SQLite, has too many digits.
        """
        if value is None:
            return None
        decimal = exact(value)
        if not decimal.is_finite():
            raise OverflowError(f"{decimal} is not a number.")
        if dialect.name != "sqlite":
            return decimal
        number = int(decimal.scaleb(self.places, EXACT).to_integral_value(ROUND_HALF_UP, EXACT))
        if abs(number) >= 10**self.digits:
            raise OverflowError(f"A decimal has more than {self.whole} digits before the point.")
        return number if self.is_number else str(number + 10**self.digits).zfill(self.digits + 1)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Return the decimal. The result of an expression may have more places than the type, and keeps them."""
        if value is None:
            return None
        if dialect.name == "sqlite" and isinstance(value, int):  # most values: those of a column, as integers
            number = Decimal(value).scaleb(-self.places, EXACT)
            return plain_decimal(number, self.places, is_fixed=self.is_fixed)
        number = decode(value, self.form) if dialect.name == "sqlite" else exact(value)
        result = plain_decimal(number, self.places, is_fixed=self.is_fixed)
        return result if result == number else number.normalize(EXACT)

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        """Return the type of a value in an expression with a decimal. Neither database rounds the value then."""
        if op in COMPARISONS:
            return compared_type(self.whole, self.places)
        return self if value is None else number_type(value)


class CalculatedDecimal(DecimalColumn):
    """The type of decimals in expressions: values are not rounded to its decimal places."""

    cache_ok = True

    def __init__(self, whole: int, places: int) -> None:
        super().__init__(whole, places, is_fixed=False)

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the driver. On SQLite a value may be a fraction of a unit, which no type converts."""
        return NULLTYPE if dialect.name == "sqlite" else super().load_dialect_impl(dialect)

    def process_bind_param(self, value: Decimal | float | str | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        number = exact(value)
        if dialect.name != "sqlite":
            return number
        return encode(number, self.form) if self.is_number else compared(number, self.form)

    def literal_processor(self, dialect: Dialect) -> Callable[[Any], str] | None:
        """Return a function that writes a value into the text of a CHECK or an index. The type of it is not used."""
        return lambda value: str(self.process_bind_param(value, dialect))


compared_type = cache(CalculatedDecimal)
"""Return the type of values that are compared with a column, by its digits before and after the point."""
COMPARISONS = {
    operators.eq, operators.ne, operators.lt, operators.le, operators.gt, operators.ge, operators.in_op,
    operators.not_in_op, operators.and_, operators.is_, operators.is_not, operators.is_distinct_from,
    operators.is_not_distinct_from,
}  # fmt: skip
"""The operators that compare; `and_` is that of the values of BETWEEN."""


def number_type(value: Any) -> TypeEngine[Any]:
    """Return the type of a value in a calculation: of a number, with as many decimal places as the value has."""
    if isinstance(value, timedelta):
        return DurationColumn()
    if isinstance(value, int) and abs(value) <= MAX_ID:
        return BigInteger()
    if not isinstance(value, Decimal | int | float) or not isfinite(value):
        return String()
    number = exact(value).as_tuple()
    places = max(-int(number.exponent), 0)
    whole = max(len(number.digits) + int(number.exponent), 0)
    return compared_type(NUMBER_DIGITS - places if whole + places <= NUMBER_DIGITS else max(whole, 30), places)


class MoneyColumn(DecimalColumn):
    """NUMERIC(10, 2); cents on SQLite."""

    cache_ok = True

    def __init__(self) -> None:
        super().__init__(8, 2, is_fixed=True)


class DurationColumn(TypeDecorator[timedelta]):
    """Durations: INTERVAL on PostgreSQL, microseconds on SQLite."""

    impl = Interval
    cache_ok = True
    operator_classes = operators.OperatorClass.DATETIME | operators.OperatorClass.MATH

    @property
    def python_type(self) -> type[timedelta]:
        return timedelta

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(BigInteger() if dialect.name == "sqlite" else Interval())

    def process_bind_param(self, value: timedelta | None, dialect: Dialect) -> Any:
        return value // MICROSECOND if value is not None and dialect.name == "sqlite" else value

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        """Return the type of a value in an expression with a duration, which may be multiplied by a number."""
        return number_type(value) if isinstance(value, Decimal | int | float) else self

    def process_result_value(self, value: Any, dialect: Dialect) -> timedelta | None:
        return timedelta(microseconds=value) if value is not None and dialect.name == "sqlite" else value


class TextColumn(TypeDecorator[Any]):
    """Values of a type, such as an IP address, that `codec_of` converts from and to text of at most `length`."""

    impl = String
    cache_ok = True

    def __init__(self, kind: type, length: int) -> None:
        super().__init__(length)
        self.kind, self.length = kind, length
        self.parse, self.write = codec_of(kind)

    @property
    def python_type(self) -> type:
        return self.kind

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(text_type(self.length))

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return self.write(value) if isinstance(value, self.kind) else value

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else self.parse(value)


class EnumColumn(TypeDecorator[Any]):
    """Members of an enum, stored by their values, which are all text or all integers, or by other texts."""

    impl = String
    cache_ok = True

    def __init__(self, kind: type[Enum], length: int | None, texts: tuple[str, ...] | None = None) -> None:
        """Set the enum, and the length of the text column; None for an enum of integers.

        `texts` are stored in place of the values, one for each member.
        """
        super().__init__()
        self.kind, self.length, self.texts = kind, length, texts
        values = [member.value for member in kind] if texts is None else texts
        self.members = dict(zip(values, kind, strict=True))
        self.values = {member: value for value, member in self.members.items()}

    @property
    def python_type(self) -> type[Enum]:
        return self.kind

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(BigInteger() if self.length is None else text_type(self.length))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return self.values.get(value, value.value) if isinstance(value, Enum) else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return the member with the stored value, or the stored value if the enum has it no more."""
        return self.members.get(value, value)


class StoredContext(dict[str, Any]):
    """The context of the validation of stored JSON: models have the names or the aliases of their fields.

    They may have computed fields too, in the result of `model_dump`.
    """


STORED = StoredContext()


def is_whole(value: Any) -> bool:
    """Return whether a value is a float that equals an integer of up to 63 bits: SQLite stores this integer for it."""
    return isinstance(value, float) and value.is_integer() and abs(value) < 2**63


class JsonColumn(TypeDecorator[Any]):
    """JSON values of the type that `adapter` validates. JSON's null is stored as NULL, and a lone `1.0` as `1`.

    Models are stored by the names of their fields, without computed fields. `stored` reads what was stored; by default
    `adapter` does.
    """

    impl = ComparedJSON
    cache_ok = True

    def __init__(self, adapter: TypeAdapter[Any], stored: TypeAdapter[Any] | None = None) -> None:
        super().__init__(none_as_null=True)
        self.adapter, self.stored = adapter, stored or adapter

    @property
    def python_type(self) -> type:
        raise NotImplementedError("The values may change in place.")

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return self.as_json(value)

    def as_json(self, value: Any) -> Any:
        """Return the JSON that is stored for a value: an instance of the type, or the result of its `model_dump`."""
        if value is None:
            return None
        dumped = self.adapter.dump_python(self.read(value), mode="json", by_alias=False, exclude_computed_fields=True)
        return int(dumped) if is_whole(dumped) else dumped

    def read(self, value: Any) -> Any:
        """Return the validated value. Raises a ValidationError."""
        return self.adapter.validate_python(value, by_name=True, by_alias=True, context=STORED)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return the value without the validators of the application; with them if it is not valid otherwise.

        If it is not valid by the current type either, returns the stored JSON.
        """
        if value is None:
            return None
        for adapter in (self.stored, self.adapter):
            with suppress(ValidationError):
                return adapter.validate_python(value, by_name=True, by_alias=True, context=STORED)
        return value

    def compare_values(self, x: Any, y: Any) -> bool:
        if isinstance(y, LoaderCallableStatus):  # unknown, after `flag_modified`
            return False
        return is_same_json(x, y) if x == y else is_same_json(self.as_json(x), self.as_json(y))
