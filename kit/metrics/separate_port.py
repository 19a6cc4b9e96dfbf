"""The separate port of the metrics: answers GET and HEAD of `/metrics`, and other requests with problems (RFC 9457).

The library's application would answer every path, and a HEAD with a 405.
"""

from collections.abc import Callable, Sequence
from typing import Any

from kit.http.problems import Problem, not_found, phrase, render
from kit.metrics.formats import Wsgi
from kit.server.head_refusals import ids_of
from kit.server.request_log import ID_HEADER
from kit.server.security_headers import ALWAYS

PATHS = ("/metrics", "/metrics/")
ALLOWED = ("GET", "HEAD")
StartResponse = Callable[..., Any]


def only_metrics(app: Wsgi) -> Wsgi:
    """Return a WSGI application that calls the library's `app` for requests to read the metrics."""

    def respond(environ: dict[str, Any], start_response: StartResponse) -> Sequence[bytes]:
        if environ["PATH_INFO"] not in PATHS:
            return refuse(environ, start_response, not_found())
        if environ["REQUEST_METHOD"] not in ALLOWED:
            allowed = {"Allow": ", ".join(ALLOWED)}
            problem = Problem(405, "The method is not allowed.", kind="method-not-allowed", headers=allowed)
            return refuse(environ, start_response, problem)
        if environ["REQUEST_METHOD"] == "HEAD":
            return respond_to_head(app, environ, start_response)
        body: Sequence[bytes] = app(environ, start_response)
        return body

    return respond


def respond_to_head(app: Wsgi, environ: dict[str, Any], start_response: StartResponse) -> Sequence[bytes]:
    """Respond as to a GET, without the body."""
    started: list[Any] = []
    (body,) = app({**environ, "REQUEST_METHOD": "GET"}, lambda *start: started.extend(start))
    status, headers = started
    start_response(status, [*headers, ("Content-Length", str(len(body)))])
    return [b""]


def refuse(environ: dict[str, Any], start_response: StartResponse, problem: Problem) -> Sequence[bytes]:
    """Respond with a problem, and the headers that all responses of the service have."""
    given = [(ID_HEADER, environ.get("HTTP_X_REQUEST_ID", "").encode("latin-1"))]
    state, path = ids_of(given), environ["PATH_INFO"].encode("latin-1").decode(errors="replace")  # as PEP 3333 has it
    response = render({"type": "http", "path": path, "state": state}, problem)
    headers = [*response.raw_headers, (ID_HEADER, state["request_id"].encode()), *ALWAYS]
    status = problem.status_code
    start_response(f"{status} {phrase(status)}", [(name.decode(), value.decode("latin-1")) for name, value in headers])
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else bytes(response.body)]
