"""Encoding: JSON with times in UTC with a Z (RFC 3339), decimals and UUIDs as strings; text in the form NFC."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any
from unicodedata import normalize
from uuid import UUID

import orjson


def composed(text: str) -> str:
    """Return the text in Unicode's form NFC, in which the service keeps all text (RFC 5198)."""
    return text if text.isascii() else normalize("NFC", text)


def as_text(value: object) -> str:
    """Return a decimal or UUID as text, for values that orjson cannot encode. Raises a TypeError for other types."""
    if isinstance(value, Decimal):
        return format(value, "f")  # without an exponent
    if isinstance(value, UUID):  # asyncpg's UUIDs are a subclass, which orjson does not encode
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be encoded as JSON")


to_json: Callable[[Any], bytes] = partial(orjson.dumps, default=as_text, option=orjson.OPT_UTC_Z)
