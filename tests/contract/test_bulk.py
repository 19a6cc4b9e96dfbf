"""Bulk creation (section 6 of the contract): many rows in one request, all or none or each separately."""

from typing import Any

import pytest
from httpx import Response

from tests.contract.answer import errors
from tests.contract.field import Json
from tests.contract.resource import Resource, needs, not_empty
from tests.engines import Client

pytestmark = pytest.mark.untraced

MOST = 1000


async def create_many(client: Client, resource: Resource, bodies: Any, /, **parameters: str) -> Response:
    return await client.post(f"{resource.path.rstrip('/')}/bulk", json=bodies, params=parameters)


async def bodies(client: Client, resource: Resource, number: int) -> list[Json]:
    return [await resource.body(client, turn=turn) for turn in range(number)]


@needs("bulk", "list", "create")
async def test_a_bulk_creates_its_elements_in_order(client: Client, resource: Resource) -> None:
    before = len(await resource.all(client))
    answer = await create_many(client, resource, sent := await bodies(client, resource, 5))
    made = resource.made(answer)
    assert len(await resource.all(client)) == before + len(made) == before + 5
    for body, thing in zip(sent, made, strict=True):
        shown = body.keys() & thing.keys()  # none, if a resource has nothing but an optional reference
        assert {name: thing[name] for name in shown} == {name: body[name] for name in shown}
        assert (await client.get(resource.path, params={"id": thing["id"]})).json() == [thing]


@needs("bulk", "list", "create", "required fields")
async def test_an_invalid_element_aborts_the_bulk(client: Client, resource: Resource) -> None:
    good, required = (
        await bodies(client, resource, 3),
        {field.name for field in resource.fields("create") if field.required},
    )
    before = await resource.all(client)
    answer = await create_many(client, resource, [*good, {}])
    assert {error["pointer"] for error in errors(answer)} == {f"#/3/{name}" for name in not_empty(required)}
    assert await resource.all(client) == before


@needs("bulk", "list", "create", "unique")
async def test_a_taken_value_aborts_the_bulk(client: Client, resource: Resource) -> None:
    first, *others = await bodies(client, resource, 3)
    before = await resource.all(client)
    answer = await create_many(client, resource, [first, *others, first])
    assert answer.status_code == 409
    assert answer.json()["errors"][0]["pointer"].startswith("#/3")
    assert await resource.all(client) == before


@needs("bulk", "list", "create", "required fields")
async def test_failing_elements_are_skipped_on_request(client: Client, resource: Resource) -> None:
    first, last = await bodies(client, resource, 2)
    before = len(await resource.all(client))
    answer = await create_many(client, resource, [first, {}, 5, last], on_error="skip")
    assert answer.status_code == 207
    assert set(answer.json()) == {"created", "failed"}
    failed = [(one["index"], one["problem"]["status"]) for one in answer.json()["failed"]]
    assert (failed, len(answer.json()["created"])) == ([(1, 422), (2, 422)], 2)
    assert len(await resource.all(client)) == before + 2


@needs("bulk", "create")
async def test_an_array_that_is_empty_or_longer_than_documented_is_refused(client: Client, resource: Resource) -> None:
    refused: list[Any] = [[], {}, None, "text", [{}] * (MOST + 1)]
    for wrong in refused:
        for parameters in ({}, {"on_error": "skip"}):
            assert errors(await create_many(client, resource, wrong, **parameters))
    answer = await create_many(client, resource, await bodies(client, resource, 1), on_error="nonsense")
    assert [(error["in"], error["pointer"]) for error in errors(answer)] == [("query", "on_error")]
