"""Field types: they refuse values that no column can store, or that no client could use."""

import re
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pydantic
import uuid_utils.compat
from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, Strict, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from sqlalchemy import BigInteger, Dialect, Integer, Numeric
from sqlalchemy.types import TypeDecorator, TypeEngine

BIGINT = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by INTEGER only
MAX_ID = 2**63 - 1
DIGITS = "^[0-9]+$"
UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> str:
    """Refuse what PostgreSQL cannot store: NUL, and a surrogate without its partner."""
    if UNSTORABLE.search(text):
        raise PydanticCustomError("string_unstorable", "Text may not contain NUL or a lone surrogate")
    return text


def not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("string_blank", "Text may not be blank")
    return text


class PlainNumber:
    """The annotation of an id in a path: a plain decimal number, without sign, point, blank or underscore.

    It is validated without a call of Python.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        digits = core_schema.union_schema([core_schema.int_schema(strict=True), core_schema.str_schema(pattern=DIGITS)])
        written = core_schema.custom_error_schema(digits, "int_parsing")
        return core_schema.chain_schema([written, core_schema.int_schema(ge=1, le=MAX_ID)])

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "integer", "minimum": 1, "maximum": MAX_ID}


def deliverable(address: str) -> str:
    try:
        validate_email(address, check_deliverability=False, allow_smtputf8=False, test_environment=True, strict=True)
        address.encode("ascii")
    except (EmailNotValidError, UnicodeEncodeError):
        raise PydanticCustomError("email", "Input should be an e-mail address") from None
    return address


def other_than(field: str) -> AfterValidator:
    """Refuse the value that another field, declared before this one, has."""

    def differ(value: object, info: ValidationInfo) -> object:
        if value == info.data.get(field):
            raise PydanticCustomError("not_another", "Input should be another than {field}", {"field": field})
        return value

    return AfterValidator(differ)


def schema(**extra: Any) -> Any:
    return pydantic.Field(json_schema_extra=extra)


Text = Annotated[str, AfterValidator(storable), schema(pattern=r"^[^\u0000]*$")]
"""Text of a field; give its `max_length` in `Field`."""
Name = Annotated[
    str, AfterValidator(storable), AfterValidator(not_blank), schema(pattern=r"^[^\u0000]*[^\u0000\s][^\u0000]*$")
]
"""Text that names something: not blank."""
Username = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9._-]+$")]
"""A name to sign in with: ASCII, so that its case is the same everywhere."""
Slug = Annotated[str, pydantic.Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
"""Lower-case words and hyphens, for addresses."""
Sku = Annotated[str, pydantic.Field(pattern=r"^[A-Z0-9]+(-[A-Z0-9]+)*$")]
"""Upper-case letters, digits and hyphens."""
Email = Annotated[str, AfterValidator(deliverable), schema(format="email")]
"""An e-mail address by its form (RFC 5321), in ASCII; nothing is looked up, and it is kept as typed."""
Whole = Annotated[int, Strict()]
"""An integer as JSON has it: neither "5", nor true, nor 5.0."""
Reference = Annotated[int, Strict(), pydantic.Field(ge=1, le=MAX_ID)]
"""The id of another thing, in a body."""
Id = Annotated[int, PlainNumber()]
"""An id in a path."""

CENT = Decimal("0.01")
AMOUNT = re.compile(r"[0-9]{1,8}(\.[0-9]{1,2})?")
DECIMAL = {"type": "string", "format": "decimal", "pattern": f"^{AMOUNT.pattern}$"}
"""The JSON schema of money as it is answered."""


def plain_amount(value: object) -> object:
    """Money is written plainly: no sign, blank, exponent or underscore, and no true for 1."""
    if isinstance(value, str) and not AMOUNT.fullmatch(value):
        raise PydanticCustomError("decimal_parsing", "Input should be an amount such as 9.99")
    if isinstance(value, bool):
        raise PydanticCustomError("decimal_type", "Input should be a number or a string")
    return value


Money = Annotated[
    Decimal,
    BeforeValidator(plain_amount),
    pydantic.Field(ge=0, max_digits=10, decimal_places=2),
    AfterValidator(lambda amount: abs(amount).quantize(CENT)),
    pydantic.WithJsonSchema({"anyOf": [DECIMAL, {"type": "number"}]}, mode="validation"),
    pydantic.WithJsonSchema(DECIMAL, mode="serialization"),
]
"""0 to 99,999,999.99, to the cent; a decimal string in answers, a string or a number in bodies."""


class MoneyColumn(TypeDecorator[Decimal]):
    """NUMERIC(10, 2); SQLite has no decimals, so there it is a number of cents."""

    impl = Numeric(10, 2)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(BigInteger() if dialect.name == "sqlite" else Numeric(10, 2))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        return int(value / CENT) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Decimal | int | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value) * CENT if dialect.name == "sqlite" else Decimal(value)


def new_uuid() -> UUID:
    """Version 7: they sort by the time of their making."""
    return uuid_utils.compat.uuid7()
