"""JSON values: regular expressions of their text forms, and functions that parse, format and check single values."""

import math
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

from pydantic_core import PydanticCustomError

from kit.http.numbers import WrittenNumber

DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
CLOCK = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?"
MOMENT = DATE + r"[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
SECONDS = r"[0-9]+(\.[0-9]{1,9})?S"
DURATION = f"-?P([0-9]+W|[0-9]+D|([0-9]+D)?T([0-9]+H([0-9]+M)?({SECONDS})?|[0-9]+M({SECONDS})?|{SECONDS}))"
NUMBER = r"-?[0-9]+(\.[0-9]+)?"
BASE64 = r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
STORABLE = r"^[^\x00]*$"
NOT_BLANK = r"[^\s\x1c-\x1f]"
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
UNSTORABLE_TEXT: LiteralString = "Text may not contain NUL or a lone surrogate"
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1
MAX_DEPTH = 64
"""The maximum nesting depth of a JSON value, below the limits of the serializers and databases."""
LONGEST_DURATION = timedelta(microseconds=2**63 - 1)


def whole_number(value: object) -> int:
    """Return the integer that a float is. Raises pydantic's error for other values."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise PydanticCustomError("int_type", "Input should be a valid integer")


def in_utc(moment: datetime) -> datetime:
    """Return a time in UTC. The years 1 and 9999 are errors, as the conversion may leave Python's range."""
    if not 1 < moment.year < 9999:
        raise PydanticCustomError("datetime_range", "The year should be between 2 and 9998")
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


def storable_duration(duration: timedelta) -> timedelta:
    if abs(duration) > LONGEST_DURATION:
        raise PydanticCustomError("time_delta_range", "The duration should be at most 106751991 days")
    return duration


def without_zone(address: object) -> object:
    """Return an IP address or network. Raises an error if it has a zone (RFC 4007): it is valid on one host only."""
    if "%" in str(address):
        raise PydanticCustomError("ip_zone", "Input should be an IP address without a zone")
    return address


def decoded(value: object) -> object:
    """Return the bytes of text in base64 (RFC 4648, section 4), and other values unchanged. Raises pydantic's error."""
    if not isinstance(value, str):
        return value
    try:
        data = b64decode(value, validate=True)
    except ValueError:
        data = None
    if data is None or b64encode(data).decode() != value:
        raise PydanticCustomError("bytes_invalid_encoding", "Input should be base64")
    return data


def as_duration(duration: timedelta) -> str:
    """Return a duration in ISO 8601, such as `P1DT2H`, without years and months, whose lengths vary."""
    micros = duration // timedelta(microseconds=1)
    sign, micros = ("-" if micros < 0 else ""), abs(micros)
    seconds, fraction = divmod(micros, 1_000_000)
    (days, seconds), digits = divmod(seconds, 86_400), f".{fraction:06}" if fraction else ""
    hours, minutes, seconds = seconds // 3600, seconds // 60 % 60, seconds % 60
    parts = [f"{hours}H" if hours else "", f"{minutes}M" if minutes else ""]
    parts.append(f"{seconds}{digits}S" if seconds or digits else "")
    clock = "".join(parts)
    return f"{sign}P{f'{days}D' if days else ''}{f'T{clock}' if clock else ''}" if days or clock else "PT0S"


def as_base64(data: bytes) -> str:
    return b64encode(data).decode()


def storable(text: str) -> str:
    """Return the text. Raises pydantic's error for text that PostgreSQL cannot store: NUL or a lone surrogate."""
    if UNSTORABLE.search(text):
        raise PydanticCustomError("string_unstorable", UNSTORABLE_TEXT)
    return text


def storable_json(value: Any) -> Any:
    """Return a JSON value. Raises pydantic's error if JSON cannot represent it, or a database cannot store it."""
    refuse_unstorable(value)
    return with_plain_floats(value)


def with_plain_floats(value: Any) -> Any:
    """Return a JSON value in which each `WrittenNumber` is a usual float, which all encoders of JSON know."""
    if type(value) is dict:
        return {name: with_plain_floats(part) for name, part in value.items()}
    if type(value) is list:
        return [with_plain_floats(part) for part in value]
    return float(value) if type(value) is WrittenNumber else value


def refuse_unstorable(value: Any, depth: int = 0) -> None:
    """Raise pydantic's error for a value that JSON cannot represent, or that a database cannot store."""
    if depth > MAX_DEPTH:
        raise PydanticCustomError("json_depth", "Input should be nested at most {depth} deep", {"depth": MAX_DEPTH})
    for part in parts_of(value):
        refuse_unstorable(part, depth + 1)
    if isinstance(value, str):
        storable(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError("finite_number", "Input should be a finite number")
    elif isinstance(value, int) and not MIN_INTEGER <= value <= MAX_INTEGER:
        raise PydanticCustomError("json_integer", "Integers should fit into 64 bits")


def parts_of(value: Any) -> Iterable[Any]:
    """Return the keys and values of an object, or the elements of an array."""
    if isinstance(value, dict):
        return (*value, *value.values())
    return value if isinstance(value, list | tuple) else ()


def as_decimal(number: Decimal) -> str:
    """Return a decimal as text without an exponent."""
    return format(number, "f")


def plain_zero(number: float) -> float:
    """Return 0.0 for -0.0, whose sign SQLite does not store, and other numbers unchanged."""
    return number + 0.0


def limit_text(limit: Any) -> str:
    """Return the JSON form of a date, time or duration, for a bound in a JSON Schema."""
    if isinstance(limit, timedelta):
        return as_duration(limit)
    if isinstance(limit, datetime):
        return limit.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(limit.isoformat())
