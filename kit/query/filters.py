"""Filters of lists: `field=value`, `field__op=value` and `q=text`, with the same results on both databases."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from operator import eq, ge, gt, le, lt
from typing import Any

from pydantic import BaseModel
from sqlalchemy import ColumnElement, String, and_, func, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from kit.database.search_sql import folded
from kit.models.kinds import Shape, shape_of_field
from kit.query.normalization import normalized
from kit.query.parameters import Parameter, comma_separated
from kit.query.values import Phrase, YesNo, value_type

Column = InstrumentedAttribute[Any]
MAX_VALUES = 100


class Strpos(GenericFunction[int]):
    """The SQL function for the index of a substring, from 1; 0 if it is absent. Unlike LIKE, it has no wildcards."""

    name = "strpos"
    inherit_cache = True


@compiles(Strpos, "sqlite")
def sqlite_strpos(element: Strpos, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"instr({compiler.process(element.clauses, **kwargs)})"


class Fold(GenericFunction[str]):
    """The SQL function for case-folded text, with the same result as `kit.database.folding.fold`."""

    name = "fold"
    type = String()
    inherit_cache = True


@compiles(Fold, "postgresql")
def postgres_fold(element: Fold, compiler: SQLCompiler, **kwargs: Any) -> str:
    return folded(compiler.process(element.clauses, **kwargs))


def padded(values: Collection[Any]) -> list[Any]:
    """Return the values, padded with the last one until their number is a power of two.

    This bounds the number of different IN lists, and so of statements that are compiled and cached.
    """
    all_of_them = list(values)
    size = 1 << (len(all_of_them) - 1).bit_length()
    return all_of_them + all_of_them[-1:] * (size - len(all_of_them))


def is_in(column: Any, values: Collection[Any]) -> ColumnElement[bool]:
    """Return the condition `column IN (…)`. There must be at least one value."""
    condition: ColumnElement[bool] = column.in_([literal(value, column.type) for value in padded(values)])
    return condition


def contains(column: Column, text: str) -> ColumnElement[bool]:
    return func.strpos(column, text) > 0


def startswith(column: Column, text: str) -> ColumnElement[bool]:
    """Return the condition for a prefix as a range, which an index can scan: `column >= 'ab' AND column < 'ac'`."""
    head = text.rstrip(chr(0x10FFFF))
    if not head:
        return column >= text
    step = 0xE000 - 0xD7FF if head[-1] == "\ud7ff" else 1  # skips the surrogates, which are not characters
    return and_(column >= text, column < head[:-1] + chr(ord(head[-1]) + step))


OPERATORS: dict[str, tuple[Callable[[Column, Any], ColumnElement[bool]], str]] = {
    "": (eq, "Equal to this."),
    "ne": (lambda column, value: column.is_distinct_from(value), "Not equal to this, or null."),
    "lt": (lt, "Less than this."),
    "lte": (le, "At most this."),
    "gt": (gt, "Greater than this."),
    "gte": (ge, "At least this."),
    "in": (is_in, f"Equal to one of these: at most {MAX_VALUES} values, separated by commas."),
    "contains": (contains, "Contains this text; upper and lower case differ."),
    "startswith": (startswith, "Starts with this text; upper and lower case differ."),
    "isnull": (
        lambda column, null: column.is_(None) if null else column.is_not(None),
        "`true`: null. `false`: not null.",
    ),
}
"""The operators of filters by suffix, each with the function for its condition, and its description."""
RANGES = ("", "lt", "lte", "gt", "gte", "in", "startswith", "isnull")
"""The operators whose conditions are ranges of an index."""
EQUAL, ORDERED = ("", "ne", "in"), ("", "ne", "lt", "lte", "gt", "gte", "in")
LIKE = ("contains", "startswith")
OPERATORS_OF_KINDS: Mapping[str, Sequence[str]] = {
    "boolean": ("", "ne"), "uuid": EQUAL, "address": EQUAL, "member": EQUAL, "integer member": EQUAL,
    "text": EQUAL + LIKE, "email": EQUAL + LIKE, "url": EQUAL + LIKE, "bytes": (), "json": (),
}  # fmt: skip
"""The operators by the kind of a field. Kinds that are missing here have those in `ORDERED`."""


def operators_of(shape: Shape) -> Sequence[str]:
    """Return the operators for a field of this shape; none if it cannot be filtered."""
    fitting = () if shape.kind is None else OPERATORS_OF_KINDS.get(shape.kind, ORDERED)
    return (*fitting, *(["isnull"] if shape.is_nullable else []))


def filters_of(model: type[BaseModel], name: str) -> Iterator[tuple[Parameter, str]]:
    """Yield a parameter and its operator for each filter of a field."""
    shape = shape_of_field(model.model_fields[name])
    plain: Any = value_type(shape, getattr(model, name).type)
    equal = normalized(plain, model, name)
    others = {
        **dict.fromkeys(("", "ne"), equal),
        "in": comma_separated(equal, MAX_VALUES),
        "isnull": YesNo,
        **dict.fromkeys(LIKE, Phrase),
    }
    for operator in operators_of(shape):
        kind = others.get(operator, plain)
        key = f"{name}__{operator}" if operator else name
        yield Parameter(key, kind, OPERATORS[operator][1], operator == "in"), operator
