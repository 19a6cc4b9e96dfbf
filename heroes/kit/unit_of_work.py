"""When is a write done: when it is committed, and not a byte of the answer leaves before."""

import asyncio
import functools
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request, Response

from heroes.kit import database, describe
from heroes.kit.answer import Returned, answer
from heroes.kit.body import JSONBody
from heroes.kit.endpoint import Endpoint
from heroes.kit.fault import FAILURES, meaning_of, problem_of
from heroes.kit.parameter import refuse_strangers

log = logging.getLogger("heroes")
PAUSES = (0.01, 0.05, 0.2)
"""Seconds, at most, before a unit that collided with another runs again; then it gives up."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


async def current_session(request: Request) -> Any:
    return request.state.session


Session = Annotated[database.WriteSession, Depends(current_session)]
"""For handlers that write: one transaction, committed after the handler and before the answer."""
ReadSession = Annotated[database.ReadSession, Depends(current_session)]
"""For handlers that read."""


class UnitOfWork(Endpoint):
    """The route of a resource: it reads the body, opens the session, runs the handler, commits, and then answers."""

    def __init__(self, path: str, endpoint: Callable[..., Awaitable[Any]], **options: Any) -> None:
        super().__init__(path, returning(endpoint), **options)
        self.known = describe.query_parameters(self.dependant)
        describe.operation(self)

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        unit = self.read if self.methods == {"GET"} else self.write
        return functools.partial(unit, handle)

    async def read(self, handle: Handler, request: Request) -> Response:
        session = request.state.session = request.app.state.database.read()
        try:
            return await self.run(handle, request)
        except FAILURES as failure:
            raise explained(failure) from failure
        finally:
            await session.close()

    async def write(self, handle: Handler, request: Request) -> Response:
        """Run the unit; if it collided with another one, run it again, from the beginning."""
        request = JSONBody(request.scope, request.receive)
        request.limit = request.app.state.max_body_size
        for pause in (*PAUSES, None):
            try:
                return await self.attempt(handle, request)
            except FAILURES as failure:
                if pause is None or meaning_of(failure) != "again":
                    raise explained(failure) from failure
            await asyncio.sleep(random.uniform(0, pause))  # noqa: S311  spreads collisions, hides nothing
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def attempt(self, handle: Handler, request: Request) -> Response:
        async with request.app.state.database.write() as session:
            request.state.session = session
            response = await self.run(handle, request)
            try:
                await session.commit()
            except FAILURES as failure:
                if meaning_of(failure) == "unavailable":
                    raise explained(failure, committing=True) from failure
                raise
            return response

    async def run(self, handle: Handler, request: Request) -> Response:
        if self.known is not None:
            refuse_strangers(self.known, request.query_params)
        returned = await handle(request)
        assert isinstance(returned, Returned)
        return answer(request, returned.value, self.response_model, self.status_code or 200)


def returning(endpoint: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Returned]]:
    """The handler, with its result wrapped for `answer`."""

    @functools.wraps(endpoint)
    async def call(**arguments: Any) -> Returned:
        return Returned(await endpoint(**arguments))

    return call


def explained(failure: Exception, *, committing: bool = False) -> Exception:
    """The problem that a failure of the database means; the failure itself if it is a fault of our own."""
    problem = problem_of(failure, committing=committing)
    if problem is None:
        return failure
    if problem.status_code >= 500:
        log.warning("The database failed: %s", str(failure).partition("\n")[0])
    return problem
