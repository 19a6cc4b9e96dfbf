"""OpenAPI operations: adds the parameters, headers, error responses and descriptions that the kit implements."""

import inspect
from collections.abc import Iterator
from typing import get_args, get_origin

import sqlalchemy
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from kit.openapi.operation_kinds import (
    has_etag,
    has_precondition,
    is_bulk,
    is_conditional_creation,
    is_merge,
    is_read,
    query_of,
    takes_key,
    takes_session,
)
from kit.openapi.operation_parameters import parameters
from kit.openapi.problem_schema import bulk_outcome
from kit.openapi.references import Json
from kit.openapi.responses import failure, header_objects, optional_header_objects
from kit.operations.route import Operation
from kit.query.embedding import next_name, read_variant
from kit.query.list_query import ListQuery

HINTS = "x-kit"
"""The key in `openapi_extra` of a route for its hints: facts for `completion`, which removes them from the document."""
ROUTE = "route"
"""The key of the route itself in its hints."""
SUCCESSES = {200: "As it is now.", 201: "Created.", 204: "Deleted."}
UNDESCRIBED = "Successful Response"
"""FastAPI's default description of a response."""
NEXT_LINK: Json = {
    "anyOf": [{"type": "string", "format": "uri-reference"}, {"type": "null"}],
    "description": "A link to the other rows, if there are more. Null if there is no list of them.",
}
LIST = "`Link` leads to the next page."
ONE = "`ETag` is its version."
BULK = "All elements in one transaction. With `on_error=skip`, a 207 lists the created rows and the failures."
DESCRIPTIONS = {
    "POST": "`Location` leads to the new row.",
    "PUT": "Missing fields are set to their defaults.",
    "PATCH": "Missing fields are unchanged.",
    "DELETE": "A 404 if the row does not exist.",
}
"""Default descriptions of operations on rows, for handlers without a docstring."""


def hints_of(route: APIRoute) -> Json:
    """Return the hints of a route, to read and change. Copies of the route in including routers share them."""
    if route.openapi_extra is None or HINTS not in route.openapi_extra:
        handler = route.handler if isinstance(route, Operation) else route.endpoint
        module = inspect.getmodule(inspect.unwrap(handler))
        docstring = "" if module is None else inspect.getdoc(module) or ""
        route.openapi_extra = {**(route.openapi_extra or {}), HINTS: {"module": docstring, "public": []}}
    hints: Json = route.openapi_extra[HINTS]
    return hints


def describe(route: APIRoute) -> None:
    """Complete the OpenAPI of a route when it is registered. `add_parameters` adds the parts that take long later."""
    hints = hints_of(route)
    if not isinstance(route, Operation) or route.is_described:
        return
    route.is_described = True
    query, hints["is_merge"] = query_of(route), is_merge(route)
    if query is not None:
        hints["table"] = str(query.model.__tablename__)
    describe_responses(route)
    route.description = route.description or description(route)
    extra = dict(route.openapi_extra or {})
    hints[ROUTE], hints["parameters"] = route, extra.pop("parameters", [])
    route.openapi_extra = extra


def add_parameters(operation: Json) -> None:
    """Add the kit's parameters, and the schemas for `include`, to an operation of a document."""
    hints = operation.get(HINTS, {})
    route = hints.get(ROUTE)
    if route is None:
        return
    operation[HINTS] = {name: hint for name, hint in hints.items() if name not in (ROUTE, "parameters")}
    if every := [*operation.get("parameters", ()), *parameters(route), *hints["parameters"]]:
        operation["parameters"] = every
    query = query_of(route)
    if query is not None and has_etag(route) and is_read(route):
        operation[HINTS]["embedded"] = embedded_schemas(query)


def describe_responses(route: Operation) -> None:
    """Add the headers of successful responses, and the 304, 207 and error responses that apply, to a route."""
    success = route.status_code or 200
    described: dict[int | str, Json] = {success: {"headers": header_objects(*success_headers(route, success))}}
    if route.response_description == UNDESCRIBED and (success != 204 or route.methods == {"DELETE"}):
        route.response_description = SUCCESSES.get(success, UNDESCRIBED)
    if is_read(route) and has_etag(route):
        described[304] = {"description": "Not Modified"} | described[success]
    if is_bulk(route):
        described[207] = {
            "model": bulk_outcome(get_args(route.response_model)[0]),
            "description": "With `on_error=skip`.",
            "headers": header_objects("Idempotency-Replayed"),
        }
        partial_success = APIRoute("/", lambda: None, responses={207: described[207]}, response_model=None)
        route.response_fields = partial_success.response_fields | route.response_fields
    for status in failures(route):
        described[status] = failure(status)
    if takes_key(route):
        described[409]["headers"] |= optional_header_objects("Retry-After", "Idempotency-Replayed")
    route.responses = described | route.responses


def description(route: Operation) -> str:
    if is_bulk(route):
        return BULK
    if not has_etag(route) and route.methods != {"DELETE"}:
        return ""
    if is_read(route):
        return "" if query_of(route) is None else LIST if get_origin(route.response_model) is list else ONE
    return DESCRIPTIONS.get(next(iter(route.methods)), "")


def embedded_schemas(query: type[ListQuery]) -> Json:
    """Return the schemas of the properties that the parameter `include` adds, by property."""
    schemas: Json = {}
    for name, variant in query.includes.items():
        read = read_variant(variant, query.model, name)
        schema = TypeAdapter(read).json_schema(mode="serialization")
        definitions = schema.pop("$defs", {})
        if "$ref" not in schema:  # the schema of a recursive model is a reference already
            definitions[read.__name__], schema = schema, {"$ref": f"#/$defs/{read.__name__}"}
        many = sqlalchemy.inspect(query.model).relationships[name].uselist
        member: Json = {"type": "array", "items": schema} if many else {"anyOf": [schema, {"type": "null"}]}
        schemas[name] = member | {"description": f"Only with `include={name}`.", "$defs": definitions}
        if many:
            schemas[next_name(name)] = NEXT_LINK
    return schemas


def success_headers(route: Operation, status: int) -> Iterator[str]:
    """Yield the names of the headers of an operation's successful response."""
    many = get_origin(route.response_model) is list
    if has_etag(route):
        yield "ETag"
    if status == 201 and not many:
        yield "Location"
    if has_etag(route) and many:
        yield from ("Link", "X-Total-Count", "X-Total-Count-Estimate")
    if takes_key(route):
        yield "Idempotency-Replayed"


def failures(route: Operation) -> Iterator[int]:
    """Yield the status codes of the error responses of an operation."""
    yield from (401, 403)
    if route.body_field:
        yield 400
    if not is_read(route):  # a DELETE may have a body too
        yield from (408, 413, 415)
    if route.dependant.path_params or "PATCH" in route.methods:
        yield 404
    if not is_read(route) and (takes_key(route) or takes_session(route)):
        yield 409
    if has_precondition(route) or is_conditional_creation(route):
        yield 412
    yield from (422, 429, 503, 504)
