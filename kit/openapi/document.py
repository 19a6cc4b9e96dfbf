"""What does the OpenAPI document say: what FastAPI derives from the routes, and what only the kit knows."""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from kit.auth.privacy import private
from kit.models.types import MAX_ID
from kit.openapi.examples import elements
from kit.openapi.operations import query_variant
from kit.openapi.responses import PROBLEM_SCHEMA, Json, headers, share_failures
from kit.operations.endpoint import Endpoint
from kit.query.embedding import variant
from kit.query.list_query import ListQuery

BEARER: Json = {"type": "oauth2", "flows": {"password": {"tokenUrl": "auth/token", "scopes": {}}}}
CONVENTIONS = """
What holds for every resource, at its path with and without the trailing slash:

- **Lists** take filters such as `age__gte=18` or `name__in=a,b`, and `q`, `sort=-age,name`, `fields`, `include`.
  The header `Link` leads to the next page; `count=true` adds `X-Total-Count`.
- **Versions** are in the `ETag`. Send it back as `If-None-Match` to be told 304 if nothing changed, or as `If-Match`
  to change only what you have seen, else 412.
- **Writes** are durable when they are answered. PATCH changes the fields sent, PUT all: to their defaults where left
  out. Unknown fields are refused, read-only ones ignored.
- **Failures** are [problem details](https://www.rfc-editor.org/rfc/rfc9457); `request_id` leads to the log.
"""


def openapi(app: FastAPI) -> Json:
    """The document, built once: what FastAPI derives, and what only the kit knows."""
    if app.openapi_schema is None:
        routes = [route for route in app.routes if isinstance(route, Endpoint) and route.include_in_schema]
        for route in routes:
            route.describe()
        about = f"{app.description}\n{CONVENTIONS}"
        schema = get_openapi(title=app.title, version=app.version, description=about, tags=tags(routes), routes=routes)
        schema["components"]["schemas"]["Problem"] = PROBLEM_SCHEMA
        schema["components"]["securitySchemes"] = {"Token": BEARER}
        show_embedded(routes, schema)
        for route in routes:
            for operation in (schema["paths"][route.path_format][method.lower()] for method in route.methods or ()):
                complete(operation, table_of(route, routes), schema["components"]["schemas"])
        show_merge_patch(schema)
        schema["paths"] = dict(sorted(schema["paths"].items(), key=lambda item: item[0].endswith("/bulk")))
        forgive_privacy(routes, schema)
        share_failures(schema)
        app.openapi_schema = exact(schema)
    return app.openapi_schema


def table_of(route: Endpoint, routes: Sequence[Endpoint]) -> str | None:
    """The table of the resource that a route belongs to."""
    family = [part for other in routes if other.tags == route.tags for part in other.dependant.dependencies]
    return next((str(query.model.__tablename__) for query in filter(None, map(query_variant, family))), None)


def show_merge_patch(schema: Json) -> None:
    """A PATCH body is a JSON merge patch (RFC 7396), and may say so."""
    for operations in schema["paths"].values():
        if "patch" in operations:
            content = operations["patch"]["requestBody"]["content"]
            content["application/merge-patch+json"] = content["application/json"]


def tags(routes: Sequence[Endpoint]) -> list[Json]:
    """What the module of each resource says of itself."""
    modules = {route.tags[0]: inspect.getmodule(route.endpoint) for route in routes}
    return [{"name": tag, "description": inspect.getdoc(module)} for tag, module in modules.items()]


def forgive_privacy(routes: Sequence[Endpoint], schema: Json) -> None:
    """A private field is not there for everybody."""
    for query in filter(None, (query_variant(part) for route in routes for part in route.dependant.dependencies)):
        component = schema["components"]["schemas"][query.read.__name__]
        component["required"] = [name for name in component["required"] if name not in private(query.model)]


def show_embedded(routes: Sequence[Endpoint], schema: Json) -> None:
    """What `include` embeds, as optional properties of what those operations answer that take it."""
    components = schema["components"]["schemas"]
    for route in routes:
        for query in filter(None, map(query_variant, route.dependant.dependencies)):
            if query.includes:
                name, plain = f"{query.read.__name__}Including", components[query.read.__name__]
                components[name] = plain | {"title": name, "properties": plain["properties"] | dict(embedded(query))}
                content = schema["paths"][route.path_format]["get"]["responses"]["200"]["content"]
                answer = content["application/json"]["schema"]
                answer.get("items", answer)["$ref"] = f"#/components/schemas/{name}"


def embedded(query: type[ListQuery]) -> Iterator[tuple[str, Json]]:
    for name, shown in query.includes.items():
        reference: Json = {"$ref": f"#/components/schemas/{variant(shown).__name__}"}
        many = sqlalchemy.inspect(query.model).relationships[name].uselist
        yield name, {"type": "array", "items": reference} if many else {"anyOf": [reference, {"type": "null"}]}


def complete(operation: Json, table: str | None, components: Json) -> None:
    """Ids to try it out with, and the header that every answer has."""
    for parameter in operation.get("parameters", ()):
        items = parameter["schema"].get("items", {})
        if "const" in items:  # Swagger UI shows a list to choose from for an `enum` only
            items["enum"] = [items.pop("const")]
        if parameter["in"] == "path":
            parameter["example"] = f"{{{table}}}"
    if operation["operationId"].endswith("-bulk-create"):
        complete_bulk(operation, components)
    for response in operation["responses"].values():
        response["headers"] = response.get("headers", {}) | headers("X-Request-ID")


def complete_bulk(operation: Json, components: Json) -> None:
    """Two elements to try it out with, and the answer to `on_error=skip`."""
    body = operation["requestBody"]["content"]["application/json"]
    body["example"] = elements(components[body["schema"]["items"]["$ref"].rpartition("/")[2]])
    created = operation["responses"]["201"]["content"]["application/json"]["schema"]
    problem = {"index": {"type": "integer"}, "problem": {"$ref": "#/components/schemas/Problem"}}
    failed = {"type": "object", "required": list(problem), "properties": problem}
    lists = {"created": created, "failed": {"type": "array", "items": failed}}
    operation["responses"]["200"] = {
        "description": "With `on_error=skip`: what was created, and what failed, by its place in the request.",
        "headers": headers("Idempotency-Replayed"),
        "content": {"application/json": {"schema": {"type": "object", "required": list(lists), "properties": lists}}},
    }


def exact(node: Any) -> Any:
    """The document with whole numbers as such: FastAPI makes floats of bounds, and 2⁶³ of 2⁶³−1."""
    if isinstance(node, dict):
        return {name: exact(part) for name, part in node.items()}
    if isinstance(node, list):
        return [exact(part) for part in node]
    return min(int(node), MAX_ID) if isinstance(node, float) and node.is_integer() else node
