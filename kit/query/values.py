"""Values of filters: their types and bounds, which follow from the column."""

import re
from datetime import datetime
from decimal import Decimal
from types import NoneType, UnionType
from typing import Annotated, Any, LiteralString, Union, get_args, get_origin

import pydantic
from pydantic import AfterValidator, AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError
from sqlalchemy import BigInteger
from sqlalchemy.types import TypeEngine

from kit.models.types import MAX_ID, Text

INTEGER = re.compile("-?[0-9]+")
DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
MAX_TEXT = 200
"""The largest length of a value in a query, in characters."""


def yes_or_no(value: object) -> object:
    if value not in ("true", "false"):
        raise PydanticCustomError("bool_parsing", "Input should be true or false")
    return value == "true"


def in_years_of_four_digits(time: datetime) -> datetime:
    if not 1 < time.year < 9999:  # in years 1 and 9999 the conversion to UTC may overflow
        raise PydanticCustomError("datetime_range", "The year should be between 2 and 9998")
    return time


def written(pattern: re.Pattern[str], kind: LiteralString) -> BeforeValidator:
    """Refuse notations that pydantic accepts by mistake, such as `1_0` for 10, or seconds for a time."""

    def check(value: object) -> object:
        if isinstance(value, str) and not pattern.fullmatch(value):
            raise PydanticCustomError(kind, "Input is not in the notation of its type")
        return value

    return BeforeValidator(check)


only_integers = written(INTEGER, "int_parsing")
YesNo = Annotated[bool, BeforeValidator(yes_or_no), pydantic.WithJsonSchema({"type": "boolean"})]
Phrase = Annotated[Text, pydantic.Field(max_length=MAX_TEXT)]
Time = Annotated[AwareDatetime, written(RFC_3339, "datetime_parsing"), AfterValidator(in_years_of_four_digits)]
Amount = Annotated[Decimal, pydantic.Field(max_digits=10, decimal_places=2), written(DECIMAL, "decimal_parsing")]


def plain_type(annotation: Any) -> tuple[type, bool]:
    """The Python type of an annotation, and whether it is optional."""
    if get_origin(annotation) is Annotated:
        return plain_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        inner = next(part for part in get_args(annotation) if part is not NoneType)
        return plain_type(inner)[0], True
    return annotation, False


def value_type(plain: type, column: TypeEngine[Any]) -> Any:
    """The type of a filter's value, bounded by the range of the column."""
    if plain is int:
        edge = MAX_ID if isinstance(column, BigInteger) else 2**31 - 1
        return Annotated[int, pydantic.Field(ge=-edge - 1, le=edge), only_integers]
    return {str: Phrase, bool: YesNo, datetime: Time, Decimal: Amount}.get(plain, plain)
