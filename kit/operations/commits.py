"""Commits of streams and background tasks: commits the session before the end of a response, and again after it."""

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kit.database.sessions import ReadSession, WriteSession
from kit.operations.unit_of_work import COMMITTING_SEND, commit, end


async def commit_open_transaction(session: ReadSession | WriteSession | None) -> None:
    """Commit a write session if it has an open transaction. Raises a 503 if the outcome is unknown."""
    if isinstance(session, WriteSession) and session.in_transaction():
        await session.prepare_commit()  # a failure here means that nothing was applied
        await commit(session)


class CommittingSend:
    """Sends the messages of a response, and commits its session before the last one.

    If the COMMIT fails, the last message is not sent, so that the client sees an incomplete response.
    """

    def __init__(self, send: Send, session: ReadSession | WriteSession | None = None) -> None:
        self.send, self.session, self.is_complete = send, session, False
        self.sessions: list[ReadSession | WriteSession] = []
        """The sessions of the request, which refuse further use at its end, after the exit code of dependencies."""
        self.is_taken_over = self.continues = False
        """`is_taken_over`: `session` comes from a unit of work. `continues`: a stream or a background task uses it."""

    def take_over(self, session: WriteSession, *, continues: bool) -> None:
        """Take the session of a unit of work, to be committed when dependencies with `scope="function"` have ended.

        `continues`: a stream or a background task uses the session afterwards.
        """
        self.session, self.is_taken_over, self.continues = session, True, continues

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            await commit_open_transaction(self.session)
            self.is_complete = True
        await self.send(message)


class CommitBeforeEnd:
    """ASGI middleware around the routes: creates the `CommittingSend` of each request and WebSocket."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        scope[COMMITTING_SEND] = committing_send = CommittingSend(send)
        try:
            await self.app(scope, receive, committing_send)
        finally:
            for session in committing_send.sessions:
                end(session)


class SessionResponse(Response):
    """A stream, or a response with background tasks, with a session that stays open until they end.

    Their changes are committed at the end, or rolled back if the client disconnects before.
    """

    def __init__(self, response: Response, session: ReadSession | WriteSession) -> None:
        self.response, self.session = response, session
        self.status_code, self.raw_headers, self.background = response.status_code, response.raw_headers, None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        committing_send = CommittingSend(send, self.session)
        async with self.session:
            await self.response(scope, receive, committing_send)
            await commit_open_transaction(self.session if committing_send.is_complete else None)
        if COMMITTING_SEND not in scope:
            end(self.session)
