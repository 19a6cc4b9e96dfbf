"""What does a request pass on its way in: the layers around every route, in this order."""

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from kit.fast.dispatch import Dispatch
from kit.openapi.responses import HEADERS
from kit.server.admission import Admission
from kit.server.request_log import Observe
from kit.server.security_headers import SafeHeaders, TrustedHosts

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
SENT = ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "X-Request-ID")


def install(app: FastAPI, *, limit: int, hosts: Sequence[str], origins: Sequence[str], credentials: bool) -> None:
    """Headers and observation outermost, then who may ask at all, and how many at a time."""
    app.add_middleware(Dispatch, routes=app.router.routes)
    app.add_middleware(Admission, limit=limit)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_credentials=credentials,
            allow_methods=METHODS,
            allow_headers=SENT,
            expose_headers=list(HEADERS),
        )
    if "*" not in hosts:
        app.add_middleware(TrustedHosts, hosts=hosts)
    app.add_middleware(Observe)
    app.add_middleware(SafeHeaders)
