"""Was it done already: the first answer to an `Idempotency-Key`, stored with its effect, and given again.

The key's row comes first in the transaction, so that of two requests with one key the database lets the second wait
until the first is decided; whatever becomes of the effect becomes of the row.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakValueDictionary

from fastapi import Request, Response
from sqlalchemy import JSON, delete, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlmodel import Field, Index, SQLModel, col, select

from kit.database.errors import FAILURES, code_of, meaning_of, problem_of
from kit.database.writing import WriteSession
from kit.http.problems import Problem, render
from kit.models.entities import now
from kit.operations.idempotency_keys import Key, refused

REPLAYED = "Idempotency-Replayed"
LIFETIME = timedelta(hours=24)
PATIENCE = 0.7
"""Seconds to wait for the first request with this key; then a 409."""
BITE = 5
"""Expired rows that one request removes in passing: more than it adds, so that none pile up."""
DECIDED = (404, 409)
"""Failures that the data decided: the first answer, as much as a success."""
KEPT = ("content-type", "location", "etag")
LOCK_TIMEOUT = "55P03"
INSERT: Mapping[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
turns: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()


class Answered(SQLModel, table=True):
    """What a key stands for: the request, by its digest, and the answer that it got."""

    __tablename__ = "idempotency_key"
    __table_args__ = (Index(None, "created_at"),)

    id: bytes = Field(primary_key=True, max_length=32)
    request: bytes = Field(max_length=32)
    created_at: datetime
    status: int = Field(default=0)
    headers: dict[str, str] = Field(default_factory=dict, sa_type=JSON)
    body: bytes = b""


@asynccontextmanager
async def turn(key: Key) -> AsyncIterator[None]:
    """One at a time within this process, so that those who wait for a key do not keep connections busy."""
    lock = turns.setdefault(key.id, asyncio.Lock())
    try:
        async with asyncio.timeout(PATIENCE):
            await lock.acquire()
    except TimeoutError as late:
        raise in_flight() from late
    try:
        yield
    finally:
        lock.release()


def in_flight() -> Problem:
    detail = "The first request with this Idempotency-Key is still running."
    return Problem(409, detail, kind="in-flight", headers={"Retry-After": "1"})


async def once(request: Request, key: Key, session: WriteSession, work: Callable[[], Awaitable[Response]]) -> Response:
    """Do the work and keep its answer, in this transaction; or give the answer that was kept."""
    if not await claim(session, key):
        return await replay(session, key)
    answer = await decide(request, session, work)
    headers = {name: value for name, value in answer.headers.items() if name in KEPT}
    kept = update(Answered).where(col(Answered.id) == key.id)
    await session.exec(kept.values(status=answer.status_code, headers=headers, body=bytes(answer.body)))
    await forget(session)
    return answer


async def claim(session: WriteSession, key: Key) -> bool:
    """Take the key, unless it was used within its lifetime. Waits for a transaction that has just taken it."""
    insert = INSERT[session.get_bind().dialect.name]
    fields = {"request": key.request, "created_at": now()}
    row = insert(Answered).values(id=key.id, status=0, headers={}, body=b"", **fields)
    is_over = col(Answered.created_at) < now() - LIFETIME
    taken = row.on_conflict_do_update(index_elements=["id"], set_=fields, where=is_over).returning(col(Answered.id))
    await session.wait_for_locks(PATIENCE)
    try:
        is_ours = (await session.exec(taken)).first() is not None
    except DBAPIError as failure:
        raise in_flight() if code_of(failure) == LOCK_TIMEOUT else failure from failure
    await session.wait_for_locks(None)
    return is_ours


async def replay(session: WriteSession, key: Key) -> Response:
    kept = (await session.exec(select(Answered).where(Answered.id == key.id))).one()
    if kept.request not in (key.request, *key.older):
        raise refused("The key was used for another request")
    return Response(kept.body, kept.status, kept.headers | {REPLAYED: "true"})


async def decide(request: Request, session: WriteSession, work: Callable[[], Awaitable[Response]]) -> Response:
    """The answer of the work; if the data decided against it, that answer, without what the work did until then."""
    try:
        async with session.begin_nested():
            return await work()
    except (Problem, *FAILURES) as failure:
        problem = failure if isinstance(failure, Problem) else problem_of(failure)
        if problem is None or problem.status_code not in DECIDED or meaning_of(failure) == "again":
            raise
        return render(request.scope, problem)


async def forget(session: WriteSession) -> None:
    """Remove a few expired rows, but none that another transaction is at."""
    is_over = col(Answered.created_at) < now() - LIFETIME
    oldest = select(Answered.id).where(is_over).order_by(col(Answered.created_at)).limit(BITE)
    await session.exec(delete(Answered).where(col(Answered.id).in_(oldest.with_for_update(skip_locked=True))))
