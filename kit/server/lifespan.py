"""The lifespan of a service: whether it has run, and the warning if it has not."""

import logging
from dataclasses import dataclass

log = logging.getLogger("kit")


@dataclass
class LifespanState:
    """Whether the lifespan of the service with this title has run. Mounted in another application, it does not."""

    title: str
    has_started: bool = False
    is_reported: bool = False
    """Whether the lifespan has run, or the warning has been logged. Then requests need not check it."""

    def start(self) -> None:
        self.has_started = self.is_reported = True

    def report(self) -> None:
        """Log a warning once, at the first request, if the lifespan has not run."""
        self.is_reported = True
        log.warning("%s", self.explanation)

    @property
    def explanation(self) -> str:
        """The text of the warning, with what to do; empty if the lifespan has run."""
        if self.has_started:
            return ""
        return (
            f"The lifespan of {self.title} has not run: start it with a server, with `with TestClient(service)`, "
            "or in the lifespan of the outer application, by `async with service.router.lifespan_context(service)`."
        )
