"""JSON encoding: times in UTC with a Z, decimals and UUIDs as text."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson


def to_json(value: Any) -> bytes:
    return orjson.dumps(value, default=as_text, option=orjson.OPT_UTC_Z)


def as_text(value: object) -> str:
    if isinstance(value, Decimal | UUID):  # the driver's UUIDs are not Python's own
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
