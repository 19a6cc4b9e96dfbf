"""How does it end: not ready first, then closed to new callers, and not before those inside have their answers."""

import asyncio
import math
import signal
import sys
from typing import Any

LINGER = 0.25
"""Seconds in which a request may still arrive on a connection that was accepted already."""


class Shutdown:
    """What SIGTERM and SIGINT start under uvicorn; under another server, or none, it is that one's affair.

    `delay` is for how many seconds the service goes on while `/health/ready` says 503, so that a load balancer notices
    (not on SIGINT, which is a person's Ctrl-C); `timeout` is for how many seconds running requests may go on after it.
    """

    def __init__(self, delay: float, timeout: float) -> None:
        self.delay, self.timeout, self.has_begun = delay, timeout, False

    def listen(self) -> bool:
        """Stand in for uvicorn's own handlers: they would close at once, and end the process by the signal.

        Tells whether it does: not in a process that is somebody else's.
        """
        server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        if "uvicorn" not in sys.modules or not isinstance(server, sys.modules["uvicorn"].Server):
            return False
        server.config.timeout_graceful_shutdown = math.ceil(self.timeout)
        loop = asyncio.get_running_loop()
        for number, delay in ((signal.SIGTERM, self.delay), (signal.SIGINT, 0.0)):
            loop.add_signal_handler(number, self.begin, server, delay)
        return True

    def begin(self, server: Any, delay: float) -> None:
        if self.has_begun:  # told again: somebody is impatient
            server.should_exit = server.force_exit = True
            return
        self.has_begun = True
        asyncio.get_running_loop().call_later(delay, self.close, server)

    def close(self, server: Any) -> None:
        for listener in getattr(server, "servers", ()):  # none if it is still starting
            listener.close()
        asyncio.get_running_loop().call_later(LINGER, self.stop, server)

    def stop(self, server: Any) -> None:
        server.should_exit = True
