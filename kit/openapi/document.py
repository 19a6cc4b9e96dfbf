"""The OpenAPI document: what FastAPI derives from the routes, and what only the kit knows."""

import inspect
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts

from kit.auth.permissions import Who
from kit.models.privacy import private_fields
from kit.models.reads import Read
from kit.models.types import MAX_ID
from kit.openapi.examples import elements
from kit.openapi.responses import PROBLEM_SCHEMA, Json, headers, share_failures
from kit.operations.route import Operation, dependencies_of, query_variant
from kit.query.embedding import next_name, read_variant
from kit.query.list_query import ListQuery

Operations = Sequence[tuple[APIRoute, str]]
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


def openapi(app: FastAPI, access: Mapping[tuple[int, str], Who]) -> Json:
    """The document: what FastAPI derives from the routes, and what only the kit knows."""
    operations = list(documented(app))
    schema = of_fastapi(app, tags(operations, app.openapi_tags or ()))
    components = schema.setdefault("components", {}).setdefault("schemas", {})
    components["Problem"] = PROBLEM_SCHEMA
    schema["components"]["securitySchemes"] = schema["components"].get("securitySchemes", {}) | {"Token": BEARER}
    show_embedded(operations, schema)
    for route, path in operations:
        for method in sorted(route.methods or set()):
            operation = schema["paths"][path][method.lower()]
            operation["operationId"] = id_of_method(operation["operationId"], method, route.methods or set())
            served_as = "GET" if method == "HEAD" else method
            if access.get((id(route), served_as)) is not Who.ANYONE:
                operation.setdefault("security", [{"Token": []}])
            complete(operation, table_of(route, operations), components)
    show_merge_patch(schema)
    schema["paths"] = dict(sorted(schema["paths"].items(), key=lambda item: item[0].endswith("/bulk")))
    forgive_privacy(operations, schema)
    share_failures(schema)
    result: Json = exact(schema)
    return result


def of_fastapi(app: FastAPI, shown_tags: list[Json]) -> Json:
    """FastAPI's own document, with all that was given to the application for it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Duplicate Operation ID")  # of one route with several methods: see below
        return get_openapi(
            title=app.title,
            version=app.version,
            openapi_version=app.openapi_version,
            summary=app.summary,
            description=f"{app.description}\n{CONVENTIONS}",
            terms_of_service=app.terms_of_service,
            contact=app.contact,
            license_info=app.license_info,
            routes=app.routes,
            webhooks=app.webhooks.routes,
            tags=shown_tags,
            servers=app.servers,
            separate_input_output_schemas=app.separate_input_output_schemas,
            external_docs=app.openapi_external_docs,
        )


def id_of_method(operation_id: str, method: str, methods: Collection[str]) -> str:
    """The operation id of one of the methods of a route, which FastAPI gives to all of them: with the method in it."""
    if len(methods) < 2:
        return operation_id
    named = [f"_{name.lower()}" for name in methods if operation_id.endswith(f"_{name.lower()}")]
    if named:  # FastAPI's own id ends with any of the methods
        return f"{operation_id.removesuffix(named[0])}_{method.lower()}"
    return f"{operation_id}-{method.lower()}"


def documented(app: FastAPI) -> Iterator[tuple[APIRoute, str]]:
    """The routes in the document, each with its whole path."""
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute) and context.include_in_schema:
            yield context.original_route, str(context.path_format)


def table_of(route: APIRoute, operations: Operations) -> str | None:
    """The table of the resource that a route belongs to."""
    family = [part for other, _ in operations if other.tags == route.tags for part in dependencies_of(other.dependant)]
    return next((str(query.model.__tablename__) for query in filter(None, map(query_variant, family))), None)


def show_merge_patch(schema: Json) -> None:
    """A PATCH body is a JSON merge patch (RFC 7396), and may say so."""
    for operations in schema["paths"].values():
        content = operations.get("patch", {}).get("requestBody", {}).get("content", {})
        if "application/json" in content:
            content["application/merge-patch+json"] = content["application/json"]


def tags(operations: Operations, given: Sequence[Json]) -> list[Json]:
    """The tags that were given to the application, and of the others, what the module of each resource says."""
    modules = {
        str(getattr(tag, "value", tag)): inspect.getmodule(handler_of(route))
        for route, _ in operations
        for tag in route.tags[:1]
    }
    names = {tag["name"] for tag in given}
    others = {tag: inspect.getdoc(module) or "" for tag, module in modules.items() if tag not in names}
    return [*given, *({"name": tag, "description": description} for tag, description in others.items())]


def handler_of(route: APIRoute) -> Any:
    return route.handler if isinstance(route, Operation) else route.endpoint


def forgive_privacy(operations: Operations, schema: Json) -> None:
    """A private field is not shown to everybody, so no answer has to have it."""
    components = schema["components"]["schemas"]
    for variant in variants(Read):
        component = components.get(variant.__name__, {})
        if "required" in component:
            component["required"] = [name for name in component["required"] if name not in private_fields(variant)]


def variants(parent: type[Read]) -> Iterator[type[Read]]:
    for child in parent.__subclasses__():
        yield from (child, *variants(child))


def show_embedded(operations: Operations, schema: Json) -> None:
    """What `include` embeds, as optional properties of the answers of those operations that take it."""
    components = schema["components"]["schemas"]
    for route, path in operations:
        for query in filter(None, map(query_variant, dependencies_of(route.dependant))):
            if query.includes:
                name, plain = f"{query.read.__name__}Including", components[query.read.__name__]
                components[name] = plain | {"title": name, "properties": plain["properties"] | dict(embedded(query))}
                content = schema["paths"][path]["get"]["responses"]["200"]["content"]
                answer = content["application/json"]["schema"]
                answer.get("items", answer)["$ref"] = f"#/components/schemas/{name}"


def embedded(query: type[ListQuery]) -> Iterator[tuple[str, Json]]:
    for name, shown in query.includes.items():
        reference: Json = {"$ref": f"#/components/schemas/{read_variant(shown).__name__}"}
        many = sqlalchemy.inspect(query.model).relationships[name].uselist
        yield name, {"type": "array", "items": reference} if many else {"anyOf": [reference, {"type": "null"}]}
        if many:
            yield next_name(name), REST


REST: Json = {
    "anyOf": [{"type": "string", "format": "uri-reference"}, {"type": "null"}],
    "description": "Where the rest of them is; only if there are more. Null if no list leads there.",
}


def complete(operation: Json, table: str | None, components: Json) -> None:
    """Ids to try it out with, and the header that every answer has."""
    for parameter in operation.get("parameters", ()):
        items = parameter["schema"].get("items", {})
        if "const" in items:  # Swagger UI shows a list to choose from for an `enum` only
            items["enum"] = [items.pop("const")]
        if parameter["in"] == "path" and table is not None and not {"example", "examples"} & parameter.keys():
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
    operation["responses"]["207"] = {
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
