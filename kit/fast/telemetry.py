"""Telemetry: whether FastAPI reports requests to OpenTelemetry, which only its own layers do."""

from typing import Any

from opentelemetry import _logs, metrics, trace

logs_api: Any = _logs
metrics_api: Any = metrics


def is_configured() -> bool:
    """Whether somebody has set a provider; costs no look at the environment, as FastAPI's own question does."""
    return bool(trace._TRACER_PROVIDER or metrics_api._internal._METER_PROVIDER or logs_api._internal._LOGGER_PROVIDER)


def is_enabled(config: Any) -> bool:
    """Whether an application has providers of its own."""
    return bool(config["tracer_provider"] or config["meter_provider"] or config["logger_provider"])
