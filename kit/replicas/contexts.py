"""Read contexts: the position that a request has to see, and the servers that it has read."""

from contextvars import ContextVar

from kit.replicas.positions import Position
from kit.replicas.servers import Server


class ReadContext:
    """The state of the reads of a request, a WebSocket, or a task that one of them has started.

    `needed` is the position in the token of the client, which each read has to see; None without a token.
    """

    def __init__(self, needed: Position | None, *, is_writing: bool) -> None:
        self.needed, self.is_writing = needed, is_writing
        """If `is_writing`, everything is read from the primary, because the request writes, or has written."""
        self.server: Server | None = None
        """The server of the reads; the same for all of them, so that a later read never sees less."""
        self.used: set[Server] = set()
        """The servers that were read or written."""
        self.has_response_started = False
        """Whether the headers of the response were sent, with the token."""


READ_CONTEXT: ContextVar[ReadContext | None] = ContextVar("read_context", default=None)
"""The read context of the request that this task serves; None outside of requests, where the primary is read."""
