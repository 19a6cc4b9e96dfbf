"""Cross-origin requests (CORS): the methods and headers of pages of other origins, and refusals as problems."""

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kit.http.problems import Problem, render
from kit.openapi.responses import HEADERS

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
ALLOWED_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "X-Request-ID")
"""The request headers that the service reads, and for which a browser sends a preflight request."""
EXPOSED_HEADERS = sorted({*HEADERS, "Allow"} - {"Connection"})
"""The response headers that a page may read: all that the service sends, except `Connection`."""


class CrossOrigin(CORSMiddleware):
    """Starlette's middleware, with problems (RFC 9457) for refused preflight requests."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        return response if response.status_code == 200 else RefusedPreflight(response)


class RefusedPreflight(Response):
    """The 400 for a preflight request with an origin, method or header that is not allowed."""

    def __init__(self, refusal: Response) -> None:
        self.refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kept = {name: value for name, value in self.refusal.headers.items() if not name.startswith("content-")}
        problem = Problem(400, f"{bytes(self.refusal.body).decode()}.", kind="cors", headers=kept)
        await render(scope, problem)(scope, receive, send)
