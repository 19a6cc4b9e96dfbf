"""Read contexts: the position that the reads of a request must see, and the servers that it has used."""

from contextvars import ContextVar

from kit.replicas.positions import Position
from kit.replicas.servers import Server


class ReadContext:
    """The state of a request or WebSocket, and of the tasks that it has started.

    `needed` is the position in the token of the client, which each read must see; None without a token.
    """

    def __init__(self, needed: Position | None, *, is_writing: bool) -> None:
        self.needed, self.is_writing = needed, is_writing
        """`is_writing`: all reads go to the primary, because the request may write or has written."""
        self.server: Server | None = None
        """The server of the last read. The next read goes there too if possible, so that it does not see less."""
        self.used: set[Server] = set()
        """The servers that the request has read from or written to."""
        self.has_response_started = False
        """Whether the response headers, which contain the token, were sent."""


READ_CONTEXT: ContextVar[ReadContext | None] = ContextVar("read_context", default=None)
"""The read context of the request that this task serves; None outside of requests, where reads go to the primary."""
