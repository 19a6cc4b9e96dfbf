"""OpenTelemetry's environment variables: whether requests are traced, which sampler is used, and the collector."""

import os
import re
from importlib.util import find_spec
from pathlib import Path

from kit.http.urls import is_http_url

DEFAULT_SAMPLER, DEFAULT_PART = "parentbased_traceidratio", "0.01"
"""The default sampler and ratio: 1 % of the requests. OpenTelemetry's own default samples all requests."""
SAMPLERS = ("always_on", "always_off", "traceidratio")
BY_RATIO = ("traceidratio", DEFAULT_SAMPLER)
PROTOCOL = "http/protobuf"
SAMPLER, SAMPLER_ARG = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
BATCHES = {
    "OTEL_BSP_MAX_QUEUE_SIZE": 2048,
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": 512,
    "OTEL_BSP_SCHEDULE_DELAY": 5000,
    "OTEL_BSP_EXPORT_TIMEOUT": 30_000,
}
"""The numbers by which spans are sent in batches, with OpenTelemetry's defaults. Times are in milliseconds."""
LIMIT = re.compile(r"OTEL_(\w+_)?(COUNT|LENGTH)_LIMIT")
FILE = re.compile(r"OTEL_EXPORTER_OTLP_(TRACES_)?(CLIENT_)?(CERTIFICATE|KEY)")
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
    if not is_http_url(url):
        return f"{name} must be a URL, as in http://localhost:4318."
    if given("OTEL_TRACES_EXPORTER") not in ("", "otlp"):
        return "OTEL_TRACES_EXPORTER must be otlp, or none to switch traces off."
    if given("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL") not in ("", PROTOCOL):
        return f"OTEL_EXPORTER_OTLP_PROTOCOL must be {PROTOCOL}: collectors listen for it at port 4318."
    if given("FASTAPI_OTEL_AUTO_CONFIGURE").lower() in ("true", "1", "yes", "on"):
        return f"FASTAPI_OTEL_AUTO_CONFIGURE must be off: {ENDPOINT} is enough, and every span would be sent twice."
    return refused_sampler(*sampler()) or refused_numbers() or refused_files()


def refused_numbers() -> str | None:
    """Return an error message for the first of OpenTelemetry's bounds that is not a number, or is too small."""
    for name, value in sorted(os.environ.items()):
        text, is_batch = value.strip(), name in BATCHES
        if text and (is_batch or LIMIT.fullmatch(name)) and not (text.isdecimal() and int(text) >= is_batch):
            return f"{name} must be a whole number{' above 0' if is_batch else ''}, as in 1000."
    waiting, sent = (int(given(name) or default) for name, default in list(BATCHES.items())[:2])
    if waiting < sent:
        return f"OTEL_BSP_MAX_QUEUE_SIZE must be at least OTEL_BSP_MAX_EXPORT_BATCH_SIZE, which is {sent}."
    return None


def refused_files() -> str | None:
    """Return an error message for the first file of certificates or keys that does not exist."""
    for name, value in sorted(os.environ.items()):
        if FILE.fullmatch(name) and value and not Path(value).is_file():
            return f"{name} must be a file, and there is no file {value}."
    return None


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
