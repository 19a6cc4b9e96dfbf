"""Owner fields: fields of request bodies with the id of a row's owner, by default the id of the principal."""

from typing import Annotated

import pydantic
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.json_forms import JSONForm
from kit.models.types import MAX_ID


class Absent:
    """The default of an `Owner` field that a body leaves out. Validation replaces it by the id of the principal."""


def principal_if_absent(value: object) -> object:
    if not isinstance(value, Absent):
        return value
    principal = CURRENT_PRINCIPAL.get()
    if principal.id is None:
        raise PydanticCustomError("missing", "Field required")
    return principal.id


Owner = Annotated[
    int,
    pydantic.Field(ge=1, le=MAX_ID, validate_default=True),
    JSONForm("integer"),
    BeforeValidator(principal_if_absent),
]
"""The type of the id of a row's owner, 1 to `MAX_ID`. With `default_factory=Absent` the principal is the default."""
