"""Kinds of field types: a classification that decides how values are serialized, bounded, stored, filtered and sorted.

| kind | types |
|---|---|
| boolean, integer, number, decimal, text, bytes | bool, int, float, Decimal, str, bytes |
| date, datetime, time, duration | date, datetime, time, timedelta |
| uuid, email, url, address | UUID, EmailStr, AnyUrl and its subclasses, addresses and networks of IP |
| member, integer member | enums and Literals of texts, or of integers |
| json | dict, list, tuple, pydantic models, Any, and compositions of these |
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from math import gcd, lcm
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

import pydantic
from pydantic import AnyUrl, BaseModel, EmailStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

KINDS: dict[Any, str] = {
    bool: "boolean", int: "integer", float: "number", Decimal: "decimal", str: "text", bytes: "bytes",
    date: "date", datetime: "datetime", time: "time", timedelta: "duration", UUID: "uuid", EmailStr: "email",
    pydantic.PastDate: "date", pydantic.FutureDate: "date", pydantic.AwareDatetime: "datetime",
    pydantic.PastDatetime: "datetime", pydantic.FutureDatetime: "datetime",
    IPv4Address: "address", IPv6Address: "address", IPv4Network: "address", IPv6Network: "address",
    Any: "json", object: "json", dict: "json", list: "json", tuple: "json", Mapping: "json", Sequence: "json",
}  # fmt: skip


def common_multiple(numbers: Sequence[Any]) -> Any:
    """Return the least common multiple of numbers, which may be fractions, in the type of the first."""
    parts = [Fraction(str(number)) for number in numbers]
    whole = Fraction(lcm(*(part.numerator for part in parts)), gcd(*(part.denominator for part in parts)))
    multiple = type(numbers[0])(whole.numerator)
    return multiple if whole.denominator == 1 else multiple / whole.denominator


CONTAINERS = (dict, list, tuple, Mapping, Sequence)
BOUNDS: dict[str, Callable[[Sequence[Any]], Any]] = {
    "gt": max, "ge": max, "lt": min, "le": min, "min_length": max, "max_length": min,
    "max_digits": min, "decimal_places": min, "multiple_of": common_multiple,
}  # fmt: skip
"""By the name of a bound, the function that returns the narrowest of several values."""
SORTED = frozenset({
    "boolean", "integer", "number", "decimal", "text", "date", "datetime", "time", "duration", "uuid", "email", "url",
    "address", "member", "integer member",
})  # fmt: skip
"""The kinds whose values have an order, so that lists can be sorted by them."""
SEARCHED = frozenset({"text", "email", "url", "member"})
"""The kinds whose values are stored as the text that a client sends, so that `q` can search it."""


@dataclass(frozen=True)
class Shape:
    """An annotation in parts: the type `plain` without `None` and `Annotated`, `is_nullable`, and its metadata."""

    plain: Any
    is_nullable: bool
    metadata: tuple[Any, ...]

    @cached_property
    def kind(self) -> str | None:
        return kind_of(self.plain)

    @cached_property
    def bounds(self) -> dict[str, Any]:
        """The bounds by name; the narrowest if there are several."""
        parts, bounds = list(expanded(self.metadata)), {}
        for name, narrower in BOUNDS.items():
            values = [value for part in parts if (value := getattr(part, name, None)) is not None]
            if values:
                bounds[name] = narrower(values)
        return bounds

    @cached_property
    def members(self) -> list[Any]:
        """The values of an enum or a Literal. Only for the kinds `member` and `integer member`."""
        if get_origin(self.plain) is Literal:
            return list(get_args(self.plain))
        return [member.value for member in self.plain]


def shape_of(annotation: Any, metadata: Iterable[Any] = ()) -> Shape:
    """Return the shape of an annotation. `metadata` are further annotations, those of its field."""
    outer, origin = tuple(metadata), get_origin(annotation)
    if origin is Annotated:
        inner, *own = get_args(annotation)
        return shape_of(inner, (*own, *outer))
    if origin in (Union, UnionType):
        parts = [part for part in get_args(annotation) if part is not NoneType]
        if len(parts) == 1:
            shape = shape_of(parts[0], outer)
            return Shape(shape.plain, True, shape.metadata)
        return Shape(annotation, len(parts) < len(get_args(annotation)), outer)
    return Shape(annotation, False, outer)


def shape_of_field(field: FieldInfo) -> Shape:
    return shape_of(field.annotation, field.metadata)


def option(field: FieldInfo, name: str) -> Any:
    """Return an option of SQLModel's `Field`, such as `index`; None if it is not set.

    With an `Annotated` type, options are in the metadata of the field.
    """
    values = (getattr(part, name, PydanticUndefined) for part in (field, *field.metadata))
    return next((value for value in values if value is not PydanticUndefined), None)


def expanded(metadata: Iterable[Any]) -> Iterator[Any]:
    """Yield the annotations, with a nested `Field` replaced by its own annotations."""
    for part in metadata:
        if isinstance(part, FieldInfo):
            yield from expanded(part.metadata)
        else:
            yield part


def kind_of(plain: Any) -> str | None:
    """Return the kind of a type; None for a type that the kit does not support."""
    if plain in KINDS:
        return KINDS[plain]
    origin = get_origin(plain)
    if origin is Literal:
        return kind_of_members(get_args(plain))
    if origin is not None:
        parts = [part for part in get_args(plain) if part not in (Ellipsis, NoneType)]
        return "json" if origin in CONTAINERS + UNIONS and all(has_kind(part) for part in parts) else None
    if not isinstance(plain, type):
        return None
    if issubclass(plain, Enum):
        return kind_of_members([member.value for member in plain])
    if issubclass(plain, AnyUrl):
        return "url"
    return "json" if issubclass(plain, BaseModel) else None


UNIONS = (Union, UnionType)


def has_kind(annotation: Any) -> bool:
    return shape_of(annotation).kind is not None


def kind_of_members(values: Iterable[Any]) -> str | None:
    kinds = {type(value) for value in values}
    return {str: "member", int: "integer member"}.get(next(iter(kinds))) if len(kinds) == 1 else None
