"""Field types of the generator: the source code for their annotations, bounds, examples and defaults."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import EmailStr, Field, TypeAdapter

from kit.models.types import Money, Name

NAME = Annotated[Name, Field(max_length=100)]
INTEGER = Annotated[int, Field(ge=-(2**63), lt=2**63)]
FINITE = Annotated[float, Field(allow_inf_nan=False)]
DECIMAL = Annotated[Decimal, Field(max_digits=12, decimal_places=4)]
"""The types of fields as the generator writes them, by which their defaults are checked."""


@dataclass(frozen=True)
class FieldType:
    """A field type. `annotation`, `bounds` and `examples` are source code. In examples, `{0}` is the field's name.

    `default` returns the source code for a default in the command line; None if the type cannot have one.
    """

    annotation: str
    bounds: str = ""
    examples: Sequence[str] = ()
    default: Callable[[str], str] | None = None
    is_indexed: bool = True
    is_searched: bool = False


def validated(kind: Any, source: Callable[[str], str]) -> Callable[[str], str]:
    """Return `source` for defaults that a field of this type accepts. For others it raises a ValueError."""

    def default(value: str) -> str:
        TypeAdapter(kind).validate_python(value)
        return source(value)

    return default


def text(value: str) -> str:
    return repr(value)


def boolean(value: str) -> str:
    return {"true": "True", "false": "False"}[value.lower()]


def integer(value: str) -> str:
    return repr(int(value))


def number(value: str) -> str:
    return repr(float(value))


def decimal(value: str) -> str:
    chosen = Decimal(value)
    return f"Decimal({chosen})" if chosen.as_tuple().exponent == 0 else f'Decimal("{chosen}")'


def day(value: str) -> str:
    chosen = date.fromisoformat(value)
    return f"date({chosen.year}, {chosen.month}, {chosen.day})"


def numbered(text: str, numbers: Sequence[int] = (1, 2, 3)) -> list[str]:
    return [text.format(number) for number in numbers]


FIELD_TYPES = {
    "str": FieldType("Name", "max_length=100", numbered('"{{0}} {}"'), validated(NAME, text), is_searched=True),
    "text": FieldType("Text", "max_length=5000", ['"A few words."'], text, is_indexed=False, is_searched=True),
    "int": FieldType("int", "", numbered("{}"), validated(INTEGER, integer)),
    "float": FieldType("float", "", numbered("{}.5"), validated(FINITE, number)),
    "bool": FieldType("bool", "", ["True"], boolean),
    "date": FieldType("date", "", numbered('"2026-01-0{}"'), day),
    "time": FieldType("time", "", numbered('"0{}:30:00"', (7, 8, 9))),
    "datetime": FieldType("datetime", "", numbered('"2026-01-31T0{}:30:00Z"', (7, 8, 9))),
    "money": FieldType("Money", "", numbered('"{}9.99"'), validated(Money, decimal)),
    "decimal": FieldType(
        "Decimal", "max_digits=12, decimal_places=4", numbered('"{}.5000"'), validated(DECIMAL, decimal)
    ),
    "uuid": FieldType("UUID", "", numbered('"019b0000-0000-7000-8000-00000000000{}"')),
    "email": FieldType("EmailStr", "", numbered('"ann{}@example.com"'), validated(EmailStr, text), is_searched=True),
    "url": FieldType("AnyHttpUrl", "", numbered('"https://example.com/{}"')),
    "json": FieldType("dict[str, Any]", "", ['{"key": "value"}'], is_indexed=False),
}
