"""JSON encoding of responses."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from kit.http.encoding import to_json
from kit.http.numbers import written_number

NOON = datetime(2026, 11, 21, 12, 0, 0, 1, UTC)


def test_times_end_in_z_and_money_and_uuids_are_text() -> None:
    values = [NOON, NOON.astimezone(timezone(timedelta(0))), Decimal("9.90"), UUID(int=7)]
    assert to_json(values) == (
        b'["2026-11-21T12:00:00.000001Z","2026-11-21T12:00:00.000001Z","9.90","00000000-0000-0000-0000-000000000007"]'
    )


def test_a_number_with_more_digits_than_a_float_is_rounded_to_one() -> None:
    assert to_json([written_number("0.1234567890123456789")]) == b"[0.12345678901234568]"


def test_a_value_that_cannot_be_encoded_is_an_error() -> None:
    with pytest.raises(TypeError):
        to_json(object())
