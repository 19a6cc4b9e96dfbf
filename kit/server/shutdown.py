"""Graceful shutdown: the service becomes unready, then refuses connections, and stops after the last request."""

import asyncio
import math
import signal
import sys
import threading
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kit.server.connections import BoundedConnection

CLOSE_SECONDS = 0.25
"""The time for requests on connections that were accepted before the listeners were closed, in seconds."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Shutdown:
    """Handles SIGTERM and SIGINT.

    `delay`: seconds in which the service still accepts requests while `/health/ready` is a 503, so that load balancers
    notice the stop (not after SIGINT, which is Ctrl-C). `timeout`: seconds for running requests after that. Both apply
    under uvicorn, also if gunicorn runs it. Other servers have their own rules; under them only the 503 applies.

    A second Ctrl-C stops at once. No other signal does: a terminal sends SIGINT to all processes, a service manager
    SIGTERM, and then the parent of several workers sends another signal to each of them.
    """

    protocol: "type[BoundedConnection] | None" = None
    """The protocol of connections under uvicorn, if it is not `BoundedConnection`."""

    def __init__(self, delay: float, timeout: float) -> None:
        self.delay, self.timeout = delay, timeout
        self.has_begun = self.has_server = False
        """`has_server`: this process is a server for this application only."""
        self.interrupts = 0
        """How often Ctrl-C was pressed."""

    def listen(self) -> bool:
        """Handle the signals of a server. Returns False if this process is not a server, such as a test run.

        A server runs the lifespan in the main thread and handles SIGTERM, which Python by default does not.
        """
        handler = signal.getsignal(signal.SIGTERM)
        in_main_thread = threading.current_thread() is threading.main_thread()
        self.has_server = in_main_thread and handler not in (signal.SIG_DFL, signal.SIG_IGN, None)
        if self.has_server:
            server = getattr(handler, "__self__", None)
            is_uvicorn = "uvicorn" in sys.modules and isinstance(server, sys.modules["uvicorn"].Server)
            self._listen_for_uvicorn(server) if is_uvicorn else self._listen_beside_server()
        return self.has_server

    def _listen_for_uvicorn(self, server: Any) -> None:
        """Replace uvicorn's handlers, which close the listeners at once and end the process by the signal."""
        connections = import_module("kit.server.connections")  # imports uvicorn's protocol, which uvicorn has loaded
        connections.bound_connections(server.config, self.protocol or connections.BoundedConnection)
        server.config.timeout_graceful_shutdown = math.ceil(self.timeout)
        loop = asyncio.get_running_loop()
        for number, delay in ((signal.SIGTERM, self.delay), (signal.SIGINT, 0.0), (signal.SIGQUIT, 0.0)):
            loop.add_signal_handler(number, self.begin, server, delay, number)

    def _listen_beside_server(self) -> None:
        """Handle a signal before the server's own handlers, including those of the event loop."""
        for number in SIGNALS:
            before = signal.getsignal(number)

            def note(number: int, frame: FrameType | None, before: Any = before) -> None:
                self.has_begun = True
                if callable(before):
                    before(number, frame)

            signal.signal(number, note)

    def begin(self, server: Any, delay: float, number: int) -> None:
        """Begin to stop after this delay; at once after a second Ctrl-C."""
        self.interrupts += number == signal.SIGINT
        if self.interrupts > 1:
            server.should_exit = server.force_exit = True
        if self.has_begun:
            return
        self.has_begun = True
        asyncio.get_running_loop().call_later(delay, self.close, server)

    def close(self, server: Any) -> None:
        for listener in getattr(server, "servers", ()):  # empty while it is starting
            listener.close()
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.stop, server)

    def stop(self, server: Any) -> None:
        server.should_exit = True
