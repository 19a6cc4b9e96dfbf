"""Values of filters: their types, with the bounds and notations that are accepted in a query string."""

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, LiteralString

import pydantic
from pydantic import AfterValidator, AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError
from sqlalchemy.types import TypeEngine

from kit.http.numbers import OUT_OF_RANGE, NumberRangeError, bounded_float
from kit.models.bounds import digits_of, range_of_integers
from kit.models.json_values import CLOCK, DATE, DURATION, NUMBER, storable_duration, without_zone
from kit.models.kinds import Shape
from kit.models.types import Text

INTEGER = re.compile("-?[0-9]+")
DECIMAL = re.compile(NUMBER)
FLOAT = re.compile(f"{NUMBER}([eE][+-]?[0-9]{{1,3}})?")
RFC_3339 = re.compile(
    rf"(?P<date>{DATE})([Tt ](?P<clock>\d\d:\d\d:\d\d(\.\d{{1,9}})?)(?P<offset>[Zz]|[ +-]\d\d:\d\d))?", re.ASCII
)
"""A time, or a date alone. The `+` of an offset may be a space, because an unescaped `+` is decoded to one."""
MAX_TEXT = 200
"""The maximum length of a text value, in characters."""


def yes_or_no(value: object) -> object:
    if value not in ("true", "false"):
        raise PydanticCustomError("bool_parsing", "Input should be true or false")
    return value == "true"


def yes_no_or_estimated(value: object) -> object:
    return value if value == "estimated" else yes_or_no(value)


def in_years_of_four_digits(time: datetime) -> datetime:
    if not 1 < time.year < 9999:  # in years 1 and 9999 the conversion to UTC may overflow
        raise PydanticCustomError("datetime_range", "The year should be between 2 and 9998")
    return time


def written(pattern: re.Pattern[str], kind: LiteralString, wanted: LiteralString) -> BeforeValidator:
    """Return a validator that refuses text in other notations, which pydantic accepts: `1_0` for 10, or Unix times.

    `kind` is the type of the error, and `wanted` the end of its message.
    """
    message: LiteralString = f"Input should be {wanted}"

    def check(value: object) -> object:
        if isinstance(value, str) and not pattern.fullmatch(value):
            raise PydanticCustomError(kind, message)
        return value

    return BeforeValidator(check)


def whole_moment(value: object) -> object:
    """Return a text in RFC 3339 for a time, or for a date alone the beginning of the day in UTC."""
    if not isinstance(value, str):
        return value
    match = RFC_3339.fullmatch(value)
    if match is None:
        raise PydanticCustomError("datetime_parsing", "Input should be a time as in 2026-01-31T12:00:00Z, or a date")
    day, clock, offset = match.group("date", "clock", "offset")
    return f"{day}T{clock}{offset.replace(' ', '+')}" if clock else f"{day}T00:00:00Z"


def in_range(value: object) -> object:
    """Return a value. Raises pydantic's error for the text of a number beyond the range of floats."""
    try:
        return bounded_float(value) if isinstance(value, str) else value
    except NumberRangeError:
        raise PydanticCustomError("number_range", OUT_OF_RANGE) from None


only_integers = written(INTEGER, "int_parsing", "an integer in decimal digits")
YesNo = Annotated[bool, BeforeValidator(yes_or_no), pydantic.WithJsonSchema({"type": "boolean"})]
ESTIMATED: dict[str, Any] = {"anyOf": [{"type": "boolean"}, {"const": "estimated"}]}
YesNoEstimated = Annotated[bool | str, BeforeValidator(yes_no_or_estimated), pydantic.WithJsonSchema(ESTIMATED)]
Phrase = Annotated[Text, pydantic.Field(max_length=MAX_TEXT)]
Time = Annotated[AwareDatetime, BeforeValidator(whole_moment), AfterValidator(in_years_of_four_digits)]
PLAIN: dict[str, Any] = {
    "text": Phrase,
    "email": Phrase,
    "boolean": YesNo,
    "datetime": Time,
    "number": Annotated[float, BeforeValidator(in_range), written(FLOAT, "float_parsing", "a number as in 1.5 or 1e6")],
    "date": Annotated[date, written(re.compile(DATE), "date_parsing", "a date as in 2026-01-31")],
    "time": Annotated[time, written(re.compile(CLOCK), "time_parsing", "a time as in 12:00:00")],
    "duration": Annotated[
        timedelta,
        written(re.compile(DURATION), "time_delta_parsing", "a duration as in PT1H30M"),
        AfterValidator(storable_duration),
    ],
}


@cache
def integer(low: int, high: int) -> Any:
    """Return the type of integers from `low` to `high`."""
    return Annotated[int, pydantic.Field(ge=low, le=high), only_integers]


@cache
def decimal(whole: int, places: int) -> Any:
    """Return the type of decimals with at most `whole` digits before the point, and `places` after it."""
    bounds = pydantic.Field(max_digits=whole + places, decimal_places=places)
    fraction = rf"(\.[0-9]{{1,{places}}})?" if places else ""
    schema = {"type": "string", "format": "decimal", "pattern": rf"^-?[0-9]{{1,{whole}}}{fraction}$"}
    return Annotated[
        Decimal, bounds, written(DECIMAL, "decimal_parsing", "a decimal as in 9.99"), pydantic.WithJsonSchema(schema)
    ]


def value_type(shape: Shape, column: TypeEngine[Any]) -> Any:
    """Return the type of a filter's value, bounded to values with which the database can compare the column."""
    kind = shape.kind or ""
    if kind == "integer":
        numbers = range_of_integers(column)
        return integer(numbers[0], numbers[-1])
    if kind == "integer member":
        return Annotated[shape.plain, BeforeValidator(int), only_integers]
    if kind == "decimal":
        whole, places, _ = digits_of(shape)
        return decimal(whole, places)
    if kind == "address":
        return Annotated[shape.plain, AfterValidator(without_zone)]
    return PLAIN.get(kind, shape.plain)
