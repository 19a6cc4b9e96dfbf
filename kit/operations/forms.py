"""What if it is a form, not JSON: as OAuth2 has it (RFC 6749, section 4.3.2)."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response

from kit.http.bodies import Bounded
from kit.operations.deadlines import Deadline
from kit.operations.endpoint import Endpoint

MAX_FORM = 16 * 1024
"""Bytes: many times a username and a password."""


class FormEndpoint(Endpoint):
    """An operation that takes a form, within the request's deadline."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            request = Bounded(request.scope, request.receive)
            request.limit = MAX_FORM
            async with Deadline(request.app.state.request_timeout):
                return await handle(request)

        return bounded
