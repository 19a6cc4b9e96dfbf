"""Field types with validation: text, names, e-mail addresses, ids, money, and others, for bodies and tables."""

from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pydantic
import uuid_utils.compat
from annotated_types import MinLen
from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from kit.models.columns import BIGINT as BIGINT
from kit.models.columns import MAX_ID as MAX_ID
from kit.models.columns import MoneyColumn as MoneyColumn
from kit.models.json_forms import DecimalForm, JSONForm, bounded, chain
from kit.models.json_values import storable as storable

DIGITS = "^[0-9]+$"


class PlainNumber:
    """The annotation of an integer id in a path: decimal digits, from 1 to `MAX_ID`.

    It is validated in pydantic-core, without a call of Python code.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        digits = core_schema.union_schema([core_schema.int_schema(strict=True), core_schema.str_schema(pattern=DIGITS)])
        written = core_schema.custom_error_schema(digits, "int_parsing")
        return chain([written, core_schema.int_schema(ge=1, le=MAX_ID)], 1, None)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return bounded(schema, handler)[0]


def deliverable(address: str) -> str:
    try:
        validate_email(address, check_deliverability=False, allow_smtputf8=False, test_environment=True, strict=True)
        address.encode("ascii")
    except (EmailNotValidError, UnicodeEncodeError):
        raise PydanticCustomError("email", "Input should be an e-mail address") from None
    return address


def other_than(field: str) -> AfterValidator:
    """Return a validator that refuses a value equal to that of another field, which must be declared before."""

    def differ(value: object, info: ValidationInfo) -> object:
        if value == info.data.get(field):
            raise PydanticCustomError("not_another", "Input should be another than {field}", {"field": field})
        return value

    return AfterValidator(differ)


def schema(**extra: Any) -> Any:
    return pydantic.Field(json_schema_extra=extra)


Text = Annotated[str, JSONForm("text")]
"""Text without NUL and lone surrogates. Without `max_length` in `Field`, it has at most 10,000 characters."""
Name = Annotated[str, MinLen(1), JSONForm("name")]
"""Text with at least one visible character."""
Username = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9._-]+$"), JSONForm("text")]
"""A login name of ASCII letters, digits, `.`, `_` and `-`, whose case both databases convert in the same way."""
Slug = Annotated[str, pydantic.Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$"), MinLen(1), JSONForm("text")]
"""Lower-case ASCII words with hyphens between them, for URLs."""
Sku = Annotated[str, pydantic.Field(pattern=r"^[A-Z0-9]+(-[A-Z0-9]+)*$"), MinLen(1), JSONForm("text")]
"""A stock keeping unit: groups of upper-case ASCII letters and digits, with hyphens between them."""
Email = Annotated[str, MinLen(3), JSONForm("text"), AfterValidator(deliverable), schema(format="email")]
"""An ASCII e-mail address of valid syntax (RFC 5321), in the case that was sent. The domain is not looked up."""
JSONInteger = Annotated[int, JSONForm("integer")]
"""An integer in JSON: 5 and 5.0, but not "5", true or 5.5. In bodies and tables, a plain `int` is the same."""
Reference = Annotated[int, pydantic.Field(ge=1, le=MAX_ID), JSONForm("integer")]
"""The integer id of another row, in a body: 1 to `MAX_ID`."""
Id = Annotated[int, PlainNumber()]
"""An integer id in a path: 1 to `MAX_ID`."""
Money = Annotated[
    Decimal,
    pydantic.Field(ge=0, max_digits=10, decimal_places=2),
    DecimalForm("decimal", whole=8, places=2, is_fixed=True),
]
"""An amount from 0 to 99,999,999.99 with two decimal places: a string in responses, a string or number in bodies."""


def new_uuid() -> UUID:
    """Return a new UUID, version 7 (RFC 9562): UUIDs sort by the time of their creation."""
    return uuid_utils.compat.uuid7()
