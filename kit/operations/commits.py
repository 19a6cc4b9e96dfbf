"""Commits: with a timeout, after the handler; or, for a stream, before the last part of its response is sent."""

import asyncio

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kit.database.errors import FAILURES, explained, meaning_of
from kit.database.sessions import ReadSession, WriteSession

COMMIT_TIMEOUT = 5.0
"""The longest time for a COMMIT in seconds, independent of the deadline; after it the outcome is unknown."""
COMMITTING_SEND = "kit.committing_send"
"""The key in the ASGI scope of the request's `CommittingSend`."""


async def commit(session: WriteSession) -> None:
    """Commit. Raises a 503 with an unknown outcome if the connection is lost or the COMMIT takes too long."""
    try:
        async with asyncio.timeout(COMMIT_TIMEOUT):
            await session.commit()
    except (*FAILURES, TimeoutError) as failure:
        if meaning_of(failure) in ("lost", "unavailable"):
            raise explained(failure, committing=True) from failure
        raise


async def commit_open_transaction(session: ReadSession | WriteSession | None) -> None:
    """Commit the changes since the last commit, if there are any."""
    if isinstance(session, WriteSession) and session.in_transaction():
        await session.prepare_commit()  # a failure here means that nothing was applied
        await commit(session)


class CommittingSend:
    """Sends the messages of a response, and commits its session before the last one.

    If the COMMIT fails, the last message is not sent, so that the client sees an incomplete response.
    """

    def __init__(self, send: Send, session: ReadSession | WriteSession | None = None) -> None:
        self.send, self.session, self.is_complete = send, session, False
        self.is_taken_over = self.continues = False
        """Whether `session` comes from a unit of work; whether a stream or background tasks use it afterwards."""

    def take_over(self, session: WriteSession, *, continues: bool) -> None:
        """Take a session of a unit of work, which is committed when dependencies with `scope="function"` have ended."""
        self.session, self.is_taken_over, self.continues = session, True, continues

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            await commit_open_transaction(self.session)
            self.is_complete = True
        await self.send(message)


class CommitBeforeEnd:
    """ASGI middleware around the routes: makes the `CommittingSend` of each request and WebSocket."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        scope[COMMITTING_SEND] = answer = CommittingSend(send)
        await self.app(scope, receive, answer)


class SessionResponse(Response):
    """A stream, or a response with background tasks, whose session is open until they end.

    Their changes are committed at the end, or rolled back if the client disconnects before.
    """

    def __init__(self, response: Response, session: ReadSession | WriteSession) -> None:
        self.response, self.session = response, session
        self.status_code, self.raw_headers, self.background = response.status_code, response.raw_headers, None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = CommittingSend(send, self.session)
        async with self.session:
            await self.response(scope, receive, answer)
            await commit_open_transaction(self.session if answer.is_complete else None)
