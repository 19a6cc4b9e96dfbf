"""Encoding: JSON with times in UTC with a Z, decimals and UUIDs as text; and text in its composed form (NFC)."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any
from unicodedata import normalize
from uuid import UUID

import orjson


def composed(text: str) -> str:
    """The text in Unicode's form NFC, in which the service keeps all text (RFC 5198)."""
    return text if text.isascii() else normalize("NFC", text)


def as_text(value: object) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")  # without an exponent
    if isinstance(value, UUID):  # the driver's UUIDs are not Python's own
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


to_json: Callable[[Any], bytes] = partial(orjson.dumps, default=as_text, option=orjson.OPT_UTC_Z)
