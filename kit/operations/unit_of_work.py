"""When is a write done: when it is committed, and not a byte of the answer leaves before."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, ClassVar

from fastapi import Depends, Request, Response
from starlette.types import Receive, Scope, Send

from kit.auth.permissions import May, Who
from kit.database import reading, writing
from kit.database.errors import FAILURES, explained, meaning_of
from kit.database.retry import READ_PATIENCE, WRITE_PATIENCE, persistently
from kit.fast.arguments import Arguments
from kit.http.bodies import JSONBody
from kit.openapi import operations as describe
from kit.operations import idempotency
from kit.operations.answers import Returned, answer
from kit.operations.deadlines import COMMIT_TIMEOUT, Deadline
from kit.operations.endpoint import Endpoint
from kit.operations.idempotency_keys import Key, key_of
from kit.query.parameters import refuse_strangers

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


async def current_session(request: Request) -> Any:
    return request.state.session


Session = Annotated[writing.WriteSession, Depends(current_session)]
"""For handlers that write: one transaction, committed after the handler and before the answer."""
ReadSession = Annotated[reading.ReadSession, Depends(current_session)]
"""For handlers that read."""


class UnitOfWork(Endpoint):
    """The route of a resource: it reads the body, opens the session, runs the handler, commits, and then answers."""

    may: ClassVar[May | None] = None

    def __init__(self, path: str, endpoint: Callable[..., Awaitable[Any]], **options: Any) -> None:
        super().__init__(path, returning(endpoint), **options)
        self.handler = endpoint
        self.arguments = Arguments.of_route(self)
        if self.arguments is not None:
            self.app, self.serves_alone = self.serve, True
        self.who = (self.may or May()).of(min(self.methods or ()), path)
        self.known = describe.query_parameters(self.dependant)

    def describe(self) -> None:
        describe.operation(self)
        if self.who is not Who.ANYONE:
            self.openapi_extra = (self.openapi_extra or {}) | {"security": [{"Token": []}]}

    @property
    def unit(self) -> Callable[[Handler, Request], Coroutine[Any, Any, Response]]:
        return self.read if self.methods == {"GET"} else self.write

    def get_route_handler(self) -> Handler:
        return functools.partial(self.unit, super().get_route_handler())

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.unit(self.call, Request(scope, receive, send))
        await response(scope, receive, send)

    async def call(self, request: Request) -> Response:
        assert self.arguments is not None
        return Returned(await self.handler(**await self.arguments.take(request)))

    async def read(self, handle: Handler, request: Request) -> Response:
        async with Deadline(request.app.state.request_timeout, request.receive):
            await request.app.state.guard.admit(request, self.who)
            return await persistently(functools.partial(self.look, handle, request), READ_PATIENCE)

    async def look(self, handle: Handler, request: Request) -> Response:
        async with request.app.state.database.read() as session:
            request.state.session = session
            return self.answer(request, await self.run(handle, request))

    async def write(self, handle: Handler, request: Request) -> Response:
        request = JSONBody(request.scope, request.receive)
        request.limit = request.app.state.max_body_size
        deadline = Deadline(request.app.state.request_timeout)
        async with deadline:
            await request.app.state.guard.admit(request, self.who)
            key = await key_of(request)
        attempt = functools.partial(self.attempt, handle, request, key, deadline)
        if key is None:
            return await persistently(attempt, WRITE_PATIENCE)
        async with idempotency.turn(key):
            return await persistently(attempt, WRITE_PATIENCE)

    async def attempt(self, handle: Handler, request: Request, key: Key | None, deadline: Deadline) -> Response:
        """One transaction; until its COMMIT begins, nothing of it has happened."""
        async with request.app.state.database.write(only_theirs=self.who is Who.OWNERS) as session:
            request.state.session = session
            work = functools.partial(self.work, handle, request)
            async with deadline:
                response = await (work() if key is None else idempotency.once(request, key, session, work))
            await commit(session)
            return response

    async def work(self, handle: Handler, request: Request) -> Response:
        """The answer, after the database has seen all that it tells of."""
        returned = await self.run(handle, request)
        await request.state.session.finish()
        return self.answer(request, returned)

    async def run(self, handle: Handler, request: Request) -> Returned:
        if self.known is not None and request.scope["query_string"]:
            refuse_strangers(self.known, request.query_params)
        returned = await handle(request)
        assert isinstance(returned, Returned)
        return returned

    def answer(self, request: Request, returned: Returned) -> Response:
        return answer(request, returned.value, self.response_model, self.status_code or 200)


def allowing(**who: Who) -> type[UnitOfWork]:
    """The route class of a resource: who may `read`, `create`, `bulk` and `change`; what is left out, superusers."""
    return type("UnitOfWork", (UnitOfWork,), {"may": May(**who)})


def returning(endpoint: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Returned]]:
    """The handler, with its result wrapped for `answer`."""

    @functools.wraps(endpoint)
    async def call(**arguments: Any) -> Returned:
        return Returned(await endpoint(**arguments))

    return call


async def commit(session: writing.WriteSession) -> None:
    """Commit; if the database goes away meanwhile, or takes too long, the outcome is unknown, and nothing is tried."""
    try:
        async with asyncio.timeout(COMMIT_TIMEOUT):
            await session.commit()
    except FAILURES as failure:
        if meaning_of(failure) in ("lost", "unavailable"):
            raise explained(failure, committing=True) from failure
        raise
