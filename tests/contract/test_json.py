"""JSON (sections 1 and 3 of the contract): bodies that are not JSON objects are refused before any other check."""

import json
from collections.abc import AsyncIterator

import pytest
from httpx import Response

from tests.contract.answer import errors, send
from tests.contract.resource import Resource, needs
from tests.engines import Client

pytestmark = pytest.mark.untraced

NO_JSON = [
    b"NaN",
    b"Infinity",
    b'{"a": NaN}',
    b'{"a": [-Infinity]}',
    b"{",
    b"{'a': 1}",
    b'{"a": 1,}',
    b'{"a": 01}',
    b'{"a": "\t"}',
    b"{} {}",
    b'{"a": "\xff"}',
    b'{"a": "\xed\xa0\x80"}',
    '{"a": 1}'.encode("utf-16"),
    b"\xef\xbb\xbf\xef\xbb\xbf{}",
    b'{"a": 1, "a": 1}',
    b'{"a": 1, "\\u0061": 2}',
    b'{"b": [{"a": {}, "a": {}}]}',
    b"[" * 10_000 + b"]" * 10_000,
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    b"[" * 500_000,
]
NO_OBJECT = [b"[]", b"[1]", b'"text"', b"5", b"1e400", b"true", b"null", b""]
BIG = 2 * 1024 * 1024


@needs("writable")
async def test_a_body_that_is_not_json_is_a_bad_request(client: Client, resource: Resource) -> None:
    for _, method, url in await resource.writable(client):
        for content in NO_JSON:
            answer = await send(client, method, url, content)
            assert answer.status_code == 400, (content[:20], answer.text)
            assert answer.json()["type"] == "urn:problem:malformed-body", content[:20]


@needs("writable")
async def test_a_number_with_too_many_digits_is_refused(client: Client, resource: Resource) -> None:
    for _, method, url in await resource.writable(client):
        answer = await send(client, method, url, b'{"a": ' + b"9" * 5000 + b"}")
        assert answer.status_code in (400, 422)


@needs("writable")
async def test_json_that_is_not_an_object_is_refused(client: Client, resource: Resource) -> None:
    for _, method, url in await resource.writable(client):
        for content in NO_OBJECT:
            assert errors(await send(client, method, url, content))[0]["in"] == "body"


@needs("writable")
async def test_a_body_that_is_too_large_is_refused_with_and_without_content_length(
    client: Client, resource: Resource
) -> None:
    for _, method, url in await resource.writable(client):
        assert (await send(client, method, url, b" " * BIG)).status_code == 413
        assert (await chunked(client, method, url)).status_code == 413


async def chunked(client: Client, method: str, url: str) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(BIG // 65536):
            yield b" " * 65536

    answer = await client.request(method, url, content=chunks(), headers={"content-type": "application/json"})
    assert "content-length" not in answer.request.headers
    return answer


@needs("writable")
async def test_a_body_of_another_type_is_refused(client: Client, resource: Resource) -> None:
    for verb, method, url in await resource.writable(client):
        body = await resource.valid(client, verb)
        for other in ("", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "text/json"):
            answer = await send(client, method, url, body, **{"content-type": other})
            assert answer.status_code == 415, other
        untyped = await client.request(method, url, content=b"{}")
        assert "content-type" not in untyped.request.headers
        assert untyped.status_code == 415


@needs("writable")
async def test_a_body_with_a_content_encoding_is_refused(client: Client, resource: Resource) -> None:
    for verb, method, url in await resource.writable(client):
        body = await resource.valid(client, verb)
        for encoding in ("gzip", "GZIP", "deflate", "br", "zstd", "gzip, identity", "nonsense"):
            answer = await send(client, method, url, body, **{"content-encoding": encoding})
            assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity"), encoding


@needs("things")
async def test_other_media_types_of_json_are_accepted(client: Client, resource: Resource) -> None:
    for verb, method, url in await resource.writable(client):
        for name in ("application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"):
            answer = await send(client, method, url, await resource.body(client, verb), **{"content-type": name})
            resource.made(answer, verb)


@needs("things")
async def test_a_byte_order_mark_is_skipped(client: Client, resource: Resource) -> None:
    for verb, method, url in await resource.writable(client):
        body = json.dumps(await resource.body(client, verb)).encode("utf-8-sig")
        resource.made(await send(client, method, url, body), verb)
