"""Sampling: updates the metrics periodically, measures the event loop's lag, and serves the metrics' separate port."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from wsgiref.simple_server import WSGIServer

from prometheus_client import make_wsgi_app, start_http_server

from kit.metrics import Access
from kit.metrics.exposition import Exposition
from kit.metrics.formats import with_known_formats
from kit.metrics.measurements import Measurements
from kit.metrics.separate_port import only_metrics
from kit.metrics.workers import VARIABLE

log = logging.getLogger("kit")
INTERVAL_SECONDS = 0.1
"""The time between two updates. With longer intervals, each update would occupy the event loop longer."""
READ_EVERY = 10
"""The number of updates after which the gauges are read, and a worker without the port tries to open it again."""


class Sampling:
    """Updates the metrics of a service while it runs."""

    def __init__(self, measurements: Measurements, exposition: Exposition, access: Access) -> None:
        self.measurements, self.exposition, self.access = measurements, exposition, access
        self.server: WSGIServer | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Update the metrics periodically during the block, and a last time at its end."""
        self.open_port()
        self.measurements.read()
        task = asyncio.create_task(self.sample())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self.update()
            if self.server is not None:
                await asyncio.to_thread(close, self.server)
                self.server = None

    async def sample(self) -> None:
        loop, updates = asyncio.get_running_loop(), 0
        while True:
            due = loop.time() + INTERVAL_SECONDS
            await asyncio.sleep(INTERVAL_SECONDS)
            self.measurements.lag.observe(max(0, loop.time() - due))
            self.update()
            updates += 1
            if updates % READ_EVERY == 0:
                self.measurements.read()
                self.open_port()

    def update(self) -> None:
        try:
            self.measurements.update()
        except OSError as failure:  # the folder of the workers is full
            log.warning("The metrics cannot be shared: %s", failure)

    def open_port(self) -> None:
        """Serve the metrics on the separate port. Of several workers, the first one that gets the port does it for all.

        Raises a RuntimeError if there are no other workers, and the port is not free.
        """
        if self.server is not None or self.access.port is None:
            return
        try:
            self.server, _ = start_http_server(self.access.port, self.access.host, self.exposition.registry)
            self.server.set_app(only_metrics(with_known_formats(make_wsgi_app(self.exposition.registry))))
        except (OSError, UnicodeError) as failure:  # a UnicodeError: no host can have this name
            if VARIABLE not in os.environ:
                address = f"Port {self.access.port} of {self.access.host}"
                raise RuntimeError(
                    f"{address} cannot be used ({failure}): set METRICS_PORT or METRICS_HOST to another one."
                ) from None


def close(server: WSGIServer) -> None:
    """Stop a server that runs in another thread."""
    server.shutdown()
    server.server_close()
