"""JSON encoding: times in UTC with a Z, decimals and UUIDs as text."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import orjson


def as_text(value: object) -> str:
    if isinstance(value, Decimal | UUID):  # the driver's UUIDs are not Python's own
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


to_json: Callable[[Any], bytes] = partial(orjson.dumps, default=as_text, option=orjson.OPT_UTC_Z)
