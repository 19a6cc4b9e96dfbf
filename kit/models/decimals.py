"""Decimal arithmetic without rounding, and the canonical form of a decimal."""

from decimal import Context, Decimal

EXACT = Context(prec=10_000, Emax=999_999, Emin=-999_999)
"""A context with more digits than any value has, so that nothing is rounded."""


def plain_decimal(number: Decimal, places: int, *, is_fixed: bool) -> Decimal:
    """Return the number with `places` decimal places; without `is_fixed`, without trailing zeros and exponent."""
    if is_fixed:
        return EXACT.plus(number.quantize(Decimal(1).scaleb(-places), context=EXACT))
    reduced = EXACT.plus(number.normalize(EXACT))  # 0 has no sign
    exponent = reduced.as_tuple().exponent
    return reduced.quantize(Decimal(1), context=EXACT) if isinstance(exponent, int) and exponent > 0 else reduced
