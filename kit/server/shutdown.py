"""Graceful shutdown: the service is not ready, then it refuses connections, and when the last request ends it stops."""

import asyncio
import math
import signal
import sys
import threading
from types import FrameType
from typing import Any

from kit.server.connections import bound_connections

CLOSE_SECONDS = 0.25
"""Seconds in which a request may still arrive on a connection that was accepted before the listeners were closed."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Shutdown:
    """What happens on SIGTERM and SIGINT.

    `delay` is for how many seconds the service still accepts requests while `/health/ready` says 503, so that a load
    balancer notices (not on SIGINT, which is Ctrl-C); `timeout` is for how many seconds running requests may go on
    after that. Both hold under uvicorn, also where gunicorn runs it. Other servers decide that themselves; under them
    the service says 503 from the signal on.
    """

    def __init__(self, delay: float, timeout: float) -> None:
        self.delay, self.timeout = delay, timeout
        self.has_begun = self.has_server = False
        """`has_server`: this process is a server, and serves nothing but this application."""

    def listen(self) -> bool:
        """Handle the signals of a server. False where this process is no server, such as one that runs tests.

        A server runs the lifespan in the main thread, and handles SIGTERM, which Python by itself does not.
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
        """Replace uvicorn's own handlers, which close at once, and end the process by the signal."""
        bound_connections(server.config)
        server.config.timeout_graceful_shutdown = math.ceil(self.timeout)
        loop = asyncio.get_running_loop()
        for number, delay in ((signal.SIGTERM, self.delay), (signal.SIGINT, 0.0)):
            loop.add_signal_handler(number, self.begin, server, delay)

    def _listen_beside_server(self) -> None:
        """Note the signal, and pass it on to the server. A handler of the event loop is called as well."""
        for number in SIGNALS:
            before = signal.getsignal(number)

            def note(number: int, frame: FrameType | None, before: Any = before) -> None:
                self.has_begun = True
                if callable(before):
                    before(number, frame)

            signal.signal(number, note)

    def begin(self, server: Any, delay: float) -> None:
        if self.has_begun:  # a second signal: stop at once
            server.should_exit = server.force_exit = True
            return
        self.has_begun = True
        asyncio.get_running_loop().call_later(delay, self.close, server)

    def close(self, server: Any) -> None:
        for listener in getattr(server, "servers", ()):  # none if it is still starting
            listener.close()
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.stop, server)

    def stop(self, server: Any) -> None:
        server.should_exit = True
