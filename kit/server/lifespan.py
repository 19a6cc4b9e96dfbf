"""The state of a service's lifespan: whether it has run, and the message if it has not."""

import logging
from dataclasses import dataclass

log = logging.getLogger("kit")


@dataclass
class LifespanState:
    """Whether the lifespan of the service with this title has run. In a mounted service it does not run by itself."""

    title: str
    has_started: bool = False
    is_reported: bool = False
    """Whether requests need no check any more: the lifespan has run, or its absence was logged."""

    def start(self) -> None:
        self.has_started = self.is_reported = True

    def report(self) -> None:
        """Log a warning once, at the first request, if the lifespan has not run."""
        self.is_reported = True
        log.warning("%s", self.explanation)

    @property
    def explanation(self) -> str:
        """The message that the lifespan has not run, with an instruction; empty if it has."""
        if self.has_started:
            return ""
        return (
            f"The lifespan of {self.title} has not run: start it with a server, with `with TestClient(service)`, "
            "or in the lifespan of the outer application, by `async with service.router.lifespan_context(service)`."
        )
