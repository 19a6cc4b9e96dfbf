"""Decimals: exact at any precision, and written in one way for each value."""

from decimal import Context, Decimal

EXACT = Context(prec=10_000, Emax=999_999, Emin=-999_999)
"""A context in which nothing is rounded."""


def plain_decimal(number: Decimal, places: int, *, is_fixed: bool) -> Decimal:
    """The same number with so many decimal places; without `is_fixed`, with no more than it needs, and no exponent."""
    if is_fixed:
        return EXACT.plus(number.quantize(Decimal(1).scaleb(-places), context=EXACT))
    reduced = EXACT.plus(number.normalize(EXACT))  # 0 has no sign
    exponent = reduced.as_tuple().exponent
    return reduced.quantize(Decimal(1), context=EXACT) if isinstance(exponent, int) and exponent > 0 else reduced
