"""Numbers of JSON documents with a fraction or an exponent, which Python's parser rounds to floats of 64 bits."""

from decimal import Decimal
from math import isinf
from typing import LiteralString

OUT_OF_RANGE: LiteralString = "Input should be in the range of floats of 64 bits: 0, or from 5e-324 to 1.79e308 in size"
FLOAT_DIGITS = 15
"""The number of digits that a float keeps."""
MAX_EXACT = 2**53
"""A float below it has all digits of an integer."""


class NumberRangeError(ValueError):
    """Raised for a number that is too large for a float, or that is not 0 but too small to differ from it."""

    def __init__(self) -> None:
        super().__init__(OUT_OF_RANGE)


class WrittenNumber(float):
    """A float of which another decimal or integer may have been written, for example with more digits than it keeps.

    Its `str`, from which pydantic makes decimals, is the number as it was written. `is_integer` and `int` take it too.
    """

    __slots__ = ("text",)
    text: str

    def __str__(self) -> str:
        return self.text

    def __int__(self) -> int:
        return int(Decimal(self.text))

    def is_integer(self) -> bool:
        exact = Decimal(self.text)
        return exact == int(exact)


def bounded_float(text: str) -> float:
    """Return the float that is nearest to a number of JSON. Raises a `NumberRangeError`."""
    number = float(text)
    if isinf(number) or (number == 0 and is_other_than_zero(text)):
        raise NumberRangeError
    return number


def is_other_than_zero(text: str) -> bool:
    return bool(text.lower().partition("e")[0].strip("-+.0"))


def written_number(text: str) -> float:
    """Return a float if it keeps the number, otherwise a `WrittenNumber`. Raises a `NumberRangeError`."""
    number = bounded_float(text)
    is_kept = len(text) <= FLOAT_DIGITS and "e" not in text.lower()
    if is_kept or (repr(number) == text and abs(number) < MAX_EXACT):
        return number
    written = WrittenNumber(number)
    written.text = text
    return written
