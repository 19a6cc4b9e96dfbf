"""OpenAPI responses: each failure as a problem, with an example and its headers."""

from http import HTTPStatus
from typing import Any

from kit.http.problems import MEDIA_TYPE, TITLES, error

Json = dict[str, Any]
TEXT: Json = {"type": "string"}
FAILURES = {
    400: ("malformed-body", "The body is not JSON: Expecting value at character 0."),
    401: ("unauthenticated", "A valid token is needed: see POST /auth/token."),
    403: ("forbidden", "You may not do this."),
    404: ("not-found", "The resource does not exist."),
    409: ("taken", "name is taken: another row has this value."),
    412: ("version-mismatch", "The thing has another version by now."),
    413: ("body-too-large", "The body may have at most 1048576 bytes."),
    415: ("unsupported-media-type", "The body must be application/json."),
    422: ("invalid", "The request is not valid; see errors."),
    429: ("too-many-attempts", "Too many failed attempts; try again later."),
    503: ("unavailable", "The database cannot serve this now; try again."),
    504: ("timeout", "The database took too long."),
}
HEADERS = {
    "X-Request-ID": "The caller's, or a new one; the log has it too.",
    "ETag": "The version of what is answered.",
    "Location": "Where the new thing is.",
    "Link": 'The next page, as `<…>; rel="next"`; absent on the last one.',
    "X-Total-Count": "How many there are in all, if `count=true`.",
    "Retry-After": "Seconds to wait.",
    "WWW-Authenticate": "`Bearer` (RFC 6750).",
    "Accept": "The media type that a body must have.",
    "Accept-Encoding": "`identity`: a body may have no Content-Encoding.",
    "Connection": "`close`: what is left of the body is not read.",
    "Idempotency-Replayed": "`true` if this is the answer to an earlier request with the same `Idempotency-Key`.",
}
HEADERS_OF = {
    401: ["WWW-Authenticate"],
    413: ["Connection"],
    415: ["Accept", "Accept-Encoding"],
    429: ["Retry-After"],
    503: ["Retry-After"],
}
SOMETIMES = ("Link", "X-Total-Count", "Idempotency-Replayed", "Accept", "Accept-Encoding")


def headers(*names: str) -> Json:
    return {name: {"description": HEADERS[name], "required": name not in SOMETIMES, "schema": TEXT} for name in names}


def optional(*names: str) -> Json:
    return {name: header | {"required": False} for name, header in headers(*names).items()}


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
    return {"description": title, "headers": headers(*HEADERS_OF.get(status, ())), "content": content}


def share_failures(schema: Json) -> None:
    """Say every failure once, and refer to it: said at each operation, they were two thirds of the document."""
    shared: Json = {}
    schema["components"]["responses"] = shared
    for operation in (operation for path in schema["paths"].values() for operation in path.values()):
        for status, response in operation["responses"].items():
            if status >= "400":
                operation["responses"][status] = {"$ref": f"#/components/responses/{name_among(shared, response)}"}


def name_among(shared: Json, response: Json) -> str:
    """The name of this response, which it gets now if it is the first of its kind."""
    plain = "".join(word for word in response["description"].split())
    names = [plain, *(f"{plain}{number}" for number in range(2, len(shared) + 2))]
    return next(name for name in names if shared.setdefault(name, response) == response)


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
