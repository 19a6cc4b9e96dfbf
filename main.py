"""The application: creates the service from its settings and its list of resources."""

import asyncio
import os
from datetime import timedelta
from functools import partial

import kit.importing  # noqa: F401  first: it makes the other imports faster
import demo
from heroes import (
    category,
    dashboard,
    hero,
    item,
    me,
    overview,
    post,
    power_transfer,
    product,
    product_deletion,
    review,
    stock_movement,
    stock_transfer,
    team,
    token,
    user,
)
from kit import Authenticator, Database, Layers, LoginLimits, RateLimits, Runtime, Service, Shutdown, Tokens
from kit.database import capacity, preparation
from kit.database.absent import tables_of
from kit.database.engines import Pool
from kit.fast import install
from kit.metrics import Access
from kit.metrics import install as measure
from kit.replicas import install as replicate
from kit.server.log_lines import configure_logging
from kit.tracing import install as trace
from settings import NAME, Settings, comma_separated, load

RESOURCES = (
    token,
    me,
    user,
    hero,
    team,
    power_transfer,
    item,
    post,
    category,
    product,
    product_deletion,
    overview,
    review,
    stock_movement,
    stock_transfer,
    dashboard,
)
PUBLIC = frozenset(
    {
        "GET /",
        "GET /docs",
        "GET /docs/style.css",
        "MOUNT /docs/assets",
        "GET /openapi.json",
        "GET /health/live",
        "GET /health/ready",
        "POST /auth/token",
        "POST /users/",
    }
)
"""The routes that need no token. Other routes are for superusers, unless their router sets another permission."""
REGISTRATION = "POST /users/"
DEVELOPMENT_SECRET = bytes(32)
"""Signs tokens and cursors without a SECRET_KEY, which settings allow only if requests need no token."""


def create_app(settings: Settings) -> Service:
    """Return the application, not yet started. It connects to the database when it starts."""
    configure_logging(as_json=not settings.in_development, level=settings.log_level, levels=settings.levels)
    runtime = create_runtime(settings)
    service = Service(
        runtime,
        title=NAME.replace("_", " ").capitalize(),
        version="1.0.0",
        description="Heroes and their teams, users with their items and posts, and a shop, over REST.",
        routers=[resource.router for resource in RESOURCES],
        public=PUBLIC,
        closed=() if settings.registration else (REGISTRATION,),
        layers=Layers(
            max_in_flight=settings.max_in_flight,
            max_streams=settings.max_streams,
            caller_share=settings.caller_share,
            read_ahead=settings.max_body_size,
            hosts=comma_separated(settings.trusted_hosts),
            origins=comma_separated(settings.cors_origins),
            credentials=settings.cors_credentials,
            headers=comma_separated(settings.cors_headers),
            proxies=settings.forwarded_allow_ips,
            rates=rate_limits(settings),
        ),
        shutdown=Shutdown(settings.shutdown_delay, settings.shutdown_timeout),
        security_contacts=comma_separated(settings.security_contact),
        on_start=partial(prepare, runtime.database, settings),
        telemetry={"operation_spans": False},  # `kit.tracing` makes the spans
    )
    if settings.fast_path:
        install(service, coalesce=settings.coalesce_reads, group=settings.group_commit)
    replicate(service, settings.standbys, settings.max_replica_lag)
    access = Access(token=settings.metrics_secret, port=settings.metrics_port, host=settings.metrics_host)
    measure(service, access, settings.metrics_dir)
    trace(service, NAME, settings.otel_exporter_otlp_endpoint)
    return service


def create_runtime(settings: Settings) -> Runtime:
    """Return the shared state of the operations: database, authentication and limits."""
    secrets = settings.secret_keys or [DEVELOPMENT_SECRET]
    tokens = Tokens(secrets, settings.token_audience, timedelta(minutes=settings.token_minutes), NAME)
    limits = LoginLimits(
        settings.limits_url.get_secret_value(),
        per_account=settings.login_failures,
        per_address=settings.login_failures_address,
        window=settings.login_window,
        registrations=settings.registrations_address,
    )
    return Runtime(
        database=Database(settings.database, connection_pool(settings)),
        authenticator=Authenticator(settings.auth, tokens, token.find_principal),
        login_limits=limits,
        secrets=secrets,
        max_body_size=settings.max_body_size,
        max_body_values=settings.max_body_values,
        max_page_size=settings.max_page_size,
        max_upload_size=settings.max_upload_size,
        request_timeout=settings.request_timeout,
    )


def connection_pool(settings: Settings) -> Pool:
    """Return the settings of the connection pool, and of its connections."""
    return Pool(
        size=settings.pool_size,
        overflow=settings.pool_overflow,
        timeout=settings.pool_timeout,
        recycle=settings.pool_recycle,
        pre_ping=settings.pool_pre_ping,
        application_name=settings.application_name,
        statement_timeout=settings.statement_timeout,
        lock_timeout=settings.lock_timeout,
        slow_statement=settings.slow_statement,
        jit=settings.jit,
        echo=settings.sql_echo,
    )


def rate_limits(settings: Settings) -> RateLimits | None:
    """Return the limits of requests per minute; None if neither users nor addresses have one."""
    user, address = settings.rates
    url = settings.limits_url.get_secret_value()
    return RateLimits(url, per_user=user, per_address=address) if user or address else None


async def prepare(database: Database, settings: Settings) -> asyncio.Task[None] | None:
    """Prepare the database at start: migrate and fill it in development; only log its state in production.

    If the database is unavailable in development, returns the task that prepares it later.
    """
    await capacity.report(database, int(os.environ.get("WEB_CONCURRENCY") or 1))
    tables = tables_of(resource.__name__.split(".")[0] for resource in RESOURCES)
    if settings.in_development:
        return await preparation.prepare(database, demo.fill if settings.demo_data else None, tables)
    await preparation.report(database, tables)
    return None


app = create_app(load())
