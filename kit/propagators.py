"""Refuses unknown names in `OTEL_PROPAGATORS` before FastAPI is imported, which imports OpenTelemetry if installed."""

import os
from importlib.metadata import entry_points

from kit.refusals import refuse_start

VARIABLE = "OTEL_PROPAGATORS"
NO_PROPAGATOR = "none"


def check() -> None:
    """Exit the process with a message if a propagator is not installed. OpenTelemetry would raise a ValueError."""
    names = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if os.environ.get(VARIABLE)]
    installed = entry_points(group="opentelemetry_propagator").names if names else set()
    unknown = [name for name in names if name not in installed and name.lower() != NO_PROPAGATOR]
    if installed and unknown:
        known = ", ".join(sorted({*installed, NO_PROPAGATOR}))
        refuse_start(f"{VARIABLE} names {unknown[0]!r}, which is not installed: write some of {known}, or unset it.")


check()
