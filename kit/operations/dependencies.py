"""Dependencies of handlers: `Session`, `ReadSession` and `Registration`, which tests may override as usual."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection, Request

from kit.auth.permissions import Who
from kit.database import sessions
from kit.http.texts import compose_path
from kit.operations.callers import route_permission
from kit.operations.commits import commit_open_transaction
from kit.operations.handlers import is_generator
from kit.operations.unit_of_work import COMMITTING_SEND, UNIT, Unit
from kit.runtime import runtime_of


async def get_read_session(connection: HTTPConnection) -> AsyncIterator[sessions.ReadSession]:
    """Yield the session of the unit of work, or a new read session. It is open until the response has been sent.

    If the route takes `Session` too, both are the same session, so that reads see uncommitted changes.
    """
    unit = UNIT.get()
    if unit is None and _takes_session(connection):
        async with _writing_session(connection) as writing:
            yield writing  # type: ignore[misc]  # it reads as well
        return
    async with unit.session if unit else runtime_of(connection).database.read() as session:
        connection.scope[COMMITTING_SEND].sessions.append(session)
        yield session  # type: ignore[misc]  # in an operation that writes, the session that writes


async def get_session(connection: HTTPConnection) -> AsyncIterator[sessions.WriteSession]:
    """Yield the session of the unit of work, or a new write session, which `commit_before_response` commits.

    Later changes, by a stream or a background task, are committed at the end of that.
    """
    async with _writing_session(connection) as session:
        yield session


def _takes_session(connection: HTTPConnection) -> bool:
    """Return whether the route, which is not an operation, also takes `Session`, and this is not overridden."""
    is_overridden = get_session in connection.scope["app"].dependency_overrides
    return not is_overridden and id(connection.scope.get("route")) in runtime_of(connection).writing_routes


@asynccontextmanager
async def _writing_session(connection: HTTPConnection) -> AsyncIterator[sessions.WriteSession]:
    """Yield the write session of a request. Outside of a unit of work, the first dependency creates it."""
    unit, committing_send = UNIT.get(), connection.scope[COMMITTING_SEND]
    if unit is None and committing_send.session is not None:
        yield committing_send.session
        return
    async with _unit_session(unit) or _new_session(connection) as session:
        committing_send.session = session
        committing_send.sessions.append(session)
        yield session
        if committing_send.is_complete:
            await commit_open_transaction(session)


def _unit_session(unit: Unit | None) -> sessions.WriteSession | None:
    return unit.session if unit is not None and isinstance(unit.session, sessions.WriteSession) else None


def _new_session(connection: HTTPConnection) -> sessions.WriteSession:
    restricted = route_permission(connection) is Who.OWNERS
    return runtime_of(connection).database.write(restricted=restricted, restricted_reads=restricted)


async def compose_text(connection: HTTPConnection) -> None:
    """Normalise the path parameters to NFC. A dependency of the whole application."""
    compose_path(connection.scope)


async def commit_before_response(connection: HTTPConnection) -> AsyncIterator[None]:
    """Commit the session of a route after the handler, before the response. A dependency of the whole application.

    A unit of work commits its session itself, except if a dependency has `scope="function"`: this may write at its end,
    and FastAPI ends it before the present dependency. The session of a generator is committed at the generator's end.
    """
    committing_send, continues = connection.scope[COMMITTING_SEND], False
    try:
        yield
        unit, session = UNIT.get(), committing_send.session
        is_of_unit = unit is not None and session is unit.session
        if session is not None and not is_of_unit and not is_generator(connection.scope["endpoint"]):
            await commit_open_transaction(session)
        continues = committing_send.continues
    finally:
        if committing_send.is_taken_over and not continues:
            await committing_send.session.close()


Session = Annotated[sessions.WriteSession, Depends(get_session)]
"""The session of handlers that write: one transaction, committed after the handler and before the response."""
ReadSession = Annotated[sessions.ReadSession, Depends(get_read_session)]
"""The session of handlers that only read, in autocommit."""


async def get_registration(request: Request) -> Callable[[], Awaitable[None]]:
    """Return a function that counts a registration from the client's address, and raises a 429 after too many."""
    address = request.client.host if request.client else ""
    return partial(runtime_of(request).login_limits.count_registration, address)


Registration = Annotated[Callable[[], Awaitable[None]], Depends(get_registration)]
"""The dependency of a handler that registers users: `await registration()` before the password is hashed."""
