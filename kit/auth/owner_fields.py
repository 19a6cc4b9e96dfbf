"""Owner fields: the id of the owner of a row in a body, by default that of the principal."""

from typing import Annotated

import pydantic
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.json_forms import JSONForm
from kit.models.types import MAX_ID


class Absent:
    """The default of a missing `Owner` field, which validation replaces by the principal."""


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
"""The id of the owner of a row. With `default_factory=Absent` the principal is the default."""
