"""Field types: they refuse values that no column can store, or that no client could use."""

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
from kit.models.forms import DecimalForm, Form
from kit.models.forms import storable as storable

DIGITS = "^[0-9]+$"


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


Text = Annotated[str, Form("text")]
"""Text of a field; give its `max_length` in `Field`."""
Name = Annotated[str, MinLen(1), Form("name")]
"""Text that names something: not blank."""
Username = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9._-]+$"), Form("text")]
"""A name to sign in with: ASCII, so that its case is the same everywhere."""
Slug = Annotated[str, pydantic.Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$"), MinLen(1), Form("text")]
"""Lower-case words and hyphens, for addresses."""
Sku = Annotated[str, pydantic.Field(pattern=r"^[A-Z0-9]+(-[A-Z0-9]+)*$"), MinLen(1), Form("text")]
"""Upper-case letters, digits and hyphens."""
Email = Annotated[str, MinLen(3), Form("text"), AfterValidator(deliverable), schema(format="email")]
"""An e-mail address by its form (RFC 5321), in ASCII; nothing is looked up, and it is kept as typed."""
Whole = Annotated[int, Form("integer")]
"""An integer as JSON has it: neither "5", nor true, nor 5.5. A plain `int` is the same in bodies and tables."""
Reference = Annotated[int, pydantic.Field(ge=1, le=MAX_ID), Form("integer")]
"""The id of another thing, in a body."""
Id = Annotated[int, PlainNumber()]
"""An id in a path."""
Money = Annotated[
    Decimal,
    pydantic.Field(ge=0, max_digits=10, decimal_places=2),
    DecimalForm("decimal", whole=8, places=2, is_fixed=True),
]
"""0 to 99,999,999.99, to the cent; a decimal string in answers, a string or a number in bodies."""


def new_uuid() -> UUID:
    """Version 7: they sort by the time of their making."""
    return uuid_utils.compat.uuid7()
