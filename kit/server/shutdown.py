"""Graceful shutdown: the service reports that it is not ready, then refuses connections, and ends running requests."""

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
"""The time, after the listeners were closed, for the first requests on connections that were just accepted."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Shutdown:
    """Handles SIGTERM and SIGINT (Ctrl-C).

    `delay`: for this number of seconds after SIGTERM, the service still accepts requests, but `/health/ready` is a 503,
    so that load balancers stop sending requests. `timeout`: the seconds for running requests after that. Both apply
    under uvicorn, also if gunicorn runs it. Other servers have their own rules; there, only the 503 applies.

    A second Ctrl-C stops the service at once. A further SIGTERM does not: workers get one from the service manager, and
    another from their parent process.
    """

    protocol: "type[BoundedConnection] | None" = None
    """The protocol class of connections under uvicorn; None for `BoundedConnection`."""

    def __init__(self, delay: float, timeout: float) -> None:
        self.delay, self.timeout = delay, timeout
        self.has_begun = self.has_server = False
        """`has_begun`: a signal was received. `has_server`: this process is a server, not a test or a command."""
        self.interrupts = 0
        """The number of received SIGINTs."""

    def listen(self) -> bool:
        """Install the signal handlers, if this process is a server. Returns whether it is.

        A server is recognised by running the lifespan in the main thread, and by a handler for SIGTERM.
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
        """Replace uvicorn's signal handlers, which would close the listeners at once."""
        connections = import_module("kit.server.connections")  # imports uvicorn's protocol, which uvicorn has loaded
        connections.bound_connections(server.config, self.protocol or connections.BoundedConnection)
        server.config.timeout_graceful_shutdown = math.ceil(self.timeout)
        loop = asyncio.get_running_loop()
        for number, delay in ((signal.SIGTERM, self.delay), (signal.SIGINT, 0.0), (signal.SIGQUIT, 0.0)):
            loop.add_signal_handler(number, self.begin, server, delay, number)

    def _listen_beside_server(self) -> None:
        """Wrap the server's signal handlers, to set `has_begun` before them."""
        for number in SIGNALS:
            before = signal.getsignal(number)

            def note(number: int, frame: FrameType | None, before: Any = before) -> None:
                self.has_begun = True
                if callable(before):
                    before(number, frame)

            signal.signal(number, note)

    def begin(self, server: Any, delay: float, number: int) -> None:
        """Begin the shutdown: close the listeners after `delay` seconds. A second SIGINT stops the server at once."""
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
