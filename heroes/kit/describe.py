"""What do the docs say of an operation: its parameters, its headers, and every way in which it can fail."""

from collections.abc import Iterator
from http import HTTPStatus
from inspect import ismethod
from typing import Any, get_args, get_origin

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from heroes.kit.model import Read
from heroes.kit.precondition import Precondition
from heroes.kit.problem import MEDIA_TYPE, TITLES, error
from heroes.kit.query import ListQuery

Json = dict[str, Any]
SUCCESSES = {200: "As it is now.", 201: "Created.", 204: "Deleted."}
FAILURES = {
    400: ("malformed-body", "The body is not JSON: Expecting value at character 0."),
    404: ("not-found", "There is no such thing."),
    409: ("taken", "name is taken: another one has this value."),
    412: ("version-mismatch", "The thing has another version by now."),
    413: ("body-too-large", "The body may have at most 1048576 bytes."),
    415: ("unsupported-media-type", "The body must be application/json."),
    422: ("invalid", "The request is not valid; see errors."),
    503: ("unavailable", "The database cannot serve this now; try again."),
    504: ("timeout", "The database took too long."),
}
ORDER = ("limit", "sort", "q", "include", "fields", "count", "cursor", "offset")  # then the filters
HEADERS = {
    "X-Request-ID": "The caller's, or a new one; the log has it too.",
    "ETag": "The version of what is answered.",
    "Location": "Where the new thing is.",
    "Link": 'The next page, as `<…>; rel="next"`; absent on the last one.',
    "X-Total-Count": "How many there are in all, if `count=true`.",
    "Retry-After": "Seconds to wait.",
}
SOMETIMES = ("Link", "X-Total-Count")


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


def failures(route: APIRoute) -> Iterator[int]:
    if route.body_field:
        yield from (400, 413, 415)
    if route.dependant.path_params or route.methods == {"PATCH"}:
        yield 404
    if not reads(route):
        yield 409
    if any(part.call is Precondition for part in route.dependant.dependencies):
        yield 412
    yield from (422, 503, 504)


def headers(*names: str) -> Json:
    return {name: {"description": HEADERS[name], "required": name not in SOMETIMES, "schema": TEXT} for name in names}


def failure(status: int) -> Json:
    kind, detail = FAILURES[status]
    title = TITLES.get(status) or HTTPStatus(status).phrase
    example: Json = {"type": f"urn:problem:{kind}", "title": title, "status": status, "detail": detail}
    example |= {"instance": "/…", "request_id": "0f8fad5bd9cb469fa16570867728950e"}
    if status == 422:
        example["errors"] = [error("body", "#/name", "Text may not be blank", "string_blank")]
    if status == 503:
        example["outcome"] = "not_applied"
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}}
    return {"description": title, "headers": headers(*(["Retry-After"] if status == 503 else [])), "content": content}


TEXT: Json = {"type": "string"}
ERROR_SCHEMA: Json = {
    "type": "object",
    "required": ["in", "pointer", "detail", "type"],
    "properties": {
        "in": TEXT | {"enum": ["body", "query", "path", "header"]},
        "pointer": TEXT | {"description": "An RFC 6901 fragment in a body, a name elsewhere."},
        **dict.fromkeys(("detail", "type"), TEXT),
    },
}
PROBLEM_SCHEMA: Json = {
    "title": "Problem",
    "description": "Problem details, RFC 9457.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
    "properties": {
        "type": TEXT | {"format": "uri", "description": "What kind of problem; it never changes."},
        **dict.fromkeys(("title", "detail", "request_id"), TEXT),
        "status": {"type": "integer"},
        "instance": TEXT | {"description": "The path."},
        "outcome": TEXT | {"enum": ["not_applied", "unknown"], "description": "Of a write, with a 503."},
        "errors": {"type": "array", "items": ERROR_SCHEMA, "description": "With a 422 or 409: what is wrong."},
    },
}
