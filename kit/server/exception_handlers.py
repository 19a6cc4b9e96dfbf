"""Exception handlers: make a problem (RFC 9457) of every exception."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope
from starlette.websockets import WebSocket, WebSocketState

from kit.database.error_responses import explained
from kit.database.errors import FAILURES
from kit.http.paths import ROOT_PATH
from kit.http.problems import (
    MAX_ERRORS,
    Problem,
    describe,
    invalid,
    malformed,
    not_found,
    problem_from,
    render,
    too_large,
)
from kit.operations.failures import NOT_JSON, DefaultHandler, call_handler, exception_for_handlers, own_handler
from kit.server.admission import DENIAL
from kit.server.failed_requests import internal_error
from kit.server.lifespan import LifespanState

METHODS = ("DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT")
POLICY_VIOLATION, INTERNAL_ERROR = 1008, 1011
"""The close codes of WebSockets for client and server errors (RFC 6455, section 7.4.1)."""
MAX_REASON = 123
"""The maximum length of a close frame's reason in bytes (RFC 6455, section 5.5)."""
Handler = Callable[[Any, Any], Awaitable[Response | None]]


def exception_handlers(lifespan: LifespanState) -> dict[Any, Handler]:
    """Return the default handlers of a service by exception class. An application may override them."""
    return {
        HTTPException: DefaultHandler(respond_to_http_exception, lifespan),
        RequestValidationError: DefaultHandler(respond_to_invalid_request),
        WebSocketException: DefaultHandler(close_websocket),
        **dict.fromkeys(FAILURES, DefaultHandler(respond_to_database_error, lifespan)),
        Exception: DefaultHandler(respond_to_unexpected_exception),
    }


async def respond_to_http_exception(
    lifespan: LifespanState, connection: HTTPConnection, failure: HTTPException
) -> Response | None:
    """Return the problem for an HTTPException, with better details for those of Starlette and FastAPI.

    Of a route without a unit of work, a problem in place of another exception has the application's handler for that.
    """
    original = exception_for_handlers(connection.app, failure)
    if original is not failure:
        return await respond_by(own_handler(connection.app, original), connection, original)
    if failure.status_code == 405 and isinstance(connection, Request):
        return render(connection.scope, not_allowed(connection, failure))
    if failure.status_code == 404 and failure.detail == "Not Found":
        return await problem_response(connection, not_found(failure.headers))
    if failure.status_code == 413 and failure.detail == "Content Too Large":  # FastAPI's, over `max_body_size`
        return await problem_response(connection, too_large())
    return await problem_response(connection, with_explanation(problem_from(failure), lifespan))


async def respond_to_invalid_request(request: Request, failure: RequestValidationError) -> Response:
    raised: Any = failure.errors()
    parts = raised if isinstance(raised, list | tuple) else [raised]
    errors = [completed(error) for error in parts[:MAX_ERRORS]]
    if errors and errors[0]["msg"] == NOT_JSON:
        return render(request.scope, malformed(errors[0]["ctx"]["error"]))
    described = [describe(error, failure.body) for error in errors]
    return render(request.scope, invalid(described, more=len(parts) - len(errors)))


def completed(error: object) -> dict[str, Any]:
    """Return an error with the members that those of pydantic have: code of the application may raise any object."""
    given = dict(error) if isinstance(error, Mapping) else {"msg": error}
    where = given.get("loc", ())
    return given | {
        "loc": tuple(where) if isinstance(where, list | tuple) else (where,),
        "type": str(given.get("type", "value_error")),
        "msg": str(given.get("msg", "The input is invalid")),
    }


async def respond_to_database_error(
    lifespan: LifespanState, connection: HTTPConnection, failure: Exception
) -> Response | None:
    """Return the response to a database error of a route without a unit of work. Raises a programming error again.

    A handler of the application for a base class, such as SQLAlchemyError, takes precedence.
    """
    if (handler := own_handler(connection.app, failure)) is not None:
        return await respond_by(handler, connection, failure)
    problem = explained(failure)
    if not isinstance(problem, Problem):
        raise failure
    return await problem_response(connection, with_explanation(problem, lifespan))


async def respond_by(handler: Any, connection: HTTPConnection, failure: Exception) -> Response | None:
    response: Response | None = await call_handler(handler, connection, failure)
    return response


async def respond_to_unexpected_exception(connection: HTTPConnection, _: Exception) -> Response | None:
    """Return a 500 without internal details. The log has the traceback with the same request id."""
    return await problem_response(connection, internal_error())


async def problem_response(connection: HTTPConnection, problem: Problem) -> Response | None:
    """Return the response with a problem. A WebSocket that was accepted is closed, and None is returned.

    A WebSocket is also closed if the server does not support refusals by HTTP responses.
    """
    if isinstance(connection, WebSocket):
        is_accepted = connection.application_state is not WebSocketState.CONNECTING
        if is_accepted or DENIAL not in connection.scope.get("extensions", {}):
            code = POLICY_VIOLATION if problem.status_code < 500 else INTERNAL_ERROR
            await connection.close(code, reason_of(problem.detail))
            return None
    return render(connection.scope, problem)


def not_allowed(request: Request, failure: HTTPException) -> Problem:
    """Return the 405 for an exception, with the methods of all routes of the path in `Allow`.

    If an endpoint refuses the method itself, as an `HTTPEndpoint` or an application that is mounted does, its `Allow`
    is kept.
    """
    given = problem_from(failure)
    headers = {name.title(): value for name, value in (failure.headers or {}).items()}
    allowed = allowed_methods(request)
    if "Allow" not in headers or (allowed and request.method not in allowed):
        refused = ("GET", "HEAD") if request.method in ("GET", "HEAD") else (request.method,)
        headers["Allow"] = ", ".join(method for method in allowed if method not in refused)
    detail = "The method is not allowed." if failure.detail == "Method Not Allowed" else given.detail
    return Problem(405, detail, kind=given.kind, headers=headers, **given.extra)


def reason_of(detail: str) -> str:
    """Return as much of a text as the reason of a WebSocket's close frame may have."""
    return detail.encode(errors="replace")[:MAX_REASON].decode(errors="ignore")


async def close_websocket(websocket: WebSocket, failure: WebSocketException) -> None:
    await websocket.close(failure.code, reason_of(failure.reason))


def with_explanation(problem: Problem, lifespan: LifespanState) -> Problem:
    """Return the problem. If its kind is `unready` and the lifespan has not run, add this to its detail."""
    if problem.kind != "unready" or lifespan.has_started:
        return problem
    detail = f"{problem.detail} {lifespan.explanation}"
    return Problem(problem.status_code, detail, kind=problem.kind, headers=problem.headers, **problem.extra)


def allowed_methods(request: Request) -> list[str]:
    """Return the methods of all routes with this path, not only of the first route that matches.

    Mounts and endpoints that take every method, and refuse some themselves, are left out.
    """
    routes, path = [route for route in iter_route_contexts(request.app.routes) if route.methods], request.scope["path"]
    paths, root = {path, path.rstrip("/"), path.rstrip("/") + "/"}, request.scope.get(ROOT_PATH, "")
    allowed = set()
    for method in METHODS:
        scopes = [{**request.scope, "method": method, "path": path, "root_path": root} for path in paths]
        if any(is_match(context, scope) for context in routes for scope in scopes):
            allowed.add(method)
    return sorted(allowed | {"HEAD"} if "GET" in allowed else allowed)


def is_match(context: RouteContext, scope: Scope) -> bool:
    """Return whether a route serves a request. False if a convertor of its path parameters raises a ValueError."""
    try:
        return context.matches(scope)[0] is Match.FULL
    except ValueError:
        return False
