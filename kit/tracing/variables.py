"""OpenTelemetry's environment variables: whether requests are traced, which sampler is used, and the collector."""

import os
from importlib.util import find_spec
from urllib.parse import urlsplit

DEFAULT_SAMPLER, DEFAULT_PART = "parentbased_traceidratio", "0.01"
"""The default sampler and ratio: 1 % of the requests. OpenTelemetry's own default samples all requests."""
SAMPLERS = ("always_on", "always_off", "traceidratio")
BY_RATIO = ("traceidratio", DEFAULT_SAMPLER)
PROTOCOL = "http/protobuf"
SAMPLER, SAMPLER_ARG = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
ENDPOINT, TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


def given(*names: str) -> str:
    """Return the value of the first of these environment variables that is set; empty if none is."""
    return next((value for name in names if (value := os.environ.get(name, "").strip())), "")


def is_on(endpoint: str) -> bool:
    """Return whether requests are traced: a collector is set, and no variable switches traces off."""
    is_off = given("OTEL_SDK_DISABLED").lower() == "true" or given("OTEL_TRACES_EXPORTER").lower() == "none"
    return bool(endpoint or given(TRACES_ENDPOINT)) and not is_off


def refusal(endpoint: str) -> str | None:
    """Return an error message if the variables or the installed packages do not permit tracing; None otherwise."""
    if find_spec("opentelemetry.sdk") is None or find_spec("opentelemetry.exporter.otlp.proto.http") is None:
        return f"{ENDPOINT} needs packages that are not installed: make tracing, or unset it."
    name, url = (TRACES_ENDPOINT, given(TRACES_ENDPOINT)) if given(TRACES_ENDPOINT) else (ENDPOINT, endpoint)
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        return f"{name} must be a URL, as in http://localhost:4318."
    if given("OTEL_TRACES_EXPORTER") not in ("", "otlp"):
        return "OTEL_TRACES_EXPORTER must be otlp, or none to switch traces off."
    if given("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL") not in ("", PROTOCOL):
        return f"OTEL_EXPORTER_OTLP_PROTOCOL must be {PROTOCOL}: collectors listen for it at port 4318."
    if given("FASTAPI_OTEL_AUTO_CONFIGURE").lower() in ("true", "1", "yes", "on"):
        return f"FASTAPI_OTEL_AUTO_CONFIGURE must be off: {ENDPOINT} is enough, and every span would be sent twice."
    return refused_sampler(*sampler())


def sampler() -> tuple[str, str]:
    """Return the name of the sampler and its argument."""
    name = given(SAMPLER).lower()
    return name or DEFAULT_SAMPLER, given(SAMPLER_ARG) or ("1" if name else DEFAULT_PART)


def refused_sampler(name: str, part: str) -> str | None:
    if name.removeprefix("parentbased_") not in SAMPLERS:
        return f"{SAMPLER} must be one of {', '.join(SAMPLERS)}, each also with parentbased_ before it."
    if name in BY_RATIO and not is_part(part):
        return f"{SAMPLER_ARG} must be a number from 0 to 1, as in {DEFAULT_PART} for one request of a hundred."
    return None


def is_part(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
