"""Listeners to the engine of a server: they record its positions, and the failures of its connections."""

import time
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from kit.database.errors import Unreachable
from kit.replicas.connections import TrackedConnection
from kit.replicas.contexts import READ_CONTEXT
from kit.replicas.servers import Primary, Server, Standby

OTHER_SERVER_SECONDS = 1.0
"""How long a standby is not used after a connection to its address has reached another server."""
CONFLICT = "40001"
"""The SQLSTATE with which a standby cancels a query that conflicts with recovery."""


def track(server: Server, asynchronous: AsyncEngine) -> None:
    """Add the listeners by which an engine records the positions and failures of its server."""
    engine, listeners = asynchronous.sync_engine, Listeners(server)
    event.listen(engine, "do_connect", listeners.connect)
    event.listen(engine, "after_cursor_execute", listeners.executed)
    if isinstance(server, Standby):
        event.listen(engine, "handle_error", listeners.failed)


class Listeners:
    """The listeners to an engine. The fast path may skip them (`is_harmless`): its statements record the position."""

    is_harmless = True

    def __init__(self, server: Server) -> None:
        self.server = server

    def connect(self, dialect: Any, _: object, arguments: Any, options: Any) -> Any:
        """Return a new `TrackedConnection`. Raises `Unreachable` if it reaches another server than the probe."""
        options["connection_class"] = TrackedConnection
        try:
            connection = dialect.connect(*arguments, **options)
        except Exception:
            self.server.fail()
            raise
        identity = connection.run_async(lambda driver: driver.track(self.server))
        if isinstance(self.server, Standby) and identity != self.server.identity:
            connection.driver_connection.terminate()
            self.server.fail()
            self.server.suspend(OTHER_SERVER_SECONDS)
            raise Unreachable(f"{self.server.name} has started again, or leads to several servers")
        return connection

    def executed(self, connection: Any, *_: object) -> None:
        """Record that a statement was executed whose result does not contain the position."""
        self.server.unknown_at = time.monotonic()
        context = READ_CONTEXT.get()
        if context is not None and isinstance(self.server, Primary):
            context.used.add(self.server)
            if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
                context.is_writing = True

    def failed(self, context: Any) -> None:
        """Do not use the standby after a lost connection, until its next probe; after a conflict, for a moment."""
        if context.is_disconnect:
            self.server.fail()
        elif getattr(context.original_exception, "sqlstate", None) == CONFLICT:
            assert isinstance(self.server, Standby)
            self.server.suspend()
