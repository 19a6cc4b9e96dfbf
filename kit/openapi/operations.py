"""OpenAPI operations: parameters, headers, and every failure of an operation."""

from collections.abc import Iterator
from inspect import ismethod
from typing import get_args, get_origin

from kit.models.reads import Read
from kit.openapi.responses import TEXT, Json, failure, headers, optional
from kit.operations.preconditions import precondition_of
from kit.operations.route import Operation, dependencies_of, query_variant

SUCCESSES = {200: "As it is now.", 201: "Created.", 204: "Deleted."}
UNDESCRIBED = "Successful Response"
"""FastAPI's description of a response that has none."""
ORDER = ("limit", "sort", "q", "include", "fields", "count", "cursor", "offset")  # then the filters


def reads(route: Operation) -> bool:
    return route.methods <= {"GET", "HEAD"}


def describe(route: Operation) -> None:
    """Add to the OpenAPI of a route what FastAPI cannot know, once."""
    if route.is_described:
        return
    route.is_described = True
    success = route.status_code or 200
    described: dict[int | str, Json] = {success: {"headers": headers(*success_headers(route, success))}}
    if route.response_description == UNDESCRIBED:
        route.response_description = SUCCESSES.get(success, UNDESCRIBED)
    if reads(route) and is_tagged(route):
        described[304] = {"description": "Not changed since; the body is empty."} | described[success]
    for status in failures(route):
        described[status] = failure(status)
    if "POST" in route.methods:
        described[409]["headers"] |= optional("Retry-After", "Idempotency-Replayed")
    route.responses = described | route.responses
    extra = route.openapi_extra or {}
    route.openapi_extra = extra | {"parameters": [*parameters(route), *extra.get("parameters", ())]}


def parameters(route: Operation) -> Iterator[Json]:
    for dependant in dependencies_of(route.dependant):
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
    if "POST" in route.methods:
        description = (
            "To send the request again safely: for a day, the same key gets the same answer, and nothing more."
        )
        schema = TEXT | {"minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        yield {"name": "Idempotency-Key", "in": "header", "description": description, "schema": schema}


def has_precondition(route: Operation) -> bool:
    return any(part.call is precondition_of for part in dependencies_of(route.dependant))


def is_tagged(route: Operation) -> bool:
    """Has its answer an ETag? One thing has, and a list; what is put together from several has none."""
    model = route.response_model
    shown = get_args(model)[0] if reads(route) and get_origin(model) is list else model
    return isinstance(shown, type) and issubclass(shown, Read)


def success_headers(route: Operation, status: int) -> Iterator[str]:
    many = get_origin(route.response_model) is list
    if is_tagged(route):
        yield "ETag"
    if status == 201 and not many:
        yield "Location"
    if is_tagged(route) and many:
        yield from ("Link", "X-Total-Count")
    if "POST" in route.methods:
        yield "Idempotency-Replayed"


def failures(route: Operation) -> Iterator[int]:
    yield from (401, 403)
    if route.body_field:
        yield from (400, 413, 415)
    if route.dependant.path_params or "PATCH" in route.methods:
        yield 404
    if not reads(route):
        yield 409
    if has_precondition(route):
        yield 412
    yield from (422, 503, 504)
