"""Texts of defaults: reads the value of a `server_default` that is written as PostgreSQL accepts it."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter

FLAGS = {
    "true": True, "t": True, "yes": True, "on": True, "1": True,
    "false": False, "f": False, "no": False, "off": False, "0": False,
}  # fmt: skip
UNIT = re.compile(r"([+-]?\d+(?:\.\d+)?) (week|day|hour|minute|second)s?")


def boolean(text: str) -> bool:
    """Read a boolean. Raises a ValueError."""
    if text.lower() not in FLAGS:
        raise ValueError(text)
    return FLAGS[text.lower()]


def moment(text: str) -> datetime:
    """Read a moment. Without an offset, it is in UTC. Raises a ValueError."""
    read = datetime.fromisoformat(text)
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def duration(text: str) -> timedelta:
    """Read a duration: `1 day 2 hours`, `1 day 02:00:00`, or ISO 8601 (`P1DT2H`). Raises a ValueError."""
    if UNIT.sub("", text).strip():
        return TypeAdapter(timedelta).validate_python(text)
    return sum((timedelta(**{f"{unit}s": float(number)}) for number, unit in UNIT.findall(text)), timedelta(0))


def in_bytes(text: str) -> bytes:
    """Read bytes: hexadecimal digits after `\\x`, or the text in UTF-8. Raises a ValueError."""
    return bytes.fromhex(text[2:]) if text.startswith("\\x") else text.encode()


READ: Mapping[str | None, Callable[[str], Any]] = defaultdict(lambda: str, {
    "boolean": boolean, "integer": int, "integer member": int, "number": float, "decimal": Decimal, "bytes": in_bytes,
    "date": date.fromisoformat, "time": time.fromisoformat, "datetime": moment, "duration": duration, "uuid": UUID,
    "json": json.loads,
})  # fmt: skip
"""By the kind of a field, the function that reads a value. It raises a ValueError or an ArithmeticError."""
EXAMPLES: Mapping[str | None, str] = defaultdict(lambda: "a value of the field", {
    "boolean": "'true' or 'false'", "integer": "'7'", "number": "'1.5'", "decimal": "'9.99'", "bytes": r"'\x6162'",
    "date": "'2026-01-31'", "time": "'10:00'", "datetime": "'2026-01-31 10:00:00+00'", "duration": "'1 day 02:00:00'",
    "uuid": "'0190163d-8694-739b-aea5-966c26f8ad91'", "json": """'{"a": 1}'""",
})  # fmt: skip
"""By the kind of a field, a default as an error message shows it."""
