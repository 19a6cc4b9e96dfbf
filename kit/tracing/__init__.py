"""Traces: which statements a request has executed, and how long each took, sent to an OpenTelemetry collector.

FastAPI makes the span of a request, this package those of its statements. It is a wing: no other package of the kit
knows it, and the service works without it. Delete it together with its tests and the line of `main` that installs it.
"""

from importlib import import_module
from typing import Any

from kit.tracing.variables import is_on, refusal


def install(service: Any, name: str, endpoint: str) -> None:
    """Trace the requests of a service, if `endpoint`, or a variable of OpenTelemetry, names a collector.

    `name` is that of the service, unless `OTEL_SERVICE_NAME` has another one. Exits the process with a message if the
    variables cannot work. The other modules are imported here, because they need packages of the extra `tracing`.
    """
    if not is_on(endpoint):
        return
    if sentence := refusal(endpoint):
        raise SystemExit(sentence)
    import_module("kit.tracing.installation").install(service, name, endpoint)
