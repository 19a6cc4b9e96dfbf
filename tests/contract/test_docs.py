"""The OpenAPI document (section 1 of the contract): it describes the behaviour of every resource.

`watching` checks for every response of all tests that its status and headers are documented.
"""

import re
from typing import Any

import pytest

from kit import Service
from tests.contract.field import Json, resolved
from tests.contract.operations import method_of, own_parameters, untested
from tests.contract.resource import Resource, needs, not_empty, resources_of
from tests.engines import Client

pytestmark = pytest.mark.untraced

OPERATIONS = {"list", "show", "create", "read", "replace", "update", "delete"}
HEADERS = {
    "list": {"ETag", "Link", "X-Total-Count", "X-Total-Count-Estimate"},
    "create": {"ETag", "Location"},
    "read": {"ETag"},
}


async def document(client: Client) -> Json:
    answer = await client.get("/openapi.json")
    assert answer.status_code == 200
    found: Json = answer.json()
    return found


async def test_every_operation_has_a_name_and_a_summary(client: Client, resource: Resource) -> None:
    paths = (await document(client))["paths"]
    names = [operation["operationId"] for path in paths.values() for operation in path.values()]
    assert len(names) == len(set(names))
    for route in resource.verbs.values():
        operation = paths[route.path_format][method_of(route).lower()]
        words = re.findall("[a-z0-9]+", str(route.tags[0] if route.tags else "").lower())
        assert operation["operationId"].startswith("-".join(words))
        assert operation["summary"].strip()
        assert operation["tags"] == (route.tags or ["default"])


async def test_the_paths_shown_are_the_canonical_ones(client: Client, resource: Resource) -> None:
    paths = (await document(client))["paths"]
    assert resource.path in paths
    assert [path for path in paths if path.rstrip("/") == resource.path.rstrip("/")] == [resource.path]
    assert not [path for path in paths if path.startswith(f"{resource.path.rstrip('/')}/{{") and path.endswith("/")]


async def test_success_and_failure_are_documented(client: Client, resource: Resource) -> None:
    shown = await document(client)
    for verb in resource.verbs:
        responses = resource.operation(verb)["responses"]
        success = next(status for status in responses if status.startswith("2"))
        assert resource.operation(verb)["description"]
        headers = set(resolved(shown, responses[success])["headers"])
        assert headers >= HEADERS.get(verb, set()) | {"X-Request-ID"}
        assert max(responses) >= "400"
        for status, told in responses.items():
            response = resolved(shown, told)
            assert "X-Request-ID" in response["headers"]
            assert response["description"].strip()
            if status >= "400" and int(status) not in resource.verbs[verb].responses:
                assert list(response["content"]) == ["application/problem+json"]
                assert response["content"]["application/problem+json"]["example"]["status"] == int(status)


async def test_every_parameter_is_described(client: Client, resource: Resource) -> None:
    number = 0
    for verb in resource.verbs:
        parameters = resource.operation(verb).get("parameters", [])
        names = [(parameter["in"], parameter["name"]) for parameter in parameters]
        assert len(names) == len(set(names))
        own = own_parameters(resource.verbs[verb])
        for parameter in parameters:
            assert parameter["schema"]
            assert parameter["name"] in own or parameter["description"]
            number += 1
        if verb == "list":
            assert {name for place, name in names if place == "query"} - own == set(resource.query.parameters)
    assert number or not {"list", "create", "read"} & set(resource.verbs)


@needs("things")
async def test_the_example_of_a_body_can_be_sent_unchanged(client: Client, resource: Resource) -> None:
    for verb, method, url in await resource.writable(client):
        content = resource.operation(verb)["requestBody"]["content"]["application/json"]
        body = dict(content["example"])
        parents = {field.name for field in resource.fields(verb) if field.parent and body.get(field.name) is not None}
        body |= {
            field.name: await resource.value(client, field) for field in resource.fields(verb) if field.name in parents
        }
        thing = resource.made(await client.request(method, url, json=body), verb)
        if "delete" in resource.verbs:
            await client.delete(resource.url(thing))  # its unique values are free again


async def test_every_body_has_an_example_that_works(client: Client, app: Service) -> None:
    paths = (await document(client))["paths"]
    left = untested(app)
    bodies = [
        (path, method)
        for path, operations in paths.items()
        for method in operations
        if has_body(operations[method]) and f"{method.upper()} {path}" not in left
    ]
    for path, method in bodies:
        shown = (await client.get("/openapi.json?ids=newest")).json()
        operation, name = shown["paths"][path][method], f"The body of {method.upper()} {path}"
        content = operation["requestBody"]["content"]["application/json"]
        remedy = 'give its fields examples, as in `Field(schema_extra={"examples": […]})`'
        assert {"example", "examples"} & content.keys(), f"{name} has no example for the docs: {remedy}."
        parameters = [resolved(shown, parameter) for parameter in operation.get("parameters", ())]
        url = path.format(**{part["name"]: part.get("example", 1) for part in parameters if part["in"] == "path"})
        for example in [content.get("example")] if "example" in content else values_of(content["examples"]):
            answer = await client.request(method, url, json=example)
            is_fine = answer.status_code < 300 or answer.status_code == 409
            assert is_fine, f"{name} has the example {example}: {answer.status_code} {answer.text}; {remedy}."


def has_body(operation: Json) -> bool:
    return "application/json" in operation.get("requestBody", {}).get("content", {})


def values_of(examples: Json) -> list[Any]:
    return [example["value"] for example in examples.values()]


@needs("update")
async def test_a_patch_accepts_the_media_type_merge_patch(client: Client, resource: Resource) -> None:
    operation, shown = resource.operation("update"), await document(client)
    parameters = [resolved(shown, parameter) for parameter in operation.get("parameters", ())]
    merge = set() if all(part.get("required") for part in parameters) else {"application/merge-patch+json"}
    assert set(operation["requestBody"]["content"]) == {"application/json"} | merge


@needs("things")
async def test_a_response_matches_its_documented_schema(client: Client, resource: Resource) -> None:
    shown = await document(client)
    for verb in not_empty({"create", "read", "replace", "update"} & set(resource.verbs)):
        thing = await resource.make(client)
        responses = resource.operation(verb)["responses"]
        content = responses["201" if verb == "create" else "200"]["content"]["application/json"]
        schema = resolved(shown, content["schema"])
        assert set(schema.get("required", ())) <= set(thing) <= set(schema["properties"])


async def test_the_contract_tests_find_resources(client: Client, resource: Resource) -> None:
    assert resource.name in [other.name for other in resources_of(resource.app)]
    assert set(resource.verbs) <= OPERATIONS
