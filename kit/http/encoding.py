"""JSON encoding of responses: times in UTC with a Z (RFC 3339), decimals and UUIDs as strings."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import orjson


def as_text(value: object) -> str:
    """A decimal or UUID as text, for values that orjson cannot encode. Raises a TypeError for other types."""
    if isinstance(value, Decimal | UUID):  # asyncpg's UUIDs are a subclass, which orjson does not encode
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be encoded as JSON")


to_json: Callable[[Any], bytes] = partial(orjson.dumps, default=as_text, option=orjson.OPT_UTC_Z)
