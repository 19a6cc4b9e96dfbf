"""Middleware of the service, from outside to inside: request log and headers, trusted hosts, CORS, admission."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from kit.openapi.responses import HEADERS
from kit.server.admission import Admission
from kit.server.rate_limits import RateLimits
from kit.server.request_log import PathOf, RequestLog
from kit.server.security_headers import TrustedHosts
from kit.server.shutdown import Shutdown

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
ALLOWED_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "X-Request-ID")


@dataclass(frozen=True, kw_only=True)
class Layers:
    """Settings of the middleware. `hosts` are the names of this service, `origins` the web pages that may call it.

    `max_in_flight` requests are served at a time, and also `max_streams` responses of unknown length and
    WebSockets. One caller has at most `caller_share` of the streams and of the memory for bodies. `read_ahead` bytes of
    a body are read before the request takes its place. `rates` bound the requests of a caller per minute.
    """

    max_in_flight: int = 100
    max_streams: int = 100
    caller_share: float = 1
    read_ahead: int = 1_048_576
    hosts: Sequence[str] = ("*",)
    origins: Sequence[str] = ()
    credentials: bool = False
    rates: RateLimits | None = None


def wrap_in_middleware(
    app: ASGIApp, layers: Layers, shutdown: Shutdown, path_of: PathOf, known_callers: Mapping[bytes, int]
) -> ASGIApp:
    """Wrap the application in this middleware. Middleware from `add_middleware` is inside of it."""
    app = Admission(
        app,
        layers.max_in_flight,
        layers.max_streams,
        caller_share=layers.caller_share,
        known=known_callers,
        read_ahead=layers.read_ahead,
        rates=layers.rates,
    )
    if layers.origins:
        app = CORSMiddleware(
            app,
            allow_origins=layers.origins,
            allow_credentials=layers.credentials,
            allow_methods=METHODS,
            allow_headers=ALLOWED_HEADERS,
            expose_headers=list(HEADERS),
        )
    if "*" not in layers.hosts:
        app = TrustedHosts(app, hosts=layers.hosts)
    return RequestLog(app, shutdown, path_of)
