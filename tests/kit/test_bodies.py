"""Request bodies: read in the parts that a server delivers, with a bounded size, and parsed once."""

from typing import Any

import pydantic
import pytest
from pydantic import AliasChoices, AliasPath, ValidationError
from sqlmodel import Field
from starlette.requests import Request
from starlette.types import Message

from kit import Body
from kit.http.bodies import BufferedRequest, parse, read_body
from kit.http.problems import Problem
from kit.models.entities import MAX_UNKNOWN

SCOPE: dict[str, Any] = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}


def request_of(*messages: dict[str, Any]) -> Request:
    """Return a request whose body arrives in these messages."""
    arriving = list(messages)

    async def receive() -> Message:
        return arriving.pop(0)

    return Request(SCOPE, receive)


async def nothing() -> Message:
    return {"type": "http.disconnect"}


async def test_a_body_in_parts_is_read_as_a_whole() -> None:
    request = request_of(
        {"type": "http.request", "body": b'{"a":', "more_body": True}, {"type": "http.request", "body": b"1}"}
    )
    assert parse(await read_body(request.receive, dict(request.scope["headers"]), 100)) == {"a": 1}


async def test_a_body_that_is_read_again_is_the_same() -> None:
    request = BufferedRequest(SCOPE, nothing, b'{"a":1}')
    assert await request.json() == {"a": 1}
    assert await request.json() is await request.json()
    assert await request.body() == b'{"a":1}'


async def test_a_body_can_be_read_again_for_each_attempt() -> None:
    for _ in range(2):
        assert [chunk async for chunk in BufferedRequest(SCOPE, nothing, b"12").stream()] == [b"12", b""]


async def test_a_body_that_ends_early_is_malformed() -> None:
    messages = {"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}
    with pytest.raises(Problem, match="400"):
        await read_body(request_of(*messages).receive, {}, 100)


async def test_a_body_over_the_limit_is_refused_while_it_is_read() -> None:
    request = request_of(*[{"type": "http.request", "body": b"0" * 60, "more_body": True}] * 2)
    with pytest.raises(Problem, match="413"):
        await read_body(request.receive, dict(request.scope["headers"]), 100)


async def test_a_body_with_a_too_large_content_length_is_refused_before_it_is_read() -> None:
    request = Request({**SCOPE, "headers": [(b"content-length", b"101")]}, nothing)
    with pytest.raises(Problem, match="413"):
        await read_body(request.receive, dict(request.scope["headers"]), 100)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        ('["e\u0301"]'.encode(), ["\u00e9"]),
        (b'["e\\u0301", "\\n\\u0304"]', ["\u00e9", "\n\u0304"]),
        (b'{"e\\u0301": {"o\\u0308": [1, null]}}', {"\u00e9": {"\u00f6": [1, None]}}),
        (b'["\\ud800"]', ["\ud800"]),
    ],
)
def test_text_is_composed_and_a_byte_order_mark_skipped(body: bytes, value: Any) -> None:
    assert parse(body) == value


@pytest.mark.parametrize("body", [b'{"a":1,"a":1}', '{"e\u0301":1,"\u00e9":1}'.encode(), b'[{"b":{"c":1,"c":2}}]'])
def test_a_key_that_comes_twice_is_malformed(body: bytes) -> None:
    with pytest.raises(Problem, match="400"):
        parse(body)


class Parcel(Body):
    weight: int
    size: int = Field(alias="Size")
    colour: str = pydantic.Field(default="", validation_alias=AliasChoices("color", AliasPath("look", "colour")))
    place: str = pydantic.Field(default="", validation_alias=AliasPath("to", "place"))


def fields_with_errors(body: object) -> list[str]:
    with pytest.raises(ValidationError) as refused:
        Parcel.model_validate(body)
    return [str(error["loc"][0]) for error in refused.value.errors()]


def test_of_many_unknown_members_a_few_are_named() -> None:
    unknown = {f"unknown_{number}": 0 for number in range(10_000)}
    assert fields_with_errors({**unknown, "weight": 1, "Size": 2}) == list(unknown)[:MAX_UNKNOWN]


def test_known_members_are_found_among_many_unknown_ones() -> None:
    known = {"id": 5, "weight": "heavy", "Size": "big", "look": {"colour": 1}, "to": {"place": 2}}
    fields = fields_with_errors({f"unknown_{number}": 0 for number in range(10_000)} | known)
    assert fields[:4] == ["weight", "Size", "look", "to"]
    assert len(fields) == 4 + MAX_UNKNOWN
