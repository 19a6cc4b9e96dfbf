"""Request bodies: read in the parts that a server delivers, with a bounded size, and parsed once."""

import asyncio
import json
from typing import Any
from unicodedata import normalize

import pydantic
import pytest
from pydantic import AliasChoices, AliasPath, ValidationError
from sqlmodel import Field
from starlette.requests import Request
from starlette.types import Message

from kit import Body
from kit.http.bodies import BodyMemory, BufferedRequest, IncomingBody, read_body, refuse_encoded
from kit.http.documents import parse
from kit.http.encoding import TooManyMarksError, composed
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


class Connection:
    """A connection on which a body has arrived as a whole."""

    def __init__(self, body: bytes) -> None:
        self.body: bytes | None = body

    def take_whole(self) -> bytes | None:
        body, self.body = self.body, None
        return body

    async def receive(self) -> Message:
        return {"type": "http.disconnect"}


async def test_a_body_that_has_arrived_as_a_whole_is_taken_without_its_messages() -> None:
    body = IncomingBody(Connection(b"12").receive, BodyMemory(1), "Ann")
    assert await body.read_ahead({"headers": []}, 100)
    request = BufferedRequest(SCOPE, body.receive)
    assert await request.read({}, 2) == await request.body() == b"12"
    assert await body.receive() == {"type": "http.disconnect"}


async def test_a_body_that_has_arrived_as_a_whole_may_be_received_by_messages() -> None:
    body = IncomingBody(Connection(b"12").receive, BodyMemory(1), "Ann")
    assert await body.read_ahead({"headers": []}, 100)
    assert await body.receive() == {"type": "http.request", "body": b"12"}
    assert body.take_whole() is None


async def test_a_body_that_has_arrived_as_a_whole_may_be_too_large() -> None:
    with pytest.raises(Problem, match="at most 1 byte"):
        await BufferedRequest(SCOPE, Connection(b"12").receive).read({}, 1)


async def test_a_body_that_is_read_again_is_the_same() -> None:
    request = BufferedRequest.of_body(SCOPE, nothing, b'{"a":1}')
    assert await request.json() == {"a": 1}
    assert await request.json() is await request.json()
    assert await request.body() == b'{"a":1}'


async def test_a_body_can_be_read_again_for_each_attempt() -> None:
    for _ in range(2):
        assert [chunk async for chunk in BufferedRequest.of_body(SCOPE, nothing, b"12").stream()] == [b"12", b""]


async def test_requests_that_read_a_body_at_the_same_time_all_get_it() -> None:
    arriving: asyncio.Queue[Message] = asyncio.Queue()
    first = BufferedRequest(SCOPE, arriving.get)
    others = [Request(SCOPE, first.receive), Request(SCOPE, first.receive)]
    reading = [asyncio.ensure_future(request.body()) for request in (first, *others)]
    for number in range(3):
        await asyncio.sleep(0)
        arriving.put_nowait({"type": "http.request", "body": b"%d" % number, "more_body": number < 2})
    assert await asyncio.gather(*reading) == [b"012"] * 3
    assert await Request(SCOPE, first.receive).body() == b"012"
    arriving.put_nowait({"type": "http.disconnect"})
    assert await first.is_disconnected()


async def test_a_long_form_is_parsed_in_parts_between_which_others_have_their_turn() -> None:
    scope = {**SCOPE, "headers": [(b"content-type", b"application/x-www-form-urlencoded")]}
    request = BufferedRequest.of_body(scope, nothing, b"&" * 300_000 + b"a=1")
    assert [len(chunk) for chunk in [chunk async for chunk in request.stream()]] == [65_536] * 4 + [37_859, 0]
    turns = 0
    parsing = asyncio.ensure_future(request.form())
    while not parsing.done():
        await asyncio.sleep(0)
        turns += 1
    assert (await parsing)["a"] == "1"
    assert turns >= 5


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


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"0," * 40_000 + b"0]",
        b"{" + b",".join(b'"%d":0' % number for number in range(40_001)) + b"}",
        b"[" + b"[{}]," * 15_000 + b"[]]",
        b'["a\\"",' + b"[]," * 40_000 + b"[]]",
        b"[" + b"0," * 40_000 + b'"',
    ],
)
def test_a_body_with_too_many_values_is_too_large_before_it_is_parsed(body: bytes) -> None:
    with pytest.raises(Problem, match="413: The body may have at most 40000 values"):
        parse(body)


def test_marks_within_text_are_no_values() -> None:
    text = ",[{" * 40_000
    assert parse(json.dumps([text, text + '\\"', 1]).encode()) == [text, text + '\\"', 1]


def test_the_number_of_values_is_a_setting() -> None:
    assert parse(b"[0, 0]", 4) == [0, 0]
    with pytest.raises(Problem, match="413"):
        parse(b"[0, 0, 0]", 3)


def test_a_body_that_is_nested_too_deeply_is_malformed_however_long_it_is() -> None:
    for depth in (5000, 500_000):
        for opening in (b"[", b'{"a":'):
            with pytest.raises(Problem, match="400: The body is nested too deeply"):
                parse(opening * depth)


def marks(count: int) -> str:
    return "".join("\u0301\u0327"[number % 2] for number in range(count))


@pytest.mark.parametrize("document", ["e{}", "{}", '", "{}', "\U0001f600" * 50 + "{}"])
def test_more_combining_marks_in_a_row_than_any_language_needs_are_refused(document: str) -> None:
    body = f'["{document}"]'
    for padding in range(10):
        row = "x" * padding + body
        with pytest.raises(TooManyMarksError):
            composed(row.format(marks(31)))
        assert composed(row.format(marks(30))) == normalize("NFC", row.format(marks(30)))
    for ensure_ascii in (False, True):
        with pytest.raises(Problem, match="422"):
            parse(json.dumps(["e" + marks(31)], ensure_ascii=ensure_ascii).encode())


def test_marks_beyond_the_first_plane_count_too() -> None:
    with pytest.raises(TooManyMarksError):
        composed("e" + "\U0001d165\u0301" * 16)
    assert composed("e" + "\U0001f600" * 100) == "e" + "\U0001f600" * 100


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


class Crate(Body):
    weights: list[int]
    parcels: list[Parcel] = Field(default_factory=list)


def test_a_body_with_too_many_errors_gets_one_that_counts_them() -> None:
    with pytest.raises(ValidationError) as failure:
        Crate.model_validate({"weights": ["x"] * 2000})
    assert [error["msg"] for error in failure.value.errors()] == ["Input has 2000 errors, too many to list"]
    with pytest.raises(ValidationError) as failure:
        Crate.model_validate({"weights": ["x"] * 998, "parcels": [{"weight": "x"}]})
    assert failure.value.error_count() == 1000


@pytest.mark.parametrize("lines", [["identity"], ["Identity, identity"], ["", "identity"], []])
def test_a_body_without_a_coding_is_accepted(lines: list[str]) -> None:
    refuse_encoded(lines)


@pytest.mark.parametrize("lines", [["gzip"], ["identity, br"], ["identity", "gzip"], ["nonsense"], ["\x00"]])
def test_a_body_with_a_coding_is_a_415(lines: list[str]) -> None:
    with pytest.raises(Problem, match="415") as refused:
        refuse_encoded(lines)
    assert refused.value.headers == {"Accept-Encoding": "identity"}
