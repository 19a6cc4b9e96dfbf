"""Example values: generates texts, numbers, dates and times that a JSON Schema allows."""

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from math import ceil, floor
from typing import Any

from pydantic import TypeAdapter

from kit.models.json_forms import FORMATS
from kit.models.json_values import CLOCK, DURATION, limit_text
from kit.openapi.references import Json

NONE: Any = object()
"""The result if no valid value was found for a schema. None would be a valid value."""
WORDS = (
    "text", "Text", "TEXT-1", "text-1", "1", "2026-01-31", "a", "A", "ab", "AB", "ABC", "abc", "en-US", "EUR", "DE-1",
    "#1a2b3c", "+4915112345678", "12", "123", "1234", "12345", "1234567890", "1234567890123", "1.0.0", "a_b", "a.b",
)  # fmt: skip
"""The candidates for a text, which are tried in this order."""
FORMATTED: Mapping[str, str] = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "uuid": "01a1fdf0-1527-72cc-b92d-ba16a2649900",
    "email": "natasha@example.com",
    "uri": "https://example.com/",
    "password": "correct horse battery",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "ipv4network": "192.0.2.0/24",
    "ipv6network": "2001:db8::/32",
}
SHORT: Mapping[str, str] = {"email": "n@b.de", "uri": "http://b.de/"}
MOMENTS: Mapping[str, tuple[Any, str]] = {
    "date": (TypeAdapter(date), "2026-01-31"), "date-time": (TypeAdapter(datetime), "2026-01-31T12:00:00Z"),
    f"^{CLOCK}$": (TypeAdapter(time), "12:00:00"), f"^{DURATION}$": (TypeAdapter(timedelta), "PT1H"),
}  # fmt: skip
"""The type and a value of dates and times, by format or pattern."""
LOW, HIGH, ABOVE, BELOW = (FORMATS[name] for name in ("ge", "le", "gt", "lt"))


def text(schema: Json) -> Any:
    """Return a text that a schema allows; `NONE` if none was found."""
    for key in (schema.get("format", ""), schema.get("pattern", "")):
        if key in MOMENTS:
            return moment(schema, *MOMENTS[key])
    low, high = schema.get("minLength", 0), schema.get("maxLength", 100)
    fitting = (word for word in words(schema, low) if low <= len(word) <= high and matches(schema, word))
    return next(fitting, NONE)


def words(schema: Json, length: int) -> Iterator[str]:
    """Yield candidates for a text of a schema, one of them with `length` characters."""
    form = schema.get("format")
    if form == "email":
        yield from (FORMATTED[form], SHORT[form], f"{'n' * (length - 12)}@example.com")
    elif form == "uri":
        yield from (FORMATTED[form], SHORT[form], FORMATTED[form] + "a" * (length - 20))
    elif form is not None:
        yield from [FORMATTED[form]] if form in FORMATTED else []
    else:
        yield from (*WORDS, ("text" * length)[:length])


def matches(schema: Json, word: str) -> bool:
    patterns = [part["pattern"] for part in (schema, *schema.get("allOf", ())) if "pattern" in part]
    try:
        return all(re.search(pattern, word) is not None for pattern in patterns)
    except re.error:  # a regular expression that only JavaScript knows
        return False


def moment(schema: Json, kind: TypeAdapter[Any], usual: str) -> str:
    """Return a date, time or duration within the bounds of a schema: `usual`, a bound, or the next value to a bound."""
    limits = {name: kind.validate_python(schema[name]) for name in FORMATS.values() if name in schema}
    known = kind.validate_python(usual)
    near = [limits[name] for name in (LOW, HIGH) if name in limits]
    near += [shifted(limits[name], sign) for name, sign in ((ABOVE, 1), (BELOW, -1)) if name in limits]
    return next((usual if at is known else limit_text(at) for at in (known, *near) if is_within(at, limits)), usual)


def shifted(at: Any, sign: int) -> Any:
    """Return the next day, or a time one second later; with the sign -1, the previous day, or one second earlier."""
    if isinstance(at, time):
        return (datetime.combine(date(2026, 1, 31), at) + sign * timedelta(seconds=1)).time()
    return at + sign * (timedelta(days=1) if type(at) is date else timedelta(seconds=1))


def is_within(at: Any, limits: Mapping[str, Any]) -> bool:
    return (
        limits.get(LOW, at) <= at <= limits.get(HIGH, at)
        and (ABOVE not in limits or at > limits[ABOVE])
        and (BELOW not in limits or at < limits[BELOW])
    )


def number(schema: Json) -> Any:
    """Return a number that a schema allows: 1, or a number near its bounds; `NONE` if none was found."""
    names = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf")
    minimum, above, maximum, below, step = (Fraction(str(schema[name])) if name in schema else None for name in names)
    low, high = minimum if above is None else above, maximum if below is None else below
    step = step or Fraction(1)
    tried: list[Any] = [Fraction(1), step]
    tried += [value for at in (low, high) if at is not None for value in (at, at + step, at - step)]
    tried += [step * whole(at / step) for at in (low, high) if at is not None for whole in (ceil, floor)]
    tried += [step * (ceil(low / step) + 1)] if low is not None else []
    tried += [(low + high) / 2] if low is not None and high is not None else [Fraction(0)]
    is_whole = schema["type"] == "integer"
    for value in tried:
        fits = (minimum is None or value >= minimum) and (maximum is None or value <= maximum)
        fits = fits and (above is None or value > above) and (below is None or value < below)
        if fits and ("multipleOf" not in schema or value % step == 0) and not (is_whole and value.denominator != 1):
            return int(value) if value.denominator == 1 else float(value)
    return NONE
