"""OpenAPI responses: the Response Object of each error status, and the Header Objects of response headers."""

from collections.abc import Iterator
from http import HTTPStatus

from kit.http.problems import MEDIA_TYPE, TITLES, error
from kit.openapi.references import Json

TEXT: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0, "format": "int64"}
TAG = '(W/)?"[!#-~]*"'
"""An entity tag, as a regular expression of JSON Schema (RFC 9110, section 8.8.3)."""
FAILURES = {
    400: ("malformed-body", "The body is not JSON: Expecting value at character 0."),
    401: ("unauthenticated", "A valid token is needed."),
    403: ("forbidden", "You may not do this."),
    404: ("not-found", "The resource does not exist."),
    408: ("request-timeout", "The body has to arrive with 16384 bytes per second."),
    409: ("taken", "name is taken: another row has this value."),
    412: ("version-mismatch", "The resource has another version now."),
    413: ("body-too-large", "The body may have at most 1048576 bytes."),
    415: ("unsupported-media-type", "The body must be application/json."),
    422: ("invalid", "The request is not valid; see errors."),
    429: ("too-many-attempts", "Too many failed attempts; try again later."),
    503: ("unavailable", "The database cannot serve this now; try again."),
    504: ("timeout", "The database took too long."),
}
HEADERS: dict[str, tuple[str, Json]] = {
    "X-Request-ID": (
        "The id of the request: the client's, or a new one. It is also in the log.",
        TEXT | {"pattern": "^[A-Za-z0-9._-]{1,128}$", "examples": ["0f8fad5b"]},
    ),
    "ETag": (
        "The version of the content: strong for one row, to be sent as `If-Match`; weak for several rows.",
        TEXT | {"pattern": f"^{TAG}$", "examples": ['"3"']},
    ),
    "Location": (
        "The path of the new row.",
        TEXT | {"format": "uri-reference"},
    ),
    "Link": (
        'The next page, as `<…>; rel="next"` (RFC 8288), relative to this host; absent on the last page.',
        TEXT | {"pattern": '^<[^>]*>; rel="next"$'},
    ),
    "X-Total-Count": ("The total number of rows, if `count=true`.", COUNT),
    "X-Total-Count-Estimate": ("An estimate of it, if `count=estimated`, for over 10,000 rows.", COUNT),
    "Retry-After": ("The number of seconds to wait.", COUNT),
    "RateLimit-Policy": (
        "The quota `q` of requests within `w` seconds, if there is one (draft-ietf-httpapi-ratelimit-headers).",
        TEXT | {"examples": ['"user";q=6000;w=60']},
    ),
    "RateLimit": (
        "The rest of the quota: `r` requests in the next `t` seconds.",
        TEXT | {"examples": ['"user";r=5999;t=42']},
    ),
    "WWW-Authenticate": ("`Bearer` (RFC 6750).", TEXT),
    "Accept": ("The media type that a body must have.", TEXT),
    "Accept-Patch": ("The media types that the body of a PATCH may have (RFC 5789).", TEXT),
    "Accept-Encoding": ("`identity`: a body may have no Content-Encoding.", TEXT),
    "Connection": ("`close`: the rest of the body is not read.", TEXT),
    "Idempotency-Replayed": (
        "`true` if this is the response to an earlier request with the same `Idempotency-Key`.",
        TEXT | {"enum": ["true"]},
    ),
}
"""The response headers by name, each with its description and its schema."""
HEADERS_OF = {
    401: ["WWW-Authenticate"],
    408: ["Connection"],
    413: ["Connection"],
    415: ["Accept", "Accept-Patch", "Accept-Encoding"],
    429: ["Retry-After"],
    503: ["Retry-After"],
}
OPTIONAL_HEADERS = (
    "Link", "X-Total-Count", "X-Total-Count-Estimate", "Idempotency-Replayed", "Accept", "Accept-Patch",
    "Accept-Encoding", "RateLimit-Policy", "RateLimit",
)  # fmt: skip
"""The headers that some responses of an operation lack."""
OF_EVERY_RESPONSE = ("X-Request-ID", "RateLimit-Policy", "RateLimit")


def header_object(name: str, *, is_required: bool) -> Json:
    """Return the Header Object of a header (OpenAPI 3.1, section 4.8.21)."""
    description, schema = HEADERS[name]
    return {"description": description, **({"required": True} if is_required else {}), "schema": schema}


def header_objects(*names: str) -> Json:
    """Return the Header Objects of these headers by name, required except those in `OPTIONAL_HEADERS`."""
    return {name: header_object(name, is_required=name not in OPTIONAL_HEADERS) for name in names}


def optional_header_objects(*names: str) -> Json:
    """Return the Header Objects of these headers by name, none of them required."""
    return {name: header_object(name, is_required=False) for name in names}


def failure(status: int) -> Json:
    """Return the Response Object of an error status, for the argument `responses` of a route: `{429: failure(429)}`."""
    kind, detail = FAILURES[status]
    title = TITLES.get(status) or HTTPStatus(status).phrase
    example: Json = {"type": f"urn:problem:{kind}", "title": title, "status": status, "detail": detail}
    example |= {"instance": "/…", "request_id": "0f8fad5b"}
    if status == 422:
        example["errors"] = [error("body", "#/name", "Text may not be blank", "string_blank")]
    if status == 503:
        example["outcome"] = "not_applied"
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}}
    return {"description": title, "headers": header_objects(*HEADERS_OF.get(status, ())), "content": content}


def responses_of(document: Json) -> Iterator[Json]:
    """Yield every Response Object in the operations of a document, except references to components."""
    for path in document.get("paths", {}).values():
        for operation in path.values():
            yield from (response for response in operation.get("responses", {}).values() if "$ref" not in response)
