"""The kit's middleware, from outside to inside: request log, CORS, trusted hosts, admission."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from starlette.types import ASGIApp

from kit.server.admission import Admission
from kit.server.cors import ALLOWED_HEADERS, EXPOSED_HEADERS, METHODS, CrossOrigin
from kit.server.proxies import Proxies
from kit.server.rate_limits import RateLimits
from kit.server.request_log import Observer, PathOf, RequestLog
from kit.server.security_headers import TrustedHosts
from kit.server.shutdown import Shutdown


@dataclass(frozen=True, kw_only=True)
class Layers:
    """The settings of the middleware. `hosts` are the host names of this service; `origins` those of pages (CORS).

    Pages may send `headers` in addition to `ALLOWED_HEADERS`, or all with `*`; they may read `exposed` in addition to
    `EXPOSED_HEADERS`; with `credentials`, they may send cookies.

    At most `max_in_flight` requests are served at a time, and additionally `max_streams` responses of unknown length
    and WebSockets. A caller may use the fraction `caller_share` of the streams, and of the memory for bodies. Up to
    `read_ahead` bytes of a body are read before a request gets a slot. `rates` limit the requests of a caller per
    minute. `proxies` are the addresses and networks of proxies whose `X-Forwarded-Prefix` is trusted, separated by
    commas, or `*`; under uvicorn, `--forwarded-allow-ips` decides instead.
    """

    max_in_flight: int = 100
    max_streams: int = 100
    caller_share: float = 1
    read_ahead: int = 1_048_576
    hosts: Sequence[str] = ("*",)
    origins: Sequence[str] = ()
    credentials: bool = False
    headers: Sequence[str] = ()
    exposed: Sequence[str] = ()
    rates: RateLimits | None = None
    proxies: str = "127.0.0.1,::1"


def wrap_in_middleware(
    app: ASGIApp,
    layers: Layers,
    shutdown: Shutdown,
    path_of: PathOf,
    proxies: Proxies,
    known_callers: Mapping[bytes, int],
    observers: Sequence[Observer] = (),
) -> ASGIApp:
    """Return the application wrapped in the kit's middleware. That of `add_middleware` is inside of it."""
    app = Admission(
        app,
        layers.max_in_flight,
        layers.max_streams,
        caller_share=layers.caller_share,
        known=known_callers,
        read_ahead=layers.read_ahead,
        rates=layers.rates,
    )
    if "*" not in layers.hosts:
        app = TrustedHosts(app, hosts=layers.hosts)
    cross_origin = partial(allowing_pages, layers) if layers.origins else unchanged
    return RequestLog(cross_origin(app), shutdown, path_of, proxies, cross_origin, observers)


def allowing_pages(layers: Layers, app: ASGIApp) -> ASGIApp:
    """Return the application wrapped in the middleware for CORS."""
    return CrossOrigin(
        app,
        allow_origins=layers.origins,
        allow_credentials=layers.credentials,
        allow_methods=METHODS,
        allow_headers=[*ALLOWED_HEADERS, *layers.headers],
        expose_headers=[*EXPOSED_HEADERS, *layers.exposed],
    )


def unchanged(app: ASGIApp) -> ASGIApp:
    return app
