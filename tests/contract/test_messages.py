"""Messages (sections 1 and 2 of the contract): the format of all requests and responses."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from fastapi.routing import RouteContext, iter_route_contexts

from kit.http import bodies
from tests.contract.answer import MARKER, errors, send, tagged_version
from tests.contract.operations import refuses_unknown_parameters
from tests.contract.resource import Resource, needs, not_empty
from tests.engines import Client

pytestmark = pytest.mark.untraced

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "BREW"}
NO_IDS = ["0", "-1", "abc", "%00", "1.0", "1_0", "%20", "%20%20", "+1", "1e3", "%D9%A3", "%ED%A0%80", "%22%22"]
NO_NUMBERS = [*NO_IDS, str(2**63), str(10**30), "9" * 5000]


@needs("create", "read")
async def test_a_created_row_is_returned_and_found_at_its_location(client: Client, resource: Resource) -> None:
    body = await resource.full_body(client, turn=1)
    answer = await client.post(resource.path, json=body)
    resource.made(answer)
    assert answer.headers["content-type"] == "application/json"
    shown = {name: value for name, value in answer.json().items() if name in body}
    assert shown == {name: value for name, value in body.items() if name in answer.json()}
    assert tagged_version(answer) == "1"
    assert answer.headers["location"] == resource.url(answer.json())
    found = await client.get(answer.headers["location"])
    assert found.status_code == 200
    assert (found.json(), found.headers["etag"]) == (answer.json(), answer.headers["etag"])


@needs("create")
async def test_write_only_fields_are_never_returned(client: Client, resource: Resource) -> None:
    body = await resource.valid(client, "create")
    answer = await client.post(resource.path, json=body)
    resource.made(answer)
    hidden = [body[field.name] for field in resource.fields("create") if field.name in body.keys() - answer.json()]
    assert not [value for value in hidden if isinstance(value, str) and value in answer.text]


async def test_a_valid_request_id_is_kept_and_an_invalid_one_replaced(client: Client, resource: Resource) -> None:
    for good in ("a.B-c_9", "x" * 128):
        answer = await client.get(resource.path, headers={"X-Request-ID": good})
        assert answer.headers["x-request-id"] == good
    for bad in (b"", b"a b", b"x" * 129, b"a\xc3\xa9", b'"quoted"'):
        answers = [await client.get(resource.path, headers={b"X-Request-ID": bad}) for _ in range(2)]
        new = {answer.headers["x-request-id"] for answer in answers}
        assert len(new) == 2
        assert bad.decode() not in new


@needs("readable")
async def test_every_path_works_with_and_without_its_slash(client: Client, resource: Resource) -> None:
    for url in await resource.readable(client):
        other = url.rstrip("/") if url.endswith("/") else f"{url}/"
        one, same = await client.get(url), await client.get(other)
        assert (one.status_code, same.status_code) == (200, 200)
        assert one.json() == same.json()
    for _, method, url in await resource.operation_urls(client):
        other = url.rstrip("/") if url.endswith("/") else f"{url}/"
        answer = await send(client, method, other, [] if method != "DELETE" else {})
        assert answer.status_code in ((200, 204) if method in ("GET", "DELETE") else (422,))


@needs("create", "read")
async def test_location_is_canonical_for_every_spelling_of_the_path(client: Client, resource: Resource) -> None:
    answer = await client.post(resource.path.rstrip("/"), json=await resource.body(client))
    assert answer.headers["location"] == resource.url(resource.made(answer))


@needs("readable")
async def test_head_returns_the_headers_of_get_without_body(client: Client, resource: Resource) -> None:
    for url in await resource.readable(client):
        read, head = await client.get(url), await client.head(url)
        assert (head.status_code, head.content) == (200, b"")
        assert {**head.headers, "x-request-id": ""} == {**read.headers, "x-request-id": ""}


async def test_another_method_gets_the_list_of_allowed_methods(client: Client, resource: Resource) -> None:
    for url in {url for _, _, url in await resource.operation_urls(client)}:
        matching = [route for route in iter_route_contexts(resource.app.routes) if is_at(route, url)]
        allowed = set().union(*(route.methods or () for route in matching))
        methods = allowed | ({"HEAD"} if "GET" in allowed else set())
        for method in METHODS - methods:
            answer = await client.request(method, url)
            assert answer.status_code == 405, method
            assert set(answer.headers["allow"].split(", ")) == methods


def is_at(route: RouteContext, url: str) -> bool:
    return bool(route.methods and route.path_regex.match(url))


@needs("things")
async def test_times_are_in_utc_and_ids_are_integers_or_uuids(client: Client, resource: Resource) -> None:
    thing = await resource.make(client)
    made_at = resource.shown("created_at")
    assert {"id", "version", made_at} <= set(thing)
    assert type(thing["id"]) is int or UUID(thing["id"])
    schema = resource.verbs["create"].response_model.model_json_schema(mode="serialization")
    assert schema["properties"][made_at]["format"] == "date-time"
    times = not_empty(name for name, described in schema["properties"].items() if "date-time" in str(described))
    assert all(thing[name] is None or TIME.fullmatch(thing[name]) for name in times)
    assert datetime.fromisoformat(thing[made_at]) <= datetime.now(UTC)


@needs("items")
async def test_an_invalid_id_in_a_path_is_refused(client: Client, resource: Resource) -> None:
    nothing = NO_NUMBERS if isinstance((await resource.make(client))["id"], int) else NO_IDS
    for _, method, _ in await resource.items(client):
        for part in nothing:
            url = resource.url({"id": part})
            answer = await client.request(method, url, json=None if method == "GET" else {})
            assert "path" in {error["in"] for error in errors(answer)}, part
    assert (await client.get(f"{resource.path.rstrip('/')}//")).status_code == 404


@needs("items")
async def test_an_unknown_id_is_not_found(client: Client, resource: Resource) -> None:
    whole = isinstance((await resource.make(client))["id"], int)
    anonymous: list[object] = [2**31, 2**63 - 1] if whole else [uuid4()]
    for verb, method, _ in await resource.items(client):
        body = await resource.valid(client, verb) if verb in ("replace", "update") else None
        for part in anonymous:
            answer = await client.request(method, resource.url({"id": part}), json=body)
            assert answer.status_code == 404


async def test_an_unknown_path_is_not_found(client: Client, resource: Resource) -> None:
    answer = await client.get(f"{resource.path.rstrip('/')}/1/nothing/at/all")
    assert (answer.status_code, answer.json()["status"]) == (404, 404)


async def test_an_unknown_parameter_is_refused_with_the_known_ones(client: Client, resource: Resource) -> None:
    for verb, method, url in await resource.operation_urls(client):
        if not refuses_unknown_parameters(resource.verbs[verb]):
            continue
        answer = await client.request(method, f"{url}?wrong={MARKER}", json=None if method == "GET" else {})
        (error,) = errors(answer)
        assert (error["in"], error["pointer"]) == ("query", "wrong")
        documented = resource.operation(verb).get("parameters", [])
        names = {known["name"] for known in documented if known["in"] == "query"} or {"none"}
        assert set(error["detail"].rpartition(": ")[2].split(", ")) == names


@needs("writable")
async def test_invalid_values_are_never_repeated_in_a_response(client: Client, resource: Resource) -> None:
    nonsense: list[object] = [{MARKER: MARKER}, [MARKER], MARKER * 9999, f"{MARKER}\0", f"{MARKER}\ud800"]
    for field, method, url, body in await resource.fields_in_bodies(client, "any fields"):
        for value in nonsense[field.is_a("object") :]:  # the first is an object
            answer = await send(client, method, url, body | {field.name: value})
            assert errors(answer)
            assert MARKER not in answer.text


@needs("update", "things")
async def test_invalid_headers_are_never_repeated_in_a_response(client: Client, resource: Resource) -> None:
    url = resource.url(await resource.make(client))
    answer = await client.patch(url, json={}, headers={"If-Match": MARKER})
    assert [error["in"] for error in errors(answer)] == ["header"]
    assert MARKER not in answer.text


async def too_slow() -> AsyncIterator[bytes]:
    yield b"["
    await asyncio.sleep(60)


async def test_refusals_of_bodies_are_documented_for_every_operation_that_may_have_one(
    client: Client, resource: Resource
) -> None:
    headers = {"Content-Type": "application/json"}
    urls = [(method, url) for _, method, url in await resource.operation_urls(client) if method != "GET"]
    assert urls or set(resource.verbs) <= {"list", "show", "read"}
    for method, url in urls:  # the client checks that each answer is documented
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bodies, "GRACE_SECONDS", 0.01)
            slow = await client.request(method, url, content=too_slow(), headers=headers)
        large = await client.request(method, url, content=b" " * (2**20 + 1), headers=headers)
        encoded = await client.request(method, url, content=b"x", headers=headers | {"Content-Encoding": "gzip"})
        assert [answer.status_code for answer in (slow, large, encoded)] == [408, 413, 415], url
