"""Idempotency: the first response to an `Idempotency-Key` is stored with its effect, and replayed to later requests.

The transaction of a request begins with the INSERT of its key. Therefore a second request with the key waits in the
database until the first one is committed or rolled back, and the key is stored if and only if the effect is.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakValueDictionary

from sqlalchemy import JSON, ColumnElement, Integer, delete, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlmodel import Field, Index, SQLModel, col, select
from starlette.requests import Request
from starlette.responses import Response

from kit.database.errors import FAILURES, code_of
from kit.database.sessions import HAS_COMMITTED, WriteSession
from kit.http.events import COUNTS
from kit.http.paths import root_of
from kit.http.principals import CURRENT_PRINCIPAL
from kit.http.problems import Problem
from kit.models.entities import now
from kit.operations.failures import handled_response, is_temporary
from kit.operations.idempotency_keys import IdempotencyKey, refused
from kit.runtime import runtime_of

REPLAYED = "Idempotency-Replayed"
LIFETIME = timedelta(hours=24)
MAX_WAIT_SECONDS = 0.7
"""The maximum wait for the first request with the same key, in seconds. Then the response is a 409."""
MAX_REMOVED = 5
"""The maximum number of expired rows that a request removes. It adds one row, so they do not accumulate."""
STORED_FAILURES = (404, 409)
"""The status codes of failures that are caused by the stored data, and are stored and replayed like successes."""
UNANSWERED, INTERRUPTED = 0, 1
"""The `status` of a key without a response: its request is running, or has failed after its handler committed."""
MAX_DELAY_SECONDS = 60
"""A request without a response has failed, with its process, if its deadline passed this number of seconds ago."""
NOT_STORED = ("content-length", "set-cookie", "date")
LOCATION, PREFIX = "location", "x-forwarded-prefix"
"""`PREFIX`: the name, among the stored headers, of the prefix that `Location` has: a later request may have another."""
ROLES = "roles"
"""The name, among the stored headers, of the caller's roles, with which the response may show more than without."""
LOCK_TIMEOUT = "55P03"
INSERT: Mapping[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
locks: WeakValueDictionary[tuple[asyncio.AbstractEventLoop, bytes], asyncio.Lock] = WeakValueDictionary()
"""The locks of the keys of running requests, by event loop, to which a lock belongs."""


class StoredResponse(SQLModel, table=True):
    """A key, the digest of its request, and the response."""

    __tablename__ = "idempotency_key"
    __table_args__ = (Index(None, "created_at"),)

    id: bytes = Field(primary_key=True, max_length=32)
    request: bytes = Field(max_length=32)
    created_at: datetime
    status: int = Field(default=0, sa_type=Integer)
    headers: dict[str, str] = Field(default_factory=dict, sa_type=JSON)
    body: bytes = b""


@asynccontextmanager
async def exclusive(key: IdempotencyKey) -> AsyncIterator[None]:
    """Serialize the requests with a key in this process, so that waiting requests occupy no database connections.

    Raises a 409 after `MAX_WAIT_SECONDS`.
    """
    lock = locks.setdefault((asyncio.get_running_loop(), key.id), asyncio.Lock())
    try:
        async with asyncio.timeout(MAX_WAIT_SECONDS):
            await lock.acquire()
    except TimeoutError as deadline_exceeded:
        raise _in_flight() from deadline_exceeded
    try:
        yield
    finally:
        lock.release()


async def execute_once(
    request: Request, key: IdempotencyKey, session: WriteSession, work: Callable[[], Awaitable[Response]]
) -> Response:
    """Run `work` and store its response in the same transaction, or return the response that is stored for the key.

    Raises a 409 if the first request is still running or was interrupted, and a 422 if it had other content.
    """
    if not await _claim(session, key):
        return await _replay(request, session, key)
    try:
        return await _first_stored(request, session, key, work)
    except Exception:
        if session.info.get(HAS_COMMITTED):
            await _note_end(session, key)
        raise


async def _first_stored(
    request: Request, session: WriteSession, key: IdempotencyKey, work: Callable[[], Awaitable[Response]]
) -> Response:
    """Run `work` and store its response for the key, which is inserted again if the handler has rolled back."""
    response = await _first_response(request, session, key, work)
    if not await _store(request, session, key, response):  # the handler has rolled back its transaction, and so the key
        if not await _claim(session, key):
            raise _in_flight()
        await _store(request, session, key, response)
    await _remove_expired(session)
    return response


async def _first_response(
    request: Request, session: WriteSession, key: IdempotencyKey, work: Callable[[], Awaitable[Response]]
) -> Response:
    """Run `work` in a savepoint, and return its response. A failure caused by the data rolls its changes back.

    A handler may itself commit or roll back, which ends the savepoint. Committed changes must not be repeated, so after
    a commit every failure is stored as the first response.
    """
    savepoint = await session.begin_nested()
    try:
        response = await work()
    except Exception as failure:
        if not session.in_nested_transaction():
            return await _response_after_commit(request, session, key, failure)
        await savepoint.rollback()
        return await _response_to_failure(request, failure)
    if session.in_nested_transaction():
        await savepoint.commit()
    return response


async def _response_to_failure(request: Request, failure: Exception) -> Response:
    """Return the response to a failure that the stored data has caused. Raises other failures again."""
    response = None if is_temporary(failure) else await handled_response(request, failure)
    if response is None or response.status_code not in STORED_FAILURES:
        raise failure
    return response


async def _response_after_commit(
    request: Request, session: WriteSession, key: IdempotencyKey, failure: Exception
) -> Response:
    """Return the response to a failure of a handler that has committed or rolled back.

    After a rollback, failures are raised again unless the stored data has caused them.
    """
    await session.rollback()
    is_committed = (
        await session.exec(select(StoredResponse.id).where(StoredResponse.id == key.id))
    ).first() is not None
    response = await handled_response(request, failure) if is_committed else None
    return await _response_to_failure(request, failure) if response is None or response.status_code >= 500 else response


async def _note_end(session: WriteSession, key: IdempotencyKey) -> None:
    """Mark the key of a request that has failed after its handler committed as `INTERRUPTED`."""
    with suppress(*FAILURES):  # without the mark, `_replay` concludes it from the time that has passed
        await session.rollback()
        unanswered = (col(StoredResponse.id) == key.id, col(StoredResponse.status) == UNANSWERED)
        await session.exec(update(StoredResponse).where(*unanswered).values(status=INTERRUPTED))
        await session.commit()


def _interrupted() -> Problem:
    detail = (
        "The first request with this Idempotency-Key failed after a part of it was stored, so it is not run again: "
        "read the current rows, and use another key for what is missing."
    )
    return Problem(409, detail, kind="broken-off")


def _in_flight() -> Problem:
    detail = "The first request with this Idempotency-Key is still running."
    return Problem(409, detail, kind="in-flight", headers={"Retry-After": "1"})


async def _claim(session: WriteSession, key: IdempotencyKey) -> bool:
    """Insert the key, or take over an expired one. Returns False if it was used within its lifetime.

    Waits for another transaction that has just inserted it; after `MAX_WAIT_SECONDS` it raises a 409.
    """
    insert = INSERT[session.get_bind().dialect.name]
    fields = {"request": key.request, "created_at": now(), "status": UNANSWERED}
    row = insert(StoredResponse).values(id=key.id, headers={}, body=b"", **fields)
    taken = row.on_conflict_do_update(index_elements=["id"], set_=fields, where=_is_expired())
    await session.set_lock_timeout(MAX_WAIT_SECONDS)
    try:
        is_ours = (await session.exec(taken.returning(col(StoredResponse.id)))).first() is not None
    except DBAPIError as failure:
        raise _in_flight() if code_of(failure) == LOCK_TIMEOUT else failure from failure
    await session.set_lock_timeout(None)
    return is_ours


async def _replay(request: Request, session: WriteSession, key: IdempotencyKey) -> Response:
    stored = (await session.exec(select(StoredResponse).where(StoredResponse.id == key.id))).one()
    if stored.request not in (key.request, *key.older):
        raise refused("The key was used for another request")
    if stored.status in (UNANSWERED, INTERRUPTED):  # the handler has committed, and is still running or has failed
        latest = stored.created_at + timedelta(seconds=runtime_of(request).request_timeout + MAX_DELAY_SECONDS)
        raise _interrupted() if stored.status == INTERRUPTED or now() > latest else _in_flight()
    if not set(stored.headers.get(ROLES, "").split()) <= CURRENT_PRINCIPAL.get().roles:
        raise _with_lost_role()
    COUNTS["replays", ""] += 1
    return Response(stored.body, stored.status, _headers_of(stored, root_of(request.scope)) | {REPLAYED: "true"})


def _with_lost_role() -> Problem:
    detail = (
        "The first request with this Idempotency-Key was served while you had a role that you have no more. It is not "
        "run again, and its response is not shown: read the current rows."
    )
    return Problem(409, detail, kind="role-lost")


def _headers_of(stored: StoredResponse, prefix: str) -> dict[str, str]:
    """Return the stored headers, with a `Location` that leads through the proxy of the present request."""
    headers = {name: value for name, value in stored.headers.items() if name != ROLES}
    first, location = headers.pop(PREFIX, None), headers.get(LOCATION, "")
    if first is not None and location.startswith(f"{first}/") and not location.startswith("//"):
        headers[LOCATION] = prefix + location.removeprefix(first)
    return headers


async def _store(request: Request, session: WriteSession, key: IdempotencyKey, response: Response) -> bool:
    """Store the response for the key. Returns False if the key is not in the transaction any more.

    Raises a 422 for a response that cannot be stored, such as a stream.
    """
    if not hasattr(response, "body") or "no-store" in response.headers.get("cache-control", ""):
        raise refused("The response of this operation cannot be stored: leave the key out")
    headers = _stored_headers(response)
    if LOCATION in headers:
        headers[PREFIX] = root_of(request.scope)
    if roles := CURRENT_PRINCIPAL.get().roles:
        headers[ROLES] = " ".join(sorted(roles))
    values = {"status": response.status_code, "headers": headers, "body": bytes(response.body)}
    own = update(StoredResponse).where(col(StoredResponse.id) == key.id, col(StoredResponse.status) == UNANSWERED)
    stored = await session.exec(own.values(**values))
    return stored.rowcount == 1


def _stored_headers(response: Response) -> dict[str, str]:
    """Return the headers of a response to be stored. Repeated ones become one (RFC 9110, section 5.2)."""
    names = dict.fromkeys(name for name in response.headers if name not in NOT_STORED)
    return {name: ", ".join(response.headers.getlist(name)) for name in names}


async def _remove_expired(session: WriteSession) -> None:
    """Delete up to `MAX_REMOVED` expired rows. Rows that another transaction has locked are skipped."""
    oldest = select(StoredResponse.id).where(_is_expired()).order_by(col(StoredResponse.created_at)).limit(MAX_REMOVED)
    # PostgreSQL may execute a subquery again for each row, and remove more rows, unless it is materialized.
    found = oldest.with_for_update(skip_locked=True).cte("oldest").prefix_with("MATERIALIZED", dialect="postgresql")
    await session.execute_trusted(delete(StoredResponse).where(col(StoredResponse.id).in_(select(found.c.id))))


def _is_expired() -> ColumnElement[bool]:
    return col(StoredResponse.created_at) < now() - LIFETIME
