"""The types of fields: what a person would write for each, and which values it has as examples and defaults."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal


@dataclass(frozen=True)
class Kind:
    """`annotation` and `bounds` are source. So are `examples`, where `{0}` is the name of the field, and `check`.

    `default` reads a default from the command line, and answers its source; None: there can be none.
    """

    annotation: str
    bounds: str = ""
    examples: tuple[str, ...] = ()
    check: str = ""
    default: Callable[[str], str] | None = None
    is_listed: bool = True
    is_sorted: bool = True
    is_searched: bool = False


def text(value: str) -> str:
    return repr(value)


def truth(value: str) -> str:
    return {"true": "True", "false": "False"}[value.lower()]


def integer(value: str) -> str:
    return repr(int(value))


def number(value: str) -> str:
    return repr(float(value))


def decimal(value: str) -> str:
    return f'Decimal("{Decimal(value)}")' if Decimal(value).is_finite() else truth(value)


def day(value: str) -> str:
    chosen = date.fromisoformat(value)
    return f"date({chosen.year}, {chosen.month}, {chosen.day})"


NUMBERED = ('"{0} 1"', '"{0} 2"', '"{0} 3"')
KINDS = {
    "str": Kind("Name", "max_length=100", NUMBERED, "length({0}) BETWEEN 1 AND 100", text, is_searched=True),
    "text": Kind(
        "Text",
        "max_length=5000",
        ('"A few words."',),
        "length({0}) <= 5000",
        text,
        is_listed=False,
        is_sorted=False,
        is_searched=True,
    ),
    "int": Kind("Whole", "ge=0, le=1_000_000_000", ("1", "2", "3"), "{0} BETWEEN 0 AND 1000000000", integer),
    "float": Kind("float", "", ("1.5", "2.5", "3.5"), "", number),
    "bool": Kind("StrictBool", "", ("True",), "", truth, is_sorted=False),
    "date": Kind("date", "", ('"2026-01-31"', '"2026-02-28"', '"2026-03-31"'), "", day),
    "time": Kind("time", "", ('"09:30:00"', '"10:30:00"', '"11:30:00"')),
    "datetime": Kind(
        "datetime", "", ('"2026-01-31T09:30:00Z"', '"2026-02-28T09:30:00Z"', '"2026-03-31T09:30:00Z"'), ""
    ),
    "money": Kind("Money", "sa_type=MoneyColumn", ('"9.99"', '"19.99"', '"29.99"'), "{0} >= 0", decimal),
    "decimal": Kind("Decimal", "max_digits=12, decimal_places=4", ('"1.5"', '"2.5"', '"3.5"'), "", decimal),
    "uuid": Kind(
        "UUID",
        "",
        (
            '"019b0000-0000-7000-8000-000000000001"',
            '"019b0000-0000-7000-8000-000000000002"',
            '"019b0000-0000-7000-8000-000000000003"',
        ),
    ),
    "email": Kind(
        "Email",
        "max_length=254",
        ('"ann@example.com"', '"bob@example.com"', '"eve@example.com"'),
        "length({0}) BETWEEN 3 AND 254",
        text,
        is_searched=True,
    ),
    "url": Kind(
        "AnyHttpUrl",
        "max_length=2000",
        ('"https://example.com/1"', '"https://example.com/2"', '"https://example.com/3"'),
    ),
    "json": Kind("dict[str, Any]", "", ('{"key": "value"}',), is_listed=False, is_sorted=False),
}
