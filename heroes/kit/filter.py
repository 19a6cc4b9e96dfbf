"""How a list is narrowed: `field=value`, `field__op=value`, and `q=text`, the same on both databases."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from enum import Enum
from operator import eq, ge, gt, le, lt
from types import NoneType, UnionType
from typing import Annotated, Any, LiteralString, Union, get_args, get_origin
from uuid import UUID

import pydantic
from pydantic import AfterValidator, AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError
from sqlalchemy import BigInteger, ColumnElement, String, and_, func, type_coerce
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from heroes.kit.field import MAX_ID, Text
from heroes.kit.parameter import Parameter, listing

Column = InstrumentedAttribute[Any]
INTEGER = re.compile("-?[0-9]+")
DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
MAX_VALUES = 100
MAX_TEXT = 200
"""Of a value in a query, in characters."""


class Strpos(GenericFunction[int]):
    """The place of a text in another, 0 where it is not: no pattern, so that `%`, `_` and `\\` are themselves."""

    name = "strpos"
    inherit_cache = True


@compiles(Strpos, "sqlite")
def sqlite_strpos(element: Strpos, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"instr({compiler.process(element.clauses, **kwargs)})"


class Fold(GenericFunction[str]):
    """Lower case beyond ASCII."""

    name = "fold"
    type = String()
    inherit_cache = True


@compiles(Fold, "postgresql")
def postgres_fold(element: Fold, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f'lower({compiler.process(element.clauses, **kwargs)} COLLATE "folding")'


def contains(column: Column, text: str) -> ColumnElement[bool]:
    return func.strpos(column, text) > 0


def startswith(column: Column, text: str) -> ColumnElement[bool]:
    """A range of an index: from the text up to the next text of the same length."""
    head = text.rstrip(chr(0x10FFFF))
    if not head:
        return column >= text
    step = 0xE000 - 0xD7FF if head[-1] == "\ud7ff" else 1  # over the surrogates, which are no characters
    return and_(column >= text, column < head[:-1] + chr(ord(head[-1]) + step))


def mentions(column: Column, text: str) -> ColumnElement[bool]:
    """Does the column contain the text, in whatever case?"""
    return func.strpos(func.fold(column), func.fold(type_coerce(text, String))) > 0


OPERATORS: dict[str, tuple[Callable[[Column, Any], ColumnElement[bool]], str]] = {
    "": (eq, "equal to"),
    "ne": (lambda column, value: column.is_distinct_from(value), "not equal to; null is not equal to anything"),
    "lt": (lt, "less than"),
    "lte": (le, "less than or equal to"),
    "gt": (gt, "greater than"),
    "gte": (ge, "greater than or equal to"),
    "in": (lambda column, values: column.in_(values), f"one of at most {MAX_VALUES}, separated by commas"),
    "contains": (contains, "containing this text, in this case"),
    "startswith": (startswith, "starting with this text, in this case"),
    "isnull": (lambda column, null: column.is_(None) if null else column.is_not(None), "absent, or not"),
}
ORDERED = ("", "ne", "lt", "lte", "gt", "gte", "in")
FITTING = {
    str: ("", "ne", "in", "contains", "startswith"),
    bool: ("", "ne"),
    UUID: ("", "ne", "in"),
    Enum: ("", "ne", "in"),
}
"""The operators that make sense for a type; for all others it is ORDERED."""


def yes_or_no(value: object) -> object:
    if value not in ("true", "false"):
        raise PydanticCustomError("bool_parsing", "Input should be true or false")
    return value == "true"


def in_years_of_four_digits(time: datetime) -> datetime:
    if not 1 < time.year < 9999:  # at the edges it may not exist in UTC
        raise PydanticCustomError("datetime_range", "The year should be between 2 and 9998")
    return time


def written(pattern: re.Pattern[str], kind: LiteralString) -> BeforeValidator:
    """Refuse what Python would read, but nobody writes: `1_0` for 10, or seconds for a time."""

    def check(value: object) -> object:
        if isinstance(value, str) and not pattern.fullmatch(value):
            raise PydanticCustomError(kind, "Input is not written as its type is")
        return value

    return BeforeValidator(check)


only_integers = written(INTEGER, "int_parsing")
YesNo = Annotated[bool, BeforeValidator(yes_or_no), pydantic.WithJsonSchema({"type": "boolean"})]
Phrase = Annotated[Text, pydantic.Field(max_length=MAX_TEXT)]
Time = Annotated[AwareDatetime, written(RFC_3339, "datetime_parsing"), AfterValidator(in_years_of_four_digits)]
Amount = Annotated[Decimal, written(DECIMAL, "decimal_parsing"), pydantic.Field(max_digits=20)]


def plain_type(annotation: Any) -> tuple[type, bool]:
    """The Python type behind an annotation, and whether it may be None."""
    if get_origin(annotation) is Annotated:
        return plain_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        inner = next(part for part in get_args(annotation) if part is not NoneType)
        return plain_type(inner)[0], True
    return annotation, False


def value_type(plain: type, column: Column) -> Any:
    """What a filter's value may be: bounded by what the column can be compared with."""
    if plain is int:
        edge = MAX_ID if isinstance(column.type, BigInteger) else 2**31 - 1
        return Annotated[int, only_integers, pydantic.Field(ge=-edge - 1, le=edge)]
    return {str: Phrase, bool: YesNo, datetime: Time, Decimal: Amount}.get(plain, plain)


def filters_of(name: str, annotation: Any, column: Column) -> Iterator[tuple[Parameter, str]]:
    """Every filter that a field allows, as parameter and operator."""
    plain, nullable = plain_type(annotation)
    one: Any = value_type(plain, column)
    family = Enum if issubclass(plain, Enum) else plain
    for operator in (*FITTING.get(family, ORDERED), *(["isnull"] if nullable else [])):
        kind = {"in": listing(one, MAX_VALUES), "isnull": YesNo}.get(operator, one)
        key = f"{name}__{operator}" if operator else name
        yield Parameter(key, kind, f"`{name}` is {OPERATORS[operator][1]}.", operator == "in"), operator
