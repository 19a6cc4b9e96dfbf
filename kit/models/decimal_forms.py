"""The forms in which SQLite stores decimals, and a function of SQL that calculates with them exactly.

A form has a number of decimal places. With `digits` 0 its values are numbers in units of the last place: integers, or
floats for a result with a fraction of a unit. Otherwise they are texts of `digits` + 1 digits, which are sorted like
the numbers; further digits are the fraction of a unit. Plain numbers are in the form without places.
"""

from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal
from functools import cache
from typing import Any, NamedTuple

from kit.models.decimals import EXACT

MAX_UNITS = 2**63 - 1
"""The largest integer of SQLite."""


class Form(NamedTuple):
    """The number of digits of a text, or 0 for a number, and the number of decimal places."""

    digits: int = 0
    places: int = 0

    def __str__(self) -> str:
        return f"{self.digits}.{self.places}"


def exact(value: Any) -> Decimal:
    """Return a number or text as a decimal. A float has the digits that Python shows, not those of its binary form."""
    return value if isinstance(value, Decimal) else Decimal(str(value))


def rounded(value: Decimal, places: int) -> Decimal:
    """Return a number with at most `places` decimal places, rounded half away from zero as PostgreSQL does."""
    return shortened(value, places, ROUND_HALF_UP)


def shortened(value: Decimal, places: int, rounding: str) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-places, EXACT), rounding, EXACT)


def decode(value: Any, form: Form) -> Decimal:
    """Return the number that a value of SQLite means in a form."""
    if form.digits:
        length = form.digits + 1
        whole = Decimal(int(value[:length]) - 10**form.digits)
        units = whole if len(value) == length else EXACT.add(whole, Decimal(f"0.{value[length:]}"))
        return units.scaleb(-form.places, EXACT)
    number = Decimal(format(value, ".15g")) if isinstance(value, float) else Decimal(value)
    return number.scaleb(-form.places, EXACT)


def encode(value: Decimal, form: Form) -> int | float | str:
    """Return the value of SQLite for a number in a form. Raises an OverflowError if a text has too few digits."""
    units = value.scaleb(form.places, EXACT)
    if not form.digits:
        is_whole = units == units.to_integral_value(ROUND_FLOOR, EXACT) and abs(units) <= MAX_UNITS
        return int(units) if is_whole else float(units)
    text = compared(value, form)
    if len(text) <= form.digits:
        raise OverflowError(f"A decimal has more than {form.digits - form.places} digits before the point.")
    return text


def compared(value: Decimal, form: Form) -> str:
    """Return the text that is sorted like the number among those of a form. The number may have too many digits."""
    moved = EXACT.add(value.scaleb(form.places, EXACT), Decimal(10**form.digits))
    if moved < 0:
        return ""
    if moved >= 2 * 10**form.digits:
        return "2"
    whole, _, fraction = format(moved, "f").partition(".")
    return whole.zfill(form.digits + 1) + fraction.rstrip("0")


DIVISION = Context(prec=100, Emax=EXACT.Emax, Emin=EXACT.Emin)


def quotient(dividend: Decimal, divisor: Decimal) -> Decimal | None:
    """Return the quotient; None if the divisor is 0, as SQLite does."""
    return DIVISION.divide(dividend, divisor) if divisor else None


OPERATIONS: Mapping[str, Callable[..., Decimal | None]] = {
    "value": lambda value: value,
    "add": EXACT.add,
    "sub": EXACT.subtract,
    "mul": EXACT.multiply,
    "truediv": quotient,
    "floordiv": lambda value, other: shortened(value / other, 0, ROUND_FLOOR) if other else None,
    "mod": lambda value, other: EXACT.remainder(value, other) if other else None,
    "neg": EXACT.minus,
    "abs": EXACT.abs,
    "sign": lambda value: Decimal((value > 0) - (value < 0)),
    "round": lambda value, places=Decimal(0): rounded(value, int(places)),
    "trunc": lambda value, places=Decimal(0): shortened(value, int(places), ROUND_DOWN),
    "floor": lambda value: shortened(value, 0, ROUND_FLOOR),
    "ceil": lambda value: shortened(value, 0, ROUND_CEILING),
}
"""What `decimal_of` calculates, by the name of the operation."""


@cache
def form_named(text: str) -> Form:
    digits, places = text.split(".")
    return Form(int(digits), int(places))


def decimal_of(operation: str, form: str, *operands: Any) -> int | float | str | None:
    """Calculate with decimals in SQL: the result in `form`; NULL if an operand is NULL.

    The operands are pairs of a value and its form. `sum` and `avg` have one operand, the result of `group_concat`;
    `text` returns the digits, at least as many after the point as the form has places.
    """
    result_form = form_named(form)
    if operation in ("sum", "avg"):
        return total_of(operation, result_form, operands[0], form_named(operands[1]))
    if None in operands:
        return None
    values = [decode(value, form_named(name)) for value, name in zip(operands[::2], operands[1::2], strict=True)]
    if operation in FORMS:
        return FORMS[operation](values[0], result_form)
    result = OPERATIONS[operation](*values)
    return None if result is None else encode(result, result_form)


def total_of(operation: str, form: Form, texts: str | None, text_form: Form) -> int | float | str | None:
    if texts is None:
        return None
    values = [decode(text, text_form) for text in texts.split(",")]
    total = Decimal(0)
    for value in values:
        total = EXACT.add(total, value)
    return encode(total if operation == "sum" else DIVISION.divide(total, Decimal(len(values))), form)


def stored(value: Decimal, form: Form) -> int | float | str:
    """Return the value that a column stores: rounded to its places. Raises an OverflowError for too many digits."""
    result = encode(rounded(value, form.places), form)
    if isinstance(result, float):
        raise OverflowError("A decimal has too many digits.")
    return result


def shown(value: Decimal, form: Form) -> str:
    """Return the digits of a number, at least as many after the point as the form has places."""
    reduced = value.normalize(EXACT)
    places = max(-int(reduced.as_tuple().exponent), form.places)
    return format(rounded(reduced, places), "f")


FORMS: Mapping[str, Callable[[Decimal, Form], int | float | str]] = {
    "stored": stored, "text": shown, "compared": compared,
}  # fmt: skip
"""What `decimal_of` makes of a number, by the name of the operation."""
