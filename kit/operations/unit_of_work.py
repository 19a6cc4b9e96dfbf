"""The unit of work: authentication, body, session, handler, commit and answer, with retries and a deadline."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from fastapi.params import Form
from starlette.requests import Request
from starlette.responses import Response

from kit.auth.permissions import Who
from kit.database.errors import FAILURES, explained
from kit.database.retry import READ_SECONDS, WRITE_SECONDS, retried
from kit.database.sessions import WriteSession
from kit.http.bodies import BufferedRequest, read_body, refuse_encoded, refuse_other_than_json
from kit.operations import idempotency
from kit.operations.commits import HAS_COMMITTED, SessionResponse, commit
from kit.operations.deadlines import Deadline
from kit.operations.dependencies import admit, get_caller, who_may_use
from kit.operations.idempotency_keys import IdempotencyKey, key_of
from kit.operations.units import Unit
from kit.query.parameters import refuse_repeated, refuse_unknown
from kit.runtime import Runtime, runtime_of

if TYPE_CHECKING:
    from kit.operations.route import Operation

Handle = Callable[[Request], Awaitable[Response]]
"""Resolves the arguments of the handler, calls it, and makes the response: FastAPI's own, or a cheaper one."""
SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing (RFC 9110, section 9.2.1)."""


async def perform(route: "Operation", handle: Handle, request: Request) -> Response:
    """Serve a request to an operation of a resource."""
    return await (_read if request.method in SAFE else _write)(route, handle, request)


async def _read(route: "Operation", handle: Handle, request: Request) -> Response:
    runtime = runtime_of(request)
    async with Deadline(runtime.request_timeout, request.receive):
        await _admit(request)
        _refuse_unknown_parameters(route, request)
        return await retried(partial(_read_once, runtime, route, handle, request), READ_SECONDS)


async def _read_once(runtime: Runtime, route: "Operation", handle: Handle, request: Request) -> Response:
    async with Unit(request, runtime.database.read(restricted=route.reads is Who.OWNERS)) as unit:
        response = unit.finish(await handle(request))
        return _with_session(route, response, unit)


async def _write(route: "Operation", handle: Handle, request: Request) -> Response:
    runtime = runtime_of(request)
    deadline = Deadline(runtime.request_timeout)
    async with deadline:
        await _admit(request)
        request = BufferedRequest(request.scope, request.receive, await _body(runtime, route, request))
        _refuse_unknown_parameters(route, request)
        key = await key_of(request, route.form_limits)
    attempt = partial(_write_once, runtime, route, handle, request, key, deadline)
    if key is None:
        return await retried(attempt, WRITE_SECONDS)
    async with idempotency.exclusive(key):
        return await retried(attempt, WRITE_SECONDS)


async def _write_once(
    runtime: Runtime,
    route: "Operation",
    handle: Handle,
    request: BufferedRequest,
    key: IdempotencyKey | None,
    deadline: Deadline,
) -> Response:
    """One transaction. Until its COMMIT begins, nothing of it has happened."""
    session = runtime.database.write(restricted=route.who is Who.OWNERS, restricted_reads=route.reads is Who.OWNERS)
    async with Unit(request.next_attempt(), session) as unit:
        async with deadline, _unless_committed(session):
            work = partial(_answer, handle, unit)
            response = await (work() if key is None else idempotency.execute_once(unit.request, key, session, work))
        if not route.is_generator:  # which has begun to run, and is committed at its end
            await commit(session)
        return _with_session(route, response, unit)


async def _answer(handle: Handle, unit: Unit) -> Response:
    return unit.finish(await handle(unit.request))


@asynccontextmanager
async def _unless_committed(session: WriteSession) -> AsyncIterator[None]:
    """A handler that has committed is not run again: its failure is final."""
    try:
        yield
    except FAILURES as failure:
        if not session.info.get(HAS_COMMITTED):
            raise
        raise explained(failure) from failure


def _with_session(route: "Operation", response: Response, unit: Unit) -> Response:
    """The response, which keeps the session open if it is a stream. FastAPI does so for a generator."""
    return SessionResponse(response, unit.session) if unit.is_open_ended and not route.is_generator else response


async def _admit(request: Request) -> None:
    """Refuse callers before their body is read. Where a test overrides the caller, `check_permission` does it later."""
    if get_caller not in request.app.dependency_overrides:
        admit(request, await get_caller(request), who_may_use(request))


async def _body(runtime: Runtime, route: "Operation", request: Request) -> bytes:
    is_form = _takes_form(route)
    body = await read_body(request, route.body_limit or (runtime.max_upload_size if is_form else runtime.max_body_size))
    if body:
        refuse_encoded(request)
        if route.body_field is not None and not is_form:
            refuse_other_than_json(request)
    return body


def _takes_form(route: "Operation") -> bool:
    return route.body_field is not None and isinstance(route.body_field.field_info, Form)


def _refuse_unknown_parameters(route: "Operation", request: Request) -> None:
    if request.scope["query_string"] and route.has_known_parameters:
        refuse_unknown(route.declared_parameters, request.query_params)
        refuse_repeated(route.single_parameters, request.query_params)
