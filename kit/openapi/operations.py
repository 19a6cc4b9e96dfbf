"""What do the docs say of an operation: its parameters, its headers, and every way in which it can fail."""

from collections.abc import Iterator
from inspect import ismethod
from typing import get_args, get_origin

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from kit.models.entities import Read
from kit.openapi.responses import TEXT, Json, failure, headers, optional
from kit.operations.preconditions import Precondition
from kit.query.list_query import ListQuery

SUCCESSES = {200: "As it is now.", 201: "Created.", 204: "Deleted."}
ORDER = ("limit", "sort", "q", "include", "fields", "count", "cursor", "offset")  # then the filters


def query_parameters(dependant: Dependant) -> list[str] | None:
    """The query parameters of an operation; None if a query variant among its dependencies looks after them."""
    if any(query_variant(part) for part in dependant.dependencies):
        return None
    return [field.alias for field in dependant.query_params]


def query_variant(dependant: Dependant) -> type[ListQuery] | None:
    owner = getattr(dependant.call, "__self__", dependant.call)
    return owner if isinstance(owner, type) and issubclass(owner, ListQuery) else None


def reads(route: APIRoute) -> bool:
    return route.methods == {"GET"}


def operation(route: APIRoute) -> None:
    """Add to a route's OpenAPI what FastAPI cannot know."""
    success = route.status_code or 200
    described: dict[int | str, Json] = {success: {"headers": headers(*success_headers(route, success))}}
    route.response_description = SUCCESSES[success]
    if reads(route) and is_tagged(route):
        described[304] = {"description": "Not changed since; the body is empty."} | described[success]
    for status in failures(route):
        described[status] = failure(status)
    if route.methods == {"POST"}:
        described[409]["headers"] |= optional("Retry-After", "Idempotency-Replayed")
    route.responses = described | route.responses
    route.openapi_extra = {"parameters": list(parameters(route))} | (route.openapi_extra or {})


def parameters(route: APIRoute) -> Iterator[Json]:
    for dependant in route.dependant.dependencies:
        if variant := query_variant(dependant):
            known = variant.shaping if ismethod(dependant.call) else variant.parameters
            ordered = {name: known[name] for name in ORDER if name in known} | dict(known)
            yield from (parameter.openapi() for parameter in ordered.values())
    if reads(route) and is_tagged(route):
        description = "Answer 304 if the ETag is still one of these."
        yield {"name": "If-None-Match", "in": "header", "description": description, "schema": TEXT}
    if has_precondition(route):
        description = 'Only if it still has this version, as in `"3"`, or `*`; else 412.'
        yield {"name": "If-Match", "in": "header", "description": description, "schema": TEXT}
    if route.methods == {"POST"}:
        description = (
            "To send the request again safely: for a day, the same key gets the same answer, and nothing more."
        )
        schema = TEXT | {"minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        yield {"name": "Idempotency-Key", "in": "header", "description": description, "schema": schema}


def has_precondition(route: APIRoute) -> bool:
    return any(part.call is Precondition for part in route.dependant.dependencies)


def is_tagged(route: APIRoute) -> bool:
    """Has its answer an ETag? One thing has, and a list; what is put together from several has none."""
    model = route.response_model
    shown = get_args(model)[0] if reads(route) and get_origin(model) is list else model
    return isinstance(shown, type) and issubclass(shown, Read)


def success_headers(route: APIRoute, status: int) -> Iterator[str]:
    many = get_origin(route.response_model) is list
    if is_tagged(route):
        yield "ETag"
    if status == 201 and not many:
        yield "Location"
    if is_tagged(route) and many:
        yield from ("Link", "X-Total-Count")
    if route.methods == {"POST"}:
        yield "Idempotency-Replayed"


def failures(route: APIRoute) -> Iterator[int]:
    yield from (401, 403)
    if route.body_field:
        yield from (400, 413, 415)
    if route.dependant.path_params or route.methods == {"PATCH"}:
        yield 404
    if not reads(route):
        yield 409
    if has_precondition(route):
        yield 412
    yield from (422, 503, 504)
