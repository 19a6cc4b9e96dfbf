"""Explicit column types: what SQLAlchemy's types mean for a field that names one by `sa_type` or `sa_column`.

Many of them store other values on SQLite than on PostgreSQL: SQLite rounds decimals and limits neither texts nor
integers, and PostgreSQL sorts texts by the collation of the database. Therefore `SUITABLE` has the types that a field
may have, by its kind, each with a rule that returns the type in place of it. This stores the same values, in the same
order, on both databases. Other types of SQLAlchemy are a TypeError. The bounds of a type are in `kit.models.bounds`.

Types of the application (`TypeDecorator`, `UserDefinedType`), types of one database (`JSONB`), and types with variants
(`with_variant`) are used as they are.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, get_args, get_origin

import sqlalchemy as sa
from pydantic import EmailStr
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import ArgumentError
from sqlalchemy.types import NullType, PickleType
from sqlmodel import AutoString
from sqlmodel.sql.sqltypes import UTCDateTime

from kit.models.bounds import range_of_integers
from kit.models.columns import EnumColumn, text_type
from kit.models.kinds import UNIONS, Shape, kind_of, shape_of
from kit.models.texts import ADDRESS_LENGTHS

DOUBLE_BITS = range(25, 54)
"""The precisions with which PostgreSQL's FLOAT has 64 bits, as all floats of SQLite."""
IN_JSON = (str, int, float, bool, type(None), Any, object, dict, list, EmailStr)
"""The types whose values Python's `json` writes and reads without a change."""
MODULES = ("sqlalchemy.sql.sqltypes", "sqlmodel.sql.sqltypes")
"""The modules of the types that are for all databases."""


class Given(NamedTuple):
    """A column type that a field names, the shape of the field, and a function for the type that it has without one."""

    stored: Any
    shape: Shape
    derive: Callable[[], Any]


def kept(given: Given) -> Any:
    return given.stored


def derived(given: Given) -> Any:
    return given.derive()


def whole_numbers(given: Given) -> Any:
    """Return the type for integers with set values, if it can store all of them."""
    numbers, kind = range_of_integers(given.stored), given.shape.plain
    is_number = not isinstance(kind, type) or issubclass(kind, int)
    return given.stored if is_number and all(value in numbers for value in given.shape.members) else None


def double(given: Given) -> Any:
    is_double = given.stored.precision is None or given.stored.precision in DOUBLE_BITS
    return given.derive() if is_double and not given.stored.asdecimal else None


def exact(given: Given) -> Any:
    digits, places = given.stored.precision, given.stored.scale
    is_possible = places is None or (digits is not None and 0 <= places <= digits)
    return given.derive() if given.stored.asdecimal and is_possible else None


def span(given: Given) -> Any:
    is_rounded = given.stored.second_precision is not None or given.stored.day_precision is not None
    return None if is_rounded else given.derive()


def clock(given: Given) -> Any:
    return None if given.stored.timezone else given.derive()


def unique_ids(given: Given) -> Any:
    return sa.Uuid(native_uuid=given.stored.native_uuid) if given.stored.as_uuid else None


def document(given: Given) -> Any:
    return given.stored if is_json(given.shape.plain) else None


def is_json(annotation: Any) -> bool:
    """Return whether Python's `json` writes and reads all values of a type."""
    plain = shape_of(annotation).plain
    origin, parts = get_origin(plain), get_args(plain)
    if origin in (dict, Mapping):
        return shape_of(parts[0]).plain is str and is_json(parts[1])
    if origin in (list, Sequence, *UNIONS):
        return all(map(is_json, parts))
    return plain in IN_JSON or kind_of(plain) in ("member", "integer member")


def text(given: Given) -> Any:
    """Return a text type that both databases sort by code point."""
    if given.stored.collation is not None:
        return None
    if isinstance(given.stored, sa.Text):
        return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    return text_type(given.stored.length)


def address(given: Given) -> Any:
    longest, length = ADDRESS_LENGTHS[given.shape.plain], given.stored.length
    return given.derive() if length is None or length >= longest else None


def member_text(given: Given) -> Any:
    """Return the type for texts with set values, if it can store all of them as they are."""
    longest, length = max(map(len, given.shape.members)), given.stored.length
    is_text = not isinstance(given.shape.plain, type) or issubclass(given.shape.plain, str)
    return text(given) if is_text and (length is None or length >= longest) else None


def member(given: Given) -> Any:
    """Return the type for the members of an enum that SQLAlchemy's `Enum` stores as texts, which are often names."""
    stored, plain = given.stored, given.shape.plain
    if stored.native_enum:
        return stored  # it is refused at start, with those of other tables
    if stored.enum_class is not None and stored.enum_class is plain and len(stored.enums) == len(plain):
        return EnumColumn(plain, stored.length, tuple(stored.enums))
    if given.shape.kind != "member" or not set(given.shape.members).issubset(stored.enums):
        return None
    return EnumColumn(plain, stored.length) if isinstance(plain, type) else text_type(stored.length)


def moment(given: Given) -> Any:
    return None if getattr(given.stored, "precision", None) is not None else given.derive()


Rule = Callable[[Given], Any]
"""A function that returns the type in place of a given one; None if the field cannot have it."""
INTEGERS = (sa.SmallInteger, sa.SMALLINT, sa.Integer, sa.INTEGER, sa.BigInteger, sa.BIGINT)
TEXTS = (sa.String, sa.VARCHAR, sa.Unicode, AutoString, sa.Text, sa.TEXT, sa.UnicodeText)
MOMENTS = (sa.DateTime, sa.DATETIME, sa.TIMESTAMP, postgresql.TIMESTAMP, UTCDateTime)
SUITABLE: Mapping[str | None, Sequence[tuple[Sequence[type[Any]], Rule]]] = {
    "boolean": [((sa.Boolean, sa.BOOLEAN), kept)],
    "integer": [(INTEGERS, kept)],
    "integer member": [(INTEGERS, whole_numbers), ((sa.Enum,), member)],
    "number": [((sa.Float, sa.FLOAT, sa.Double, sa.DOUBLE, sa.DOUBLE_PRECISION), double)],
    "decimal": [((sa.Numeric, sa.NUMERIC, sa.DECIMAL), exact)],
    "text": [(TEXTS, text)],
    "email": [(TEXTS, text)],
    "url": [(TEXTS, derived)],
    "address": [(TEXTS, address)],
    "member": [(TEXTS, member_text), ((sa.Enum,), member)],
    "bytes": [((sa.LargeBinary,), kept), ((PickleType,), kept)],
    "date": [((sa.Date, sa.DATE), derived)],
    "datetime": [(MOMENTS, moment)],
    "time": [((sa.Time, sa.TIME), clock)],
    "duration": [((sa.Interval,), span)],
    "uuid": [((sa.Uuid, sa.UUID), unique_ids)],
    "json": [((sa.JSON,), document), ((PickleType,), kept)],
    None: [((sa.Enum,), member), ((sa.DateTime, PickleType), kept)],
}  # fmt: skip
"""By the kind of a field, the types that it may have, each with its rule."""
REMEDIES: Mapping[str | None, str] = {
    "text": "leave the type out, and write `max_length`",
    "number": "leave the type out, or annotate the field with `Decimal`",
    "datetime": "leave the type out, and the column stores UTC to the microsecond on both",
    None: "annotate the field with a type that JSON knows",
}
"""By the kind of a field, what to write instead; for other kinds, to leave the type out."""


def suitable_type(stored: Any, shape: Shape, derive: Callable[[], Any]) -> Any:
    """Return the type that stores the values of a field as `stored` says, but the same on both databases; or None.

    `derive` returns the type that the field would have without `stored`.
    """
    if not is_concerned(shape, stored):
        return stored
    rules = SUITABLE.get(shape.kind, ())
    rule = next((rule for types, rule in rules if type(stored) in types), None)
    return None if rule is None else rule(Given(stored, shape, derive))


def unsuitable(stored: Any, shape: Shape) -> str:
    """Return the message for a field and a column type that do not suit each other, without the name of the field."""
    shown = getattr(shape.plain, "__name__", None) or shape.plain
    return (
        f"has the column type {stored!r}, which does not store values of type {shown} in the same way on SQLite and on "
        f"PostgreSQL: {remedy(stored, shape)}, or write a `TypeDecorator`."
    )


def remedy(stored: Any, shape: Shape) -> str:
    if isinstance(stored, sa.Enum):
        return f"annotate the field with `Literal[{', '.join(map(repr, stored.enums))}]`, without the type"
    if isinstance(stored, sa.Uuid):
        return "annotate the field with `UUID`, without the type"
    return REMEDIES.get(shape.kind, "leave the type out")


def is_concerned(shape: Shape, stored: Any) -> bool:
    """Return whether a type is one of SQLAlchemy's for all databases, or one for moments, and without variants."""
    if shape.kind == "datetime" and isinstance(stored, sa.DateTime):
        return True
    return type(stored).__module__ in MODULES and not isinstance(stored, sa.ARRAY) and not has_variants(stored)


def has_variants(stored: Any) -> bool:
    """Return whether a type has variants for the databases. SQLAlchemy refuses a second variant for one of them."""
    try:
        stored.with_variant(NullType(), "sqlite").with_variant(NullType(), "postgresql")
    except ArgumentError:
        return True
    return False
