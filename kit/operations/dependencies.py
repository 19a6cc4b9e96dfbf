"""Dependencies of handlers: `Session`, `ReadSession` and `Caller`, which tests may override as any dependency."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from kit.auth.permissions import Who, authorize
from kit.database import sessions
from kit.http.principals import CURRENT_PRINCIPAL, Principal
from kit.http.problems import Problem
from kit.operations.commits import ANSWER, commit_open_transaction
from kit.operations.handlers import is_generator
from kit.operations.units import UNIT, Unit
from kit.runtime import runtime_of

PRINCIPAL = "kit.principal"
"""In the scope of a request: the user who calls, once it is known."""

ANY_METHOD = "*"
"""Stands for every method of a route in `Runtime.access`, and for WebSockets."""


async def get_caller(connection: HTTPConnection) -> Principal | None:
    """The user who calls; None for nobody. A 401 for a token that is not valid, but on a public route it is ignored."""
    scope = connection.scope
    if PRINCIPAL not in scope:
        scope[PRINCIPAL] = await _authenticated(connection)
    principal: Principal | None = scope[PRINCIPAL]
    return principal


async def _authenticated(connection: HTTPConnection) -> Principal | None:
    try:
        return await runtime_of(connection).authenticator.authenticate(connection)
    except Problem as refused:
        if refused.status_code == 401 and who_may_use(connection) is Who.ANYONE:
            return None
        raise


Caller = Annotated[Principal | None, Depends(get_caller)]
"""The user who calls, with `id` and `roles`; None for nobody."""


async def check_permission(connection: HTTPConnection, caller: Caller) -> None:
    """A dependency of the whole application: refuses callers who may not use the route (401, 403)."""
    admit(connection, caller, who_may_use(connection))


def admit(connection: HTTPConnection, caller: Principal | None, who: Who) -> None:
    """Serve this request on behalf of the caller, or refuse it."""
    authenticator = runtime_of(connection).authenticator
    principal = authenticator.effective(caller)
    CURRENT_PRINCIPAL.set(principal)
    authorize(principal, who)


def who_may_use(connection: HTTPConnection) -> Who:
    """Who may use the route of this request; superusers, if nothing is known of it."""
    route, access = id(connection.scope.get("route")), runtime_of(connection).access
    who = access.get((route, connection.scope.get("method", ANY_METHOD)))
    return who or access.get((route, ANY_METHOD), Who.SUPERUSERS)


async def get_read_session(connection: HTTPConnection) -> AsyncIterator[sessions.ReadSession]:
    """The session of the unit of work, or one of its own; it is open until the answer has been sent."""
    unit = UNIT.get()
    async with unit.session if unit else runtime_of(connection).database.read() as session:
        yield session  # type: ignore[misc]  # in an operation that writes, the session that writes


async def get_session(connection: HTTPConnection) -> AsyncIterator[sessions.WriteSession]:
    """The session of the unit of work, or one of its own, which `commit_before_answer` commits.

    What a stream or a background task writes after that is committed at its end.
    """
    unit, answer = UNIT.get(), connection.scope[ANSWER]
    async with _unit_session(unit) or _new_session(connection) as session:
        answer.session = session
        yield session
        if answer.is_complete:
            await commit_open_transaction(session)


def _unit_session(unit: Unit | None) -> sessions.WriteSession | None:
    return unit.session if unit is not None and isinstance(unit.session, sessions.WriteSession) else None


def _new_session(connection: HTTPConnection) -> sessions.WriteSession:
    restricted = who_may_use(connection) is Who.OWNERS
    return runtime_of(connection).database.write(restricted=restricted, restricted_reads=restricted)


async def commit_before_answer(connection: HTTPConnection) -> AsyncIterator[None]:
    """A dependency of the whole application: commits after the handler, unless a unit of work does so.

    The session of a generator is committed at its end: it may have begun to run.
    """
    yield
    unit, session = UNIT.get(), connection.scope[ANSWER].session
    is_of_unit = unit is not None and session is unit.session
    if not is_of_unit and not is_generator(connection.scope["endpoint"]):
        await commit_open_transaction(session)


Session = Annotated[sessions.WriteSession, Depends(get_session)]
"""For handlers that write: one transaction, committed after the handler and before the answer."""
ReadSession = Annotated[sessions.ReadSession, Depends(get_read_session)]
"""For handlers that read: each statement outside of any transaction."""
