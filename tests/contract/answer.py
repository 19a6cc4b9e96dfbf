"""Checks that apply to every response, and requests with bodies that JSON libraries would not write."""

import json
import re
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any
from urllib.parse import unquote

from fastapi.routing import RouteContext
from httpx import Response

from kit import Service
from kit.http.problems import MAX_INSTANCE
from tests.contract.field import Json, resolved
from tests.contract.operations import method_of, tested_operations
from tests.engines import Client

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
PROBLEM = {"type", "title", "status", "detail", "instance", "request_id"}
DOCUMENTED_HEADERS = (
    "etag",
    "location",
    "link",
    "x-total-count",
    "x-request-id",
    "retry-after",
    "idempotency-replayed",
    "accept",
    "accept-encoding",
    "www-authenticate",
)
MARKER = "zq9marker"
"""A part of invalid input, which no 422 may repeat."""


def tagged_version(answer: Response) -> str:
    """Return the version in the strong entity tag of a row, which may have a digest of the content too."""
    tag: str = answer.headers["etag"]
    return tag.removeprefix('"').removesuffix('"').partition(".")[0]


def watching(client: Client, app: Service) -> Client:
    """Make the client check every response from now on. Returns the same client."""
    client.event_hooks = {"response": [watcher(app)]}
    return client


def watcher(app: Service) -> Callable[[Response], Awaitable[None]]:
    async def watch(answer: Response) -> None:
        await answer.aread()
        told = f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:500]}"
        assert answer.status_code < 500, told
        assert REQUEST_ID.fullmatch(answer.headers["x-request-id"]), told
        if answer.status_code >= 400 and answer.request.method != "HEAD":
            check_problem(answer, told)
        check_documented(app, answer, told)

    return watch


def check_problem(answer: Response, told: str) -> None:
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json", told
    assert set(problem) >= PROBLEM, told
    assert problem["status"] == answer.status_code, told
    assert problem["request_id"] == answer.headers["x-request-id"], told
    assert unquote(problem["instance"]) == answer.request.url.path[:MAX_INSTANCE], told
    assert ("errors" in problem) == (answer.status_code == 422) or answer.status_code == 409, told
    for error in problem.get("errors", ()):
        assert set(error) == {"in", "pointer", "detail", "type"}, told
        assert error["in"] in ("body", "query", "path", "header"), told
        assert error["in"] != "body" or re.fullmatch("#(/.*)?", error["pointer"]), told
    assert MARKER not in json.dumps(problem.get("errors", "")), told


@cache  # the tests get thousands of responses of the same application
def headers_of_operations(app: Service) -> list[tuple[RouteContext, dict[str, set[str]]]]:
    """Return the operations, each with the documented headers by status."""
    document, found = app.openapi(), []
    for route in tested_operations(app):
        responses = document["paths"][route.path_format][method_of(route).lower()]["responses"]
        headers = {status: resolved(document, response).get("headers", {}) for status, response in responses.items()}
        found.append((route, {status: {name.lower() for name in names} for status, names in headers.items()}))
    return found


def check_documented(app: Service, answer: Response, told: str) -> None:
    method, path = answer.request.method.replace("HEAD", "GET"), answer.request.url.path
    for route, headers in headers_of_operations(app):
        if method == method_of(route) and route.path_regex.match(path):
            assert str(answer.status_code) in headers, f"not documented: {told}"
            unknown = {name for name in DOCUMENTED_HEADERS if name in answer.headers} - headers[str(answer.status_code)]
            assert not unknown, f"{unknown} are not documented: {told}"
            return


async def send(client: Client, method: str, url: str, content: object, **headers: str) -> Response:
    """Send these bytes, or this value as JSON in ASCII, which may contain a lone surrogate."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return await client.request(method, url, content=raw, headers={"content-type": "application/json"} | headers)


def with_raw(body: Json, name: str, token: str) -> bytes:
    """Return the body with a field whose JSON text is exactly this token."""
    return json.dumps(body | {name: "@raw@"}).replace('"@raw@"', token).encode()


def errors(answer: Response) -> list[dict[str, Any]]:
    assert answer.status_code == 422, f"{answer.request.method} {answer.request.url}: {answer.text[:500]}"
    found: list[dict[str, Any]] = answer.json()["errors"]
    return found


def pointers(answer: Response) -> set[str]:
    return {error["pointer"].split("/")[1] if "/" in error["pointer"] else error["pointer"] for error in errors(answer)}


def refused(answer: Response, name: str) -> bool:
    """Return whether a response is a 422 that points at this field or parameter."""
    return name in pointers(answer)
