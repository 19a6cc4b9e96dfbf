"""The lifespan of a service: its start and end, and a warning if requests arrive although it has not run."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.routing import Router

from kit.server import garbage_collection, log_writer
from kit.server.proxies import trusted_hosts

if TYPE_CHECKING:
    from kit.server.service import Service

log = logging.getLogger("kit")


@dataclass
class LifespanState:
    """Whether the lifespan of a service has run. That of a mounted service does not run by itself."""

    title: str
    has_started: bool = False
    is_reported: bool = False
    """Whether the lifespan has run, or the warning that it has not was logged."""

    def start(self) -> None:
        self.has_started = self.is_reported = True

    def report(self) -> None:
        """Log the warning that the lifespan has not run. Called for the first request."""
        self.is_reported = True
        log.warning("%s", self.explanation)

    @property
    def explanation(self) -> str:
        """The warning that the lifespan has not run, with an instruction; empty if it has run."""
        if self.has_started:
            return ""
        return (
            f"The lifespan of {self.title} has not run: start it with a server, with `with TestClient(service)`, "
            "or in the lifespan of the outer application, by `async with service.router.lifespan_context(service)`."
        )


@asynccontextmanager
async def run_lifespan(app: "Service") -> AsyncIterator[Any]:
    """Check the routes, start the service, and release its connections at the end."""
    app.check_routes()
    trusted_hosts(app.layers.proxies)
    if app.shutdown.listen():
        garbage_collection.tune()
        log_writer.start()
    async with AsyncExitStack() as stack:
        stack.callback(log_writer.stop)
        stack.push_async_callback(app.runtime.database.dispose)
        stack.push_async_callback(app.runtime.login_limits.close)
        if app.layers.rates is not None:
            stack.push_async_callback(app.layers.rates.close)
        if app.on_start is not None:
            unfinished = await app.on_start()
            if unfinished is not None:
                stack.callback(unfinished.cancel)
        for companion in app.companions:
            await stack.enter_async_context(companion())
        own = Router(lifespan=app.own_lifespan)  # it takes a generator without a decorator too
        state = await stack.enter_async_context(own.lifespan_context(app))
        app.lifespan_state.start()
        yield state
