"""Views: what one request has to see of the database, and which servers it has read."""

from contextvars import ContextVar

from kit.replicas.positions import Position
from kit.replicas.servers import Server


class View:
    """What a request, a WebSocket, or a task that one of them has started, sees of the database.

    `needed` is the position in the token of the client.
    """

    def __init__(self, needed: Position | None, *, is_writing: bool) -> None:
        self.needed, self.is_writing = needed, is_writing
        """`is_writing`: everything is read from the primary, because the request writes, or has written."""
        self.server: Server | None = None
        """The server that the view reads; the same for all its reads, so that a later one never sees less."""
        self.used: set[Server] = set()
        """The servers that were read or written."""
        self.is_answered = False
        """Whether the head of the response was sent, with the last token."""


VIEW: ContextVar[View | None] = ContextVar("view", default=None)
"""The view of the request that this task serves; None outside of requests, where the primary is read."""
