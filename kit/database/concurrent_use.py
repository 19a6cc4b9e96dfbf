"""Concurrent use of one session by several tasks, as those of `asyncio.gather`: reads wait, writes are refused.

Sessions of SQLAlchemy are not safe for concurrent tasks. While one task opens the connection, another one would get an
exception, and the session could not be closed: its connection would be lost for all later requests. What one task
changes while another one flushes would not be stored.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, ClassVar

from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

OPERATIONS = (
    "commit",
    "connection",
    "delete",
    "delete_all",
    "exec",
    "execute",
    "flush",
    "get",
    "get_one",
    "merge",
    "merge_all",
    "refresh",
    "run_sync",
    "scalar",
    "scalars",
    "stream",
    "stream_scalars",
)
"""The coroutine functions of an async session that use its connection or its state, and do not end its work."""
ENDINGS = ("close", "invalidate", "reset", "rollback")
"""The coroutine functions that end the work of a session. They always wait for the operation of another task."""
Operation = Callable[..., Awaitable[Any]]


class ConcurrentUse(InvalidRequestError):  # noqa: N818  named by its cause
    """Raised if a task uses a session that writes during an operation of another task."""

    def __init__(self) -> None:
        super().__init__(
            "Another task is using this session, as in asyncio.gather. Await one operation after the other. Concurrent "
            "reads: `reads: ReadSession` with `reads.gather(…)` in a handler that only reads. Otherwise open a session "
            "in each task: `async with app.runtime.database.read() as session:`."
        )


class ExclusiveSession(AsyncSession):
    """An async session of which one task at a time executes an operation."""

    waits_for_others: ClassVar[bool] = False
    """Whether an operation waits for that of another task. Otherwise it raises `ConcurrentUse`."""
    lock: asyncio.Lock | None = None
    user: "asyncio.Task[Any] | None" = None
    """The task whose operation holds the lock. The operation may call others of the same session."""

    def begin(self) -> AsyncSessionTransaction:
        return ExclusiveTransaction(self)

    def begin_nested(self) -> AsyncSessionTransaction:
        return ExclusiveTransaction(self, nested=True)


class ExclusiveTransaction(AsyncSessionTransaction):
    """A transaction or savepoint whose begin and end are operations of its session."""


def exclusive(operation: Operation, session_of: Callable[[Any], Any], *, is_ending: bool = False) -> Operation:
    """Return the operation of a session, or of its transaction, so that it runs alone."""

    @wraps(operation)
    async def alone(target: Any, *values: Any, **options: Any) -> Any:
        session, task = session_of(target), asyncio.current_task()
        if session.user is task:
            return await operation(target, *values, **options)
        if session.user is not None and not (is_ending or session.waits_for_others):
            raise ConcurrentUse
        if session.lock is None:
            session.lock = asyncio.Lock()
        async with session.lock:
            session.user = task
            try:
                return await operation(target, *values, **options)
            finally:
                session.user = None

    return alone


def make_exclusive(kind: type[ExclusiveSession]) -> type[ExclusiveSession]:
    """Replace the operations of a class of sessions, and those that it inherits, by exclusive ones."""
    for name in OPERATIONS + ENDINGS:
        setattr(kind, name, exclusive(getattr(kind, name), lambda session: session, is_ending=name in ENDINGS))
    return kind


for name in ("start", "commit", "rollback", "__aexit__"):
    operation = exclusive(
        getattr(AsyncSessionTransaction, name), lambda transaction: transaction.session, is_ending=name != "start"
    )
    setattr(ExclusiveTransaction, name, operation)
