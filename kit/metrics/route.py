"""The route `GET /metrics`, for superusers and for requests with `METRICS_TOKEN`."""

import asyncio
import hmac
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from kit.auth.permissions import unauthenticated
from kit.metrics.exposition import Exposition
from kit.openapi.references import Json
from kit.openapi.responses import failure
from kit.operations.caller_needs import needs_no_caller
from kit.runtime import runtime_of

NAMES: Json = {
    "name": "name[]",
    "in": "query",
    "description": "Only the metrics with these names.",
    "schema": {"type": "array", "items": {"type": "string"}},
}
FORMATS: Json = {
    "description": "The metrics.",
    "content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}},
    "headers": {"Vary": {"description": "`Accept`: it chooses the format.", "schema": {"type": "string"}}},
}
Serve = Callable[[Request], Coroutine[Any, Any, Response]]


class MetricsText(Response):
    media_type = CONTENT_TYPE_PLAIN_0_0_4


class MetricsPage:
    """Responds with the metrics. `update` is called first. `token` is a bearer token for them; empty for none."""

    def __init__(self, exposition: Exposition, update: Callable[[], None], token: str) -> None:
        self.exposition, self.update, self.token = exposition, update, token

    async def respond(self, request: Request) -> Response:
        self.update()
        names = request.query_params.getlist("name[]")
        accept = ",".join(request.headers.getlist("accept"))
        media_type, text = await asyncio.to_thread(self.exposition.text, accept, names)
        return Response(text, headers={"content-type": media_type, "cache-control": "no-store", "vary": "Accept"})

    async def serve(self, inner: Serve, request: Request) -> Response:
        """Respond to a request with the metrics' token. Others are passed to `inner`, which checks the permission.

        Raises a 401 for them if the service needs no tokens of users, because `inner` would not check them.
        """
        if self.token and bears(request, self.token):
            return await self.respond(request)
        if self.token and not runtime_of(request).authenticator.is_required:
            raise unauthenticated()
        return await inner(request)


def metrics_router(page: MetricsPage) -> APIRouter:
    """Return the router of `/metrics`."""

    class TokenRoute(APIRoute):
        """A route that also accepts the metrics' token, which is not the token of a user."""

        def get_route_handler(self) -> Serve:
            return partial(page.serve, super().get_route_handler())

    router = APIRouter(tags=["health"], route_class=TokenRoute)

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        operation_id="metrics",
        response_class=MetricsText,
        openapi_extra={"parameters": [NAMES]},
        responses={200: FORMATS, **{status: failure(status) for status in (401, 403)}},
    )
    @needs_no_caller
    async def metrics(request: Request) -> Response:
        """For superusers and the bearer of `METRICS_TOKEN`. In OpenMetrics if `Accept` asks for it."""
        return await page.respond(request)

    return router


def bears(request: Request, token: str) -> bool:
    """Return whether a request has this bearer token, by a comparison in constant time."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), token.encode())
