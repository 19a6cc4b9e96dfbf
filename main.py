"""The application: its resources, and what surrounds them."""

from datetime import timedelta
from functools import partial

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
from kit import Authenticator, Database, Layers, LoginLimits, Runtime, Service, Shutdown, Tokens
from kit.database import migrations
from kit.database.engines import Pool
from kit.fast import install
from kit.server.request_log import configure_logging
from settings import Settings, listed, load

PEOPLE = (hero, team, power_transfer, token, me, user, item, post)
SHOP = (category, product, product_deletion, overview, review, stock_movement, stock_transfer)
RESOURCES = (*PEOPLE, *SHOP, dashboard)
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
"""The routes that need no token. Every other route says who may use it, or is for superusers."""
REGISTRATION = "POST /users/"
NO_SECRET = bytes(32)
"""Signs tokens while none is required, so that a forged one wins nothing."""


def create_app(settings: Settings) -> Service:
    configure_logging(as_json=not settings.in_development, level=settings.log_level)
    runtime = create_runtime(settings)
    service = Service(
        runtime,
        title="Heroes",
        version="1.0.0",
        description="Heroes and their teams, users and what is theirs, and a shop, over REST.",
        routers=[resource.router for resource in RESOURCES],
        public=PUBLIC,
        closed=() if settings.registration else (REGISTRATION,),
        layers=Layers(
            max_in_flight=settings.max_in_flight,
            max_streams=settings.max_streams,
            caller_share=settings.caller_share,
            read_ahead=settings.max_body_size,
            hosts=listed(settings.trusted_hosts),
            origins=listed(settings.cors_origins),
            credentials=settings.cors_credentials,
        ),
        shutdown=Shutdown(settings.shutdown_delay, settings.shutdown_timeout),
        on_start=partial(prepare, runtime.database, settings),
    )
    if settings.fast_path:
        install(service, coalesce=settings.coalesce_reads, group=settings.group_commit)
    return service


def create_runtime(settings: Settings) -> Runtime:
    secrets = settings.secret_keys or [NO_SECRET]
    tokens = Tokens(secrets, settings.token_audience, timedelta(minutes=settings.token_minutes))
    limits = LoginLimits(
        settings.limits_url.get_secret_value(),
        per_account=settings.login_failures,
        per_address=settings.login_failures_address,
        window=settings.login_window,
    )
    return Runtime(
        database=Database(settings.database, Pool(**settings.pool)),
        authenticator=Authenticator(settings.auth, tokens, token.find_principal),
        login_limits=limits,
        secrets=secrets,
        max_body_size=settings.max_body_size,
        max_upload_size=settings.max_upload_size,
        request_timeout=settings.request_timeout,
    )


async def prepare(database: Database, settings: Settings) -> None:
    """In development the database is migrated, and an empty one filled, when the service starts."""
    if settings.in_development:
        await migrations.prepare(database, demo.fill if settings.demo_data else None)
    else:
        await migrations.report(database)


app = create_app(load())
