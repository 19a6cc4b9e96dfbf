"""Tracing with OpenTelemetry: the spans of requests and of their SQL statements are sent to a collector.

FastAPI makes the span of a request, and this package those of its statements. It is optional: no other package of the
kit imports it, and the service works without it. To remove it, delete it together with its tests and the line of `main`
that installs it.
"""

from importlib import import_module
from typing import Any

from kit.refusals import refuse_start
from kit.tracing.variables import is_on, refusal


def install(service: Any, name: str, endpoint: str) -> None:
    """Trace the requests of a service, if `endpoint` or a variable of OpenTelemetry is the URL of a collector.

    `name` is the name of the service unless `OTEL_SERVICE_NAME` is set. Exits the process with a message if the
    variables are invalid. The other modules are imported here, because they need the packages of the extra `tracing`.
    """
    if not is_on(endpoint):
        return
    if sentence := refusal(endpoint):
        refuse_start(sentence)
    import_module("kit.tracing.installation").install(service, name, endpoint)
