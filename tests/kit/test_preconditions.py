"""Preconditions of changes: versions that must match, that must not match, and rows that must not exist."""

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Header, Request

from kit import IfMatch, allowing
from tests.engines import Client
from tests.kit.probes import new_shelf
from tests.kit.server.small import asking, small_service

SHELF = {"name": "Maps", "room": "Cellar"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("If-Match", '"1"')], 200),
        ([("If-Match", '"7"'), ("If-Match", 'W/"1"')], 200),
        ([("If-Match", "*"), ("If-None-Match", '"7"')], 200),
        ([("If-Match", '"2"')], 412),
        ([("If-None-Match", "*")], 412),
        ([("If-None-Match", '"7"'), ("If-None-Match", 'W/"1"')], 412),
        ([("If-Match", "1")], 422),
        ([("If-None-Match", '"1"'), ("If-None-Match", "*")], 422),
        ([("If-None-Match", "")], 422),
        ([("If-Match", b'"\xe9"')], 422),
    ],
)
async def test_a_change_has_preconditions(client: Client, headers: Any, status: int) -> None:
    shelf = await new_shelf(client)
    answer = await client.patch(f"/shelves/{shelf['id']}", json={"room": "Attic"}, headers=headers)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("body", "status", "places"),
    [("{", 400, []), ('{"room": 1e-400}', 422, ["body"]), ('{"room": 5}', 422, ["header"])],
)
async def test_a_body_that_is_not_json_is_refused_before_a_malformed_precondition(
    accounts_client: Client, body: str, status: int, places: list[str]
) -> None:
    shelf, headers = await new_shelf(accounts_client), {"If-Match": "x", "Content-Type": "application/json"}
    answer = await accounts_client.patch(f"/shelves/{shelf['id']}", content=body, headers=headers)
    assert answer.status_code == status
    assert [error["in"] for error in answer.json().get("errors", ())] == places


async def test_a_create_of_what_exists_is_a_412_if_the_client_says_so(client: Client) -> None:
    absent, key = {"If-None-Match": "*"}, {"Idempotency-Key": "one"}
    assert (await client.post("/shelves/", json=SHELF, headers=absent)).status_code == 201
    taken = await client.post("/shelves/", json=SHELF, headers={"If-None-Match": '"1"'} | key)
    assert (taken.status_code, taken.json()["type"]) == (409, "urn:problem:taken")
    for headers in (absent, absent | key):
        answer = await client.post("/shelves/", json=SHELF, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (412, "urn:problem:exists")


async def test_other_failures_of_a_create_are_as_without_the_precondition(client: Client) -> None:
    absent = {"If-None-Match": "*"}
    missing = await client.post("/books/", json={"title": "Emma", "author": "A", "shelf_id": 4711}, headers=absent)
    assert (missing.status_code, missing.json()["type"]) == (409, "urn:problem:missing-reference")
    assert (await client.post("/shelves/", json={}, headers=absent)).status_code == 422
    assert (await client.post("/shelves/", json=SHELF, headers={"If-None-Match": "x"})).status_code == 422


def changing() -> APIRouter:
    """Return operations with and without a check of preconditions."""
    router = APIRouter(prefix="/x", route_class=allowing())

    @router.patch("/bulk")
    @router.put("/bulk")
    @router.delete("/bulk")
    @router.post("/approval")
    async def change() -> int:
        return 1

    @router.patch("/checked")
    async def checked(matching: IfMatch) -> int:
        return 1

    @router.patch("/header")
    async def with_header(if_match: Annotated[str | None, Header()] = None) -> str | None:
        return if_match

    @router.patch("/request")
    async def with_request(request: Request) -> str:
        return request.headers["If-Match"]

    return router


REFUSED = [("PATCH", "/x/bulk"), ("PUT", "/x/bulk"), ("DELETE", "/x/bulk"), ("POST", "/x/approval")]


@pytest.mark.parametrize(("method", "path"), REFUSED)
async def test_a_precondition_that_an_operation_does_not_check_is_refused(method: str, path: str) -> None:
    async with asking(small_service(changing(), auth=False)) as client:
        answer = await client.request(method, path, headers={"If-Match": '"99"'})
        unwanted = await client.request(method, path, headers={"If-None-Match": "*"})
        assert (await client.request(method, path)).status_code == 200
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "If-Match")
    assert unwanted.status_code == (200 if method == "POST" else 422)


@pytest.mark.parametrize("path", ["/x/checked", "/x/header", "/x/request"])
async def test_a_precondition_that_an_operation_reads_is_accepted(path: str) -> None:
    async with asking(small_service(changing(), auth=False)) as client:
        assert (await client.patch(path, headers={"If-Match": '"99"'})).status_code == 200


async def test_a_put_of_a_part_is_refused() -> None:
    part = {"Content-Range": "bytes 0-1/2"}
    async with asking(small_service(changing(), auth=False)) as client:
        answer = await client.put("/x/bulk", headers=part)
        assert (await client.patch("/x/bulk", headers=part)).status_code == 200
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:problem:partial-put")


async def test_a_refused_media_type_of_a_patch_names_those_of_patches(client: Client) -> None:
    shelf, plain = await new_shelf(client), {"Content-Type": "text/plain"}
    patched = await client.patch(f"/shelves/{shelf['id']}", content="{}", headers=plain)
    assert patched.status_code == 415
    assert patched.headers["Accept-Patch"] == "application/json, application/merge-patch+json"
    posted = await client.post("/shelves/", content="{}", headers=plain)
    assert (posted.status_code, "Accept-Patch" in posted.headers) == (415, False)
