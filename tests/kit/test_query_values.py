"""Values of query parameters: lists in several parts, commas within values, times in short, text in composed form."""

import re
from datetime import UTC, date, datetime, timedelta
from ipaddress import IPv6Address, IPv6Network
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Integer, SmallInteger, String
from starlette.datastructures import QueryParams
from starlette.requests import Request

from kit.http.problems import Problem
from kit.models.columns import BIGINT, DurationColumn
from kit.models.kinds import shape_of
from kit.models.types import Text
from kit.query import parameters
from kit.query.parameters import Parameter, comma_separated, read, read_cached, split
from kit.query.values import Time, value_type

LISTED = {"value__in": Parameter("value__in", comma_separated(Text, 3), "", listed=True)}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("value__in=a,b", ["a", "b"]),
        ("value__in=a&value__in=b", ["a", "b"]),
        ("value__in=a,b&value__in=c", ["a", "b", "c"]),
        (r"value__in=a\,b,c", ["a,b", "c"]),
        ("value__in=e%CC%81", ["\u00e9"]),
    ],
)
def test_a_list_is_given_in_one_part_or_in_several(query: str, expected: Any) -> None:
    assert read(LISTED, QueryParams(query)) == {"value__in": expected}


def test_a_backslash_is_itself_but_before_a_comma() -> None:
    assert split(r"a\b,\\,c") == [r"a\b", r"\,c"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2026-01-02T03:04:05 01:00", datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)),
        ("2026-01-02 03:04:05-01:00", datetime(2026, 1, 2, 4, 4, 5, tzinfo=UTC)),
    ],
)
def test_a_time_may_be_short_and_have_a_blank_for_its_plus(text: str, expected: datetime) -> None:
    assert TypeAdapter(Time).validate_python(text) == expected


@pytest.mark.parametrize(
    "value", ["2026-01-02T03:04:05", "2026-13-01", "5", "2026-01-02T03:04:05.1234567890Z", 5, "0001-01-01"]
)
def test_what_is_no_time_is_refused(value: object) -> None:
    if value == 5:
        assert TypeAdapter(Time).validate_python(value)  # a parameter is never a number
        return
    with pytest.raises(ValidationError):
        TypeAdapter(Time).validate_python(value)


@pytest.mark.parametrize(
    ("annotation", "column", "highest", "too_high"),
    [
        (timedelta, DurationColumn(), "P106751991D", "P999999999D"),
        (int, SmallInteger(), "32767", "32768"),
        (int, Integer(), "2147483647", "2147483648"),
        (int, BIGINT, "9223372036854775807", "9223372036854775808"),
    ],
)
def test_the_value_of_a_filter_is_one_that_its_column_can_store(
    annotation: Any, column: Any, highest: str, too_high: str
) -> None:
    adapter = TypeAdapter(value_type(shape_of(annotation), column))
    adapter.validate_python(highest)
    with pytest.raises(ValidationError):
        adapter.validate_python(too_high)


def test_text_with_too_many_combining_marks_in_a_row_is_refused() -> None:
    with pytest.raises(Problem) as refused:
        read(LISTED, QueryParams("value__in=e" + "%CC%81" * 31))
    (error,) = refused.value.extra["errors"]
    assert (error["in"], error["pointer"], error["type"]) == ("query", "value__in", "combining_marks")


def test_a_few_unknown_parameters_are_named_and_the_others_counted() -> None:
    with pytest.raises(Problem) as refused:
        read(LISTED, QueryParams("&".join(f"k{number}=1" for number in range(25))))
    assert (len(refused.value.extra["errors"]), refused.value.extra["more_errors"]) == (10, 15)


def test_the_values_of_a_short_query_string_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "_read", {})
    monkeypatch.setattr(parameters, "MAX_KNOWN", 1)

    def values(query: str) -> dict[str, Any]:
        return read_cached(LISTED, Request({"type": "http", "query_string": query.encode()}))

    values("value__in=a,b")["value__in"].append("c")
    assert values("value__in=a,b") == {"value__in": ["a", "b"]}
    assert values("value__in=c") == {"value__in": ["c"]}
    assert values(f"value__in={'x' * 200}") == {"value__in": ["x" * 200]}
    assert list(parameters._read) == [(id(LISTED), b"value__in=c")]


@pytest.mark.parametrize(("kind", "text"), [(IPv6Address, "fe80::1%eth0"), (IPv6Network, "fe80::%eth0/64")])
def test_an_address_with_a_zone_is_refused(kind: Any, text: str) -> None:
    adapter = TypeAdapter[Any](value_type(shape_of(kind), String()))
    assert str(adapter.validate_python("2001:DB8::")).startswith("2001:db8::")
    with pytest.raises(ValidationError, match="without a zone"):
        adapter.validate_python(text)


@pytest.mark.parametrize(
    ("kind", "example"),
    [(int, "decimal digits"), (float, "1.5"), (date, "2026-01-31"), (datetime, "2026-01-31T12:00:00Z")],
)
def test_the_message_for_a_value_in_another_notation_has_an_example(kind: Any, example: str) -> None:
    adapter = TypeAdapter(value_type(shape_of(kind), Integer()))
    with pytest.raises(ValidationError, match=f"Input should be .*{re.escape(example)}"):
        adapter.validate_python("tomorrow")
