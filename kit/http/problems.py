"""Problem details (RFC 9457): the format of all error responses."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.responses import Response
from starlette.types import Scope

from kit.http.events import COUNTS
from kit.http.locations import path_in
from kit.http.paths import instance_of

T = TypeVar("T")
MEDIA_TYPE = "application/problem+json"
TAKEN = "taken"
"""The kind of the 409 for a unique value that another row has."""
MAX_ERRORS = 100
MAX_POINTER = 200
MAX_INSTANCE = 1000
"""The maximum length of the path in `instance`. `MAX_ERRORS` and `MAX_POINTER` bound the elements of `errors`."""
WITHOUT_CONTENT = (204, 205, 304)
TITLES = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content", 499: "Client Closed Request"}
"""The reason phrases of RFC 9110 where Python 3.11 has older ones, and of nginx's 499 (the client disconnected)."""
MESSAGES = {
    "uuid_parsing": "Input should be a valid UUID",
    "union_tag_invalid": "Input should have a tag that is known",
    "timezone_offset": "Input should have another timezone offset",
    "bytes_invalid_encoding": "Input should be valid bytes",
    "get_attribute_error": "Input should have valid attributes",
    "iteration_error": "Input should be iterable",
    "mapping_type": "Input should be a valid mapping",
}
"""Replacements, by type of error, for messages of pydantic that contain the input or an exception about it."""
LEAP_SECOND = re.compile(r"([0-9-]{10}[Tt ])?[0-9]{2}:[0-9]{2}:60(\.[0-9]+)?([Zz]|[ +-][0-9]{2}:[0-9]{2})?")
"""A time in RFC 3339 with second 60, which neither Python nor the databases have."""
NO_LEAP_SECONDS = "Leap seconds cannot be stored: send second 59, or second 0 of the next minute"
MAX_DETAIL = 5000
"""The maximum length of a message, because validators of the application may repeat the input."""


class Problem(HTTPException):
    """An exception with an error response of type `urn:problem:{kind}`. `extra` are further members of its JSON."""

    origin: Exception | None = None
    """The exception that the kit has replaced by this problem, for exception handlers of the application."""

    def __init__(
        self, status: int, detail: str, *, kind: str, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(status, detail, headers)
        self.kind, self.extra = kind, extra


def problem_from(failure: HTTPException) -> Problem:
    """Return the problem for an HTTPException. Its kind is the reason phrase of the status, such as `not-found`."""
    if isinstance(failure, Problem):
        return failure
    if isinstance(failure.__context__, MultiPartException):
        return malformed(f"The body is not a form: {failure.detail}")
    kind = phrase(failure.status_code).lower().replace(" ", "-").replace("'", "")
    if isinstance(failure.detail, str):
        return Problem(failure.status_code, failure.detail, kind=kind, headers=failure.headers)
    detail = f"{phrase(failure.status_code)}."
    return Problem(failure.status_code, detail, kind=kind, headers=failure.headers, information=failure.detail)


def phrase(status: int) -> str:
    """Return the reason phrase of a status, such as `Not Found`; `Error` for an unknown one."""
    return TITLES.get(status) or (HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error")


def malformed(detail: str) -> Problem:
    """Return a 400 for a body that cannot be parsed."""
    return Problem(400, detail, kind="malformed-body")


def too_large(limit: int | None = None, unit: str = "bytes") -> Problem:
    """Return a 413 for a body over `limit`, which the detail names unless it is None."""
    COUNTS["refused", "body"] += 1
    detail = "The body is too large." if limit is None else f"The body may have at most {limit} {unit}."
    return Problem(413, detail, kind="body-too-large", headers={"Connection": "close"})


def found(value: T | None) -> T:
    """Return the value. Raises a 404 if it is None.

    A row that the caller may not see is None too, so that a client cannot distinguish it from an absent row.
    """
    if value is None:
        raise not_found()
    return value


def not_found(headers: Mapping[str, str] | None = None, **extra: Any) -> Problem:
    """Return a 404. `extra` are further members of its JSON."""
    return Problem(404, "The resource does not exist.", kind="not-found", headers=headers, **extra)


def conflict(fields: str | Sequence[str], detail: str, kind: str) -> Problem:
    """Return a 409 with an element of `errors` for each of these fields."""
    named = [fields] if isinstance(fields, str) else fields
    return Problem(409, detail, kind=kind, errors=[error("body", pointer_to(name), detail, kind) for name in named])


def pointer_to(field: str) -> str:
    """Return the JSON Pointer of a field of the body; that of the body for a text such as `email or username`."""
    return "#" if " " in field else fragment([field])


def taken(*fields: str) -> Problem:
    """Return a 409 for unique fields whose values another row has; a field may be given as `email or username`."""
    verb, value = ("is", "this value") if len(fields) == 1 else ("are", "these values")
    return conflict(fields, f"{' and '.join(fields)} {verb} taken: another row has {value}.", TAKEN)


def missing_reference(*fields: str) -> Problem:
    """Return a 409 for fields that refer to a row that does not exist."""
    verb = "refers" if len(fields) == 1 else "refer"
    return conflict(fields, f"{' and '.join(fields)} {verb} to something that does not exist.", "missing-reference")


def deadline_exceeded() -> Problem:
    """Return a 504 for a request that has passed its deadline."""
    return Problem(504, "The request took too long.", kind="timeout")


def invalid(errors: Iterable[Mapping[str, str]], *, more: int = 0) -> Problem:
    """Return a 422 with the first `MAX_ERRORS` errors, as `error` and `describe` make them.

    The member `more_errors` has the number of the others, plus `more`, the number of errors that are not passed.
    """
    errors = list(errors)
    listed, more = errors[:MAX_ERRORS], more + max(0, len(errors) - MAX_ERRORS)
    extra: dict[str, Any] = {"errors": listed} | ({"more_errors": more} if more else {})
    return Problem(422, "The request is not valid; see errors.", kind="invalid", **extra)


def unavailable(outcome: str, detail: str = "The database cannot serve this now; try again.") -> Problem:
    """Return a 503. `outcome` says whether a write took effect: `not_applied` or `unknown`."""
    return Problem(503, detail, kind="unavailable", headers={"Retry-After": "1"}, outcome=outcome)


def error(where: str, pointer: str, detail: str, kind: str) -> dict[str, str]:
    """Return an element of `errors`. `where` is `body`, `query`, `path` or `header`; `pointer` is cut off if long."""
    return {"in": where, "pointer": pointer[:MAX_POINTER], "detail": detail, "type": kind}


def describe(failure: ErrorDetails | Mapping[str, Any], body: Any = None) -> dict[str, str]:
    """Return an element of `errors` for an error of pydantic. It does not contain the input.

    `body` is the parsed body of the request, in which the pointer of the error is found.
    """
    where, *path = failure["loc"] or ("body",)
    if where == "body":
        pointer = fragment(path_in(body, failure))
    else:  # the names of members of unions are texts too
        pointer = ".".join([str(part) for part in path if part is path[0] or isinstance(part, int)])
    if is_leap_second(failure):
        return error(str(where), pointer, NO_LEAP_SECONDS, "leap_second")
    message = MESSAGES.get(failure["type"], failure["msg"])[:MAX_DETAIL]
    if failure["type"] == "union_tag_invalid" and "ctx" in failure:
        message = f"{message}: {failure['ctx']['expected_tags']}"
    return error(str(where), pointer, message, failure["type"])


def is_leap_second(failure: ErrorDetails | Mapping[str, Any]) -> bool:
    """Return whether an error of pydantic is about a time with second 60."""
    is_of_time, given = failure["type"].startswith(("datetime_", "time_")), failure.get("input")
    return is_of_time and isinstance(given, str) and LEAP_SECOND.fullmatch(given) is not None


def fragment(path: Iterable[int | str]) -> str:
    """Return a JSON Pointer in its URI fragment representation (RFC 6901, section 6)."""
    return "#" + "".join(
        "/" + quote(str(part)[:MAX_POINTER].replace("~", "~0").replace("/", "~1"), errors="replace") for part in path
    )


def content(scope: Scope, problem: Problem) -> dict[str, Any]:
    """Return the members of the JSON object of a problem."""
    status, state = problem.status_code, scope.get("state", {})
    return {
        "type": f"urn:problem:{problem.kind}",
        "title": phrase(status),
        "status": status,
        "detail": problem.detail,
        "instance": instance_of(scope, MAX_INSTANCE),
        "request_id": state.get("request_id", ""),
        **({"trace_id": state["trace_id"]} if "trace_id" in state else {}),
        **problem.extra,
    }


def render(scope: Scope, problem: Problem) -> Response:
    """Return the response of type `application/problem+json` for a problem (RFC 9457).

    Statuses that permit no content (RFC 9110) have none, as in Starlette.
    """
    if problem.status_code < 200 or problem.status_code in WITHOUT_CONTENT:
        return Response(None, problem.status_code, problem.headers)
    body = json.dumps(content(scope, problem), separators=(",", ":"))  # ASCII: UTF-8 cannot encode lone surrogates
    return Response(body, problem.status_code, dict(problem.headers or {}), MEDIA_TYPE)
