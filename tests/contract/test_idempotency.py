"""Idempotency (section 7 of the contract): repeated requests with one key are executed once."""

from asyncio import gather

import pytest
from httpx import Response

from tests.contract.answer import errors
from tests.contract.field import Json
from tests.contract.resource import Resource, needs
from tests.engines import Client

pytestmark = pytest.mark.untraced

RACERS = 5
IN_FLIGHT = "urn:problem:in-flight"


async def create(client: Client, resource: Resource, body: Json, path: str = "") -> Response:
    return await client.post(path or resource.path, json=body, headers={"Idempotency-Key": "key-1"})


async def number_of(client: Client, resource: Resource) -> int:
    """Return the number of rows; 0 if the resource has no list."""
    return len(await resource.all(client)) if resource.has("list") else 0


@needs("create")
async def test_a_create_repeated_with_its_key_gets_the_same_response_and_creates_one_row(
    client: Client, resource: Resource
) -> None:
    body = await resource.body(client)
    before = await number_of(client, resource)
    first, *others = [await create(client, resource, body, path) for path in ("", "", resource.path.rstrip("/"))]
    thing = resource.made(first)
    if resource.has("list"):
        await resource.all(client, thing)
    assert first.headers.get("idempotency-replayed") is None
    for again in others:
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        assert {again.headers.get(name) == first.headers.get(name) for name in REPEATED} == {True}
    assert await number_of(client, resource) == before + resource.has("list")


REPEATED = ("content-type", "location", "etag")


@needs("create")
async def test_concurrent_creates_with_one_key_create_one_row(client: Client, resource: Resource) -> None:
    body = await resource.body(client)
    before = await number_of(client, resource)
    answers = await gather(*(create(client, resource, body) for _ in range(RACERS)))
    thing = resource.made(next(answer for answer in answers if answer.json().get("type") != IN_FLIGHT))
    if resource.has("list"):
        await resource.all(client, thing)
    done = [answer for answer in answers if answer.status_code == 201]  # the others may be a 409 in flight
    assert {answer.json().get("type") for answer in answers if answer not in done} <= {IN_FLIGHT}
    assert len({answer.content for answer in done}) == 1
    assert await number_of(client, resource) == before + resource.has("list")


@needs("create")
async def test_a_key_with_another_body_is_refused(client: Client, resource: Resource) -> None:
    resource.made(await create(client, resource, await resource.body(client)))
    before = await number_of(client, resource)
    answer = await create(client, resource, await resource.body(client) | {"version": 7})
    assert [(error["in"], error["pointer"]) for error in errors(answer)] == [("header", "Idempotency-Key")]
    assert await number_of(client, resource) == before
