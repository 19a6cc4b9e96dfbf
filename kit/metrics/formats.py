"""Formats of the metrics: chooses the one that the header `Accept` prefers, among those that exist."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

OPENMETRICS, TEXT = "application/openmetrics-text", "text/plain"
LATEST = "1.0.0"
"""The latest version of both formats that scrapers negotiate."""
VERSIONS = {OPENMETRICS: ("", LATEST), TEXT: ("", "0.0.4", LATEST)}
"""The versions that exist, by media type. A request without one gets the latest OpenMetrics, or text in 0.0.4."""
ESCAPINGS = ("allow-utf-8", "underscores", "dots", "values")
MAX_HEADER = 1000
"""The longest `Accept` that is read, in bytes. Prometheus sends about 250."""
QUOTED = r'"(?:[^"\\]|\\.)*"'
RANGE = re.compile(rf'(?:[^,"]|{QUOTED})+')
PARAMETER = re.compile(rf';\s*([\w-]+)\s*=\s*({QUOTED}|[^\s;,"]*)')
WEIGHT = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Any]


def preferred(accept: str) -> str:
    """Return an `Accept` with only the preferred format of those in `accept` that exist; an empty text for none.

    The library would fail at other versions than numbers, and would claim to send those that do not exist.
    """
    found = [] if len(accept) > MAX_HEADER else list(_formats(accept))
    return max(found, key=lambda weighted: weighted[0])[1] if found else ""


def _formats(accept: str) -> Iterator[tuple[float, str]]:
    """Yield each media range whose format exists, in a form for the library, with its weight above 0."""
    for part in RANGE.findall(accept):
        media_type, given = part.partition(";")[0].strip().lower(), _parameters(part)
        version, weight = given.get("version", ""), given.get("q", "1")
        if version in VERSIONS.get(media_type, ()) and WEIGHT.fullmatch(weight) and float(weight):
            escaping = given.get("escaping", "")
            others = [f"version={version}"] * bool(version) + [f"escaping={escaping}"] * (escaping in ESCAPINGS)
            yield float(weight), ";".join([media_type, *others])


def _parameters(part: str) -> Mapping[str, str]:
    """Return the parameters of a media range; quoted values without quotes (RFC 9110, section 5.6.6)."""
    return {name.lower(): _unquoted(value) for name, value in PARAMETER.findall(part)}


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def with_known_formats(app: Wsgi) -> Wsgi:
    """Return a WSGI application that calls the library's `app` with the preferred format."""

    def respond(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        return app({**environ, "HTTP_ACCEPT": preferred(environ.get("HTTP_ACCEPT", ""))}, start_response)

    return respond
